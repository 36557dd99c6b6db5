//! A member: the core, its log on a disk, and a store over a real engine, driven as the runtime
//! drives them, by one thread and a seed.
//!
//! ```text
//!   message, call ─► Raft ─► write ─► log, durable later ─► Stored ─► Raft ─► messages
//!                      │
//!                      └─► committed ─► jobs ─► Store ─► answers, lessor
//!                                        └─► save the engine ─► shorten the log
//! ```
//!
//! What takes time takes simulated time, and whatever is under way may be cut off by a crash:
//! writes, applying, saving the engine, writing a state for a peer, taking one over.

mod duty;
mod perform;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use drystone_kv::command::{RangeRequest, Txn};
use drystone_kv::engines::AnyEngine;
use drystone_kv::lease::Lease;
use drystone_kv::reply::{RangeReply, Reply, TxnReply};
use drystone_kv::runtime::parts::{Folder, Lessor, Origin, seal, take_over};
use drystone_kv::{Checkpoint, LeaseId, Refusal, Store};
use drystone_raft::store::Store as Log;
use drystone_raft::{
    Boot, Entry, Index, Input, Message, Position, Raft, Role, SnapshotMeta, Term, WriteId,
};
use drystone_sim::{self as sim, NodeId, OutboxOf, Process, Rng};
use drystone_vfs::{Clock as _, SimClock};
use drystone_wal::Commit;

use crate::disk::{Disk, GROUP, spoil};
use crate::flaw::Flaw;

pub(crate) type Out<'a> = OutboxOf<'a, Member>;

/// The name that a client gives to what it asks.
pub(crate) type Call = u64;

/// What members send each other.
#[derive(Debug, Clone)]
pub(crate) enum Parcel {
    Raft(Box<Message>),
    /// A command that is handed on, in its envelope.
    Propose(Call, Bytes),
    KeepAlive(Call, LeaseId),
    Kept(Call, Option<i64>),
    /// Send me this state.
    Pull(Position),
    Push(Position, Arc<Vec<u8>>),
}

/// What a client asks.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Command(Bytes),
    /// A read that a quorum confirms.
    Linear(Look),
    /// A read of what the member happens to have.
    Serial(Look),
    KeepAlive(LeaseId),
}

/// What a read is of.
#[derive(Debug, Clone)]
pub(crate) enum Look {
    Range(RangeRequest),
    /// One that only reads.
    Txn(Txn),
    Lease(LeaseId),
}

/// What a read has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Range(RangeReply),
    Txn(TxnReply),
    Lease(Option<Lease>),
}

/// What a client is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// What became of a command, and where it stands in the log.
    Applied(Index, Result<Reply, Refusal>),
    /// What a read has found once everything up to there was applied.
    Read(Index, Result<Seen, Refusal>),
    KeptAlive(Option<i64>),
    /// Certainly not done.
    NotDone,
}

/// What happens at a member by itself.
#[derive(Debug)]
pub(crate) enum Event {
    Stored,
    Load {
        to: u64,
        after: Index,
        through: Index,
        bytes_max: usize,
    },
    /// The next job is done.
    Work,
    Tidy,
    Save,
    Saved(Option<Index>),
    Write(SnapshotMeta, Frozen),
    Written(Option<SnapshotMeta>),
    Open(u64),
    NoSnapshot,
    Duty,
    Ask(Call, Ask),
    Feed(Box<Input>),
}

/// A state that does not change any more.
pub(crate) struct Frozen(Checkpoint<AnyEngine>);

impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state at {}", self.0.applied())
    }
}

/// Who waits for a ticket.
#[derive(Debug)]
enum Waiting {
    Command(Call),
    Linear(Call, Look),
    Office(Call, NodeId, LeaseId, Term),
    TakeUp(Term),
    Revoke(LeaseId),
}

/// Something to do with the state, in order.
#[derive(Debug)]
enum Job {
    Apply { entries: Option<Vec<Entry>>, through: Index, replies: Vec<(Index, Waiting)> },
    Wait(Index, Waiting),
    Restore(SnapshotMeta),
}

/// Something that was handed to the log, and may not be durable yet.
#[derive(Debug)]
struct Order {
    write: Option<WriteId>,
    commit: Commit,
    base: Option<Index>,
}

