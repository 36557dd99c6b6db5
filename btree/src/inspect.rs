//! A page of a tree as text, for people.
//!
//! It shows what the bytes say, also of a page that is damaged: what is wrong comes first, and as
//! much of the rest as can be read.

use std::fmt::Write;

use crate::page::{Page, Value, check};

/// How much of a key or value is shown.
const SHOWN_BYTES: usize = 32;

/// Describes a page of a tree.
pub(crate) fn inspect(bytes: &[u8]) -> String {
    let mut text = String::new();
    let page = Page(bytes);
    if let Err(damage) = check(bytes, page.id()) {
        let _ = writeln!(text, "damaged: {damage}");
        return text;
    }
    let (kind, unit) = if page.is_leaf() { ("leaf", "records") } else { ("branch", "children") };
    let _ = writeln!(
        text,
        "{kind} page {}, level {}, txn {}, {} {unit}, prefix {}, {} bytes used, {} dead",
        page.id(),
        page.level(),
        page.txn(),
        page.count(),
        shown(page.prefix()),
        page.used_bytes(),
        page.dead(),
    );
    for i in 0..page.count() {
        let (head, suffix) = (page.head(i), shown(page.suffix(i)));
        let _ = write!(text, "{i:5}  {head:08x}  {suffix}");
        let _ = if !page.is_leaf() {
            let ptr = page.child(i);
            writeln!(text, "  page {} crc {:08x} txn {}", ptr.id, ptr.crc, ptr.txn)
        } else {
            match page.value(i) {
                Value::Inline { start, len } => {
                    writeln!(text, "  {len} bytes {}", shown(&bytes[start..start + len]))
                }
                Value::Run(ptr) => writeln!(
                    text,
                    "  {} bytes at page {} crc {:08x} txn {}",
                    ptr.bytes, ptr.id, ptr.crc, ptr.txn
                ),
            }
        };
    }
    text
}

fn shown(bytes: &[u8]) -> String {
    let end = if bytes.len() > SHOWN_BYTES { ".." } else { "" };
    format!("\"{}\"{end}", bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii())
}
