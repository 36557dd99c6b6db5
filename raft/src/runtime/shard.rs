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
//! and set anew. With a grid (`MultiNode`), timers ring at multiples of a fraction of the
//! heartbeat, so that the heartbeats of all groups fall into the same rounds, and thus into the
//! same parcels.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use drystone_wal::{Commit, Lsn};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Duration, Instant, sleep_until};

use crate::boot::SnapshotMeta;
use crate::configuration::Change;
use crate::effect::{Effect, Fault, Refused, Write};
use crate::input::{Input, ReadMode};
use crate::message::Message;
use crate::raft::{Raft, Role};
use crate::runtime::applier::Job;
use crate::runtime::config::NodeConfig;
use crate::runtime::courier;
use crate::runtime::group::{Status, refuse};
use crate::runtime::machine::StateMachine;
use crate::runtime::router::Peers;
use crate::runtime::seat::Seat;
use crate::runtime::tickets::{Answer, Tickets, Waiting};
use crate::runtime::transport::{Inbound, Transport};
use crate::store::{Batch, GroupId, Store};
use crate::types::{Index, NodeId, Ticket, WriteId};

/// Most requests, and most parcels, that are taken in one round.
const GATHER_MAX: usize = 1024;

/// Most snapshots and loads that report at once; those who come later wait.
pub(crate) const EVENTS_MAX: usize = 1024;