/// What is under way beside applying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saving {
    Nothing,
    State,
    Itself,
}

/// What a start finds on a disk.
struct Found {
    folder: Folder,
    store: Arc<Store<AnyEngine>>,
    log: Log,
    boot: Boot,
    /// What the engine had.
    kept: Index,
    applied: Index,
    /// It had less than the log needs, and was given a state that had come from another.
    restored: bool,
}

impl Found {
    fn on(disk: &mut Disk, clock: &Arc<SimClock>) -> Result<Found, Box<dyn std::error::Error>> {
        let (folder, engine, log) = disk.open(clock)?;
        let store = Arc::new(Store::open(engine)?);
        let kept = Index(store.status().applied);
        let mut restored = false;
        let (boot, applied) = log.restore(disk.id, GROUP, kept, |reader| {
            restored = true;
            take_over(&store, &folder, reader).map(drop)
        })?;
        Ok(Found { folder, store, log, boot, kept, applied, restored })
    }
}

/// A member. Invariant: its store never stands before what it has shown in this life.
pub(crate) struct Member {
    pub(crate) raft: Raft,
    pub(crate) store: Arc<Store<AnyEngine>>,
    disk: Disk,
    log: Log,
    folder: Folder,
    lessor: Lessor,
    clock: Arc<SimClock>,
    applied: Index,
    orders: VecDeque<Order>,
    jobs: VecDeque<Job>,
    /// What waits for entries that cannot be read.
    stalled: VecDeque<Job>,
    working: bool,
    tickets: BTreeMap<u64, Waiting>,
    ticket_next: u64,
    handed_on: BTreeSet<Call>,
    /// What was handed to this member: a stream delivers once, the simulated network may not.
    taken: BTreeSet<Call>,
    waiting: Vec<(Index, Waiting)>,
    saving: Saving,
    unsaved: u64,
    pressed: bool,
    wanted: bool,
    crowding: bool,
    wanting: Vec<u64>,
    leaving: Vec<Weak<AnyEngine>>,
    /// The last command, for a flaw that applies it again.
    last_command: Option<Bytes>,
    /// When the table of members may be proposed again.
    found_at: u64,
    /// Answers that nobody has fetched.
    pub(crate) answers: Vec<(Call, Told)>,
    /// Entries handled since somebody looked.
    pub(crate) news: Vec<Entry>,
    /// States of others that took the place of its own.
    pub(crate) taken_over: u64,
    /// What its disk has refused: it has to start anew.
    pub(crate) refused: Option<String>,
}

impl Process for Member {
    type Message = Parcel;
    type Event = Event;
    type Disk = Disk;

    fn start(id: NodeId, mut disk: Disk, now: u64, out: &mut Out<'_>) -> Member {
        let clock = Arc::new(SimClock::default());
        clock.advance(Duration::from_millis(now * 10));
        let hurried = disk.starts > 0 && out.rng().below(6) == 0;
        if hurried {
            disk.vfs.power_cut_after(out.rng().below(60));
        }
        let found = Found::on(&mut disk, &clock).and_then(|found| {
            // It may have failed where nothing depends on it: at a file that is not needed.
            disk.vfs.has_power().then_some(found).ok_or_else(|| "the power failed".into())
        });
        let found = found.unwrap_or_else(|error| {
            let told = hurried || disk.cut_at_sync.is_some();
            assert!(told, "{id}: what a crash leaves cannot be opened: {}", chain(&*error));
            disk.cut_at_sync = None;
            disk.vfs = disk.vfs.crash();
            Found::on(&mut disk, &clock).expect("what a second crash leaves can be opened")
        });
        disk.vfs.power_cut_after(u64::MAX);
        let Found { folder, store, log, boot, kept, applied, restored } = found;
        assert!(log.damage().is_none(), "{id}: a crash was taken for damage: {:?}", log.damage());
        let base = log.base(GROUP).expect("the group is there").last.index;
        assert!(applied >= base, "{id}: the engine has {kept}, and the log begins behind {base}");
        let seed = out.rng().draw();
        let config = Arc::clone(&disk.ways.config);
        let raft = Raft::restore(disk.id, config, boot, now, seed).expect("the options are sound");
        assert!(raft.is_sound(), "{id}: a crash was taken for damage");
        out.later(1, Event::Duty);
        Member {
            raft,
            store,
            log,
            folder,
            lessor: Lessor::new(Arc::clone(&clock) as _),
            clock,
            applied,
            orders: VecDeque::new(),
            jobs: VecDeque::new(),
            stalled: VecDeque::new(),
            working: false,
            tickets: BTreeMap::new(),
            ticket_next: 0,
            handed_on: BTreeSet::new(),
            taken: BTreeSet::new(),
            waiting: Vec::new(),
            saving: Saving::Nothing,
            unsaved: 0,
            pressed: false,
            wanted: false,
            crowding: false,
            wanting: Vec::new(),
            leaving: Vec::new(),
            last_command: None,
            found_at: 0,
            answers: Vec::new(),
            news: Vec::new(),
            taken_over: u64::from(restored),
            refused: None,
            disk,
        }
    }

