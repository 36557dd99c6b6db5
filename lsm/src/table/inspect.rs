//! A look into a table's file, for people: what stands where, sound or not.
//!
//! Nothing is changed, and no bytes are an error, however bad: they are shown. Each line is handed
//! over as it is made, so a large table costs no memory.
//!
//! ```text
//!   1840 bytes, version 1
//!   meta at 1660, 116 bytes: sound
//!     table 7, salt 0x0000000000000005, 3 entries (1 deletes, 0 merges), 0 range deletes
//!     ...
//!   block 0 at 0, 71 bytes, plain: 3 entries from "apple" 4 to "bread" 7
//!     "apple" 4 delete
//!     "apple" 2 put "red"
//! ```

use std::path::Path;
use std::sync::Arc;

use drystone_vfs::{File, OpenMode, Vfs};

use crate::compress::Unpack;
use crate::error::{Error, Result};
use crate::key::Kind;
use crate::range_del::Fragments;
use crate::table::block::Layout;
use crate::table::footer::{Extent, FOOTER_BYTES, Footer, Unread};
use crate::table::index::{Root, block_place};
use crate::table::seal::{SEAL_BYTES, Seal};
use crate::table::{TableId, TableMeta, Upper};

/// How much of a table to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Show {
    /// Its parts.
    Parts,
    /// Every block too.
    Blocks,
    /// Every entry too.
    Entries,
}

/// Shows the file at `path`, line by line.
///
/// # Errors
/// [`Io`](Error::Io) if the file cannot be opened, or its end cannot be read. Damage is shown.
pub fn inspect(vfs: &dyn Vfs, path: &Path, show: Show, line: &mut dyn FnMut(&str)) -> Result<()> {
    let file = vfs.open(path, OpenMode::Read).map_err(|e| Error::io("open", path, e))?;
    let bytes = file.len().map_err(|e| Error::io("ask the length of", path, e))?;
    let Some(offset) = bytes.checked_sub(FOOTER_BYTES as u64) else {
        line(&format!("{bytes} bytes: too short for a table"));
        return Ok(());
    };
    let mut raw = [0; FOOTER_BYTES];
    file.read_exact_at(&mut raw, offset).map_err(|e| Error::io("read", path, e))?;
    let footer = match Footer::decode(&raw, offset) {
        Ok(footer) => footer,
        Err(Unread::Damaged(what)) => {
            line(&format!("{bytes} bytes, footer at {offset}: {what}"));
            return Ok(());
        }
        Err(Unread::Version) => {
            line(&format!("{bytes} bytes, of a version that is not known"));
            return Ok(());
        }
    };
    line(&format!("{bytes} bytes, version 1"));
    let mut look = Look { file, seal: Seal::new(TableId(0), 0), show, line };
    look.identify(&footer);
    if !Footer::is_sound(&raw, look.seal, offset) {
        (look.line)(&format!("footer at {offset}: checksum does not match"));
    }
    look.parts(&footer);
    Ok(())
}

/// A look at one file.
struct Look<'a> {
    file: Arc<dyn File>,
    seal: Seal,
    show: Show,
    line: &'a mut dyn FnMut(&str),
}

