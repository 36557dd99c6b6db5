//! Looking up one key.

use crate::error::Result;
use crate::page::{Page, Value};
use crate::pages::{PageRef, Source};
use crate::slice::Slice;
use crate::types::TreeRoot;

/// The value of `key`. Allocates nothing; takes as many pages as the tree has levels.
#[inline]
pub(crate) fn get<'a, S: Source<'a>>(
    source: S,
    root: TreeRoot,
    key: &[u8],
) -> Result<Option<Slice<'a>>> {
    if root.ptr.is_none() {
        return Ok(None);
    }
    let mut page = source.page_at(root.ptr, root.level)?;
    for level in (0..root.level).rev() {
        let branch = Page(&page);
        let child = branch.child(branch.find_child(key));
        page = source.page_at(child, level)?;
    }
    match Page(&page).find(key) {
        Ok(i) => value(source, &page, i).map(Some),
        Err(_) => Ok(None),
    }
}

/// The value of record `i` of a leaf.
#[inline]
pub(crate) fn value<'a, S: Source<'a>>(
    source: S,
    leaf: &PageRef<'a>,
    i: usize,
) -> Result<Slice<'a>> {
    match Page(leaf).value(i) {
        Value::Inline { start, len } => Ok(leaf.slice(start, len)),
        Value::Run(ptr) => source.run(ptr),
    }
}
