//! The seam between a state machine and the world: what reaches it, and what it asks for.
//!
//! ```text
//!              Input::Message ─┐                       ┌─► out.send(to, message)
//!              Input::Event  ──┼─► step(now, input) ───┤
//!              Input::Wake   ──┘          │            └─► out.later(delay, event)
//!                                         ▼
//!                                     deadline() ──► woken when its own clock shows that time
//! ```
//!
//! A pure core (a call takes what happened and returns what to do) needs some forty lines to stand
//! behind this: translate the input, step, translate the effects.
//!
//! ```text
//!     fn step(&mut self, now, input, out) {
//!         let input = match input {
//!             Input::Message { from, message } => core::Input::Peer(from, message),
//!             Input::Event(Written(id))        => core::Input::Stored(self.disk.finish(id)),
//!             Input::Wake                      => core::Input::Tick,
//!         };
//!         self.core.step(now, input, &mut self.effects);
//!         while let Some(effect) = self.effects.pop() {
//!             match effect {
//!                 Effect::Send(to, message) => out.send(to, message),
//!                 Effect::Write(id, bytes)  => {
//!                     self.disk.begin(id, bytes);
//!                     let latency = out.rng().range(1..500);
//!                     out.later(latency, Written(id));
//!                 }
//!   Effect::Commit(entry)     => self.applied.push(entry),     // for the test to read } } }
//! ```
//!
//! So a write to a disk is an effect that ends with an event. When the node crashes before, the
//! event never comes, and [`crash`](Process::crash) decides how much of the write is on the disk.

use std::fmt::Debug;

use crate::network::{Fate, Network, Parcel};
use crate::rng::Rng;
use crate::timeline::Timeline;
use crate::trace::{Mark, Trace};
use crate::types::NodeId;
use crate::world::HELD_MAX;

/// A state machine that lives on a node.
///
/// It must be deterministic: no clock but `now`, no randomness but [`Outbox::rng`] (or a generator
/// seeded from it), and no iteration over a map whose order differs from run to run.
pub trait Process: Sized {
    /// What nodes send each other.
    type Message: Clone + Debug;
    /// What happens at a node by itself after a while (a write is durable), or is done to it from
    /// outside (a client's request).
    type Event: Debug;
    /// What survives a crash.
    type Disk;

    /// Starts on a disk: a new one, or what the crash before left. `now` is the node's own clock.
    fn start(id: NodeId, disk: Self::Disk, now: u64, out: &mut OutboxOf<'_, Self>) -> Self;

    /// Something happened. `now` is the node's own clock.
    fn step(&mut self, now: u64, input: InputOf<Self>, out: &mut OutboxOf<'_, Self>);

    /// When, by its own clock, it is to be woken; asked for after every call. A time that has
    /// passed means at once.
    fn deadline(&self) -> Option<u64>;

    /// Dies. What is not in the returned disk is lost; `rng` decides what of a write that nobody
    /// has waited for is there.
    fn crash(self, rng: &mut Rng) -> Self::Disk;
}

/// The input of a process of type `P`.
pub type InputOf<P> = Input<<P as Process>::Message, <P as Process>::Event>;

/// The outbox of a process of type `P`.
pub type OutboxOf<'a, P> = Outbox<'a, <P as Process>::Message, <P as Process>::Event>;

/// What reaches a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<M, E> {
    /// A message has arrived.
    Message {
        /// Who sent it.
        from: NodeId,
        /// What.
        message: M,
    },
    /// An event that the process ordered, or somebody outside has caused.
    Event(E),
    /// The deadline has come.
    Wake,
}

/// What is due at a node.
#[derive(Debug, Clone)]
pub(crate) struct Due<E> {
    pub(crate) node: NodeId,
    /// The life of the node in which it was ordered: it dies with it.
    pub(crate) life: u32,
    pub(crate) event: E,
}

/// What waits at a node whose network handling stands still, both ways.
#[derive(Debug)]
pub(crate) struct Stuck<M> {
    /// To whom, what, and whether on a stream.
    pub(crate) out: Vec<(NodeId, M, bool)>,
    pub(crate) arrived: Vec<Parcel<M>>,
}

/// How a process acts on the world.
#[derive(Debug)]
pub struct Outbox<'a, M, E> {
    pub(crate) me: NodeId,
    pub(crate) life: u32,
    /// The world's time.
    pub(crate) now: u64,
    /// There if the node is blocked.
    pub(crate) stuck: Option<&'a mut Stuck<M>>,
    pub(crate) network: &'a mut Network<M>,
    pub(crate) events: &'a mut Timeline<Due<E>>,
    pub(crate) rng: &'a mut Rng,
    pub(crate) trace: &'a mut Trace,
}

