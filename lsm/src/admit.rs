//! Tables that were not flushed from a memtable take their place among the writes.
//!
//! **The problem.** Tables that are taken in, or one that says that all before it is deleted, must
//! count as one write: newer than all writes before it and older than all after it, for readers and
//! after a crash, and there all at once. But writes before it may still be in memtables, which
//! readers look into first.
//!
//! ```text
//!   1  flush what there is                      others write on
//!   2  ordering lock: seal, take a number       later writes go into another memtable,
//!   3  flush what was sealed in between         and nobody sees them before 6
//!   4  open the tables at their number
//!   5  the manifest: these tables, as low as nothing lies above them
//!   6  show readers the tables, then the number
//! ```
//!
//! A crash before the edit of step 5 is durable leaves orphans, and after it everything. The writes
//! before are in tables by then, so that what is left is a prefix of the writes in any case. The
//! journal knows nothing of the number, and a gap in the numbers does no harm.
//!
//! Step 6 happens under the lock of the versions. A compaction that merged the tables before their
//! number can be seen would drop what a snapshot taken in between still needs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::{LEVELS, Policy};
use crate::core::{Core, Running};
use crate::error::{Error, Result};
use crate::key::SeqNo;
use crate::keyspace::Shared;
use crate::manifest::Change;
use crate::ratchet::Ticket;
use crate::run::TableFile;
use crate::state::State;
use crate::table::TableMeta;
use crate::version::{Swap, Tree};

/// A number that was taken: reported however the work under it ends, or all later writes would wait
/// for it for ever.
struct Taken<'a> {
    core: &'a Core,
    ticket: Option<Ticket>,
    seq: SeqNo,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.core.ratchet.report(ticket);
        }
    }
}

impl Core {
    /// Takes in, as one write, the tables that `make` makes of a keyspace's other tables and the
    /// write's number. They are synced, their names are not.
    ///
    /// # Errors
    /// The tables are not there, but for this: after a failed write of the manifest nobody knows
    /// whether a crash right now would find them.
    pub(crate) fn admit(
        &self,
        keyspace: &Shared,
        make: impl FnOnce(&Tree, SeqNo) -> Result<Vec<(TableMeta, PathBuf)>>,
    ) -> Result<()> {
        self.check_open()?;
        let _turn = self.flushing.lock();
        let before = {
            let mut order = self.order.lock();
            if order.active.is_reserved() {
                self.seal(&mut order, 0);
            }
            order.last_seq
        };
        self.flush_up_to(before)?;
        let taken = {
            let mut order = self.order.lock();
            if order.active.is_reserved() {
                self.seal(&mut order, 0);
            }
            let before = order.last_seq;
            order.last_seq = SeqNo(before.0 + 1);
            let ticket = Some(self.ratchet.enter(order.last_seq));
            Taken { core: self, ticket, seq: order.last_seq }
        };
        self.flush_up_to(SeqNo(taken.seq.0 - 1))?;
        // Writers that are not done have nothing in a memtable that was never sealed.
        self.ratchet.wait(SeqNo(taken.seq.0 - 1));
        let gone = || Error::NoKeyspace { name: keyspace.name.clone() };
        let tree = self.state().version.tree(keyspace.id).cloned().ok_or_else(gone)?;
        let written = make(&tree, taken.seq)?;
        if written.is_empty() {
            return Ok(());
        }
        let outcome = self.admit_tables(keyspace, &written, taken);
        if let Err(Unplaced::Unknown(error)) = outcome {
            self.remove_files(written.iter().map(|(_, path)| path));
            return Err(error);
        }
        outcome.map_err(Unplaced::into_error)
    }

    /// Flushes every memtable up to `seq`. Called by the one whose turn it is to flush.
    fn flush_up_to(&self, seq: SeqNo) -> Result<()> {
        while self.state().sealed.first().is_some_and(|sealed| sealed.last_seq <= seq) {
            self.flush_oldest()?;
        }
        Ok(())
    }

    /// Steps 4 to 6.
    fn admit_tables(
        &self,
        keyspace: &Shared,
        written: &[(TableMeta, PathBuf)],
        taken: Taken<'_>,
    ) -> Result<(), Unplaced> {
        let mut files: Vec<Arc<TableFile>> = Vec::new();
        for (meta, path) in written {
            files.push(self.open_table(meta, path).map_err(Unplaced::Unknown)?);
        }
        let synced = self.vfs.sync_dir(&self.dir).map_err(|e| Error::io("sync", &self.dir, e));
        synced.map_err(Unplaced::Unknown)?;
        let mut versions = self.versions.lock();
        let contents = versions.manifest.as_ref().ok_or(Unplaced::Unknown(Error::Closed))?;
        let contents = contents.contents();
        let space = keyspace.id;
        let gone = || Unplaced::Unknown(Error::NoKeyspace { name: keyspace.name.clone() });
        let mut counters = contents.counters;
        counters.last_seq = taken.seq;
        let state = self.state();
        let tree = state.version.tree(space).ok_or_else(gone)?;
        let policy = keyspace.options().policy;
        let place = |file: Arc<TableFile>| {
            let level = level_for(tree, policy, &versions.running, file.meta());
            (level as u8, file)
        };
        let add: Vec<_> = files.into_iter().map(place).collect();
        let changes: Vec<Change> = add
            .iter()
            .map(|(level, file)| Change::Add { space, level: *level, meta: file.meta().clone() })
            .collect();
        let paths: Vec<PathBuf> = written.iter().map(|(_, path)| path.clone()).collect();
        let swap = Swap { add, remove: Vec::new() };
        let bytes = swap.add.iter().map(|(_, file)| file.meta().bytes).sum();
        self.commit(&mut versions, counters, &changes, &paths, |state| {
            let mut next = State::clone(state);
            let tree = state.version.tree(space).expect("the manifest has it");
            next.version = Arc::new(
                state
                    .version
                    .with(tree.after(&swap).expect("what is new is newer than all, or apart")),
            );
            next.admitted = taken.seq;
            next
        })
        .map_err(Unplaced::Known)?;
        // Before the number: whoever sees the number sees that an older state will not do.
        self.admitted.store(taken.seq.0, Ordering::Release);
        self.tally.ingested(bytes);
        drop(taken);
        drop(versions);
        self.work.call();
        Ok(())
    }
}

