//! Merges tables, so that a reader finds few places to look in and what is gone takes no space.
//!
//! ```text
//!   pick      tables, claimed so that nobody else takes them           pick.rs, light.rs
//!   merge ─► sieve ─► tables of the next level, synced                 sieve.rs, outputs.rs
//!             in parts, for threads with nothing to do                 split.rs
//!   manifest  the new in, the old out, in one edit
//!   show      the next version; old files go with their last reader
//! ```
//!
//! Until the edit is durable nothing has happened: a crash leaves orphans, and the inputs as they
//! were. A compaction that cannot read an input keeps all of them, and sets the damaged one aside:
//! no compaction touches it again before the next opening, and readers go on, with an error for the
//! keys that cannot be read.

mod dropped;
mod light;
mod pick;
mod split;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::Policy;
use crate::core::{Core, Versions};
use crate::cursor::{Cursor, Entry};
use crate::error::{Error, Result};
use crate::key::SeqNo;
use crate::keyspace::Shared;
use crate::manifest::{Change, Contents};
use crate::memtable::KeyspaceId;
use crate::run::{Run, RunCursor, TableFile};
use crate::slice::Slice;
use crate::state::State;
use crate::table::{Fill, TableCursor, TableMeta};
use crate::version::{Swap, Tree};

use self::light::Misfits;
use self::pick::Job;
use self::split::Written;

pub(crate) use self::split::Split;

impl Core {
    /// Does the most urgent compaction that there is room for; whether there was one.
    pub(crate) fn compact_once(&self) -> Result<bool> {
        self.check_open()?;
        let outcome = self.compact_picked(|core, versions| {
            let (urgent, room) = (core.pick(versions)?, core.room());
            if light::weight(&urgent) <= room {
                return Some(urgent);
            }
            core.light_jobs(versions).into_iter().find(|job| light::weight(job) <= room)
        });
        self.work.note_compact(&outcome);
        if matches!(outcome, Ok(true)) {
            // What it has written may be due in turn.
            self.work.call();
            self.pace.wake();
        }
        outcome
    }

    /// Merges all of a keyspace that could give back space by it; whether there was one.
    pub(crate) fn settle_once(&self) -> Result<bool> {
        self.check_open()?;
        self.compact_picked(|core, versions| {
            core.pick(versions).or_else(|| {
                let (state, snapshots) = (core.state(), core.snapshots.list());
                state.version.trees().iter().find_map(|tree| {
                    // Below a snapshot the same would be written again, and again.
                    let settled = Settled::of(tree, &snapshots);
                    if versions.settled.get(&tree.id) == Some(&settled) {
                        return None;
                    }
                    let (policy, now) = (core.policy(tree.id), core.expiring(tree));
                    pick::whole(tree, &versions.running, policy, now)
                })
            })
        })
    }

    /// Merges what is due or brings deletes a level down, the lightest first, and what does not fit
    /// is passed by; whether there was any.
    pub(crate) fn lighten_once(&self) -> Result<bool> {
        self.check_open()?;
        let (mut tried, mut full) = (Misfits::default(), None);
        loop {
            let outcome = self.compact_picked(|core, versions| {
                core.pick_dropped(versions)
                    .or_else(|| core.light_jobs(versions).into_iter().find(|job| tried.admit(job)))
            });
            match outcome {
                Err(error @ Error::NoSpace { .. }) => full = full.or(Some(error)),
                Ok(false) => return full.map_or(Ok(false), Err),
                outcome => return outcome,
            }
        }
    }

    fn pick(&self, versions: &Versions) -> Option<Job> {
        self.pick_dropped(versions).or_else(|| {
            let version = Arc::clone(&self.state().version);
            pick::pick(&version, |id| self.policy(id), &versions.running, &self.sizes)
        })
    }

    fn light_jobs(&self, versions: &Versions) -> Vec<Job> {
        let version = Arc::clone(&self.state().version);
        light::jobs(&version, |id| self.policy(id), &versions.running, &self.sizes)
    }

    /// Bytes that a compaction may write: what is in memory has to be flushed as well.
    fn room(&self) -> u64 {
        let Some(room) = &self.options.room else { return u64::MAX };
        let unsaved: u64 = self.state().memtables().map(|memtable| memtable.bytes()).sum();
        room.load(Ordering::Relaxed).saturating_sub(unsaved)
    }

    /// Tables that can go as they are.
    fn pick_dropped(&self, versions: &Versions) -> Option<Job> {
        let version = Arc::clone(&self.state().version);
        // A snapshot taken later sees the deletes.
        let snapshots = self.snapshots.list();
        dropped::pick(&version, &versions.running, &snapshots, |tree| self.expiring(tree))
    }

    /// The time, for a keyspace whose entries expire.
    fn expiring(&self, tree: &Tree) -> Option<u64> {
        self.keyspace_of(tree.id).filter(|keyspace| keyspace.expires).map(|_| self.time.now())
    }

    fn policy(&self, id: KeyspaceId) -> Policy {
        self.keyspace_of(id).map_or(Policy::Leveled, |keyspace| keyspace.options().policy)
    }

