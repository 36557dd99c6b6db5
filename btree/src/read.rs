//! A snapshot that is being read.

use std::ops::RangeBounds;
use std::sync::Arc;

use crate::cursor;
use crate::error::Result;
use crate::pages::Pages as _;
use crate::range;
use crate::scan::{Cursor, Range};
use crate::slice::Slice;
use crate::snapshot::Snapshot;
use crate::store::Store;
use crate::tree;
use crate::types::{TreeId, TxnId};

/// One state of the database, for as long as it is held; see [`Db::read`](crate::Db::read). Nobody
/// waits for it and it waits for nobody, but pages of its state cannot be used again meanwhile.
///
/// It owns what it needs: it may outlive every handle of the database, move to another thread, or
/// be shared by many. When the last handle is gone, so is the lock on the file: if somebody opens
/// and changes it then, pages that this reader has not touched yet may be used again, and reading
/// them is [`Corrupt`](crate::Error::Corrupt); what it gets is never a wrong value.
#[derive(Debug)]
pub struct ReadTxn {
    pub(crate) snapshot: Snapshot,
    /// Keeps the whole alive; nothing here asks it for anything.
    _store: Arc<Store>,
}

impl ReadTxn {
    pub(crate) fn new(snapshot: Snapshot, store: Arc<Store>) -> ReadTxn {
        ReadTxn { snapshot, _store: store }
    }

    /// The last transaction in this state; 0 if there has been none.
    pub fn txn(&self) -> TxnId {
        self.snapshot.root.txn
    }

    /// The tree of that name. Its id stays the same for as long as it exists, so keep it.
    pub fn tree(&self, name: &str) -> Option<TreeId> {
        self.snapshot.root.forest.find(name).map(|entry| entry.id)
    }

    /// All trees, with their names, in the order in which they were created.
    pub fn trees(&self) -> impl Iterator<Item = (TreeId, &str)> {
        self.snapshot.root.forest.entries().iter().map(|entry| (entry.id, &*entry.name))
    }

    /// How many records a tree has. Constant-time.
    ///
    /// # Errors
    /// [`NoTree`](crate::Error::NoTree).
    pub fn len(&self, tree: TreeId) -> Result<u64> {
        Ok(self.snapshot.root.forest.root(tree)?.records)
    }

    /// Whether a tree has no records.
    ///
    /// # Errors
    /// [`NoTree`](crate::Error::NoTree).
    pub fn is_empty(&self, tree: TreeId) -> Result<bool> {
        Ok(self.len(tree)? == 0)
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`NoTree`](crate::Error::NoTree); [`Corrupt`](crate::Error::Corrupt) if a page on the way to
    /// the key is damaged; [`Io`](crate::Error::Io) if one cannot be read.
    #[inline]
    pub fn get(&self, tree: TreeId, key: &[u8]) -> Result<Option<Slice<'_>>> {
        tree::get(&self.snapshot, self.snapshot.root.forest.root(tree)?, key)
    }

    /// The records whose keys are in `keys`, from both ends. What goes wrong comes as an item, and
    /// comes again for ever.
    pub fn range<K: AsRef<[u8]>>(&self, tree: TreeId, keys: impl RangeBounds<K>) -> Range<'_> {
        let source = &self.snapshot;
        let range = match source.root.forest.root(tree) {
            Ok(root) => range::Range::new(
                source,
                root,
                keys.start_bound().map(AsRef::as_ref),
                keys.end_bound().map(AsRef::as_ref),
            ),
            Err(error) => range::Range::failed(source, error),
        };
        Range::of_snapshot(range)
    }

    /// All records of a tree.
    pub fn iter(&self, tree: TreeId) -> Range<'_> {
        self.range::<&[u8]>(tree, ..)
    }

    /// A position among the records of a tree, on none at first.
    ///
    /// # Errors
    /// [`NoTree`](crate::Error::NoTree).
    pub fn cursor(&self, tree: TreeId) -> Result<Cursor<'_>> {
        let root = self.snapshot.root.forest.root(tree)?;
        Ok(Cursor::of_snapshot(cursor::Cursor::new(&self.snapshot, root)))
    }

    /// Bytes in a page.
    pub fn page_bytes(&self) -> usize {
        self.snapshot.page_bytes()
    }
}
