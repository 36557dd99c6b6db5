//! A write transaction.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use drystone_wal::Lsn;

use crate::commit::Commit;
use crate::cursor;
use crate::draft::{Draft, Savepoint, Spare, Supply};
use crate::error::Result;
use crate::journal::{Op, Ops};
use crate::queue::Ticket;
use crate::range;
use crate::scan::{Cursor, Range};
use crate::slice::Slice;
use crate::snapshot::Snapshot;
use crate::store::{Store, Tools};
use crate::types::{TreeId, TxnId};

/// Changes that will be seen all together, or never; see [`Db::write`](crate::Db::write). There is
/// one at a time. It sees its own changes; dropping it takes them back.
///
/// After an error of a put or a delete the records are as they were before that call.
#[derive(Debug)]
pub struct WriteTxn {
    store: Arc<Store>,
    snapshot: Snapshot,
    draft: Option<Draft>,
    tools: Option<Tools>,
    /// What it did, if that goes to the journal.
    ops: Option<Ops>,
    /// The record of the journal that it is made from, when that is replayed.
    replayed: Option<Lsn>,
}

impl WriteTxn {
    /// Waits for its turn.
    pub(crate) fn begin(store: &Arc<Store>) -> WriteTxn {
        let tools = store.desk.take();
        WriteTxn::with(store, tools)
    }

    /// Begins if nobody else is writing.
    pub(crate) fn try_begin(store: &Arc<Store>) -> Option<WriteTxn> {
        store.desk.try_take().map(|tools| WriteTxn::with(store, tools))
    }

    fn with(store: &Arc<Store>, mut tools: Tools) -> WriteTxn {
        // Before it has a snapshot itself, which would hold pages.
        store.reclaim();
        let snapshot = Snapshot::newest(&store.body);
        let supply = Arc::clone(&tools.taking) as Arc<dyn Supply>;
        let forest = &snapshot.root.forest;
        let draft = Draft::new(forest, store.body.page_bytes, Spare::default()).supplied_by(supply);
        let buffer = std::mem::take(&mut tools.ops);
        let ops = store.body.journal.get().map(|_| Ops::new(buffer));
        WriteTxn {
            store: Arc::clone(store),
            snapshot,
            draft: Some(draft),
            tools: Some(tools),
            ops,
            replayed: None,
        }
    }

    /// It is the replay of this transaction, which record `lsn` of the journal is of.
    pub(crate) fn stands_for(&mut self, txn: TxnId, lsn: Lsn) {
        self.tools.as_mut().expect("held until the end").txn = txn;
        self.replayed = Some(lsn);
    }

    #[inline]
    fn note(&mut self, op: Op<'_>) {
        if let Some(ops) = &mut self.ops {
            ops.add(op);
        }
    }

    fn draft(&self) -> &Draft {
        self.draft.as_ref().expect("only the commit takes it")
    }

    pub(crate) fn parts(&mut self) -> (&mut Draft, &Snapshot) {
        (self.draft.as_mut().expect("only the commit takes it"), &self.snapshot)
    }

    /// What this transaction will be called if it changes anything.
    pub fn txn(&self) -> TxnId {
        self.tools.as_ref().expect("held until the end").txn
    }

    /// The tree of that name.
    pub fn tree(&self, name: &str) -> Option<TreeId> {
        self.draft().tree(name)
    }

    /// All trees, with their names.
    pub fn trees(&self) -> impl Iterator<Item = (TreeId, &str)> {
        self.draft().entries().iter().map(|entry| (entry.id, &*entry.name))
    }

    /// The tree of that name; makes it, empty, if there is none.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge) for a name above
    /// [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX) bytes;
    /// [`TooManyTrees`](crate::Error::TooManyTrees).
    pub fn create_tree(&mut self, name: &str) -> Result<TreeId> {
        let known = self.draft().tree(name).is_some();
        let tree = self.parts().0.create_tree(name)?;
        if !known {
            self.note(Op::CreateTree { name });
        }
        Ok(tree)
    }

    /// Drops a tree with all its records; false if there is no such tree. Reads the whole tree, to
    /// learn which pages become free.
    pub fn drop_tree(&mut self, tree: TreeId) -> Result<bool> {
        let (draft, snapshot) = self.parts();
        let dropped = draft.drop_tree(snapshot, tree)?;
        self.note(Op::DropTree { tree });
        Ok(dropped)
    }

