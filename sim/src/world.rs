//! The world: nodes, a network between them, and one loop that lets things happen in order.
//!
//! ```text
//!        messages             events             alarms (deadlines in local time)
//!     ┌────┬────┬────┐    ┌────┬────┐    ┌────┬────┬────┐
//!     │ 17 │ 21 │ 40 │    │ 19 │ 30 │    │ 18 │ 25 │ 90 │
//!     └─┬──┴────┴────┘    └────┴────┘    └────┴────┴────┘
//!       └── the earliest of the three ──► step(now, input) of one node ──► new messages, events,
//!                                                                          a new deadline
//! ```
//!
//! One thing happens at a time and takes no time; time passes between. Of things from two of the
//! queues that are due at the same moment the seed draws which is first. Between two steps all
//! nodes can be read, and a test asserts there what must hold of them together: no two leaders in a
//! term, no two values in a slot.
//!
//! * A **crash** takes the process away and leaves its disk ([`Process::crash`]); events of that
//!   life never come, messages that arrive are lost. A **restart** starts a new process on the
//!   disk. Messages from before a crash may reach the process after it, as on a real network.
//! * A **pause** (SIGSTOP, a long collection, a stalled machine) stops the process and not its
//!   clock: what arrives is held back, up to [`HELD_MAX`] messages, and when it goes on it is late.
//! * A **block** stops a node's network and not its process: what it sends and what arrives for it
//!   is held, up to [`HELD_MAX`] messages each way, while its timers fire and find that nobody
//!   answers. (Dadgar et al., *Lifeguard*, 2018: a member that is starved so accuses others.)
//! * A **clock** may run fast or slow and be set: see [`Clock`](crate::Clock).
//!
//! When a test panics, the world prints its seed, how to replay it, and the last lines of its
//! trace.

mod acts;
mod node;

use crate::alarms::Alarms;
use crate::network::Network;
use crate::process::{Due, Input, Outbox, OutboxOf, Process};
use crate::rng::Rng;
use crate::seeds::Seed;
use crate::timeline::Timeline;
use crate::trace::{Mark, Trace};
use crate::types::NodeId;
use node::{Held, Node, State};

/// How many messages wait at a paused node, or at a blocked one each way; those that come later are
/// lost.
pub const HELD_MAX: usize = 1 << 16;

/// How many things may happen without time passing, or [`AT_ONCE_NODE_MAX`] for each node if that
/// is more. A protocol that comes here spins.
pub const AT_ONCE_MAX: u32 = 1 << 17;

/// How many things may happen for each node of many without time passing.
pub const AT_ONCE_NODE_MAX: u32 = 64;

/// What has just happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happened {
    /// When, in the world's time.
    pub at: u64,
    /// To which node.
    pub node: NodeId,
    /// What.
    pub what: What,
}

/// What a process was stepped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A message from this node.
    Message(NodeId),
    /// An event.
    Event,
    /// Its deadline.
    Wake,
}

/// Nodes that run processes of type `P`, and all that connects them.
///
/// Invariants:
/// * Nothing is due before `now`.
/// * A node that is up and not paused has an alarm if and only if it has a deadline; others have
///   none.
pub struct World<P: Process> {
    seed: Seed,
    now: u64,
    /// How many things have happened at `now`.
    at_once: u32,
    steps: u64,
    nodes: Vec<Node<P>>,
    network: Network<P::Message>,
    events: Timeline<Due<P::Event>>,
    alarms: Alarms,
    rng: Rng,
    ties: Rng,
    trace: Trace,
}

/// From which queue the next thing comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Message,
    Event,
    Alarm,
}

impl<P: Process> World<P> {
    /// An empty world at time 0. The seed is a number, or comes from [`Seeds`](crate::Seeds).
    pub fn new(seed: impl Into<Seed>) -> World<P> {
        let seed = seed.into();
        World {
            now: 0,
            at_once: 0,
            steps: 0,
            nodes: Vec::new(),
            network: Network::new(0, seed.rng("network")),
            events: Timeline::new(),
            alarms: Alarms::default(),
            rng: seed.rng("processes"),
            ties: seed.rng("ties"),
            trace: Trace::new(seed.is_verbose()),
            seed,
        }
    }