/// Bytes that are handed to the log and not durable; beyond, nothing new is taken in. Less than the
/// log's own buffers hold, so that handing on does not block.
const FLYING_BYTES_MAX: usize = 4 << 20;

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
    Add {
        group: GroupId,
        raft: Box<Raft>,
        machine: M,
        applied: Index,
        answer: oneshot::Sender<u32>,
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
    jobs: Vec<Job<M>>,
    mail: HashMap<NodeId, Vec<(GroupId, Vec<Message>)>>,
    effects: Vec<Effect>,
    /// Who waits for a snapshot that must be taken first.
    wanting: Vec<(u32, NodeId)>,
    /// Groups whose log was shortened: it may give room back.
    compacted: Vec<u32>,
    /// Groups that hold the log of all, and are being compacted for that.
    crowding: Vec<u32>,
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
    pub(crate) requests: mpsc::Receiver<Request<M>>,
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
            jobs: Vec::new(),
            mail: HashMap::new(),
            effects: Vec::new(),
            wanting: Vec::new(),
            compacted: Vec::new(),
            crowding: Vec::new(),
            serving: Arc::new(Semaphore::new(SERVED_MAX)),
            stopping: None,
        }
    }

    /// Works until it is told to stop, or nobody can reach it any more.
    pub(crate) async fn run(mut self, mut ears: Ears<M>) {
        let mut requests = Vec::with_capacity(GATHER_MAX);
        let mut inbound = Vec::with_capacity(GATHER_MAX);
        loop {
            let wake = self.wake();
            // A disk that does not keep up is not given more: to hand it on would block.
            let dry = self.flying < FLYING_BYTES_MAX;
            let room = dry && self.jobs.len() < GATHER_MAX && self.stopping.is_none();
            tokio::select! {
                biased;
                stored = stored(&mut self.flights), if !self.flights.is_empty() => {
                    self.on_stored(&stored);
                }
                event = ears.events.recv() => {
                    if let Some(event) = event { self.on_event(event) }
                }
                count = ears.inbound.recv_many(&mut inbound, GATHER_MAX), if dry => {
                    if count == 0 { break }
                }
                count = ears.requests.recv_many(&mut requests, GATHER_MAX), if room => {
                    if count == 0 { break }
                }
                permit = ears.rounds.reserve(), if !self.jobs.is_empty() => {
                    match permit {
                        Ok(permit) => permit.send(std::mem::take(&mut self.jobs)),
                        Err(_) => break,
                    }
                    continue;
                }
                () = sleep_until(wake) => {}
            }
            if !requests.is_empty() {
                // Whoever was answered with them is about to ask again.
                tokio::task::yield_now().await;
            }
            self.gather(&mut ears, &mut inbound, &mut requests, (dry, room));
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
        self.end(ears).await;
    }

    /// Takes all else that has gathered meanwhile.
    fn gather(
        &mut self,
        ears: &mut Ears<M>,
        inbound: &mut Vec<Inbound>,
        requests: &mut Vec<Request<M>>,
        (dry, room): (bool, bool),
    ) {
        while let Some(flight) = self.flights.front()
            && let Some(outcome) = flight.commit.try_wait()
        {
            self.on_stored(&outcome);
        }
        while let Ok(event) = ears.events.try_recv() {
            self.on_event(event);
        }
        while dry
            && inbound.len() < GATHER_MAX
            && let Ok(next) = ears.inbound.try_recv()
        {
            inbound.push(next);
        }
        while room
            && requests.len() < GATHER_MAX
            && let Ok(next) = ears.requests.try_recv()
        {
            requests.push(next);
        }
        for next in inbound.drain(..) {
            self.on_inbound(next);
        }
        for next in requests.drain(..) {
            self.on_request(next);
        }
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
        let Some(seat) = self.seats.get_mut(slot as usize) else { return };
        seat.inputs.push(input);
        self.touch(slot);
    }

    fn touch(&mut self, slot: u32) {
        let seat = &mut self.seats[slot as usize];
        if !seat.touched {
            seat.touched = true;
            self.touched.push(slot);
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
                Some(at) if at <= now => self.touch(slot),
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

    fn on_stored(&mut self, outcome: &drystone_wal::Result<Lsn>) {
        let Some(flight) = self.flights.pop_front() else { return };
        self.flying -= flight.bytes;
        match outcome {
            Ok(_) => {
                for (slot, id) in flight.writes {
                    self.give(slot, Input::Stored(id));
                }
            }
            Err(_) => self.fail(),
        }
    }

    /// The disk failed: for everyone.
    fn fail(&mut self) {
        self.flights.clear();
        self.flying = 0;
        for slot in 0..self.seats.len() {
            self.give(slot as u32, Input::StorageFailed);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Input { slot, input } => self.give(slot, input),
            Event::MachineFailed { slot } => self.give(slot, Input::StorageFailed),
            Event::Crowding { group } => {
                if let Some(slot) = self.slots.get(&group).copied() {
                    self.crowding.push(slot);
                    self.jobs.push(Job::Snapshot { slot });
                }
            }
            Event::NoSnapshot { slot, to } => {
                self.wanting.push((slot, to));
                self.jobs.push(Job::Snapshot { slot });
            }
            Event::Taken { slot, taken } => self.on_taken(slot, taken),
        }
    }

    /// A snapshot was taken, or could not be.
    fn on_taken(&mut self, slot: u32, taken: Option<SnapshotMeta>) {
        self.jobs.push(Job::Taken { slot });
        let wanting = std::mem::take(&mut self.wanting);
        let (mine, others) = wanting.into_iter().partition(|(of, _)| *of == slot);
        self.wanting = others;
        for (_, to) in mine {
            let open = taken.clone().map(|meta| Input::SnapshotOpen { to, meta });
            self.give(slot, open.unwrap_or(Input::SnapshotUnsound { to }));
        }
        let Some(meta) = taken else { return };
        let back = |kept: u64| Index(meta.last.index.0.saturating_sub(kept));
        let mut through = back(self.config.kept_entries);
        let mut must = back(self.config.kept_entries_max);
        if self.crowding.contains(&slot) {
            self.crowding.retain(|of| *of != slot);
            (through, must) = (meta.last.index, meta.last.index);
        }
        self.give(slot, Input::Compact { through, must });
    }

    fn on_inbound(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Messages { from, group, messages } => self.deliver(from, group, messages),
            Inbound::Many { from, mail } => {
                for (group, messages) in mail {
                    self.deliver(from, group, messages);
                }
            }
            Inbound::Fetch { group, position, offset, reply, .. } => {
                let leave = Arc::clone(&self.serving).try_acquire_owned();
                courier::serve(Arc::clone(&self.store), leave.ok(), group, position, offset, reply);
            }
            Inbound::Down(id) => {
                for slot in 0..self.seats.len() {
                    let raft = &self.seats[slot].raft;
                    if raft.leader() == Some(id) || raft.role() == Role::Leader {
                        self.give(slot as u32, Input::Unreachable(id));
                    }
                }
            }
        }
    }

    fn deliver(&mut self, from: NodeId, group: GroupId, messages: Vec<Message>) {
        let Some(slot) = self.slots.get(&group).copied() else { return };
        let seat = &mut self.seats[slot as usize];
        // Whom a message comes from is for the transport to say.
        let sound = messages.into_iter().filter(|message| message.from == from);
        seat.inputs.extend(sound.map(Input::Peer));
        self.touch(slot);
    }

    fn on_request(&mut self, request: Request<M>) {
        if self.stopping.is_some() {
            return refuse(request);
        }
        match request {
            Request::Propose { slot, data, answer } => {
                let ticket = self.tickets.issue(Waiting::Reply(answer));
                self.give(slot, Input::Propose { ticket, data });
            }
            Request::Read { slot, mode, answer } => {
                let ticket = self.tickets.issue(Waiting::Applied(answer));
                self.give(slot, Input::Read { ticket, mode });
            }
            Request::Change { slot, change, answer } => {
                let ticket = self.tickets.issue(Waiting::Done(answer));
                self.give(slot, Input::Change { ticket, change });
            }
            Request::Transfer { slot, to, answer } => {
                let ticket = self.tickets.issue(Waiting::Done(answer));
                self.give(slot, Input::Transfer { ticket, to });
            }
            Request::Campaign { slot } => self.give(slot, Input::Campaign),
            Request::Status { slot, answer } => self.answer_status(slot, answer),
            Request::Add { group, raft, machine, applied, answer } => {
                let slot = self.add(group, *raft, machine, applied);
                // Whoever went away finds the group when it asks again.
                let _ = answer.send(slot);
            }
            Request::Stop { answer } => self.begin_stop(answer),
        }
    }

    fn add(&mut self, group: GroupId, raft: Raft, machine: M, applied: Index) -> u32 {
        let slot = self.seats.len() as u32;
        let handed = raft.commit();
        let inputs = Vec::new();
        let seat = Seat { group, raft, inputs, touched: false, armed: None, handed };
        self.note_peers(&seat.raft);
        self.seats.push(seat);
        self.slots.insert(group, slot);
        self.jobs.push(Job::Add { slot, group, machine, applied });
        self.arm(slot);
        slot
    }

    fn note_peers(&self, raft: &Raft) {
        let others = raft.members().participants().into_iter().filter(|id| *id != raft.id());
        self.peers.lock().extend(others);
    }

    fn answer_status(&self, slot: u32, answer: oneshot::Sender<Status>) {
        let Some(seat) = self.seats.get(slot as usize) else { return };
        let raft = &seat.raft;
        let status = Status {
            role: raft.role(),
            leader: raft.leader(),
            hard: raft.hard(),
            commit: raft.commit(),
            last: raft.last(),
            base: raft.base(),
            members: Arc::new(raft.members().clone()),
            sound: raft.is_sound(),
        };
        // Whoever went away does not want to know.
        let _ = answer.send(status);
    }

    /// Lets every group that was touched take one step, and does what comes of it.
    fn round(&mut self) {
        let now = self.now();
        let store = Arc::clone(&self.store);
        let mut batch: Option<Batch<'_>> = None;
        let mut writes: Vec<(u32, WriteId)> = Vec::new();
        let mut touched = std::mem::take(&mut self.touched);
        for slot in touched.iter().copied() {
            let seat = &mut self.seats[slot as usize];
            seat.touched = false;
            let mut effects = std::mem::take(&mut self.effects);
            seat.raft.step(now, seat.inputs.drain(..), &mut effects);
            if seat.inputs.capacity() > INPUTS_KEPT {
                seat.inputs = Vec::new();
            }
            for effect in effects.drain(..) {
                match effect {
                    Effect::Write(write) => {
                        let batch = batch.get_or_insert_with(|| store.batch());
                        self.write(slot, &write, batch);
                        writes.push((slot, write.id));
                    }
                    Effect::Compact { through } => {
                        let batch = batch.get_or_insert_with(|| store.batch());
                        // Only a group that is not here could fail.
                        let _ = batch.compact(self.seats[slot as usize].group, through);
                        self.compacted.push(slot);
                    }
                    other => self.perform(slot, other),
                }
            }
            self.effects = effects;
            self.arm(slot);
        }
        let bytes = batch.as_ref().map_or(0, Batch::bytes);
        let committed = batch.map_or(Ok(None), Batch::commit);
        match committed {
            Ok(Some(commit)) => {
                self.flying += bytes;
                self.flights.push_back(Flight { commit, bytes, writes });
            }
            Ok(None) => {}
            Err(_) => self.fail(),
        }
        touched.clear();
        if self.touched.is_empty() {
            self.touched = touched;
        }
        for (to, mail) in self.mail.drain() {
            if let [(group, _)] = mail[..] {
                let messages = mail.into_iter().next().expect("there is one").1;
                self.transport.send(to, group, messages);
            } else {
                self.transport.send_many(to, mail);
            }
        }
        self.clean();
    }

    fn write(&mut self, slot: u32, write: &Write, batch: &mut Batch<'_>) {
        let seat = &mut self.seats[slot as usize];
        let entries = seat.raft.entries(write.append.clone());
        let entries = entries.expect("entries of a write of the last step are in memory");
        let put = batch.put(seat.group, write, entries);
        put.expect("a group that is in a shard is in the store");
        if let Some(meta) = &write.snapshot {
            seat.handed = seat.handed.max(meta.last.index);
            self.jobs.push(Job::Restore { slot, meta: meta.clone() });
            self.compacted.push(slot);
        }
    }

    fn perform(&mut self, slot: u32, effect: Effect) {
        let seat = &mut self.seats[slot as usize];
        let group = seat.group;
        match effect {
            Effect::Send(message) => {
                let mail = self.mail.entry(message.to).or_default();
                match mail.last_mut() {
                    Some((last, messages)) if *last == group => messages.push(message),
                    _ => mail.push((group, vec![message])),
                }
            }
            Effect::Commit { through } => {
                let range = seat.handed.next()..through.next();
                seat.handed = through;
                let entries = seat.raft.entries(range).map(|entries| entries.cloned().collect());
                let entries = entries.unwrap_or_default();
                self.jobs.push(Job::Apply { slot, entries, through, replies: Vec::new() });
            }
            Effect::Answer { ticket, result } => self.answer(slot, ticket, result),
            Effect::Members(_) => self.note_peers(&self.seats[slot as usize].raft),
            Effect::Load { to, after, through, bytes_max } => {
                let (store, events) = (Arc::clone(&self.store), self.events.clone());
                let wanted = courier::Wanted { to, after, through, bytes_max };
                courier::load(store, events, slot, group, wanted);
            }
            Effect::SendSnapshot { to } => {
                let (store, events) = (Arc::clone(&self.store), self.events.clone());
                courier::open(store, events, slot, group, to, seat.raft.base().index);
            }
            Effect::FetchSnapshot { from, meta } => {
                let (store, events) = (Arc::clone(&self.store), self.events.clone());
                let chunks = self.transport.fetch(from, group, meta.last, 0);
                courier::fetch(store, chunks, events, slot, group, meta.last);
            }
            Effect::Fault(fault) => self.report(group, &fault),
            Effect::Leader { .. } => {}
            Effect::Write(_) | Effect::Compact { .. } => unreachable!("these are in the batch"),
        }
    }

    fn report(&self, group: GroupId, fault: &Fault) {
        if let Some(watch) = &self.config.fault_watch {
            watch(group, fault);
        }
    }

    fn answer(&mut self, slot: u32, ticket: Ticket, result: Result<Index, Refused>) {
        // The core may hand over by itself, under a ticket that nobody took.
        let Some(waiting) = self.tickets.take(ticket) else { return };
        let index = match result {
            Ok(index) => index,
            Err(why) => return waiting.refuse(why),
        };
        match waiting {
            Waiting::Reply(answer) => {
                // The core says that it is committed before it answers, in the same step.
                match self.jobs.last_mut() {
                    Some(Job::Apply { slot: of, replies, through, .. })
                        if *of == slot && index <= *through =>
                    {
                        replies.push((index, answer));
                    }
                    _ => Waiting::<M::Reply>::Reply(answer).refuse(Refused::Unknown),
                }
            }
            Waiting::Applied(answer) => self.jobs.push(Job::Wait { slot, index, answer }),
            // Whoever went away does not want to know.
            Waiting::Done(answer) => drop(answer.send(Ok(index))),
            Waiting::Nobody => {}
        }
    }

    /// Gives room back for groups whose log was shortened.
    fn clean(&mut self) {
        if self.compacted.is_empty() {
            return;
        }
        let (store, events) = (Arc::clone(&self.store), self.events.clone());
        let base = |slot: u32| {
            let seat = &self.seats[slot as usize];
            (seat.group, seat.raft.base().index)
        };
        let bases: Vec<(GroupId, Index)> = self.compacted.drain(..).map(base).collect();
        tokio::task::spawn_blocking(move || {
            for (group, base) in bases {
                // What is left is removed the next time.
                let _ = store.snapshots().remove_before(group, base);
            }
            for group in store.clean().unwrap_or_default() {
                let _ = events.blocking_send(Event::Crowding { group });
            }
        });
    }

    /// Hands over what this node leads, and then stops.
    fn begin_stop(&mut self, answer: oneshot::Sender<()>) {
        let patience = self.config.tick * u32::try_from(self.config.raft.election).unwrap_or(1000);
        self.stopping = Some(Stopping { answer, until: Instant::now() + patience });
        for slot in 0..self.seats.len() {
            if self.seats[slot].raft.role() == Role::Leader {
                let ticket = self.tickets.issue(Waiting::Nobody);
                self.give(slot as u32, Input::Transfer { ticket, to: None });
            }
        }
        self.round();
    }

    fn may_stop(&self) -> bool {
        let Some(stopping) = &self.stopping else { return false };
        let leads = |seat: &Seat| {
            let alone = seat.raft.members().participants() == [seat.raft.id()];
            seat.raft.role() == Role::Leader && !alone
        };
        Instant::now() >= stopping.until || !self.seats.iter().any(leads)
    }

    /// Answers everyone who still waits.
    async fn end(mut self, mut ears: Ears<M>) {
        ears.requests.close();
        while let Ok(request) = ears.requests.try_recv() {
            refuse(request);
        }
        // What is committed is applied and answered; the rest may be done by the others, or not.
        let jobs = std::mem::take(&mut self.jobs);
        let _ = ears.rounds.send(jobs).await;
        for waiting in self.tickets.drain() {
            let why = match &waiting {
                Waiting::Reply(_) | Waiting::Done(_) => Refused::Unknown,
                Waiting::Applied(_) | Waiting::Nobody => Refused::Stopped,
            };
            waiting.refuse(why);
        }
        if let Some(stopping) = self.stopping {
            let _ = stopping.answer.send(());
        }
    }
}

/// A time in which something happens anyway.
const FAR: Duration = Duration::from_secs(3600);

/// Room for inputs that a group keeps between rounds.
const INPUTS_KEPT: usize = 64;

/// Waits for the oldest flight to land.
async fn stored(flights: &mut VecDeque<Flight>) -> drystone_wal::Result<Lsn> {
    let flight = flights.front_mut().expect("it is asked only while there is one");
    (&mut flight.commit).await
}
