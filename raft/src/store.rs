//! The logs, terms and votes of many groups in one log on disk.
//!
//! # The problem
//!
//! A node may promise only what a crash cannot make it forget: its term, its vote, its entries. A
//! node of a thousand groups cannot sync a thousand files. And a disk that damages one record must
//! not cost the others, nor make the node say what it does not know.
//!
//! # The idea
//!
//! All groups append to one [`drystone_wal`]: what came together is one write and one sync. A
//! book in memory (`book.rs`) knows where each group's entries stand. Every record carries its
//! group's serial number (`record.rs`), and each write repeats the term and the vote.
//!
//! ```text
//!    Batch: group 7's write, group 9's write, …  ──► one atomic group of the log ──► Commit
//!
//!    ┌──────┬─────┬─────┬──────┬─────┬──────┬──────┬─────┐
//!    │Head 7│ e 3 │ e 4 │Head 9│ e 8 │Mark 7│Head 7│ e 5 │ …
//!    └──────┴─────┴─────┴──────┴─────┴──────┴──────┴─────┘
//! ```
//!
//! **Room.** The oldest records can be let go of up to the first that some group still needs. A
//! group that has nothing to write would hold them for ever, so what little it has is written
//! again at the end, as a log-structured file system cleans its segments (Rosenblum and Ousterhout
//! 1991): [`Store::clean`].
//!
//! **Damage.** What the log proves torn was never acknowledged, and is left out. Any other damage
//! is not refused: what is sound around it is carried to a new log, the damaged one is kept beside
//! it, and each group's [`Boot`] says what it misses (`repair.rs`), but for what a sound snapshot
//! has (`restoring.rs`). Whoever runs a group that nobody can mend looks first, which changes
//! nothing ([`Store::survey`]); so does whoever wants to know what is in the log of a node that
//! runs ([`Store::inspect`]). A record that goes bad while the store is open is missed when it is
//! read, and costs none of those behind it (`reading.rs`).
//!
//! # Promises
//!
//! * What was written is there after a crash once its [`Commit`](drystone_wal::Commit) resolved;
//!   writes are whole or not there at all, and a later one is never there without those before it.
//! * An entry that is read is the one that was written. A group whose records were lost starts with
//!   a hole, a lost end or a lost vote, and never with less and no word of it.
//! * Memory: 32 bytes for each write that is not compacted away, not for each entry.
//!
//! # Absent
//!
//! Damage to the very last writes before a crash cannot be told from a write that was never
//! finished (see [`drystone_wal`]), unless they were there when the store was last opened
//! (`last.rs`).
//!
//! A group for which nobody can tell how many of its newest records were lost, nor in which term,
//! takes part and counts as a copy again, but never votes and never leads: no log that it is shown
//! can be known to hold all that it promised. [`Damage::groups`] names it among others, and
//! [`HardState::lost_end`](crate::HardState::lost_end) stays: remove the member, and add one of
//! another name.
//!
//! Snapshots are files beside the log (`snapshots.rs`); what is in them is the state machine's. The
//! log may have a folder apart, on a disk of its own (`home.rs`); snapshots stay.

mod batch;
mod book;
mod error;
mod home;
mod record;

mod inspection;
mod last;
mod reading;
mod recovery;
mod repair;
mod restoring;
mod snapshots;
mod survey;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use drystone_vfs::{Clock, Lock, OsClock, Vfs};
use drystone_wal::{Lsn, Wal};

use crate::boot::{Boot, SnapshotMeta};
use crate::configuration::Configuration;
use crate::entry::Entry;
use crate::input::Input;
use crate::types::{Index, NodeId};
use book::Book;
use reading::Reader;

pub use batch::Batch;
pub use error::{Error, Result};
pub use inspection::{GroupLog, Inspection};
pub use record::GroupId;
pub use repair::Damage;
pub use snapshots::{
    SNAPSHOT_FORMAT, SnapshotFile, SnapshotReader, SnapshotState, SnapshotWriter, Snapshots,
};
pub use survey::Survey;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The log beneath.
    pub wal: drystone_wal::Options,
    /// Where the time of day comes from, by which the lives of a node are told apart.
    pub clock: Arc<dyn Clock>,
    /// The shared log is cleaned when it takes more than this. What nobody needs is let go of
    /// sooner, from a quarter of it on.
    pub log_bytes: u64,
    /// A group with less than this is written again when it holds the log's oldest records; one
    /// with more has to be compacted.
    pub moved_bytes_max: u64,
    /// A folder for the log alone, for a disk whose syncs nobody else delays; `None` is the
    /// store's. A log that is inside moves there when the store is opened. Once it is apart it has
    /// to be asked for there; to have it elsewhere, move the folder as a whole.
    pub log_dir: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            wal: drystone_wal::Options::default(),
            clock: Arc::new(OsClock::new()),
            log_bytes: 256 << 20,
            moved_bytes_max: 1 << 20,
            log_dir: None,
        }
    }
}

