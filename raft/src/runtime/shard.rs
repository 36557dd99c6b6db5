//! The loop that drives the cores of some groups.
//!
//! ```text
//!     wait for anything ─► take all that has gathered ─► step each group that was touched
//!          ▲                                                        │
//!          └─ parcels sent ◄─ commits handed on ◄─ one append ◄─────┘
//! ```
//!
//! A round costs what happened in it, not how many groups there are. Timers are in one heap, with
//! at most one entry for each group: a timer that was put off is looked at when its old time comes,
//! and set anew. With a grid (`MultiNode`), timers ring at multiples of a part of the heartbeat, so
//! that the heartbeats of all groups fall into the same rounds, and thus into the same parcels.

mod backlog;
mod intake;
mod round;
mod stop;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use drystone_wal::{Commit, Lsn};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Duration, Instant, sleep_until};

use crate::boot::SnapshotMeta;
use crate::configuration::Change;
use crate::effect::Effect;
use crate::entry::Entry;
use crate::input::{Input, ReadMode};
use crate::message::Message;
use crate::raft::{Raft, Role};
use crate::runtime::applier::Job;
use crate::runtime::config::NodeConfig;
use crate::runtime::group::{Rank, Status};
use crate::runtime::inbox::Outlet;
use crate::runtime::machine::StateMachine;
use crate::runtime::router::Peers;
use crate::runtime::seat::Seat;
use crate::runtime::shard::backlog::Backlog;
use crate::runtime::tickets::{Answer, Tickets};
use crate::runtime::transport::{Inbound, Transport};
use crate::store::{GroupId, Store};
use crate::types::{Index, NodeId, WriteId};

/// Most parcels that are taken in one round.
const GATHER_MAX: usize = 1024;

/// Most requests that are taken in one round. More would not save more, and fall out of the caches
/// between being taken and being sent.
const REQUESTS_MAX: usize = 512;

/// Most snapshots and loads that report at once; those who come later wait.
pub(crate) const EVENTS_MAX: usize = 1024;

/// Bytes that are handed to the log and not durable; beyond, what has to be written waits
/// (`backlog.rs`). With what is handed on at once, less than the log's own buffers hold, so that
/// handing on does not block.
const FLYING_BYTES_MAX: usize = 4 << 20;

/// Bytes that one step takes in, of messages and of requests, unless a single one has more: what it
/// writes is one write.
const STEP_BYTES_MAX: usize = 1 << 20;

/// Most snapshots that are served at once by a shard; others are told to come again.
const SERVED_MAX: usize = 8;

/// What callers want.
#[derive(Debug)]
pub(crate) enum Request<M: StateMachine> {
    Propose {
        slot: u32,
        data: Bytes,
        answer: Answer<M::Reply>,
    },
    Read {
        slot: u32,
        mode: ReadMode,
        answer: Answer<Index>,
    },
    Change {
        slot: u32,
        change: Change,
        answer: Answer<Index>,
    },
    Transfer {
        slot: u32,
        to: Option<NodeId>,
        answer: Answer<Index>,
    },
    Campaign {
        slot: u32,
    },
    Status {
        slot: u32,
        answer: oneshot::Sender<Status>,
    },
    Frugal {
        slot: u32,
        yes: bool,
    },
    Add {
        group: GroupId,
        raft: Box<Raft>,
        machine: M,
        applied: Index,
        answer: oneshot::Sender<(u32, watch::Receiver<Rank>)>,
    },
    Stop {
        answer: oneshot::Sender<()>,
    },
}

/// What comes back from tasks of this node's own.
#[derive(Debug)]
pub(crate) enum Event {
    Input {
        slot: u32,
        input: Input,
    },
    /// There is no snapshot to send to `to`: one must be taken first.
    NoSnapshot {
        slot: u32,
        to: NodeId,
    },
    /// A snapshot was taken, or could not be.
    Taken {
        slot: u32,
        taken: Option<SnapshotMeta>,
        /// Behind this the log takes no more than it may.
        must: Index,
    },
    /// A state machine has made its state durable through this entry, or could not.
    Saved {
        slot: u32,
        through: Option<Index>,
        must: Index,
    },
    /// A state machine came with its state durable through this entry.
    Kept {
        slot: u32,
        through: Index,
    },
    MachineFailed {
        slot: u32,
    },
    /// This group holds more of the log than can be moved: its log must be shortened.
    Crowding {
        group: GroupId,
    },
}

/// Writes that become durable together.
#[derive(Debug)]
struct Flight {
    commit: Commit,
    bytes: usize,
    writes: Vec<(u32, WriteId)>,
    /// By group, damaged entries that are put in their places by it.
    mended: Vec<(u32, Vec<Entry>)>,
    /// Groups whose log is shortened by it, and where it then begins.
    compacted: Vec<(GroupId, Index)>,
}

