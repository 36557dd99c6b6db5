//! Everything that hangs from a root: which pages a state of the database consists of.

use crate::error::{Damage, Result};
use crate::page::{Page, children, runs};
use crate::pages::Source;
use crate::types::{Extent, PagePtr, TreeRoot};

/// Calls `visit` for each page and each value of a tree that has pages of its own, parents first.
///
/// Every leaf is read, because only it knows its large values. In a damaged tree, where a page may
/// be its own neighbour, the walk ends after as many pages as the file has.
pub(crate) fn reach<'a, S: Source<'a>>(
    source: S,
    root: TreeRoot,
    page_bytes: usize,
    visit: &mut dyn FnMut(Extent) -> Result<()>,
) -> Result<()> {
    if root.ptr.is_none() {
        return Ok(());
    }
    let mut left = source.page_count();
    below(source, root.ptr, root.level, page_bytes, &mut left, visit)
}

fn below<'a, S: Source<'a>>(
    source: S,
    ptr: PagePtr,
    level: u8,
    page_bytes: usize,
    left: &mut u32,
    visit: &mut dyn FnMut(Extent) -> Result<()>,
) -> Result<()> {
    match left.checked_sub(1) {
        Some(less) => *left = less,
        None => return Err(source.corrupt(ptr.id, Damage::Twice)),
    }
    visit(Extent { first: ptr.id, pages: 1 })?;
    let bytes = source.page_at(ptr, level)?;
    let page = Page(&bytes);
    for (_, run) in runs(page) {
        visit(run.extent(page_bytes))?;
    }
    for child in children(page) {
        below(source, child, level - 1, page_bytes, left, visit)?;
    }
    Ok(())
}