    fn step(&mut self, now: u64, input: sim::InputOf<Self>, out: &mut Out<'_>) {
        let time = Duration::from_millis(now * 10);
        self.clock.advance(time.saturating_sub(self.clock.monotonic()));
        if self.refused.is_some() {
            return;
        }
        match input {
            sim::Input::Message { from, message } => self.receive(now, from, message, out),
            sim::Input::Event(event) => self.occur(now, event, out),
            sim::Input::Wake => self.feed(now, None, out),
        }
    }

    fn deadline(&self) -> Option<u64> {
        if self.refused.is_some() { None } else { self.raft.deadline() }
    }

    fn crash(mut self, rng: &mut Rng) -> Disk {
        let kind = rng.below(4);
        let ends_itself = self.refused.is_some() && self.disk.failing;
        let killed = (kind == 0 && self.refused.is_none() || kind < 2 && ends_itself)
            .then(|| self.disk.vfs.kill_copy());
        if kind > 1 && self.refused.is_none() {
            self.disk.vfs.power_cut_after(rng.below(6));
            let at = usize::try_from(rng.below(self.orders.len() as u64 + 1)).unwrap_or(0);
            // Whether it comes to an end is for the power to say.
            let _ = self.orders.drain(..at).try_for_each(|order| order.commit.wait().map(drop));
            if kind == 2 {
                let _ = self.store.persist();
            }
        }
        let left = killed.unwrap_or_else(|| self.disk.vfs.crash());
        let Member { mut disk, orders, log, store, folder, .. } = self;
        // What these write as they go, they write to a disk that nobody will see.
        drop((orders, log, store, folder));
        disk.vfs = left;
        disk.vfs.set_capacity_bytes(None);
        (disk.cut_at_sync, disk.failing) = (None, false);
        if rng.below(4) == 0 {
            disk.vfs.power_cut_after(rng.below(30));
            let opened = disk.open(&Arc::default());
            let left = disk.vfs.crash();
            drop(opened);
            disk.vfs = left;
        }
        disk
    }
}

impl Member {
    fn receive(&mut self, now: u64, from: NodeId, parcel: Parcel, out: &mut Out<'_>) {
        match parcel {
            Parcel::Raft(message) => self.feed(now, Some(Input::Peer(*message)), out),
            Parcel::Propose(call, data) => {
                if self.taken.insert(call) {
                    let ticket = self.ticket(None);
                    self.feed(now, Some(Input::Propose { ticket, data }), out);
                }
            }
            Parcel::KeepAlive(call, lease) => self.keep_alive(now, call, from, lease, out),
            Parcel::Kept(call, ttl) => self.answers.push((call, Told::KeptAlive(ttl))),
            Parcel::Pull(position) => {
                if let Some(bytes) = self.read_snapshot(position) {
                    out.send(from, Parcel::Push(position, Arc::new(bytes)));
                }
            }
            Parcel::Push(position, bytes) => {
                let meta = self.receive_snapshot(position, &bytes);
                self.feed(now, Some(Input::SnapshotFetched(meta)), out);
            }
        }
    }