/// Why tables are not in their place.
enum Unplaced {
    /// The manifest never heard of them.
    Unknown(Error),
    /// The manifest could not be written, and sees to their files.
    Known(Error),
}

impl Unplaced {
    fn into_error(self) -> Error {
        match self {
            Unplaced::Unknown(error) | Unplaced::Known(error) => error,
        }
    }
}

/// The lowest level that a new table can stand on: nothing older lies above it, and no compaction
/// writes across its range there or above.
fn level_for(tree: &Tree, policy: Policy, running: &[Running], meta: &TableMeta) -> usize {
    let (lo, hi) = (&meta.smallest[..], &meta.largest.key()[..]);
    let is_free = |level: usize| {
        let written = |other: &Running| {
            let across = *other.smallest <= *hi && *lo <= *other.largest;
            other.space == tree.id && other.level == level && across
        };
        let taken = match level {
            0 => tree.sublevels.iter().any(|run| !run.overlapping(lo, hi).is_empty()),
            level => !tree.level(level).overlapping(lo, hi).is_empty(),
        };
        !taken && !running.iter().any(written)
    };
    match policy {
        Policy::Tiered => 0,
        Policy::Leveled => (0..=LEVELS).take_while(|level| is_free(*level)).last().unwrap_or(0),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::path::Path;

    use drystone_vfs::{MemVfs, SimClock};

    use super::*;
    use crate::config::{KeyspaceOptions, Options};
    use crate::db::Db;

    // A reader that has taken the tables of before and the number of after would see the writes
    // that followed an ingest, and not the ingest: two numbers keep the two together.
    #[test]
    fn an_older_state_does_not_go_with_the_number_of_an_ingest() {
        let (disk, clock) = (Arc::new(MemVfs::new()), Arc::new(SimClock::new()));
        let options = Options::default().memory_bytes(64 << 10).threads(0);
        let db = Db::open(disk, clock, Path::new("db"), options).unwrap();
        let space = db.keyspace("left", KeyspaceOptions::default()).unwrap();
        let core = Arc::clone(db.core());
        for round in 1..4_u8 {
            let before = core.state();
            db.ingest(&space, [(b"key", [round])]).unwrap();
            let seq = core.ratchet.visible();
            assert_eq!(core.admitted.load(Ordering::Relaxed), seq.0, "readers are told");
            assert!(before.admitted < seq, "and find that what they have is older");
            let (state, seen) = core.view();
            assert_eq!((state.admitted, seen), (seq, seq));
        }
    }

    // Tables that are there before their number can be seen must meet no compaction: a snapshot
    // taken just then lies below the number, and needs what the tables hide. So whoever admits
    // them is stopped right before the number, by a write that is not done, and the lock without
    // which nothing is compacted is tried.
    #[test]
    fn no_compaction_comes_between_the_tables_and_their_number() {
        let (disk, clock) = (Arc::new(MemVfs::new()), Arc::new(SimClock::new()));
        let options = Options::default().memory_bytes(64 << 10).threads(0);
        let db = Db::open(disk, clock, Path::new("db"), options).unwrap();
        let space = db.keyspace("left", KeyspaceOptions::default()).unwrap();
        db.ingest(&space, [(b"key", b"old")]).unwrap();
        let core = Arc::clone(db.core());
        // It has the number that is seen already, so that nobody has to wait for it but to report.
        let slow = core.ratchet.enter(core.ratchet.visible());
        std::thread::scope(|scope| {
            let clear = scope.spawn(|| db.clear(&space));
            while core.ratchet.waiting() == 0 {
                assert!(!clear.is_finished(), "it does not wait for its turn to be seen");
                std::thread::yield_now();
            }
            let (snapshot, admitted) = (db.snapshot(), core.state().admitted);
            let locked = core.versions.try_lock().is_none();
            // Before anything is asserted: a test that fails must end.
            core.ratchet.report(slow);
            clear.join().unwrap().unwrap();
            assert!(admitted > snapshot.seq(), "the delete was there, and not to be seen");
            assert!(locked, "a compaction could have dropped what it hides");
            while db.compact_once().unwrap() {}
            assert_eq!(snapshot.get(&space, b"key").unwrap().unwrap(), b"old");
        });
        assert!(db.get(&space, b"key").unwrap().is_none());
    }
}