    /// Adds a node and starts a process on `disk`. The first node is 1. Its links are what
    /// [`Network::set_all`] said last.
    pub fn add(&mut self, disk: P::Disk) -> NodeId {
        self.add_all([disk])[0]
    }

    /// Adds nodes, and starts them when all are there, so that the first may send to the last.
    pub fn add_all(&mut self, disks: impl IntoIterator<Item = P::Disk>) -> Vec<NodeId> {
        let before = self.nodes.len();
        self.nodes.extend(disks.into_iter().map(Node::new));
        let count = self.nodes.len() - before;
        (0..count).for_each(|_| self.alarms.add());
        let ids: Vec<NodeId> = self.network.add(count).collect();
        for id in &ids {
            self.restart(*id);
        }
        ids
    }

    /// Lets the next thing happen, whenever that is; `None` if nothing ever will.
    pub fn step(&mut self) -> Option<Happened> {
        self.step_until(u64::MAX)
    }

    /// Lets the next thing happen that is due at `limit` or before. If nothing is, it is `limit`
    /// now, and the answer is `None`.
    pub fn step_until(&mut self, limit: u64) -> Option<Happened> {
        while let Some((at, source)) = self.next_source(limit) {
            self.pass(at);
            let happened = match source {
                Source::Message => self.deliver(),
                Source::Event => self.occur(),
                Source::Alarm => self.wake(),
            };
            if happened.is_some() {
                self.steps += 1;
                return happened;
            }
        }
        if limit != u64::MAX && limit > self.now {
            self.pass(limit);
        }
        None
    }

    /// Lets everything happen that is due at `limit` or before, and returns how many steps it was.
    pub fn run_until(&mut self, limit: u64) -> u64 {
        assert!(limit < u64::MAX, "a run has an end");
        let before = self.steps;
        while self.step_until(limit).is_some() {}
        self.steps - before
    }

    /// The earliest of what is due, no later than `limit`.
    #[inline]
    fn next_source(&mut self, limit: u64) -> Option<(u64, Source)> {
        let message = self.network.next_at().filter(|at| *at <= limit);
        let mut first = message.map(|at| (at, Source::Message));
        let event = self.events.next_at().filter(|at| *at <= limit);
        self.place(&mut first, event, Source::Event);
        // Whose alarm is the next is looked up only if one may come before the others.
        let alarm = self.alarms.peek(first.map_or(limit, |(at, _)| at));
        self.place(&mut first, alarm.map(|(at, _)| at), Source::Alarm);
        first
    }

    /// Puts what is due at `at` in the place of `first` if it comes before that.
    #[inline]
    fn place(&mut self, first: &mut Option<(u64, Source)>, at: Option<u64>, source: Source) {
        let Some(at) = at else { return };
        let sooner = match *first {
            None => true,
            Some((other, _)) if at == other => self.ties.draw() >> 63 == 1,
            Some((other, _)) => at < other,
        };
        if sooner {
            *first = Some((at, source));
        }
    }

    #[inline]
    fn pass(&mut self, to: u64) {
        assert!(to >= self.now, "time does not go back");
        self.at_once = if to > self.now { 0 } else { self.at_once + 1 };
        if self.at_once >= AT_ONCE_MAX {
            self.expect_no_spin(to);
        }
        self.now = to;
    }

    #[cold]
    fn expect_no_spin(&self, to: u64) {
        let most = AT_ONCE_MAX.max(self.nodes.len() as u32 * AT_ONCE_NODE_MAX);
        assert!(
            self.at_once < most,
            "{most} things happened at time {to} and it goes on: something spins"
        );
    }

