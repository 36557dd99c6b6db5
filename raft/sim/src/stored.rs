//! A disk that is the real thing: the store that nodes run on, over a file system that loses what
//! was not synced, tears what was being written, and dies between any two calls.
//!
//! ```text
//!     member ─► Stored ─► raft::store ─► wal, snapshot files ─► SimVfs
//!                  │                                              │
//!                  └── crash: a kill, or the power, at any call ──┘
//! ```
//!
//! What the model's writes are by definition (whole, in order, there once they were reported) is
//! here what the store has to make of its files. A crash is one of three: the process is killed,
//! and all that it wrote is there; the power fails, and of what was not synced a part is; or it
//! fails within the next few calls, while a write is under way. Now and then it fails again while
//! the store is being opened.
//!
//! Everything happens on one thread, and a seed is one run: the log is written by whoever waits
//! for it (`Writer::Caller`), and each opening has a name of its own, so that what an earlier one
//! left in a file is never taken for what this one wrote.
//!
//! Calls fail, and what was synced goes bad, as far as the store must notice: `stored/harm.rs`.
//! Another group's records lie between those of the group that is looked at:
//! `stored/neighbour.rs`.

mod harm;
mod holdings;
mod neighbour;

use std::collections::VecDeque;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drystone_raft::store::{GroupId, Options, Store};
use drystone_raft::{Configuration, Entry, Index, Position, Suffrage, Term, Write, WriteId};
use drystone_sim::Rng;
use drystone_vfs::{Fault, OpenMode, SimClock, SimVfs, Vfs as _};
use drystone_wal::{Commit, Writer};

use crate::disk::{Disk, Opened, Refused, Snapshot, Start, Unread};
use crate::holdings::Holdings;
use crate::machine::StateMachine;
use neighbour::Neighbour;

pub use harm::Rot;

const GROUP: GroupId = GroupId(7);
const DIR: &str = "store";
const UP: &str = "its node is up";

/// Something that was handed to the store, and may not be durable yet.
#[derive(Debug)]
struct Order {
    /// Which write it is; a compaction is none.
    id: Option<WriteId>,
    commit: Commit,
    vote: Option<(Term, Option<u64>)>,
    /// How far the other group is durable then.
    neighbour: Index,
    /// The log begins here once it is durable.
    base: Index,
}

/// How large things are, for this disk.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    segment_bytes: u64,
    log_bytes: u64,
    moved_bytes_max: u64,
}

/// A disk with the real store on it.
#[derive(Debug)]
pub struct Stored<S> {
    vfs: SimVfs,
    /// While its node is up.
    store: Option<Store>,
    founders: Configuration,
    sizes: Sizes,
    seed: u64,
    /// Whose it is, once it has started.
    id: u64,
    starts: u64,
    orders: VecDeque<Order>,
    vote: (Term, Option<u64>),
    /// The log begins here, whatever happens.
    base: Index,
    newest: Index,
    neighbour: Neighbour,
    /// Files that went bad while a node was at work, or since.
    hurt: Vec<PathBuf>,
    unhurt: bool,
    state: std::marker::PhantomData<S>,
}

/// A snapshot on its way: the bytes of its file.
#[derive(Debug, Clone)]
pub struct File {
    position: Position,
    bytes: Vec<u8>,
}

impl<S: StateMachine> Stored<S> {
    /// An empty disk of a member of a group that begins with these members.
    pub fn new(members: Configuration, rng: &mut Rng) -> Stored<S> {
        let sizes = Sizes {
            segment_bytes: *rng.pick(&[16 << 10, 32 << 10, 64 << 10]),
            log_bytes: *rng.pick(&[0, 32 << 10, 64 << 10, 256 << 10]),
            moved_bytes_max: *rng.pick(&[2 << 10, 16 << 10, 1 << 20]),
        };
        let seed = rng.draw();
        Stored {
            vfs: SimVfs::new(seed),
            store: None,
            founders: members,
            sizes,
            seed,
            id: 0,
            starts: 0,
            orders: VecDeque::new(),
            vote: (Term(0), None),
            base: Index(0),
            newest: Index(0),
            neighbour: Neighbour::new(rng.fork("neighbour")),
            hurt: Vec::new(),
            unhurt: true,
            state: std::marker::PhantomData,
        }
    }

    /// Opens the store, as a new process would.
    fn open(&mut self) -> drystone_raft::store::Result<Store> {
        self.starts += 1;
        let wal = drystone_wal::Options::default()
            .writer(Writer::Caller)
            .segment_bytes(self.sizes.segment_bytes)
            .log_id(self.seed ^ self.starts.rotate_left(32));
        let clock = SimClock::default();
        clock.advance(Duration::from_millis(self.starts));
        let Sizes { log_bytes, moved_bytes_max, .. } = self.sizes;
        let options =
            Options { wal, clock: Arc::new(clock), log_bytes, moved_bytes_max, log_dir: None };
        let store = Store::open(Arc::new(self.vfs.clone()), Path::new(DIR), options)?;
        if !store.groups().contains(&GROUP) {
            store.create(GROUP, self.founders.clone())?;
        }
        Ok(store)
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect(UP)
    }