/// Some groups of a node.
pub(crate) struct Shard<M: StateMachine> {
    config: Arc<NodeConfig>,
    store: Arc<Store>,
    transport: Arc<dyn Transport>,
    peers: Peers,
    events: mpsc::Sender<Event>,
    origin: Instant,
    /// Timers ring at multiples of this many ticks.
    grid: u64,
    seats: Vec<Seat>,
    slots: HashMap<GroupId, u32>,
    touched: Vec<u32>,
    timers: BinaryHeap<Reverse<(u64, u32)>>,
    tickets: Tickets<M::Reply>,
    flights: VecDeque<Flight>,
    /// Bytes of all flights.
    flying: usize,
    /// What the log has no room for yet.
    backlog: Backlog,
    jobs: Vec<Job<M>>,
    /// Room for requests that go first.
    first: VecDeque<Request<M>>,
    mail: HashMap<NodeId, Vec<(GroupId, Vec<Message>)>>,
    effects: Vec<Effect>,
    /// Room for inputs, for groups that need much of it.
    rooms: Vec<Vec<Input>>,
    /// By group, damaged entries that are put in their places in this round.
    mended: Vec<(u32, Vec<Entry>)>,
    /// Who waits for a snapshot that must be taken first.
    wanting: Vec<(u32, NodeId)>,
    /// Groups whose log is shortened in this round, and where it then begins.
    compacted: Vec<(GroupId, Index)>,
    /// The same, when it is durable: they may give room back.
    cleanable: Vec<(GroupId, Index)>,
    /// Groups that hold the log of all, and are being compacted for that.
    crowding: Vec<u32>,
    /// The disk is nearly full: the log keeps no more than it must.
    frugal: bool,
    /// Snapshots that may be served at once.
    serving: Arc<Semaphore>,
    stopping: Option<Stopping>,
}

#[derive(Debug)]
struct Stopping {
    answer: oneshot::Sender<()>,
    until: Instant,
}

/// What a shard is made with.
pub(crate) struct Parts {
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) store: Arc<Store>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) peers: Peers,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) origin: Instant,
    pub(crate) grid: u64,
}

/// What a shard listens to.
pub(crate) struct Ears<M: StateMachine> {
    pub(crate) requests: Outlet<Request<M>>,
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) rounds: mpsc::Sender<Vec<Job<M>>>,
}

impl<M: StateMachine> Shard<M> {
    pub(crate) fn new(parts: Parts) -> Shard<M> {
        let Parts { config, store, transport, peers, events, origin, grid } = parts;
        Shard {
            config,
            store,
            transport,
            peers,
            events,
            origin,
            grid,
            seats: Vec::new(),
            slots: HashMap::new(),
            touched: Vec::new(),
            timers: BinaryHeap::new(),
            tickets: Tickets::new(),
            flights: VecDeque::new(),
            flying: 0,
            backlog: Backlog::default(),
            jobs: Vec::new(),
            first: VecDeque::new(),
            mail: HashMap::new(),
            effects: Vec::new(),
            rooms: Vec::new(),
            mended: Vec::new(),
            wanting: Vec::new(),
            compacted: Vec::new(),
            cleanable: Vec::new(),
            crowding: Vec::new(),
            frugal: false,
            serving: Arc::new(Semaphore::new(SERVED_MAX)),
            stopping: None,
        }
    }

    /// Works until it is told to stop, or nobody can reach it any more.
    pub(crate) async fn run(mut self, mut ears: Ears<M>) {
        let mut requests = VecDeque::new();
        let mut inbound = VecDeque::with_capacity(GATHER_MAX);
        loop {
            let wake = self.wake();
            // Peers are heard while the disk does not keep up; callers wait for it.
            let open = self.backlog.has_room();
            let dry = self.flying < FLYING_BYTES_MAX && self.backlog.is_empty();
            let room = dry && self.jobs.len() < GATHER_MAX && self.stopping.is_none();
            let has_more = room && !requests.is_empty() || open && !inbound.is_empty();
            tokio::select! {
                biased;
                stored = stored(&mut self.flights), if !self.flights.is_empty() => {
                    self.on_stored(&stored);
                }
                event = ears.events.recv() => {
                    if let Some(event) = event { self.on_event(event) }
                }
                next = ears.inbound.recv(), if open && inbound.is_empty() => {
                    let Some(next) = next else { break };
                    inbound.push_back(next);
                }
                () = std::future::ready(()), if has_more => {}
                () = ears.requests.filled(!room), if self.may_read() => {
                    // Whoever was answered with those who ask is about to ask again.
                    tokio::task::yield_now().await;
                }
                permit = ears.rounds.reserve(), if !self.jobs.is_empty() => {
                    match permit {
                        Ok(permit) => permit.send(std::mem::take(&mut self.jobs)),
                        Err(_) => break,
                    }
                    continue;
                }
                // The applier ends before its shard only by a panic.
                () = ears.rounds.closed() => break,
                () = sleep_until(wake) => {}
            }
            self.gather(&mut ears, &mut inbound, &mut requests, (open, room));
            self.ring();
            self.round();
            if let Ok(permit) = ears.rounds.try_reserve()
                && !self.jobs.is_empty()
            {
                permit.send(std::mem::take(&mut self.jobs));
            }
            if self.may_stop() {
                break;
            }
        }
        self.end(ears, requests).await;
    }