/// The logs of the groups of one node. Calls block, as those of the log do.
#[derive(Debug)]
pub struct Store {
    /// Where the log is.
    log: PathBuf,
    options: Options,
    wal: Wal,
    snapshots: Snapshots,
    life: u64,
    damage: Option<Damage>,
    shelf: Mutex<Shelf>,
    /// Of the log's folder, if it has one of its own.
    _lock: Option<Lock>,
}

/// What changes.
#[derive(Debug, Default)]
struct Shelf {
    books: HashMap<GroupId, Book>,
    /// The serial of the next record of the store's own.
    own_serial: u64,
    own_lsn: Lsn,
    /// Whole groups may have been lost with a damaged log.
    doubtful: bool,
    /// Bytes of a batch that is being made, and where each record of it ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Store {
    /// Opens the store in `dir`, making it if there is none, and reads the whole log once.
    ///
    /// # Errors
    /// [`Error::Log`] if it is in use or the disk refuses; [`Error::Corrupt`] for records that pass
    /// their checksums and contradict each other. Damage is no error: see [`Store::damage`].
    /// [`Error::LogElsewhere`], [`Error::LogGone`], [`Error::LogTaken`] and [`Error::LogForeign`]
    /// if the log and the store do not belong together.
    pub fn open(vfs: Arc<dyn Vfs>, dir: &Path, options: Options) -> Result<Store> {
        recovery::open(vfs, dir, options)
    }

