//! What a test, or trouble, does to the world; and what it may read there.

use std::fmt;
use std::mem;
use std::thread;

use super::{Held, Node, State, World};
use crate::clock::Clock;
use crate::network::Network;
use crate::process::{Due, Outbox, OutboxOf, Process, Stuck};
use crate::seeds::Seed;
use crate::shape::Shape;
use crate::trace::Mark;
use crate::types::NodeId;

/// The line of a trace that concerns no node.
const NOBODY: NodeId = NodeId(0);

impl<P: Process> World<P> {
    /// Calls into the process of a node, as a client beside it would, and sends what it sends.
    /// `None` if the node is down or paused.
    pub fn with<R>(
        &mut self,
        id: NodeId,
        call: impl FnOnce(&mut P, u64, &mut OutboxOf<'_, P>) -> R,
    ) -> Option<R> {
        if !self.is_up(id) || self.is_paused(id) {
            return None;
        }
        self.trace.mark(self.now, id, Mark::Act);
        Some(self.call(id, call))
    }

    /// Orders an event for a node after `delay` ticks. It is lost if the node is down, or crashes
    /// before.
    pub fn later(&mut self, id: NodeId, delay: u64, event: P::Event) {
        let due = Due { node: id, life: self.node(id).life, event };
        self.events.push(self.now + delay, due);
    }

    /// Takes the process away and keeps its disk. False if the node is down already.
    pub fn crash(&mut self, id: NodeId) -> bool {
        if !self.is_up(id) {
            return false;
        }
        self.trace.mark(self.now, id, Mark::Crash);
        let node = &mut self.nodes[id.index()];
        let State::Up(process) = mem::replace(&mut node.state, State::Between) else {
            unreachable!("the node is up")
        };
        node.state = State::Down(process.crash(&mut self.rng));
        node.paused = false;
        node.deadline = None;
        if let Some(stuck) = node.stuck.take() {
            stuck.out.iter().for_each(|_| self.network.drop_unsent());
            stuck.arrived.iter().for_each(|_| self.network.take_back());
        }
        for held in mem::take(&mut node.held) {
            if matches!(held, Held::Message(_)) {
                self.network.take_back();
            }
        }
        self.arm(id);
        true
    }

    /// Starts a process on the disk of a node that is down. False if it is up.
    pub fn restart(&mut self, id: NodeId) -> bool {
        if self.is_up(id) {
            return false;
        }
        self.trace.mark(self.now, id, Mark::Start);
        let node = &mut self.nodes[id.index()];
        let State::Down(disk) = mem::replace(&mut node.state, State::Between) else {
            unreachable!("the node is down")
        };
        node.life += 1;
        let mut out = Outbox {
            me: id,
            life: node.life,
            now: self.now,
            stuck: None,
            network: &mut self.network,
            events: &mut self.events,
            rng: &mut self.rng,
            trace: &mut self.trace,
        };
        let process = P::start(id, disk, node.clock.local(self.now), &mut out);
        node.deadline = process.deadline();
        node.state = State::Up(process);
        self.arm(id);
        true
    }

    /// Stops a process and not its clock. False if it is down or paused.
    pub fn pause(&mut self, id: NodeId) -> bool {
        if !self.is_up(id) || self.is_paused(id) {
            return false;
        }
        self.trace.mark(self.now, id, Mark::Pause);
        self.nodes[id.index()].paused = true;
        self.arm(id);
        true
    }

    /// Lets a paused process go on: what was held back reaches it now, in the order in which it
    /// came. False if it is not paused.
    pub fn resume(&mut self, id: NodeId) -> bool {
        if !self.is_paused(id) {
            return false;
        }
        self.trace.mark(self.now, id, Mark::Resume);
        let node = &mut self.nodes[id.index()];
        node.paused = false;
        let mut parcels = Vec::new();
        for held in mem::take(&mut node.held) {
            match held {
                Held::Message(parcel) => parcels.push(parcel),
                Held::Event(due) => self.events.push(self.now, due),
            }
        }
        self.network.put_back(self.now, parcels);
        self.arm(id);
        true
    }

    /// Stops the network of a node and not its process: what it sends, to itself too, and what
    /// arrives for it is held until [`unblock`](World::unblock), while its timers and events go on.
    /// A crash ends it and loses what is held. False if the node is down or blocked.
    pub fn block(&mut self, id: NodeId) -> bool {
        if !self.is_up(id) || self.is_blocked(id) {
            return false;
        }
        self.trace.mark(self.now, id, Mark::Block);
        let node = &mut self.nodes[id.index()];
        // What a pause holds arrived before all that is to be held here, and must not fall behind.
        let (mut arrived, mut events) = (Vec::new(), Vec::new());
        for held in mem::take(&mut node.held) {
            match held {
                Held::Message(parcel) => arrived.push(parcel),
                Held::Event(due) => events.push(Held::Event(due)),
            }
        }
        node.held = events;
        node.stuck = Some(Box::new(Stuck { out: Vec::new(), arrived }));
        true
    }

    /// Lets the network of a blocked node go on, both ways in order: what had arrived reaches it
    /// now, before all else that is due now and even if its link has been cut since; what it has
    /// sent leaves now, over the links as they are now. False if it is not blocked.
    pub fn unblock(&mut self, id: NodeId) -> bool {
        let Some(stuck) = self.node_mut(id).stuck.take() else { return false };
        self.trace.mark(self.now, id, Mark::Unblock);
        let Stuck { out, arrived } = *stuck;
        self.network.hand_on(self.now, arrived);
        let mut outbox = Outbox::<P::Message, P::Event> {
            me: id,
            life: self.nodes[id.index()].life,
            now: self.now,
            stuck: None,
            network: &mut self.network,
            events: &mut self.events,
            rng: &mut self.rng,
            trace: &mut self.trace,
        };
        for (to, message, stream) in out {
            if stream { outbox.stream(to, message) } else { outbox.send(to, message) }
        }
        true
    }

    /// Lets the clock of a node run faster or slower from now on: see [`Clock::set_error`].
    pub fn set_clock_error(&mut self, id: NodeId, error_ppm: i32) {
        let now = self.now;
        self.note(format_args!("{id}'s clock runs at {error_ppm} ppm"));
        self.node_mut(id).clock.set_error(now, error_ppm);
        self.arm(id);
    }

    /// Sets the clock of a node forward or back: see [`Clock::step`].
    pub fn step_clock(&mut self, id: NodeId, ticks: i64) {
        let now = self.now;
        self.note(format_args!("{id}'s clock is moved by {ticks}"));
        self.node_mut(id).clock.step(now, ticks);
        self.arm(id);
    }

    /// Cuts and mends links so that those of `shape` are open.
    pub fn partition(&mut self, shape: &Shape) {
        self.note(format_args!("network: {shape}"));
        self.network.partition(shape);
    }

    /// Writes a line into the trace, if somebody will read it.
    pub fn note(&mut self, text: fmt::Arguments<'_>) {
        if self.trace.is_verbose() {
            self.trace.tell(self.now, NOBODY, Mark::Note, &text);
        }
    }

    /// The world's time.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// How many steps processes have made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The seed.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// A number that stands for everything that has happened so far. Two runs with the same seed
    /// have the same; if they have not, something in them is not deterministic.
    pub fn digest(&self) -> u64 {
        self.trace.digest()
    }

    /// The last things that happened, one to a line.
    pub fn trace(&self) -> String {
        self.trace.to_string()
    }

    /// The network.
    pub fn network(&self) -> &Network<P::Message> {
        &self.network
    }

    /// The network, to cut it and to make it bad.
    pub fn network_mut(&mut self) -> &mut Network<P::Message> {
        &mut self.network
    }

    /// The ids of all nodes, up or down.
    pub fn ids(
        &self,
    ) -> impl DoubleEndedIterator<Item = NodeId> + ExactSizeIterator + Clone + use<P> {
        NodeId::first(self.nodes.len())
    }

    /// The process of a node, paused or not; `None` if it is down.
    pub fn process(&self, id: NodeId) -> Option<&P> {
        match &self.node(id).state {
            State::Up(process) => Some(process),
            _ => None,
        }
    }

    /// The same, to take out what a test collects there. Whatever changes its deadline is done
    /// through [`with`](World::with).
    pub fn process_mut(&mut self, id: NodeId) -> Option<&mut P> {
        match &mut self.node_mut(id).state {
            State::Up(process) => Some(process),
            _ => None,
        }
    }

    /// All processes that are up, paused or not, in the order of their nodes.
    pub fn processes(&self) -> impl Iterator<Item = (NodeId, &P)> {
        self.nodes.iter().zip((1..).map(NodeId)).filter_map(|(node, id)| match &node.state {
            State::Up(process) => Some((id, process)),
            _ => None,
        })
    }

    /// The disk of a node that is down; `None` if it is up.
    pub fn disk(&self, id: NodeId) -> Option<&P::Disk> {
        match &self.node(id).state {
            State::Down(disk) => Some(disk),
            _ => None,
        }
    }

    /// The disk of a node that is down, to damage or to replace it.
    pub fn disk_mut(&mut self, id: NodeId) -> Option<&mut P::Disk> {
        match &mut self.node_mut(id).state {
            State::Down(disk) => Some(disk),
            _ => None,
        }
    }

    /// Whether the node has a process, paused or not.
    pub fn is_up(&self, id: NodeId) -> bool {
        self.node(id).is_up()
    }

    /// Whether the node's process is paused.
    pub fn is_paused(&self, id: NodeId) -> bool {
        self.node(id).paused
    }

    /// Whether the node's network is blocked.
    pub fn is_blocked(&self, id: NodeId) -> bool {
        self.node(id).stuck.is_some()
    }

    /// The clock of a node.
    pub fn clock(&self, id: NodeId) -> Clock {
        self.node(id).clock
    }

    /// What the clock of a node shows now.
    pub fn local(&self, id: NodeId) -> u64 {
        self.node(id).clock.local(self.now)
    }

    fn node(&self, id: NodeId) -> &Node<P> {
        self.nodes.get(id.index()).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node<P> {
        self.nodes.get_mut(id.index()).unwrap_or_else(|| panic!("there is no node {id}"))
    }
}

impl<P: Process> fmt::Debug for World<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = self.ids().filter(|id| self.is_up(*id)).count();
        f.debug_struct("World")
            .field("seed", &self.seed.value())
            .field("now", &self.now)
            .field("steps", &self.steps)
            .field("up", &up)
            .field("down", &(self.nodes.len() - up))
            .finish_non_exhaustive()
    }
}

/// A test that fails takes its world with it; the last words are worth having, unless the seed is
/// run again at once and will have more to tell.
impl<P: Process> Drop for World<P> {
    fn drop(&mut self) {
        if !thread::panicking() || self.seed.is_retried() {
            return;
        }
        let (seed, now, steps) = (self.seed.value(), self.now, self.steps);
        eprintln!("{}the world ended at {now}, after {steps} steps, with seed {seed}", self.trace);
        if let Some(replay) = self.seed.replay() {
            eprintln!("to replay it: {replay}");
        }
    }
}