    /// How many records a tree has.
    ///
    /// # Errors
    /// [`NoTree`](crate::Error::NoTree).
    pub fn len(&self, tree: TreeId) -> Result<u64> {
        Ok(self.draft().root(tree)?.records)
    }

    /// Whether a tree has no records.
    ///
    /// # Errors
    /// [`NoTree`](crate::Error::NoTree).
    pub fn is_empty(&self, tree: TreeId) -> Result<bool> {
        Ok(self.len(tree)? == 0)
    }

    /// The value of `key`, with the changes made so far.
    pub fn get(&self, tree: TreeId, key: &[u8]) -> Result<Option<Slice<'_>>> {
        self.draft().get(&self.snapshot, tree, key)
    }

    /// Sets a record; true if the key was there before.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge); [`NoTree`](crate::Error::NoTree); what reading a page
    /// can come to.
    pub fn put(&mut self, tree: TreeId, key: &[u8], value: &[u8]) -> Result<bool> {
        let (draft, snapshot) = self.parts();
        let replaced = draft.put(snapshot, tree, key, value)?;
        self.note(Op::Put { tree, key, value });
        Ok(replaced)
    }

    /// Removes a record; true if there was one.
    pub fn delete(&mut self, tree: TreeId, key: &[u8]) -> Result<bool> {
        let (draft, snapshot) = self.parts();
        let deleted = draft.delete(snapshot, tree, key)?;
        if deleted {
            self.note(Op::Delete { tree, key });
        }
        Ok(deleted)
    }

    /// Removes the records whose keys are in `keys`; how many there were. Subtrees that lie within
    /// are cut off whole.
    pub fn delete_range<K: AsRef<[u8]>>(
        &mut self,
        tree: TreeId,
        keys: impl RangeBounds<K>,
    ) -> Result<u64> {
        // The key after k is k with a zero byte.
        let after = |key: &[u8]| [key, &[0]].concat();
        let start = match keys.start_bound().map(AsRef::as_ref) {
            Bound::Included(key) => key.to_vec(),
            Bound::Excluded(key) => after(key),
            Bound::Unbounded => Vec::new(),
        };
        let end = match keys.end_bound().map(AsRef::as_ref) {
            Bound::Included(key) => Some(after(key)),
            Bound::Excluded(key) => Some(key.to_vec()),
            Bound::Unbounded => None,
        };
        if end.as_ref().is_some_and(|end| *end <= start) {
            return self.len(tree).map(|_| 0);
        }
        self.cut(tree, &start, end.as_deref())
    }

    /// Removes the records from `start` to before `end`.
    pub(crate) fn cut(&mut self, tree: TreeId, start: &[u8], end: Option<&[u8]>) -> Result<u64> {
        let (draft, snapshot) = self.parts();
        let count = draft.delete_range(snapshot, tree, start, end)?;
        if count > 0 {
            self.note(Op::DeleteRange { tree, start, end });
        }
        Ok(count)
    }

    /// The records whose keys are in `keys`, with the changes made so far.
    pub fn range<K: AsRef<[u8]>>(&self, tree: TreeId, keys: impl RangeBounds<K>) -> Range<'_> {
        let source = self.draft().overlay(&self.snapshot);
        let range = match self.draft().root(tree) {
            Ok(root) => range::Range::new(
                source,
                root,
                keys.start_bound().map(AsRef::as_ref),
                keys.end_bound().map(AsRef::as_ref),
            ),
            Err(error) => range::Range::failed(source, error),
        };
        Range::of_draft(range)
    }

    /// A position among the records of a tree, with the changes made so far; on none at first.
    ///
    /// # Errors
    /// [`NoTree`](crate::Error::NoTree).
    pub fn cursor(&self, tree: TreeId) -> Result<Cursor<'_>> {
        let root = self.draft().root(tree)?;
        Ok(Cursor::of_draft(cursor::Cursor::new(self.draft().overlay(&self.snapshot), root)))
    }

    /// A point to come back to. They nest.
    pub fn savepoint(&mut self) -> Savepoint {
        let point = self.parts().0.savepoint();
        if let Some(ops) = &mut self.ops {
            ops.savepoint(point);
        }
        point
    }

    /// Takes back what was changed since the savepoint, which stays; later ones are gone.
    ///
    /// # Errors
    /// [`NoSavepoint`](crate::Error::NoSavepoint).
    pub fn rollback_to(&mut self, savepoint: Savepoint) -> Result<()> {
        self.parts().0.rollback_to(savepoint)?;
        if let Some(ops) = &mut self.ops {
            ops.rollback_to(savepoint);
        }
        Ok(())
    }

    /// Forgets a savepoint and those after it, and keeps the changes.
    ///
    /// # Errors
    /// [`NoSavepoint`](crate::Error::NoSavepoint).
    pub fn release(&mut self, savepoint: Savepoint) -> Result<()> {
        self.parts().0.release(savepoint)
    }

    /// Bytes of pages that this transaction holds in memory.
    pub fn bytes(&self) -> usize {
        self.draft().bytes()
    }

    /// Makes the changes visible to everyone who begins to read from now on, lets the next writer
    /// in, and returns a promise that they will be durable. Transactions become durable in their
    /// order. Without changes there is no transaction: the promise is for the one before.
    ///
    /// # Errors
    /// [`Poisoned`](crate::Error::Poisoned) or [`NoSpace`](crate::Error::NoSpace) if a flush has
    /// failed; [`Closed`](crate::Error::Closed); what reading a page can come to. The changes are
    /// gone then.
    pub fn commit(mut self) -> Result<Commit> {
        let draft = self.draft.take().expect("a transaction is committed once");
        let store = Arc::clone(&self.store);
        // A replayed one was told to somebody, and has a number that is not to be given again.
        if draft.is_clean() && self.replayed.is_none() {
            self.leave(draft.into_spare());
            return Commit::of_the_last(store);
        }
        let taking = Arc::clone(&self.tools.as_ref().expect("held until the end").taking);
        let txn = self.txn();
        let sealed = draft.seal(&self.snapshot, txn, &mut &*taking)?;
        store.claim(&sealed.freed)?;
        let logged = self.log(txn).inspect_err(|error| {
            store.body.space.lock().disclaim(&sealed.freed);
            store.abort(error);
        })?;
        let last = self.replayed.unwrap_or(self.snapshot.root.lsn);
        let lsn = logged.as_ref().map_or(last, drystone_wal::Commit::lsn);
        let ticket = store.publish(txn, lsn, sealed, &taking)?;
        self.tools.as_mut().expect("held until the end").txn = txn.next();
        if self.ops.is_some() {
            self.see_to_the_journal(ticket, logged.is_some())?;
        }
        self.leave(Spare::default());
        store.relieve(ticket);
        Ok(Commit::new(store, ticket, logged))
    }

    /// Puts what was done into the journal, if there is one and it is not too much.
    fn log(&mut self, txn: TxnId) -> Result<Option<drystone_wal::Commit>> {
        let Some(ops) = &mut self.ops else { return Ok(None) };
        let journal = self.store.body.journal.get().expect("who notes has a journal");
        ops.record(txn).map(|record| journal.append(record)).transpose()
    }

    /// What is too large for the journal is durable as pages before anyone can build on it.
    fn see_to_the_journal(&self, ticket: Ticket, is_logged: bool) -> Result<()> {
        let store = &self.store;
        if !is_logged {
            store.core.wait(ticket).inspect_err(|error| store.abort(error))?;
        }
        let journal = store.body.journal.get().expect("who notes has a journal");
        journal.keep_newest(&store.body);
        Ok(())
    }

    /// Gives back what was taken and is not used, and lets the next writer in.
    fn leave(&mut self, spare: Spare) {
        if let Some(mut tools) = self.tools.take() {
            tools.taking.give_up(spare);
            if let Some(ops) = self.ops.take() {
                tools.ops = ops.into_buffer();
            }
            self.store.desk.put_back(tools);
        }
    }
}

impl Drop for WriteTxn {
    fn drop(&mut self) {
        let spare = self.draft.take().map(Draft::into_spare).unwrap_or_default();
        self.leave(spare);
    }
}