    /// Where the store in `dir` keeps its log, if that is [apart](Options::log_dir).
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Corrupt`].
    pub fn log_dir(vfs: &dyn Vfs, dir: &Path) -> Result<Option<PathBuf>> {
        home::apart(vfs, dir)
    }

    /// Whether the store in `dir`, which may not be there yet, could be opened with its log in
    /// `log_dir`, or inside. Changes nothing.
    ///
    /// # Errors
    /// Those that say that the log and the store do not belong together: see [`Store::open`].
    pub fn check_log_dir(vfs: &dyn Vfs, dir: &Path, log_dir: Option<&Path>) -> Result<()> {
        home::find(vfs, dir, log_dir).map(drop)
    }

    /// What was damaged when the store was opened, if anything was.
    pub fn damage(&self) -> Option<&Damage> {
        self.damage.as_ref()
    }

    /// The groups that are here, in no order.
    pub fn groups(&self) -> Vec<GroupId> {
        self.shelf().books.keys().copied().collect()
    }

    /// The snapshots beside the log.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Begins a group that starts with these members.
    ///
    /// # Errors
    /// [`Error::GroupExists`]; [`Error::Log`].
    pub fn create(&self, group: GroupId, members: Configuration) -> Result<()> {
        self.create_behind(
            group,
            SnapshotMeta {
                last: crate::types::Position::default(),
                configuration: Arc::new(members),
                configuration_index: Index(0),
            },
        )
    }

    /// Begins a group whose log goes on behind what the state machine holds already: one that was
    /// kept by another program until then. Nothing checks that the state machine does hold it.
    ///
    /// # Errors
    /// [`Error::GroupExists`]; [`Error::Log`].
    pub fn create_behind(&self, group: GroupId, meta: SnapshotMeta) -> Result<()> {
        let mut batch = self.batch();
        batch.create(group, meta)?;
        if let Some(commit) = batch.commit()? {
            commit.wait()?;
        }
        Ok(())
    }

    /// What a node of this group begins with.
    ///
    /// # Errors
    /// [`Error::NoGroup`].
    pub fn boot(&self, group: GroupId) -> Result<Boot> {
        let shelf = self.shelf();
        let book = shelf.books.get(&group).ok_or(Error::NoGroup(group))?;
        Ok(book.boot(self.life, None))
    }

    /// The same, if all that this snapshot holds were compacted away.
    fn boot_behind(&self, group: GroupId, meta: &SnapshotMeta) -> Result<Boot> {
        let shelf = self.shelf();
        let book = shelf.books.get(&group).ok_or(Error::NoGroup(group))?;
        Ok(book.boot(self.life, Some(meta)))
    }

    /// Recovers a group by force on this survivor: see [`Boot::force`]. Durable on return.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; [`Error::Log`].
    pub fn force(&self, group: GroupId, voters: &[NodeId]) -> Result<()> {
        let mut boot = self.boot(group)?;
        let (hard, entry) = boot.force(voters);
        let mut batch = self.batch();
        batch.force(group, hard, &entry)?;
        if let Some(commit) = batch.commit()? {
            commit.wait()?;
        }
        Ok(())
    }

    /// Writes of any groups, to be made durable together.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(self, self.shelf())
    }

    /// Entries after `after` and up to `through`, as many as `bytes_max` but at least one: what an
    /// [`Effect::Load`](crate::Effect::Load) asks for. `None` if the first cannot be read.
    pub fn load(
        &self,
        group: GroupId,
        after: Index,
        through: Index,
        bytes_max: usize,
    ) -> Result<Option<Vec<Entry>>> {
        let places = match self.shelf().books.get(&group) {
            Some(_) if through <= after => return Ok(Some(Vec::new())),
            Some(book) => book.places(after, through),
            None => return Err(Error::NoGroup(group)),
        };
        if let Some(last) = places.last() {
            // What is on its way to the disk cannot be read yet, and is not damaged.
            self.wal.wait_durable(last.lsn)?;
        }
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut reader = self.reader();
        for place in places {
            let row = reader.record(place.lsn)?.and_then(|bytes| place.of(&bytes));
            let Some(row) = row else {
                // Damaged since the log was opened: what was read before it is sound.
                break;
            };
            for entry in row {
                bytes += entry.bytes();
                if bytes > bytes_max && !entries.is_empty() {
                    return Ok(Some(entries));
                }
                entries.push(entry);
            }
        }
        Ok((!entries.is_empty()).then_some(entries))
    }

    /// The answer to an [`Effect::Load`](crate::Effect::Load).
    pub fn answer_load(
        &self,
        group: GroupId,
        to: NodeId,
        after: Index,
        through: Index,
        bytes_max: usize,
    ) -> Result<Input> {
        let entries = self.load(group, after, through, bytes_max)?;
        Ok(match entries {
            Some(entries) => Input::Loaded { to, after, entries },
            None => Input::Damaged { after, through: after.next() },
        })
    }

    /// Waits until this entry of a group is durable, or everything that was written of it so far if
    /// none is named.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub fn wait_durable(&self, group: GroupId, through: Option<Index>) -> Result<()> {
        if let Some(lsn) = self.place(group, through) {
            self.wal.wait_durable(lsn)?;
        }
        Ok(())
    }

    /// Whether [`Store::wait_durable`] would not have to wait.
    pub fn is_durable(&self, group: GroupId, through: Option<Index>) -> bool {
        self.place(group, through).is_none_or(|lsn| lsn <= self.wal.durable())
    }

    fn place(&self, group: GroupId, through: Option<Index>) -> Option<Lsn> {
        let shelf = self.shelf();
        let book = shelf.books.get(&group)?;
        through.map_or(Some(book.latest), |index| book.place(index))
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(&self.wal, self.snapshots.vfs())
    }

    /// What a snapshot of the group says of itself that holds everything up to `index`; `None` if
    /// the entry there is not in the log any more.
    pub fn meta_at(&self, group: GroupId, index: Index) -> Option<SnapshotMeta> {
        self.shelf().books.get(&group)?.meta_at(index)
    }

    /// What is compacted away, and the members then.
    pub fn base(&self, group: GroupId) -> Option<SnapshotMeta> {
        self.shelf().books.get(&group)?.mark.clone()
    }

    /// Which of its lives this is: greater at each opening.
    pub fn life(&self) -> u64 {
        self.life
    }

    /// Bytes that the log takes on disk.
    pub fn bytes(&self) -> u64 {
        self.wal.bytes()
    }

    /// Lets go of the log's oldest records if nobody needs them, or there are too many: what idle
    /// groups need of them is then written again. Returns the groups that hold the log by having
    /// too much to be moved, and have to be compacted.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub fn clean(&self) -> Result<Vec<GroupId>> {
        let crowded = self.wal.bytes() > self.options.log_bytes;
        if crowded || self.has_slack() { self.let_go(crowded) } else { Ok(Vec::new()) }
    }

    /// From now on, or no more, the log takes no room ahead of what is written to it.
    pub fn be_thrifty(&self, yes: bool) {
        self.wal.be_thrifty(yes);
    }

    /// Lets go of what nobody needs at the front of the shared log, however little that is, and of
    /// what was prepared behind its end: for a disk that is nearly full.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub fn clean_all(&self) -> Result<Vec<GroupId>> {
        // First, for that needs no room, and what follows may.
        let dropped = self.wal.drop_spare();
        let held = self.let_go(self.wal.bytes() > self.options.log_bytes)?;
        dropped?;
        Ok(held)
    }

    fn let_go(&self, crowded: bool) -> Result<Vec<GroupId>> {
        // The younger half of the log may stay where it is.
        let (first, next) = (self.wal.first_lsn(), self.wal.next_lsn());
        let middle = Lsn(first.0 + (next.0 - first.0) / 2);
        let held = if crowded { self.move_before(middle)? } else { Vec::new() };
        let mut batch = self.batch();
        let doubtful = batch.is_doubtful();
        batch.start(self.life, doubtful);
        // As of this batch: what is written later needs no more, but may not be durable in time.
        let needs = batch.needs();
        if let Some(commit) = batch.commit()? {
            commit.wait()?;
        }
        self.wal.truncate_prefix(needs)?;
        Ok(held)
    }

    /// Whether half of a log that is not small is needed by nobody, and can be let go of as it is.
    fn has_slack(&self) -> bool {
        if self.wal.bytes() <= self.options.log_bytes / 4 {
            return false;
        }
        let needs = self.shelf().books.values().map(Book::needs).min();
        let (first, next) = (self.wal.first_lsn(), self.wal.next_lsn());
        needs.is_some_and(|needs| needs.0.saturating_sub(first.0) >= (next.0 - first.0) / 2)
    }

    /// Writes again what the groups need of the log before `middle`, but for those that have too
    /// much of it.
    fn move_before(&self, middle: Lsn) -> Result<Vec<GroupId>> {
        let (mut small, mut held) = (Vec::new(), Vec::new());
        {
            let shelf = self.shelf();
            for (group, book) in &shelf.books {
                if book.needs() < middle {
                    let fits = book.bytes <= self.options.moved_bytes_max;
                    if fits { &mut small } else { &mut held }.push(*group);
                }
            }
        }
        // In the same order each time, whatever order the books are kept in.
        small.sort_unstable();
        held.sort_unstable();
        for group in small {
            // Read before the shelf is locked: a group may be written to meanwhile, and then has
            // moved by itself or is moved the next time.
            let Some((latest, image)) = self.image(group)? else { continue };
            let mut batch = self.batch();
            batch.image(group, latest, &image);
            drop(batch.commit()?);
        }
        Ok(held)
    }

    /// All of a group that is worth keeping, and its latest record as of then.
    fn image(&self, group: GroupId) -> Result<Option<(Lsn, Vec<Entry>)>> {
        let (latest, extents) = match self.shelf().books.get(&group) {
            Some(book) => (book.latest, book.extents().copied().collect::<Vec<_>>()),
            None => return Ok(None),
        };
        if self.wal.wait_durable(latest).is_err() {
            return Ok(None);
        }
        let mut reader = self.reader();
        let mut entries = Vec::new();
        for extent in extents {
            match reader.record(extent.lsn)?.and_then(|bytes| extent.of(&bytes)) {
                Some(row) => entries.extend(row),
                // It stays where it is, and so does the log.
                None => return Ok(None),
            }
        }
        Ok(Some((latest, entries)))
    }

    /// Why the log takes no more, if it does not: a write or a sync failed. Waits for what is on
    /// its way to the disk.
    pub fn failure(&self) -> Option<Error> {
        let nothing: [&[u8]; 0] = [];
        let flushed = self.wal.append(&nothing).and_then(|commit| commit.wait());
        flushed.err().map(Error::Log)
    }

    /// Closes the log: what was not durable is made so, and nothing is written any more.
    ///
    /// # Errors
    /// [`Error::Log`].
    pub fn close(&self) -> Result<()> {
        let mut batch = self.batch();
        batch.roll();
        // If it fails, so does the closing.
        if let Ok(Some(commit)) = batch.commit()
            && let Ok(last) = commit.wait()
        {
            last::note(&*self.snapshots.vfs(), &self.log, last)?;
        }
        Ok(self.wal.clone().close()?)
    }

    /// Asserts what always holds. For tests.
    #[doc(hidden)]
    pub fn check(&self) {
        self.shelf().books.values().for_each(Book::check);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Whoever panicked while it held the shelf had not changed a book halfway.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
