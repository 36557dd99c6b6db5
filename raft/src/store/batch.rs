//! Writes of any groups that become durable together.

use std::sync::MutexGuard;

use drystone_wal::{Commit, Lsn};

use crate::boot::{HardState, SnapshotMeta};
use crate::effect::Write;
use crate::entry::Entry;
use crate::store::book::Book;
use crate::store::error::{Error, Result};
use crate::store::record::{GroupId, Record, put_run};
use crate::store::{Shelf, Store};
use crate::types::Index;

/// Writes of any groups that become durable together. Others wait while it is made: fill it and
/// commit it.
#[derive(Debug)]
pub struct Batch<'a> {
    store: &'a Store,
    shelf: MutexGuard<'a, Shelf>,
    /// Where the first record will stand.
    first: Lsn,
}

impl<'a> Batch<'a> {
    pub(super) fn new(store: &'a Store, mut shelf: MutexGuard<'a, Shelf>) -> Batch<'a> {
        shelf.bytes.clear();
        shelf.ends.clear();
        // Nobody else appends while the shelf is held.
        let first = store.wal.next_lsn();
        Batch { store, shelf, first }
    }

    /// What a core wants written ([`Effect::Write`](crate::Effect::Write)), and the entries of
    /// `write.append` ([`Raft::entries`](crate::Raft::entries)).
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn put<'e>(
        &mut self,
        group: GroupId,
        write: &Write,
        entries: impl IntoIterator<Item = &'e Entry, IntoIter: Clone>,
    ) -> Result<()> {
        let mut pen = self.pen(group)?;
        let hard = write.hard.as_deref().copied().unwrap_or(pen.book.hard);
        pen.head(hard);
        if let Some(meta) = &write.snapshot {
            pen.record(&Record::Mark { fresh: false, meta: (**meta).clone() });
        }
        for entry in &write.mended {
            pen.record(&Record::Mended(entry.clone()));
        }
        if write.append.is_empty() && pen.book.last.index >= write.append.start {
            pen.record(&Record::Cut(write.append.start.prev()));
        }
        pen.entries(entries);
        Ok(())
    }

    /// Entries up to here are known to be committed: the next write of the group says so, for those
    /// who look at the log from outside. Writes nothing by itself.
    pub fn note_commit(&mut self, group: GroupId, through: Index) {
        if let Some(book) = self.shelf.books.get_mut(&group) {
            book.commit = book.commit.max(through);
        }
    }

    /// What a core does not need any more ([`Effect::Compact`](crate::Effect::Compact)).
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn compact(&mut self, group: GroupId, through: Index) -> Result<()> {
        let mut pen = self.pen(group)?;
        if through > pen.book.base.index
            && let Some(meta) = pen.book.meta_at(through)
        {
            let hard = pen.book.hard;
            pen.head(hard);
            pen.record(&Record::Mark { fresh: false, meta });
        }
        Ok(())
    }

    pub(crate) fn create(&mut self, group: GroupId, meta: SnapshotMeta) -> Result<()> {
        if group == GroupId::STORE || self.shelf.books.contains_key(&group) {
            return Err(Error::GroupExists(group));
        }
        let doubtful = self.shelf.doubtful;
        self.shelf.books.insert(group, Book::default());
        let mut pen = self.pen(group)?;
        pen.record(&Record::Mark { fresh: true, meta });
        if doubtful {
            // It may have been here before, and have voted.
            pen.book.suspect(u64::MAX);
        }
        let hard = pen.book.hard;
        pen.head(hard);
        Ok(())
    }

    pub(crate) fn force(&mut self, group: GroupId, hard: HardState, entry: &Entry) -> Result<()> {
        let mut pen = self.pen(group)?;
        // What is missing at the end stays missing: the forced entry comes behind what is here.
        if entry.index <= pen.book.last.index {
            pen.record(&Record::Cut(entry.index.prev()));
        }
        // What was committed behind it is given up.
        pen.book.commit = pen.book.commit.min(entry.index.prev());
        pen.head(hard);
        pen.entries([entry]);
        Ok(())
    }

    /// The store was opened.
    pub(crate) fn start(&mut self, life: u64, doubtful: bool) {
        let Shelf { own_serial, own_lsn, bytes, ends, .. } = &mut *self.shelf;
        *own_lsn = Lsn(self.first.0 + ends.len() as u64);
        Record::Start { life, doubtful }.put(bytes, GroupId::STORE, *own_serial);
        ends.push(bytes.len());
        *own_serial += 1;
    }

    /// Says of every group that what was last said of it still holds, so that damage to what is
    /// older cannot be taken for the loss of something newer. Not when that would be much.
    pub(crate) fn roll(&mut self) {
        if self.shelf.books.len() > ROLLED_MAX {
            return;
        }
        let mut groups: Vec<GroupId> = self.shelf.books.keys().copied().collect();
        groups.sort_unstable();
        for group in groups {
            if let Ok(mut pen) = self.pen(group) {
                let hard = pen.book.hard;
                pen.head(hard);
            }
        }
    }

    /// Begins a group anew with all that it had as of record `latest`, unless more was written.
    pub(crate) fn image(&mut self, group: GroupId, latest: Lsn, entries: &[Entry]) {
        let Ok(mut pen) = self.pen(group) else { return };
        if pen.book.latest != latest {
            return;
        }
        let old = pen.book.clone();
        pen.book.bytes = 0;
        pen.begin(&old);
        pen.again(entries);
        pen.end(&old);
    }

    /// Begins a group that was read from a damaged log.
    pub(crate) fn adopt(&mut self, group: GroupId, old: &Book) {
        self.shelf.books.insert(group, Book::default());
        if let Ok(mut pen) = self.pen(group) {
            pen.begin(old);
        }
    }

    /// Carries entries over to it.
    pub(crate) fn adopt_entries(&mut self, group: GroupId, entries: &[Entry]) {
        if let Ok(mut pen) = self.pen(group) {
            pen.again(entries);
        }
    }

    /// All its entries are here.
    pub(crate) fn adopted(&mut self, group: GroupId, old: &Book) {
        if let Ok(mut pen) = self.pen(group) {
            pen.end(old);
        }
    }

    /// The oldest record that is still needed once this batch is durable.
    pub(crate) fn needs(&self) -> Lsn {
        let shelf = &*self.shelf;
        shelf.books.values().map(Book::needs).fold(shelf.own_lsn, Lsn::min)
    }

    pub(crate) fn is_doubtful(&self) -> bool {
        self.shelf.doubtful
    }

    /// Bytes that are in it.
    pub fn bytes(&self) -> usize {
        self.shelf.bytes.len()
    }

    /// Appends all of it as one atomic group. `None` if there is nothing.
    ///
    /// # Errors
    /// [`Error::Log`]: nothing can be written any more.
    pub fn commit(self) -> Result<Option<Commit>> {
        let Shelf { bytes, ends, .. } = &*self.shelf;
        if ends.is_empty() {
            return Ok(None);
        }
        let mut records: Vec<&[u8]> = Vec::with_capacity(ends.len());
        let mut from = 0;
        for end in ends {
            records.push(&bytes[from..*end]);
            from = *end;
        }
        let commit = self.store.wal.append(&records)?;
        assert_eq!(commit.lsn().0 + 1, self.first.0 + ends.len() as u64, "nobody else appended");
        drop(records);
        let mut shelf = self.shelf;
        if shelf.bytes.capacity() > BYTES_KEPT {
            shelf.bytes = Vec::new();
        }
        Ok(Some(commit))
    }

    fn pen(&mut self, group: GroupId) -> Result<Pen<'_>> {
        let Shelf { books, bytes, ends, .. } = &mut *self.shelf;
        let book = books.get_mut(&group).ok_or(Error::NoGroup(group))?;
        Ok(Pen { group, book, bytes, ends, first: self.first })
    }
}

