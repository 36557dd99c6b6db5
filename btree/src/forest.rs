//! The trees of one committed state: all names and roots, in memory.
//!
//! **On disk** they are records of one more tree, the *catalog*, whose root is in the meta page:
//!
//! ```text
//!   key  the name          value  id u32 │ level u8 │ 0 0 0 │ root PagePtr 12 │ records u64
//!   key  (empty)           value  the next tree's id, u32
//! ```
//!
//! **In memory** they are one sorted list that every state shares until a commit changes it, so
//! that a look-up by id costs a few comparisons and no page. A commit copies the list, which is why
//! there is a limit on it.

use std::sync::Arc;

use crate::cursor::Walk;
use crate::error::{Damage, Error, Result};
use crate::page::LEVEL_MAX;
use crate::pages::Pages;
use crate::types::{PageId, PagePtr, TreeId, TreeRoot};

/// How many trees a database may have: the list of them is copied when one of them changes.
pub const TREES_MAX: usize = 4096;

/// The longest name of a tree, in bytes; it must not be empty.
pub const NAME_BYTES_MAX: usize = 255;

/// A tree's record in the catalog.
const RECORD_BYTES: usize = 8 + PagePtr::BYTES + 8;

/// One named tree.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub id: TreeId,
    pub name: Arc<str>,
    pub root: TreeRoot,
}

/// All trees of one state. Cheap to clone.
///
/// Invariant: `entries` is sorted by id, and every id is below `next`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forest {
    pub(crate) catalog: TreeRoot,
    pub(crate) entries: Arc<Vec<Entry>>,
    /// The id of the tree that is made next.
    pub(crate) next: TreeId,
}

impl Forest {
    /// Reads the catalog. An empty database has the default `TreeRoot`.
    pub(crate) fn load<P: Pages>(pages: &P, catalog: TreeRoot) -> Result<Forest> {
        let bad = |at: PageId| pages.corrupt(at, Damage::Catalog);
        let id = catalog.ptr.id;
        if !is_possible(catalog) {
            return Err(bad(id));
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut next = None;
        let mut walk = Walk::new(pages, catalog);
        let mut is_there = walk.first()?;
        while is_there {
            let (key, value) = (walk.key(), walk.value()?);
            if key.is_empty() {
                let bytes = value.as_ref().try_into().map_err(|_| bad(id))?;
                next = Some(TreeId(u32::from_le_bytes(bytes)));
            } else {
                entries.push(decode(&key, &value).ok_or_else(|| bad(id))?);
            }
            if entries.len() > TREES_MAX {
                return Err(bad(id));
            }
            is_there = walk.next()?;
        }
        let next = next.unwrap_or_default();
        entries.sort_unstable_by_key(|entry| entry.id);
        let is_unique = entries.windows(2).all(|pair| pair[0].id < pair[1].id);
        if !is_unique || entries.last().is_some_and(|last| last.id >= next) {
            return Err(bad(id));
        }
        Ok(Forest { catalog, entries: Arc::new(entries), next })
    }

    /// The root of the tree of names, for the meta page.
    pub(crate) fn catalog(&self) -> TreeRoot {
        self.catalog
    }

    /// All trees, sorted by id.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| &*entry.name == name)
    }

    /// The root of a tree; `NoTree` if it is not in this state.
    #[inline]
    pub(crate) fn root(&self, tree: TreeId) -> Result<TreeRoot> {
        match position(&self.entries, tree) {
            Some(at) => Ok(self.entries[at].root),
            None => Err(Error::NoTree),
        }
    }
}

/// Where a tree is in a list sorted by id.
#[inline]
pub(crate) fn position(entries: &[Entry], tree: TreeId) -> Option<usize> {
    // Ids count up, so the first guess is right unless trees were dropped.
    let guess = tree.0 as usize;
    if entries.get(guess).is_some_and(|entry| entry.id == tree) {
        return Some(guess);
    }
    entries.binary_search_by_key(&tree, |entry| entry.id).ok()
}

/// Whether a root read from disk can be one: a pointer to a draft's page looks like one to page 0.
fn is_possible(root: TreeRoot) -> bool {
    let is_empty = root.ptr.is_none() && root.level == 0 && root.records == 0;
    is_empty || root.ptr.id.0 >= 2 && root.level <= LEVEL_MAX
}

/// The catalog's record of a tree.
pub(crate) fn encode(entry: &Entry) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..4].copy_from_slice(&entry.id.0.to_le_bytes());
    bytes[4] = entry.root.level;
    bytes[8..8 + PagePtr::BYTES].copy_from_slice(&entry.root.ptr.encode());
    bytes[8 + PagePtr::BYTES..].copy_from_slice(&entry.root.records.to_le_bytes());
    bytes
}

/// The tree that a record of the catalog is of.
pub(crate) fn decode(name: &[u8], bytes: &[u8]) -> Option<Entry> {
    let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= NAME_BYTES_MAX)?;
    let bytes: &[u8; RECORD_BYTES] = bytes.try_into().ok()?;
    let (id, rest) = bytes.split_first_chunk::<4>()?;
    let ([level, zeros @ ..], rest) = rest.split_first_chunk::<4>()?;
    let (ptr, records) = rest.split_first_chunk::<{ PagePtr::BYTES }>()?;
    let records = u64::from_le_bytes(*records.first_chunk()?);
    let root = TreeRoot { ptr: PagePtr::decode(*ptr), level: *level, records };
    if *zeros != [0; 3] || !is_possible(root) {
        return None;
    }
    Some(Entry { id: TreeId(u32::from_le_bytes(*id)), name: name.into(), root })
}
