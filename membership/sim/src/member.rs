//! A member on its node: the protocol, and around it what counts.
//!
//! ```text
//!     network ──► G::handle ──► acts ──► counted ──► network
//!                                 └────► seen, until somebody takes it
//! ```

use std::cell::Cell;
use std::mem;

use drystone_sim::{Input as Happening, InputOf, NodeId, OutboxOf, Process, Rng};

use crate::gossiper::{Acts, Gossiper, Input, Order, Seat, What};
use crate::packet::{Packet, Traffic};
use crate::truth::{Standing, Truth};

/// A protocol on a node of a [`World`](drystone_sim::World).
#[derive(Debug)]
pub struct Member<G: Gossiper> {
    gossiper: G,
    seat: Seat<G::Config>,
    /// With what was seen and is not taken yet.
    acts: Acts,
    traffic: Traffic,
    /// What [`is_right`](Member::is_right) has found, and of which state of the truth, unless
    /// something may have changed here since.
    verdict: Cell<Option<(u64, bool)>>,
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

    /// Takes out what was seen since the last time. The list goes too: a newcomer sees thousands
    /// at once, and ten thousand members that keep room for that are gigabytes.
    pub(crate) fn take_seen(&mut self) -> Vec<(NodeId, What)> {
        mem::take(&mut self.acts.seen)
    }

    /// Whether it takes for members all that are up, `up` in number with itself, and nobody else.
    /// It is asked for all that it believes only if that may be another thing than the last time:
    /// who asks each second of thousands who know thousands pays for little else.
    pub(crate) fn is_right(&self, truth: &Truth, up: usize) -> bool {
        let known = self.verdict.get().filter(|(of, _)| *of == truth.changes());
        let right = known.map_or_else(|| self.look(truth, up), |(_, right)| right);
        debug_assert_eq!(right, self.look(truth, up), "what changes its members it also says");
        self.verdict.set(Some((truth.changes(), right)));
        right
    }

    fn look(&self, truth: &Truth, up: usize) -> bool {
        self.gossiper.members_count() + 1 == up
            && self.gossiper.members().all(|other| truth.of(other) != Standing::Gone)
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
            traffic: Traffic::default(),
            verdict: Cell::new(None),
        };
        member.flush(out);
        member
    }

    fn step(&mut self, now: u64, input: InputOf<Self>, out: &mut OutboxOf<'_, Self>) {
        let ordered = matches!(input, Happening::Event(_));
        match input {
            Happening::Message { from, message } => self.receive(now, from, &message),
            Happening::Event(order) => {
                self.gossiper.handle(now, Input::Order(&order), &mut self.acts);
            }
            Happening::Wake => self.gossiper.handle(now, Input::Wake, &mut self.acts),
        }
        if ordered || !self.acts.seen.is_empty() {
            self.verdict.set(None);
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