    /// Opens the store, and reads what a node starts with.
    fn try_start(&mut self) -> drystone_raft::store::Result<Start<S>> {
        let store = self.open()?;
        let mut found = None;
        let (boot, _) = store.restore(self.id, GROUP, Index(0), |reader| {
            found = Some((reader.meta().clone(), read_state(reader)?));
            Ok(())
        })?;
        let base = store.base(GROUP).expect("the group is there");
        let witness = base.configuration.member(self.id);
        let witness = witness.is_some_and(|member| member.suffrage == Suffrage::Witness);
        let lost = found.is_none() && base.last.index > Index(0) && !witness;
        self.base = base.last.index;
        self.newest = found.as_ref().map_or(Index(0), |(meta, _)| meta.last.index);
        let fresh = base.last.index == Index(0);
        let (meta, (state, whole)) = found.unwrap_or((base, (S::default(), fresh)));
        self.store = Some(store);
        Ok(Start { boot, snapshot: Snapshot { meta, state: Arc::new(state), whole }, lost })
    }

    /// Everything in front of the queue that `is_meant` is made durable.
    fn complete_while(&mut self, is_meant: impl Fn(&Order) -> bool) -> Result<(), Refused> {
        while self.orders.front().is_some_and(&is_meant) {
            let order = self.orders.pop_front().expect("the first was looked at");
            order.commit.wait().map_err(|_| Refused)?;
            self.vote = order.vote.unwrap_or(self.vote);
            self.neighbour.complete(order.neighbour);
            self.base = self.base.max(order.base);
        }
        Ok(())
    }

    /// The newest snapshot in the store, as its file has it.
    fn newest_file(&self) -> Option<Snapshot<S>> {
        let meta = self.store().snapshots().newest(GROUP).ok()??;
        let mut reader = self.store().snapshots().read(GROUP, meta.last).ok()?;
        let (state, whole) = read_state(&mut reader).ok()?;
        Some(Snapshot { meta, state: Arc::new(state), whole })
    }
}

fn is_snapshot(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "snap" || ending == "fetched")
}

/// What is in a snapshot: whether it is whole, and the state.
fn read_state<S: StateMachine>(reader: &mut impl Read) -> std::io::Result<(S, bool)> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    let read = bytes.split_first().and_then(|(whole, state)| Some((S::load(state)?, *whole == 1)));
    read.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

impl<S: StateMachine> Disk<S> for Stored<S> {
    type Parcel = File;
    type Rot = Rot;
    const TIDIES: bool = true;

    fn start(&mut self, id: u64) -> Start<S> {
        self.id = id;
        let start = self.try_start().expect("what is left can be opened");
        let store = self.store.as_ref().expect("it was opened");
        let damage = store.damage();
        assert!(damage.is_none() || !self.unhurt, "a crash was taken for damage: {damage:?}");
        let went_bad = self.hurt.iter().any(|path| !is_snapshot(path));
        self.neighbour.check(store, went_bad);
        // What is bad was noticed, and is said in what the node begins with.
        self.hurt.clear();
        start
    }

    fn order(
        &mut self,
        write: Write,
        entries: Vec<Entry>,
        _snapshot: Option<Snapshot<S>>,
    ) -> Result<(), Refused> {
        let mut batch = self.store.as_ref().expect(UP).batch();
        batch.put(GROUP, &write, &entries).expect("the group is there");
        let neighbour = self.neighbour.put(&mut batch);
        let commit = batch.commit().map_err(|_| Refused)?.expect("there is a head at least");
        let vote = write.hard.as_ref().map(|hard| (hard.term, hard.vote));
        let base = write.snapshot.as_ref().map_or(Index(0), |meta| meta.last.index);
        let id = Some(write.id);
        self.orders.push_back(Order { id, commit, vote, neighbour, base });
        Ok(())
    }

    fn complete(&mut self, id: WriteId) -> Result<(), Refused> {
        self.complete_while(|order| order.id.is_none_or(|of| of <= id))
    }

    fn compact(&mut self, through: Index) -> Result<(), Refused> {
        let mut batch = self.store().batch();
        batch.compact(GROUP, through).expect("the group is there");
        if let Some(commit) = batch.commit().map_err(|_| Refused)? {
            let (vote, neighbour, base) = (None, Index(0), through);
            self.orders.push_back(Order { id: None, commit, vote, neighbour, base });
        }
        Ok(())
    }

    fn tidy(&mut self) -> bool {
        let store = self.store();
        let removed = store.snapshots().remove_before(GROUP, self.base);
        let held = store.clean();
        removed.is_ok() && held.is_ok_and(|held| held.contains(&GROUP))
    }