    /// Takes all else that has gathered meanwhile.
    fn gather(
        &mut self,
        ears: &mut Ears<M>,
        inbound: &mut VecDeque<Inbound>,
        requests: &mut VecDeque<Request<M>>,
        (open, room): (bool, bool),
    ) {
        while let Some(flight) = self.flights.front()
            && let Some(outcome) = flight.commit.try_wait()
        {
            self.on_stored(&outcome);
        }
        while let Ok(event) = ears.events.try_recv() {
            self.on_event(event);
        }
        while open
            && inbound.len() < GATHER_MAX
            && let Ok(next) = ears.inbound.try_recv()
        {
            inbound.push_back(next);
        }
        if room && requests.is_empty() {
            ears.requests.take(requests);
        }
        let mut bytes = 0;
        while open
            && bytes < STEP_BYTES_MAX
            && let Some(next) = inbound.pop_front()
        {
            bytes += Self::bytes_of(&next);
            self.on_inbound(next);
        }
        if self.may_read() {
            let mut first = std::mem::take(&mut self.first);
            ears.requests.take_first(&mut first);
            for next in first.drain(..) {
                self.on_request(next);
            }
            self.first = first;
        }
        let (mut bytes, mut left) = (0, if room { REQUESTS_MAX } else { 0 });
        while left > 0
            && bytes < STEP_BYTES_MAX
            && let Some(next) = requests.pop_front()
        {
            if let Request::Propose { data, .. } = &next {
                bytes += data.len();
            }
            left -= 1;
            self.on_request(next);
        }
    }

    /// Whether reads are taken in: they write nothing, so that they need not wait for the disk.
    fn may_read(&self) -> bool {
        self.jobs.len() < GATHER_MAX && self.stopping.is_none()
    }

    fn now(&self) -> u64 {
        let ticks = self.origin.elapsed().as_nanos() / self.config.tick.as_nanos().max(1);
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    /// When to wake if nothing happens.
    fn wake(&self) -> Instant {
        let next = self.timers.peek().map(|Reverse((at, _))| *at);
        let next = next.map_or_else(
            || Instant::now() + FAR,
            |at| {
                let at = at.div_ceil(self.grid) * self.grid;
                let tick = u64::try_from(self.config.tick.as_nanos()).unwrap_or(u64::MAX);
                self.origin + Duration::from_nanos(at.saturating_mul(tick)).min(FAR * 24 * 365)
            },
        );
        self.stopping.as_ref().map_or(next, |stopping| next.min(stopping.until))
    }

    fn give(&mut self, slot: u32, input: Input) {
        if (slot as usize) < self.seats.len() {
            self.touch(slot);
            self.seats[slot as usize].inputs.push(input);
        }
    }

    fn touch(&mut self, slot: u32) {
        let seat = &mut self.seats[slot as usize];
        if !seat.touched {
            seat.touched = true;
            self.touched.push(slot);
            if seat.inputs.capacity() == 0 {
                seat.inputs = self.rooms.pop().unwrap_or_default();
            }
        }
    }

    /// Touches the groups whose time has come.
    fn ring(&mut self) {
        let now = self.now();
        while let Some(Reverse((at, slot))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            let seat = &mut self.seats[slot as usize];
            seat.armed = None;
            match seat.raft.deadline() {
                Some(at) if at <= now => {
                    let is_late = now - at > seat.raft.config.heartbeat;
                    let leads = seat.raft.role() == Role::Leader;
                    seat.late_heartbeats += u64::from(is_late && leads);
                    self.touch(slot);
                }
                _ => self.arm(slot),
            }
        }
    }

    /// Sets the clock for a group, unless it is set for an earlier time already.
    fn arm(&mut self, slot: u32) {
        let seat = &mut self.seats[slot as usize];
        if let Some(at) = seat.raft.deadline()
            && seat.armed.is_none_or(|armed| at < armed)
        {
            seat.armed = Some(at);
            self.timers.push(Reverse((at, slot)));
        }
    }
}

/// A time in which something happens anyway.
const FAR: Duration = Duration::from_secs(3600);

/// Room for inputs that a group keeps between rounds. More of it is lent.
const INPUTS_KEPT: usize = 64;

/// How often such room is kept for the next round.
const ROOMS_KEPT: usize = 8;

/// Waits for the oldest flight to land.
async fn stored(flights: &mut VecDeque<Flight>) -> drystone_wal::Result<Lsn> {
    let flight = flights.front_mut().expect("it is asked only while there is one");
    (&mut flight.commit).await
}