impl<M: Clone + Debug, E: Debug> Outbox<'_, M, E> {
    /// The node that acts.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// Sends a message over the network, which may lose it, as UDP does.
    #[inline]
    pub fn send(&mut self, to: NodeId, message: M) {
        self.leave(to, message, false);
    }

    /// Sends a message over a connection, as TCP does: it is neither lost nor doubled by a bad
    /// link, and arrives after what this node has streamed to that one before.
    ///
    /// It takes the delay of the link, and each time that the link's loss rate says "lost" it is
    /// sent again after [`Link::resend_after`](crate::Link::resend_after). When
    /// [`STREAM_TRIES_MAX`](crate::STREAM_TRIES_MAX) tries are lost the connection is broken and
    /// the message lost; the next one makes a new connection. A link that is cut when it leaves or
    /// arrives loses it, and so does a receiver that is down. Nobody is told of any of it.
    #[inline]
    pub fn stream(&mut self, to: NodeId, message: M) {
        self.leave(to, message, true);
    }

    #[inline]
    fn leave(&mut self, to: NodeId, message: M, stream: bool) {
        if self.stuck.is_some() || self.trace.is_verbose() {
            return self.leave_watched(to, message, stream);
        }
        let fate = match stream {
            true => self.network.stream(self.now, self.me, to, message),
            false => self.network.send(self.now, self.me, to, message),
        };
        if fate == Fate::Lost || fate == Fate::Cut {
            self.trace.mark(self.now, self.me, Mark::Unsent(to, fate));
        }
    }

    /// The same for a node that is blocked, or if somebody will read what was lost.
    #[cold]
    fn leave_watched(&mut self, to: NodeId, message: M, stream: bool) {
        let text = self.trace.is_verbose().then(|| format!("{message:?}"));
        let fate = match &mut self.stuck {
            Some(stuck) if stuck.out.len() < HELD_MAX => {
                stuck.out.push((to, message, stream));
                return;
            }
            Some(_) => {
                self.network.drop_unsent();
                Fate::Lost
            }
            None if stream => self.network.stream(self.now, self.me, to, message),
            None => self.network.send(self.now, self.me, to, message),
        };
        if fate == Fate::Lost || fate == Fate::Cut {
            let text = format_args!("{}", text.as_deref().unwrap_or_default());
            self.trace.tell(self.now, self.me, Mark::Unsent(to, fate), &text);
        }
    }

    /// Orders an event for this node after `delay` ticks of the world. It is never lost, but for a
    /// crash of the node before it comes.
    #[inline]
    pub fn later(&mut self, delay: u64, event: E) {
        let due = Due { node: self.me, life: self.life, event };
        self.events.push(self.now + delay, due);
    }

    /// Randomness that belongs to the run: how long a disk takes, or a seed for the process.
    pub fn rng(&mut self) -> &mut Rng {
        self.rng
    }

    /// Writes a line into the trace, if somebody will read it.
    pub fn note(&mut self, text: std::fmt::Arguments<'_>) {
        if self.trace.is_verbose() {
            self.trace.tell(self.now, self.me, Mark::Note, &text);
        }
    }
}