    /// Takes a call of a client.
    fn ask(&mut self, now: u64, call: Call, ask: Ask, out: &mut Out<'_>) {
        let leads = self.raft.role() == Role::Leader;
        let leader = self.raft.leader().filter(|leader| *leader != self.disk.id);
        match ask {
            Ask::Command(data) if leads => {
                let ticket = self.ticket(Some(Waiting::Command(call)));
                self.feed(now, Some(Input::Propose { ticket, data }), out);
                if self.disk.flaw == Some(Flaw::EarlyAnswer) && self.raft.role() == Role::Leader {
                    let revision = self.store.revision() + 1;
                    let put = drystone_kv::reply::PutReply { revision, prev: None };
                    let told = Told::Applied(self.raft.last().index, Ok(Reply::Put(put)));
                    self.answers.push((call, told));
                }
            }
            Ask::Command(data) => {
                let Some(leader) = leader else { return self.answers.push((call, Told::NotDone)) };
                let origin = Origin { member: self.disk.id, serial: call };
                self.handed_on.insert(call);
                let sealed = seal(origin, &data);
                out.send(node(leader), Parcel::Propose(call, sealed));
            }
            Ask::Linear(look) if self.disk.flaw != Some(Flaw::LocalRead) => {
                let ticket = self.ticket(Some(Waiting::Linear(call, look)));
                let mode = drystone_raft::ReadMode::Index;
                self.feed(now, Some(Input::Read { ticket, mode }), out);
            }
            Ask::Linear(look) | Ask::Serial(look) => self.read(call, &look),
            Ask::KeepAlive(lease) if leads => self.keep_alive(now, call, out.me(), lease, out),
            Ask::KeepAlive(lease) => match leader {
                Some(leader) => out.send(node(leader), Parcel::KeepAlive(call, lease)),
                None => self.answers.push((call, Told::NotDone)),
            },
        }
    }

    fn read(&mut self, call: Call, look: &Look) {
        if self.refused.is_some() {
            return;
        }
        let seen = match look {
            Look::Range(request) => self.store.range(request).map(Seen::Range),
            Look::Txn(txn) => self.store.read_txn(txn).map(Seen::Txn),
            Look::Lease(id) => Ok(Seen::Lease(self.store.lease(*id))),
        };
        let told = match seen {
            Ok(seen) => Ok(seen),
            Err(drystone_kv::Error::Refused(why)) => Err(why),
            Err(error) => return self.refuse("read", &error),
        };
        self.answers.push((call, Told::Read(self.applied, told)));
    }

    /// Its disk has refused something.
    fn refuse(&mut self, what: &str, why: &dyn std::error::Error) {
        self.refused.get_or_insert_with(|| format!("{what}: {}", chain(why)));
    }

    /// What a disk has given, or notes what it has refused.
    fn heed<T, E: std::error::Error>(&mut self, what: &str, given: Result<T, E>) -> Option<T> {
        given.map_err(|error| self.refuse(what, &error)).ok()
    }

    /// Its log and its table agree on who the members are.
    pub(crate) fn is_settled(&self) -> bool {
        let table = self.store.cluster();
        let group = self.raft.members();
        let voters = group.members().iter().map(|member| member.id);
        table.id.is_some()
            && !group.is_joint()
            && voters.eq(table.members.iter().map(|member| member.id))
            && table.members.iter().all(|member| group.is_voter(member.id) != member.is_learner)
    }

    /// The last entry whose effect its state has, or that has none.
    pub(crate) fn applied(&self) -> Index {
        self.applied
    }

    /// Which of its lives this is.
    pub(crate) fn life(&self) -> u64 {
        self.disk.starts
    }

    /// Some calls to the disk fail from now on, or it takes hardly anything more.
    pub(crate) fn spoil(&mut self, rng: &mut Rng) {
        self.disk.failing = true;
        spoil(&self.disk.vfs, rng);
    }

    /// The disk is as good as new.
    pub(crate) fn mend(&mut self) {
        self.disk.failing = false;
        self.disk.vfs.heal();
        self.disk.vfs.set_capacity_bytes(None);
    }

    /// Whether the power has not failed.
    pub(crate) fn has_power(&self) -> bool {
        self.disk.vfs.has_power()
    }

    /// The power fails after so many more calls.
    pub(crate) fn cut_after(&self, calls: u64) {
        self.disk.vfs.power_cut_after(calls);
    }
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A member's node.
pub(crate) fn node(id: u64) -> NodeId {
    NodeId(u32::try_from(id).expect("ids are small here"))
}