    fn compact_picked(&self, pick: impl FnOnce(&Core, &Versions) -> Option<Job>) -> Result<bool> {
        let claim = {
            let mut versions = self.versions.lock();
            let Some(job) = pick(self, &versions) else { return Ok(false) };
            for table in &job.inputs {
                // A snapshot that is yet to be taken stands at what is visible now or later. Were
                // an input's entries not visible yet, it could need what they would hide.
                let seen = table.meta().seq_max <= self.ratchet.visible();
                assert!(seen, "what is merged has been seen");
                table.set_busy(true);
            }
            versions.running.push(job.running.clone());
            Claim { core: self, job }
        };
        let job = &claim.job;
        let snapshots = self.snapshots.list();
        match self.run(job) {
            Ok(()) => {
                if job.whole {
                    self.note_settled(job.space, &snapshots);
                }
                Ok(true)
            }
            Err(error) => {
                // Keep what cannot be read, and keep out of its way; all inputs, if it is not known
                // which of them does not make sense.
                let at_fault = |table: &&Arc<TableFile>| match &error {
                    Error::Corrupt { file, .. } => table.path == *file || self.dir == *file,
                    Error::Io { path, .. } => table.path == *path,
                    _ => false,
                };
                job.inputs.iter().filter(at_fault).for_each(|table| table.set_damaged());
                Err(error)
            }
        }
    }

    /// All of a keyspace was merged, with these snapshots open.
    fn note_settled(&self, space: KeyspaceId, snapshots: &[SeqNo]) {
        let mut versions = self.versions.lock();
        if let Some(tree) = self.state().version.tree(space) {
            versions.settled.insert(space, Settled::of(tree, snapshots));
        }
    }

    fn run(&self, job: &Job) -> Result<()> {
        let Some(keyspace) = self.keyspace_of(job.space) else { return Ok(()) };
        if job.drops() {
            if self.swap(job, Vec::new())? {
                self.tally.dropped(job.inputs.len() as u64);
            }
            return Ok(());
        }
        if job.moves {
            return self.move_down(job);
        }
        let written = self.merge(job, keyspace)?;
        let files = self.open_outputs(job, &written).inspect_err(|_| {
            self.remove_files(written.iter().map(|(_, path)| path));
        })?;
        let bytes = written.iter().map(|(meta, _)| meta.bytes).sum();
        let add = files.into_iter().map(|file| (job.output_level as u8, file)).collect();
        if self.swap(job, add)? {
            self.tally.compacted(bytes);
        }
        Ok(())
    }

    /// Opens what a compaction has written, and makes its names durable.
    fn open_outputs(&self, job: &Job, written: &Written) -> Result<Vec<Arc<TableFile>>> {
        let newest = job.inputs.iter().map(|table| table.meta().seq_max).max();
        // Blocks can be made by hand that hold newer writes than their table says.
        if written.iter().any(|(meta, _)| Some(meta.seq_max) > newest) {
            let what = "tables that are merged hold newer writes than they say";
            return Err(Error::corrupt(&self.dir, 0, what));
        }
        let open = |(meta, path): &(TableMeta, PathBuf)| self.open_table(meta, path);
        let files = written.iter().map(open).collect::<Result<_>>()?;
        self.vfs.sync_dir(&self.dir).map_err(|e| Error::io("sync", &self.dir, e))?;
        Ok(files)
    }

    /// The tables only change their level.
    fn move_down(&self, job: &Job) -> Result<()> {
        let level = job.output_level as u8;
        let add = job.inputs.iter().map(|file| (level, Arc::clone(file))).collect();
        if self.swap(job, add)? {
            self.tally.moved();
        }
        Ok(())
    }

    /// Puts `add` in the place of the job's inputs, unless the keyspace is gone; whether it did.
    fn swap(&self, job: &Job, add: Vec<(u8, Arc<TableFile>)>) -> Result<bool> {
        let mut versions = self.versions.lock();
        let contents: &Contents = versions.manifest.as_ref().ok_or(Error::Closed)?.contents();
        let is_input = |file: &Arc<TableFile>| job.inputs.iter().any(|i| Arc::ptr_eq(i, file));
        if !contents.keyspaces.contains_key(&job.space) {
            for (_, file) in add.iter().filter(|(_, file)| !is_input(file)) {
                file.set_obsolete();
            }
            return Ok(false);
        }
        let counters = contents.counters;
        let space = job.space;
        let removed = job.inputs.iter().map(|file| file.meta().id);
        let swap = Swap { remove: removed.collect(), add };
        let mut changes: Vec<Change> =
            swap.remove.iter().map(|id| Change::Remove { space, id: *id }).collect();
        changes.extend(swap.add.iter().map(|(level, file)| Change::Add {
            space,
            level: *level,
            meta: file.meta().clone(),
        }));
        let outputs: Vec<PathBuf> = swap
            .add
            .iter()
            .filter(|(_, file)| !is_input(file))
            .map(|(_, file)| file.path.clone())
            .collect();
        // Before the manifest says so: what the inputs hold may not be what they say.
        let tree = self.state().version.tree(space).expect("the manifest has it").after(&swap);
        let tree = tree.map_err(|what| {
            let new = swap.add.iter().filter(|(_, file)| !is_input(file));
            new.for_each(|(_, file)| file.set_obsolete());
            Error::corrupt(&self.dir, 0, what)
        })?;
        self.commit(&mut versions, counters, &changes, &outputs, |state| {
            let mut next = State::clone(state);
            next.version = Arc::new(state.version.with(tree.clone()));
            next
        })?;
        for input in &job.inputs {
            if !swap.add.iter().any(|(_, file)| Arc::ptr_eq(file, input)) {
                input.set_obsolete();
            }
        }
        Ok(true)
    }