    /// Takes the next message off the wire.
    fn deliver(&mut self) -> Option<Happened> {
        let parcel = self.network.unload()?;
        let (id, from) = (parcel.envelope.to, parcel.envelope.from);
        let node = &mut self.nodes[id.index()];
        let held = node.stuck.as_ref().map_or(node.held.len(), |stuck| stuck.arrived.len());
        if !node.is_up() || held >= HELD_MAX {
            self.network.take_back();
            self.trace.mark(self.now, id, Mark::Missed(from));
            return None;
        }
        if let Some(stuck) = &mut node.stuck {
            stuck.arrived.push(parcel);
            return None;
        }
        if node.paused {
            node.held.push(Held::Message(parcel));
            return None;
        }
        let message = parcel.envelope.message;
        self.trace.tell(self.now, id, Mark::Message(from), &message);
        self.input(id, Input::Message { from, message });
        Some(Happened { at: self.now, node: id, what: What::Message(from) })
    }

    /// Lets the next event happen.
    fn occur(&mut self) -> Option<Happened> {
        let (_, due) = self.events.pop().expect("an event is due");
        let id = due.node;
        let node = &mut self.nodes[id.index()];
        if due.life != node.life || !node.is_up() {
            return None;
        }
        if node.paused {
            node.held.push(Held::Event(due));
            return None;
        }
        self.trace.tell(self.now, id, Mark::Event, &due.event);
        self.input(id, Input::Event(due.event));
        Some(Happened { at: self.now, node: id, what: What::Event })
    }

    /// Wakes the node whose alarm is the next.
    fn wake(&mut self) -> Option<Happened> {
        let (_, index) = self.alarms.peek(self.now).expect("an alarm is due");
        let id = NodeId::at(index);
        self.trace.mark(self.now, id, Mark::Wake);
        self.input(id, Input::Wake);
        Some(Happened { at: self.now, node: id, what: What::Wake })
    }

    #[inline]
    fn input(&mut self, id: NodeId, input: Input<P::Message, P::Event>) {
        self.call(id, |process, now, out| process.step(now, input, out));
    }

    /// Calls into a process that is up and not paused, and asks for its deadline afterwards.
    #[inline]
    fn call<R>(
        &mut self,
        id: NodeId,
        call: impl FnOnce(&mut P, u64, &mut OutboxOf<'_, P>) -> R,
    ) -> R {
        let node = &mut self.nodes[id.index()];
        let mut out = Outbox {
            me: id,
            life: node.life,
            now: self.now,
            stuck: node.stuck.as_deref_mut(),
            network: &mut self.network,
            events: &mut self.events,
            rng: &mut self.rng,
            trace: &mut self.trace,
        };
        let local = node.clock.local(self.now);
        let State::Up(process) = &mut node.state else { panic!("{id} is down") };
        let answer = call(process, local, &mut out);
        let deadline = process.deadline();
        // An alarm that stays where it is costs nothing, unless it has just gone off.
        if deadline != node.deadline || deadline.is_some_and(|deadline| deadline <= local) {
            node.deadline = deadline;
            let at = deadline.map(|deadline| node.clock.world_of(deadline).max(self.now));
            self.alarms.set(id.index(), at);
        }
        answer
    }

    /// Sets the alarm of a node to its deadline, if it is awake.
    fn arm(&mut self, id: NodeId) {
        let node = &self.nodes[id.index()];
        let awake = node.is_up() && !node.paused;
        let deadline = node.deadline.filter(|_| awake);
        let at = deadline.map(|deadline| node.clock.world_of(deadline).max(self.now));
        self.alarms.set(id.index(), at);
    }
}

#[cfg(test)]
impl<P: Process> World<P> {
    /// Asserts the invariants above.
    pub(crate) fn check(&self) {
        let next = self.network.next_at().into_iter().chain(self.events.next_at());
        let alarms = self.ids().filter_map(|id| self.alarms.of(id.index()));
        assert!(next.chain(alarms).all(|at| at >= self.now), "something is overdue");
        for (node, id) in self.nodes.iter().zip(self.ids()) {
            let expected = node.is_up() && !node.paused && node.deadline.is_some();
            assert_eq!(self.alarms.of(id.index()).is_some(), expected, "{id}'s alarm");
            node.check();
        }
        self.network.check();
    }
}

#[cfg(test)]
mod tests;