    fn keep(&mut self, snapshot: Snapshot<S>) -> bool {
        let Snapshot { meta, state, whole } = snapshot;
        let write = || -> std::io::Result<()> {
            let writer = self.store().snapshots().write(GROUP, &meta);
            let mut writer = writer.map_err(std::io::Error::other)?;
            writer.write_all(&[u8::from(whole)])?;
            writer.write_all(&state.save())?;
            writer.finish().map(drop).map_err(std::io::Error::other)
        };
        let kept = write().is_ok();
        if kept {
            self.newest = self.newest.max(meta.last.index);
        }
        kept
    }

    fn newest(&self) -> Index {
        self.newest
    }

    fn read(&mut self, after: Index, through: Index, most: usize) -> Result<Vec<Entry>, Unread> {
        self.load(after, through, most)
    }

    fn load(&mut self, after: Index, through: Index, most: usize) -> Result<Vec<Entry>, Unread> {
        let bytes_max = most * 100;
        match self.store().load(GROUP, after, through, bytes_max) {
            Ok(Some(mut entries)) => {
                entries.truncate(most);
                Ok(entries)
            }
            Ok(None) => Err(Unread::Damaged(after.next())),
            Err(_) => Err(Unread::Refused),
        }
    }

    fn open_snapshot(&mut self, newest: Option<Snapshot<S>>, base: Index) -> Opened {
        let file = self.newest_file().filter(|file| file.meta.last.index >= base);
        let file = file.or_else(|| {
            self.keep(newest?);
            self.newest_file()
        });
        match file {
            Some(file) if !file.whole => Opened::Unsound,
            Some(file) => match self.store().snapshots().verify(GROUP, file.meta.last) {
                Ok(true) => Opened::Open(file.meta),
                _ => Opened::Unsound,
            },
            None => Opened::Nothing,
        }
    }

    fn pull(&mut self, _newest: Option<Snapshot<S>>) -> Option<File> {
        let file = self.newest_file().filter(|file| file.whole)?;
        let (position, mut bytes) = (file.meta.last, Vec::new());
        loop {
            let offset = bytes.len() as u64;
            let part = self.store().snapshots().part(GROUP, position, offset).ok()?;
            if part.is_empty() {
                return Some(File { position, bytes });
            }
            bytes.extend(part);
        }
    }

    fn push(&mut self, parcel: File) -> Option<Snapshot<S>> {
        let File { position, bytes } = parcel;
        let mut writer = self.store().snapshots().receive(GROUP, position).ok()?;
        writer.write_all(&bytes).ok()?;
        let meta = writer.finish().ok()?;
        let mut reader = self.store().snapshots().read(GROUP, meta.last).ok()?;
        let (state, whole) = read_state(&mut reader).ok()?;
        Some(Snapshot { meta, state: Arc::new(state), whole })
    }

    fn crash(mut self, rng: &mut Rng) -> Stored<S> {
        let kind = rng.below(4);
        let mut left = if kind == 0 { Some(self.vfs.kill_copy()) } else { None };
        if kind > 1 {
            self.vfs.power_cut_after(rng.below(6));
            let at = usize::try_from(rng.below(self.orders.len() as u64 + 1)).unwrap_or(0);
            // Whether it comes to an end is for the power to say.
            let _ = self.orders.drain(..at).try_for_each(|order| order.commit.wait().map(drop));
        }
        let left = left.take().unwrap_or_else(|| self.vfs.crash());
        // What these write as they go, they write to a disk that nobody will see.
        self.orders.clear();
        self.store = None;
        self.vfs = left;
        if rng.below(4) == 0 {
            self.vfs.power_cut_after(rng.below(30));
            let opened = self.open();
            let left = self.vfs.crash();
            drop(opened);
            self.vfs = left;
        }
        self
    }

    fn life(&self) -> u64 {
        self.starts
    }

    fn vote(&self) -> (Term, Option<u64>) {
        self.vote
    }

    fn fail(&mut self, rng: &mut Rng) -> Option<Fault> {
        let fault = harm::draw_fault(rng);
        self.vfs.heal();
        self.vfs.fail(fault.clone());
        Some(fault)
    }

    fn heal(&mut self) {
        self.vfs.heal();
    }

    fn draw_rot(&self, rng: &mut Rng) -> Option<Rot> {
        Rot::draw(&self.vfs, rng)
    }

    /// A vote that was just given is at the end of the log, where its loss goes unnoticed.
    fn vote_rot(&mut self) -> Option<Rot> {
        None
    }

    fn suffer(&mut self, rot: &Rot) {
        // A failure that was ordered is for the store, not for the hand that does this.
        self.vfs.heal();
        rot.strike(&self.vfs).expect("what was drawn is there");
        self.hurt.push(rot.path.clone());
        self.unhurt = false;
    }

    fn holdings(&self, rot: Option<&Rot>) -> Option<Holdings> {
        self.find_holdings(rot)
    }

    fn is_bad(&self) -> bool {
        self.hurt.iter().any(|path| self.vfs.open(path, OpenMode::Read).is_ok())
    }

    fn is_unhurt(&self) -> bool {
        self.unhurt
    }
}