/// Most groups whose heads are repeated when a store is opened and closed: some 150 bytes each.
const ROLLED_MAX: usize = 10_000;

/// Room for records that is kept between batches.
const BYTES_KEPT: usize = 4 << 20;

/// Writes records of one group.
struct Pen<'a> {
    group: GroupId,
    book: &'a mut Book,
    bytes: &'a mut Vec<u8>,
    ends: &'a mut Vec<usize>,
    first: Lsn,
}

impl Pen<'_> {
    fn head(&mut self, hard: HardState) {
        let head = self.book.next_head(hard);
        self.record(&Record::Head(head));
    }

    fn record(&mut self, record: &Record) {
        let serial = self.book.next_serial();
        record.put(self.bytes, self.group, serial);
        self.note(serial, record);
    }

    /// Entries in a row, of rising terms.
    fn entries<'e>(&mut self, entries: impl IntoIterator<Item = &'e Entry, IntoIter: Clone>) {
        let entries = entries.into_iter();
        self.runs(entries.clone());
        self.book.note_members(entries);
    }

    fn runs<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) {
        let mut entries = entries.peekable();
        let mut serial = self.book.next_serial();
        while let Some((first, count)) = put_run(self.bytes, self.group, serial, &mut entries) {
            let taken = self.book.take_run(self.lsn(), serial, first, count);
            assert!(taken.is_ok(), "the core writes entries in order: {taken:?}");
            self.count();
            serial = self.book.next_serial();
        }
    }

    fn note(&mut self, serial: u64, record: &Record) {
        let taken = self.book.take(self.lsn(), serial, record);
        assert!(taken.is_ok(), "the core writes what makes sense: {taken:?}");
        self.count();
    }

    fn lsn(&self) -> Lsn {
        Lsn(self.first.0 + self.ends.len() as u64)
    }

    fn count(&mut self) {
        let from = self.ends.last().copied().unwrap_or(0);
        self.book.bytes += (self.bytes.len() - from) as u64;
        self.ends.push(self.bytes.len());
    }

    /// A group from its beginning.
    fn begin(&mut self, old: &Book) {
        let meta = old.mark.clone().expect("a book that is closed has a mark");
        self.record(&Record::Mark { fresh: true, meta });
    }

    /// Entries that were written before.
    fn again(&mut self, entries: &[Entry]) {
        let next = self.book.last.index.next();
        let known = entries.iter().take_while(|entry| entry.index < next).count();
        let (known, fresh) = entries.split_at(known);
        for entry in known {
            self.record(&Record::Mended(entry.clone()));
        }
        for row in fresh.chunk_by(|one, other| one.index.next() == other.index) {
            let (next, first) = (self.book.last.index.next(), row[0].index);
            if first > next {
                self.record(&Record::Gap(next, first.prev()));
            }
            self.entries(row);
        }
    }

    /// What it has lost, and its term and vote.
    fn end(&mut self, old: &Book) {
        self.book.end_at(old.last);
        self.book.base_lost = old.base_lost;
        self.book.commit = old.commit;
        self.head(old.hard);
    }
}
