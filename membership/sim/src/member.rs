//! A member on its node: the protocol, and around it what counts, and what can be held up.
//!
//! ```text
//!     network ──► held? ──► G::handle ──► acts ──► held? ──► network
//!                              │            └─► counted, seen
//!                              └── its timers are never held
//! ```
//!
//! While a member is *blocked* all that it sends and receives waits for the end of the block, and
//! its timers go off as ever: the anomaly of the Lifeguard paper (§II), a process that runs and is
//! not heard. What it has sent leaves first then, and what has come for it reaches it at once.

use drystone_sim::{Input as Happening, InputOf, NodeId, OutboxOf, Process, Rng};

use crate::gossiper::{Acts, Gossiper, Input, Order, Seat, What};
use crate::packet::{Packet, Traffic};

/// A protocol on a node of a [`World`](drystone_sim::World).
#[derive(Debug)]
pub struct Member<G: Gossiper> {
    gossiper: G,
    seat: Seat<G::Config>,
    acts: Acts,
    /// What was seen and is not drained yet.
    seen: Vec<(NodeId, What)>,
    traffic: Traffic,
    blocked: bool,
    held_in: Vec<(NodeId, Packet)>,
    held_out: Vec<(NodeId, Packet)>,
}

impl<G: Gossiper> Member<G> {
    /// The protocol.
    pub fn gossiper(&self) -> &G {
        &self.gossiper
    }

    /// What it has sent in this life.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Holds up all that it sends and receives.
    pub(crate) fn block(&mut self) {
        self.blocked = true;
    }

    /// Lets go what was held up.
    pub(crate) fn unblock(&mut self, now: u64, out: &mut OutboxOf<'_, Self>) {
        self.blocked = false;
        for (to, packet) in std::mem::take(&mut self.held_out) {
            send::<G>(out, to, packet);
        }
        for (from, packet) in std::mem::take(&mut self.held_in) {
            self.receive(now, from, &packet);
            self.flush(out);
        }
    }

    /// Takes out what was seen since the last time.
    pub(crate) fn drain(&mut self) -> std::vec::Drain<'_, (NodeId, What)> {
        self.seen.drain(..)
    }

    pub(crate) fn has_seen(&self) -> bool {
        !self.seen.is_empty()
    }

    fn receive(&mut self, now: u64, from: NodeId, packet: &Packet) {
        let bytes = &packet.bytes;
        let input = match packet.stream {
            true => Input::Stream { from, bytes },
            false => Input::Datagram { from, bytes },
        };
        self.gossiper.handle(now, input, &mut self.acts);
    }

    /// Counts what the protocol sends, and sends it.
    fn flush(&mut self, out: &mut OutboxOf<'_, Self>) {
        self.seen.append(&mut self.acts.seen);
        for (to, stream, bytes) in self.acts.sent.drain(..) {
            let packet = Packet { stream, bytes };
            self.traffic.count(&packet);
            if self.blocked {
                self.held_out.push((to, packet));
            } else {
                send::<G>(out, to, packet);
            }
        }
    }
}

fn send<G: Gossiper>(out: &mut OutboxOf<'_, Member<G>>, to: NodeId, packet: Packet) {
    if packet.stream {
        out.stream(to, packet);
    } else {
        out.send(to, packet);
    }
}

impl<G: Gossiper> Process for Member<G> {
    type Message = Packet;
    type Event = Order;
    type Disk = Seat<G::Config>;

    fn start(me: NodeId, seat: Self::Disk, now: u64, out: &mut OutboxOf<'_, Self>) -> Self {
        let mut acts = Acts::default();
        let seed = out.rng().draw();
        let mut member = Member {
            gossiper: G::start(me, &seat, seed, now, &mut acts),
            seat,
            acts,
            seen: Vec::new(),
            traffic: Traffic::default(),
            blocked: false,
            held_in: Vec::new(),
            held_out: Vec::new(),
        };
        member.flush(out);
        member
    }

    fn step(&mut self, now: u64, input: InputOf<Self>, out: &mut OutboxOf<'_, Self>) {
        match input {
            Happening::Message { from, message } if self.blocked => {
                self.held_in.push((from, message));
            }
            Happening::Message { from, message } => self.receive(now, from, &message),
            Happening::Event(order) => {
                self.gossiper.handle(now, Input::Order(&order), &mut self.acts);
            }
            Happening::Wake => self.gossiper.handle(now, Input::Wake, &mut self.acts),
        }
        self.flush(out);
    }

    fn deadline(&self) -> Option<u64> {
        self.gossiper.deadline()
    }

    fn crash(self, _: &mut Rng) -> Self::Disk {
        Seat { lives: self.seat.lives + 1, ..self.seat }
    }
}
