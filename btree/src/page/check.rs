//! The structural check of bytes that nobody vouches for but their checksum.
//!
//! A checksum says that the bytes are those that were written; it does not say who wrote them.
//! After this check a page may still hold nonsense, but every offset in it leads to its own bytes,
//! keys are in order and heads are those of their keys, so that whatever walks over it ends, stays
//! inside and agrees with itself.

use super::{
    BRANCH, FLAG_RUNS, FLAGS_AT, HEADER_BYTES, KIND_AT, LEAF, LEVEL_MAX, Page, head_of, is_inline,
    key_bytes_max, leaf, read_u16,
};
use crate::error::Damage;
use crate::types::{PageId, RunPtr};

/// Meta pages come first; no pointer leads to them.
const FIRST_PAGE: u32 = 2;

/// Passes a page that may be used at `id`. Linear in the number of slots.
pub(crate) fn check(bytes: &[u8], id: PageId) -> Result<(), Damage> {
    let page = Page(bytes);
    header(page)?;
    if page.id() != id {
        return Err(Damage::Misplaced(page.id()));
    }
    body(page, |id, _| id.0 >= FIRST_PAGE)
}

/// The same for a page that has no number yet and may point to others that have none.
pub(crate) fn check_private(bytes: &[u8]) -> Result<(), Damage> {
    header(Page(bytes))?;
    body(Page(bytes), |id, is_private| id.0 >= FIRST_PAGE || is_private)
}

fn body(page: Page<'_>, is_possible: impl Fn(PageId, bool) -> bool) -> Result<(), Damage> {
    let bytes = page.0;
    let mut live = 0;
    let mut previous: Option<(u32, &[u8])> = None;
    for i in 0..page.count() {
        let at = i as u16;
        live += cell(page, i, &is_possible)?;
        if i < page.first_key() {
            if page.slot(i).suffix_bytes() != 0 || page.slot(i).head() != 0 {
                return Err(Damage::Slot(at));
            }
            continue;
        }
        let (head, suffix) = (page.slot(i).head(), page.suffix(i));
        if page.prefix().len() + suffix.len() > key_bytes_max(bytes.len()) {
            return Err(Damage::Slot(at));
        }
        if head != head_of(suffix) {
            return Err(Damage::Head(at));
        }
        // Heads decide nearly always, and they are here already.
        if let Some((head_before, before)) = previous
            && (head < head_before || head == head_before && suffix <= before)
        {
            return Err(Damage::Order(at));
        }
        previous = Some((head, suffix));
    }
    // Building anew relies on the live cells fitting into the page.
    if live + page.dead() != bytes.len() - page.heap() {
        return Err(Damage::Header);
    }
    Ok(())
}

fn header(page: Page<'_>) -> Result<(), Damage> {
    let bytes = page.0;
    assert!(bytes.len() >= HEADER_BYTES, "a page is never smaller than its header");
    let kind_fits = match bytes[KIND_AT] {
        LEAF => page.level() == 0,
        BRANCH => (1..=LEVEL_MAX).contains(&page.level()),
        _ => false,
    };
    let flags = read_u16(bytes, FLAGS_AT);
    let flags_max = if page.is_leaf() { usize::from(FLAG_RUNS) } else { 0 };
    let bounds_fit = page.slots_end() <= page.heap() && page.heap() <= bytes.len();
    if !kind_fits || flags > flags_max || !bounds_fit || page.count() == 0 {
        return Err(Damage::Header);
    }
    if page.dead() > bytes.len() - page.heap() {
        return Err(Damage::Header);
    }
    Ok(())
}

/// Whether cell `i` is inside the heap, and how long it is.
fn cell(
    page: Page<'_>,
    i: usize,
    is_possible: impl Fn(PageId, bool) -> bool,
) -> Result<usize, Damage> {
    let (slot, bad) = (page.slot(i), Damage::Slot(i as u16));
    let fixed_end = slot.offset() + page.fixed_bytes();
    if slot.offset() < page.heap() || fixed_end > page.0.len() {
        return Err(bad);
    }
    let tail = if page.is_leaf() { leaf::tail_bytes(page.0, slot.offset()) } else { 0 };
    let end = fixed_end + slot.suffix_bytes() + tail;
    if end > page.0.len() {
        return Err(bad);
    }
    if !page.is_leaf() {
        let child = page.child(i);
        if !is_possible(child.id, child.slot().is_some()) {
            return Err(Damage::Pointer(child.id));
        }
    } else if leaf::is_run(page.0, slot.offset()) {
        if tail != RunPtr::BYTES || !page.has_runs() {
            return Err(bad);
        }
        let start = end - RunPtr::BYTES;
        let run = RunPtr::decode(*page.0[start..].first_chunk().expect("the cell is inside"));
        if !is_possible(run.id, run.slot().is_some()) || run.bytes == 0 {
            return Err(Damage::Pointer(run.id));
        }
    } else if !is_inline(page.0.len(), page.prefix().len() + slot.suffix_bytes(), tail) {
        // A full page could not be split.
        return Err(bad);
    }
    Ok(end - slot.offset())
}