    /// Merges the inputs into new tables.
    fn merge(&self, job: &Job, keyspace: Arc<Shared>) -> Result<Written> {
        // After the inputs were chosen: a snapshot taken later needs nothing that goes.
        let snapshots = self.snapshots.list();
        let table_bytes = self.sizes.due_table_bytes(self.table_bytes.load(Ordering::Relaxed));
        let mut plan = self.plan(keyspace, table_bytes);
        plan.dispensable = true;
        if let Some(tree) = self.state().version.tree(job.space).filter(|_| job.output_level > 0) {
            plan.stops = pick::stops(tree, job.output_level, table_bytes).into();
        }
        let split = Split::new(job.inputs.clone(), snapshots, job.bottom, plan);
        Arc::new(split).finish(self)
    }
}

/// How all tables of a keyspace were left by a merge of them. As long as it is so, another one
/// would change nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    fingerprint: u64,
    /// Snapshots that see less than all of it. Of the same tables there can only be fewer.
    snapshots: usize,
}

impl Settled {
    fn of(tree: &Tree, snapshots: &[SeqNo]) -> Settled {
        let last = tree.tables().map(|(_, table)| table.meta().seq_max).max();
        let last = last.unwrap_or(SeqNo::ZERO);
        let snapshots = snapshots.partition_point(|snapshot| *snapshot < last);
        Settled { fingerprint: tree.fingerprint(), snapshots }
    }
}

/// The inputs of a compaction, and where it writes: let go of when it ends, however it ends. What
/// it calls of the user's may panic.
struct Claim<'a> {
    core: &'a Core,
    job: Job,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut versions = self.core.versions.lock();
        versions.running.retain(|running| *running != self.job.running);
        for table in &self.job.inputs {
            table.set_busy(false);
        }
    }
}

/// Cursors over the inputs: one for each run that they make, and one for each table that fits
/// nowhere.
fn inputs(tables: &[Arc<TableFile>]) -> Vec<Input> {
    let mut runs: Vec<Vec<Arc<TableFile>>> = Vec::new();
    for table in tables {
        let fits = |run: &&mut Vec<Arc<TableFile>>| {
            let meta = table.meta();
            !run.iter().any(|other| other.meta().overlaps(&meta.smallest, meta.largest.key()))
        };
        match runs.iter_mut().find(fits) {
            Some(run) => run.push(Arc::clone(table)),
            None => runs.push(vec![Arc::clone(table)]),
        }
    }
    let cursor = |tables: Vec<Arc<TableFile>>| match Run::new(tables.clone()) {
        Ok(run) => vec![Input::Run(RunCursor::new(Arc::new(run), Fill::Private))],
        Err(_) => tables.iter().map(|t| Input::Table(t.table.cursor(Fill::Private))).collect(),
    };
    runs.into_iter().flat_map(cursor).collect()
}

/// One input of a merge.
#[derive(Debug)]
enum Input {
    Run(RunCursor),
    Table(TableCursor),
}

impl Input {
    fn cursor(&mut self) -> &mut dyn Cursor {
        match self {
            Input::Run(cursor) => cursor,
            Input::Table(cursor) => cursor,
        }
    }
}

impl Cursor for Input {
    fn seek(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        self.cursor().seek(user_key, seq)
    }

    fn seek_back(&mut self, user_key: &[u8], seq: SeqNo) -> Result<()> {
        self.cursor().seek_back(user_key, seq)
    }

    fn first(&mut self) -> Result<()> {
        self.cursor().first()
    }

    fn last(&mut self) -> Result<()> {
        self.cursor().last()
    }

    fn next(&mut self) -> Result<()> {
        match self {
            Input::Run(cursor) => cursor.next(),
            Input::Table(cursor) => cursor.next(),
        }
    }

    fn prev(&mut self) -> Result<()> {
        self.cursor().prev()
    }

    fn entry(&self) -> Option<Entry<'_>> {
        match self {
            Input::Run(cursor) => cursor.entry(),
            Input::Table(cursor) => cursor.entry(),
        }
    }

    fn value(&self) -> Option<Slice> {
        match self {
            Input::Run(cursor) => cursor.value(),
            Input::Table(cursor) => cursor.value(),
        }
    }
}