impl Look<'_> {
    /// Takes the seed of the checksums from the description, sound or not.
    fn identify(&mut self, footer: &Footer) {
        let mut claimed = [0; 16];
        let long_enough = footer.meta.len as usize >= claimed.len() + SEAL_BYTES;
        if long_enough && self.file.read_exact_at(&mut claimed, footer.meta.offset).is_ok() {
            let (id, salt) = claimed.split_at(8);
            let number = |bytes: &[u8]| u64::from_le_bytes(*bytes.first_chunk().expect("eight"));
            self.seal = Seal::new(TableId(number(id)), number(salt));
        }
    }

    fn say(&mut self, text: &str) {
        (self.line)(text);
    }

    /// The unpacked bytes of a part, and what to say of it.
    fn raw(&self, part: Extent) -> (Option<Arc<[u8]>>, String) {
        let mut bytes = vec![0; part.len as usize];
        if let Err(error) = self.file.read_exact_at(&mut bytes, part.offset) {
            return (None, format!("cannot be read: {error}"));
        }
        match self.seal.unwrap(part.offset, &bytes) {
            Ok(raw) => {
                let codec = match bytes[bytes.len() - SEAL_BYTES] {
                    0 => "plain".to_string(),
                    1 => format!("LZ4 of {}", raw.len()),
                    _ => format!("zstd of {}", raw.len()),
                };
                (Some(raw), codec)
            }
            Err(Unpack::Damaged(what)) => (None, what.to_string()),
            Err(Unpack::Unsupported) => (None, "zstd, which this build cannot unpack".to_string()),
        }
    }

    /// Says what a part is, and returns what `decode` makes of it.
    fn part<T>(
        &mut self,
        name: &str,
        part: Extent,
        decode: impl FnOnce(&[u8]) -> std::result::Result<T, &'static str>,
    ) -> Option<T> {
        let Extent { offset, len } = part;
        let (raw, text) = self.raw(part);
        let decoded = raw.map(|raw| decode(&raw));
        let verdict = match &decoded {
            Some(Ok(_)) => ", sound",
            Some(Err(what)) => &format!(", but {what}"),
            None => "",
        };
        self.say(&format!("{name} at {offset}, {len} bytes: {text}{verdict}"));
        decoded.and_then(std::result::Result::ok)
    }

    fn parts(&mut self, footer: &Footer) {
        let meta = self.part("meta", footer.meta, |raw| TableMeta::decode(&mut &*raw));
        if let Some(meta) = meta {
            for text in describe(&meta) {
                self.say(&format!("  {text}"));
            }
        }
        if let Some(ranges) = self.part("ranges", footer.ranges, Fragments::decode) {
            for delete in ranges.iter() {
                let (start, end) = (quoted(&delete.start), quoted(&delete.end));
                self.say(&format!("  {start} up to {end} deleted by {}", delete.seq));
            }
        }
        let root = self.part("root", footer.root, |raw| Root::decode(raw, footer));
        let Some(root) = root else { return };
        let shape = root.shape();
        self.say(&format!("  {} blocks in {} leaves", root.blocks(), root.leaves()));
        self.say(&format!("  filter of {} bytes, {} bits a key", shape.bytes(), shape.probes()));
        for page in 0..shape.pages() {
            let place = root.page_place(page);
            self.piece("page", page, place, |raw| root.check_page(page, raw));
        }
        for leaf in 0..root.leaves() {
            let place = root.place(leaf);
            let raw = self.piece("leaf", leaf, place, |raw| root.check_leaf(leaf, raw));
            if let (Some(raw), true) = (raw, self.show >= Show::Blocks) {
                let (first, count) = root.span(leaf);
                for slot in 0..count {
                    self.block(first + slot, block_place(&raw, slot));
                }
            }
        }
    }

    /// A page or leaf: said only if it is damaged, or all are asked for.
    fn piece(
        &mut self,
        name: &str,
        number: usize,
        (offset, end): (u64, u64),
        check: impl FnOnce(&[u8]) -> std::result::Result<(), &'static str>,
    ) -> Option<Arc<[u8]>> {
        let part = Extent { offset, len: (end - offset) as u32 };
        let (raw, text) = self.raw(part);
        let bad = raw.as_ref().and_then(|raw| check(raw).err());
        if bad.is_some() || raw.is_none() || self.show >= Show::Blocks {
            let verdict = bad.map_or(String::new(), |what| format!(", but {what}"));
            self.say(&format!("{name} {number} at {offset}, {} bytes: {text}{verdict}", part.len));
        }
        raw.filter(|_| bad.is_none())
    }

    fn block(&mut self, number: usize, (offset, end): (u64, u64)) {
        let part = Extent { offset, len: (end - offset) as u32 };
        let (raw, text) = self.raw(part);
        let name = format!("block {number} at {offset}, {} bytes", part.len);
        let Some(raw) = raw else { return self.say(&format!("{name}: {text}")) };
        let layout = match Layout::check(&raw) {
            Ok(layout) => layout,
            Err(what) => return self.say(&format!("{name}, {text}: {what}")),
        };
        let (first, last) = (entry(&raw, &layout, 0), entry(&raw, &layout, layout.count() - 1));
        let count = layout.count();
        self.say(&format!("{name}, {text}: {count} entries, {first} to {last}"));
        if self.show == Show::Entries {
            for index in 0..count {
                let (_, kind) = layout.trailer(&raw, index);
                let part = layout.part(&raw, index);
                let value = quoted(&raw[part.value..part.end]);
                let what = match kind {
                    Kind::Delete => "delete".to_string(),
                    Kind::Put => format!("put {value}"),
                    Kind::Merge => format!("merge {value}"),
                };
                self.say(&format!("  {} {what}", entry(&raw, &layout, index)));
            }
        }
    }
}

/// The key and number of an entry.
fn entry(block: &[u8], layout: &Layout, index: usize) -> String {
    let key = layout.key(block, index);
    format!("{} {}", quoted(&key), layout.trailer(block, index).0)
}

fn describe(meta: &TableMeta) -> [String; 4] {
    let TableMeta { id, salt, entries, deletes, merges, range_deletes, .. } = meta;
    let TableMeta { key_bytes, value_bytes, seq_min, seq_max, time_max, .. } = meta;
    let (relation, largest) = match &meta.largest {
        Upper::At(key) => ("to", key),
        Upper::Before(key) => ("up to", key),
    };
    [
        format!("table {}, salt {salt:#018x}", id.0),
        format!(
            "{entries} entries ({deletes} deletes, {merges} merges), {range_deletes} range deletes"
        ),
        format!(
            "writes {seq_min} to {seq_max}, keys of {key_bytes} bytes, values of {value_bytes}, \
             last stamp {time_max}"
        ),
        format!("from {} {relation} {}", quoted(&meta.smallest), quoted(largest)),
    ]
}

/// Bytes as text between quotes; long ones are cut.
fn quoted(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 48;
    if bytes.len() <= SHOWN_MAX {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    format!("\"{}\"... ({} bytes)", bytes[..SHOWN_MAX].escape_ascii(), bytes.len())
}
