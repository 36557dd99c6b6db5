//! A member on its node: the protocol, and around it what counts.
//!
//! ```text
//!     network ──► G::handle ──► acts ──► counted ──► network
//!                                 └────► seen, until somebody drains it
//! ```

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
            match stream {
                true => out.stream(to, packet),
                false => out.send(to, packet),
            }
        }
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
        };
        member.flush(out);
        member
    }

    fn step(&mut self, now: u64, input: InputOf<Self>, out: &mut OutboxOf<'_, Self>) {
        match input {
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
