//! Probes: is it there?
//!
//! Every period a member asks the next of its round (SWIM §3.1), and spends more on it the longer
//! it is silent:
//!
//! ```text
//!     0        T          2T                         period
//!     ├─ Ping ─┼─ Ping ───┼─ Ask three others,       ┤ accuse
//!     │        │          │  Ping by stream, Ping    │
//!     │        │          │                          │
//!     └────────┴──────────┴─ an Ack on any way ends it: it is there
//! ```
//!
//! T is three times the 99th percentile of the round trips to its zone. The second ping costs one
//! packet where nothing is lost by chance, and where much is it saves an accusation in two. Those
//! who are asked answer in any case: with the target's answer, or that they have none (*Nack*,
//! Lifeguard §IV-A). If not even they answer, it is we who are slow or cut off.
//!
//! **Evidence needs contrast.** A probe that fails is held against its target only if somebody else
//! was heard meanwhile. A member that hears nobody has learned nothing about its target. Only after
//! `isolation_max` does it believe that all others are gone.
//!
//! **A second look.** Whoever hears for the first time that a member is suspected may probe it at
//! once; as many do, by chance, as it takes to confirm a suspicion, and twice as many where
//! accusers are counted. So a dead member has its accusers within a second or two, however large
//! the cluster is, and one that lives is told of the suspicion by each of those probes (the Buddy
//! System, Lifeguard §IV-C), and defends itself.

use std::net::SocketAddr;

use super::{Phase, Swim};
use crate::clock::{Micros, micros};
use crate::config::Config;
use crate::effect::Effect;
use crate::message::Message;
use crate::rng::Rng;
use crate::types::{NodeId, State};

/// How many probes may run at once. Those that are begun for a second look give way.
const PROBES_MAX: usize = 32;
/// How many probes are carried out for others at once.
const ERRANDS_MAX: usize = 256;

/// A probe of ours.
#[derive(Debug, Clone)]
struct Probe {
    seq: u32,
    slot: u32,
    id: NodeId,
    began: Micros,
    step: Step,
    next_at: Micros,
    /// When it has failed.
    until: Micros,
    asked: u8,
    nacked: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Pinged,
    PingedTwice,
    Asked,
}

/// A probe for another.
#[derive(Debug, Clone)]
struct Errand {
    /// Ours to the target.
    seq: u32,
    /// Its to us.
    their_seq: u32,
    back: SocketAddr,
    /// When we say that there was no answer, and when we forget it.
    nack_at: Micros,
    nacked: bool,
    until: Micros,
}

/// All probes.
#[derive(Debug, Clone)]
pub(super) struct Probing {
    probes: Vec<Probe>,
    errands: Vec<Errand>,
    seq: u32,
    /// When the next of the round is due.
    next_at: Micros,
    /// The last two members that were heard, and when.
    heard: [(NodeId, Micros); 2],
}

impl Probing {
    pub(super) fn new(rng: &mut Rng, config: &Config) -> Probing {
        Probing {
            probes: Vec::new(),
            errands: Vec::new(),
            seq: rng.draw() as u32,
            next_at: rng.below(micros(config.probe_period)),
            heard: [(NodeId(0), 0); 2],
        }
    }

    pub(super) fn next_timer(&self) -> Micros {
        let probes = self.probes.iter().map(|probe| probe.next_at.min(probe.until));
        let errands = self.errands.iter();
        let errands = errands.map(|it| if it.nacked { it.until } else { it.nack_at });
        probes.chain(errands).fold(self.next_at, Micros::min)
    }

    fn draw_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    /// Whether anybody but this one was heard since then.
    fn heard_other(&self, id: NodeId, since: Micros) -> bool {
        self.heard.iter().any(|(other, at)| *other != id && *at >= since && *at > 0)
    }
}

impl Swim {
    /// A packet of this member has come.
    pub(super) fn heard(&mut self, id: NodeId) {
        let now = self.now().max(1);
        let heard = &mut self.probing.heard;
        if heard[0].0 != id {
            heard[1] = heard[0];
        }
        heard[0] = (id, now);
        self.heard_at = now;
    }

    /// Whether we hear nobody, though there are others beside this one who could be heard.
    pub(super) fn is_isolated(&self, beside: u32) -> bool {
        let others = self.peers.members().saturating_sub(1);
        let id = self.peers.at(beside).id;
        let silent_for = self.now().saturating_sub(self.heard_at);
        let patience = 3 * micros(self.config.probe_period);
        others > 0
            && silent_for <= micros(self.config.isolation_max)
            && !self.probing.heard_other(id, self.now().saturating_sub(patience))
    }

    pub(super) fn stretch(&self, time: Micros) -> Micros {
        if self.config.lifeguard.slow_probes { self.health.stretch(time) } else { time }
    }

    /// Everything that is due of probes.
    pub(super) fn probe_timers(&mut self, out: &mut Vec<Effect>) {
        let now = self.now();
        self.run_errands(now, out);
        while let Some(place) = self.probing.probes.iter().position(|it| it.until <= now) {
            let probe = self.probing.probes.swap_remove(place);
            self.unanswered(&probe, out);
        }
        for place in 0..self.probing.probes.len() {
            if self.probing.probes[place].next_at <= now {
                self.press(place, now, out);
            }
        }
        if self.probing.next_at <= now {
            let period = micros(self.config.probe_period);
            self.probing.next_at = now + self.stretch(period);
            if self.me.phase == Phase::Member
                && let Some(slot) = self.peers.next(&mut self.rng)
            {
                self.probe(slot, out);
            }
        }
    }

    /// Begins a probe.
    fn probe(&mut self, slot: u32, out: &mut Vec<Effect>) {
        let now = self.now();
        let peer = self.peers.at(slot);
        let (id, zone) = (peer.id, peer.zone);
        if self.probing.probes.len() >= PROBES_MAX
            || self.probing.probes.iter().any(|probe| probe.id == id)
        {
            return;
        }
        let patience = self.patience(zone);
        let until = now + self.stretch(micros(self.config.probe_period)) - 1;
        let seq = self.probing.draw_seq();
        let (began, next_at) = (now, now + patience);
        let step = Step::Pinged;
        let probe = Probe { seq, slot, id, began, step, next_at, until, asked: 0, nacked: 0 };
        self.probing.probes.push(probe);
        self.ping(slot, seq, out);
    }

    /// T of the picture above.
    fn patience(&self, zone: u8) -> Micros {
        // Two of them must leave the helpers as much again.
        let most = micros(self.config.probe_timeout) / 2;
        self.stretch(self.trips.timeout(zone, most))
    }

    fn ping(&mut self, slot: u32, seq: u32, out: &mut Vec<Effect>) {
        let peer = self.peers.at(slot);
        let (addr, to) = (peer.addr(), peer.id.half());
        // The Buddy System: a suspect that is probed is told of the suspicion.
        let buddy = self.config.lifeguard.buddies && peer.state != State::Alive;
        self.send(addr, &Message::Ping { seq, to }, buddy.then_some(slot), out);
    }

    /// A probe has been silent for a while: spend more on it.
    fn press(&mut self, place: usize, now: Micros, out: &mut Vec<Effect>) {
        let (slot, seq, step, id) = {
            let probe = &self.probing.probes[place];
            (probe.slot, probe.seq, probe.step, probe.id)
        };
        if !self.peers.holds(slot, id) {
            self.probing.probes[place].until = now;
            return;
        }
        let patience = self.patience(self.peers.at(slot).zone);
        let probe = &mut self.probing.probes[place];
        match step {
            Step::Pinged => {
                (probe.step, probe.next_at) = (Step::PingedTwice, now + patience);
                self.ping(slot, seq, out);
            }
            Step::PingedTwice => {
                (probe.step, probe.next_at) = (Step::Asked, probe.until);
                self.ping(slot, seq, out);
                self.ask_others(place, out);
            }
            Step::Asked => {}
        }
    }

    fn ask_others(&mut self, place: usize, out: &mut Vec<Effect>) {
        let Probe { slot, seq, id, .. } = self.probing.probes[place];
        let addr = self.peers.at(slot).addr();
        let helpers = self.peers.draw(self.config.indirect_probes, &mut self.rng, |peer| {
            peer.id != id && peer.state == State::Alive
        });
        self.probing.probes[place].asked = helpers.len() as u8;
        for helper in helpers {
            let to = self.peers.at(helper).addr();
            self.send(to, &Message::Ask { seq, id, addr }, None, out);
        }
        if self.config.stream_probes {
            self.stream(addr, &Message::Ping { seq, to: id.half() }, out);
        }
    }

    /// A probe of ours has failed.
    fn unanswered(&mut self, probe: &Probe, out: &mut Vec<Effect>) {
        if !self.peers.holds(probe.slot, probe.id) || !self.peers.at(probe.slot).state.is_member() {
            return;
        }
        self.stats.probes_failed += 1;
        if self.config.lifeguard.slow_probes {
            let silent = u64::from(probe.asked - probe.nacked);
            self.health.worse(1 + silent);
        }
        let contrast = self.probing.heard_other(probe.id, probe.began)
            || self.peers.members() < 2
            || self.now().saturating_sub(self.heard_at) > micros(self.config.isolation_max);
        if self.config.lifeguard.contrast && !contrast {
            self.stats.probes_void += 1;
            return;
        }
        self.accuse(probe.slot, self.me.node.id, out);
        let now = self.now();
        if let Some(suspicion) = self.suspicions.of_mut(probe.slot) {
            suspicion.seen_at = Some(now);
        }
    }

    /// A suspicion has come by news: some of those who hear it look for themselves.
    pub(super) fn check_for_ourselves(&mut self, slot: u32, out: &mut Vec<Effect>) {
        let terms = self.terms();
        // Somebody counts accusers: also of members that are half there, and answer every other
        // probe.
        let half_there = if terms.accusers_max > terms.confirmations + 1 { 2 } else { 1 };
        let wanted = half_there * terms.accusers_max as u64;
        if self.config.lifeguard.contrast
            && self.config.lifeguard.confirmed_suspicions
            && self.rng.below(self.peers.members() as u64) < wanted
        {
            self.probe(slot, out);
        }
    }

    /// Looks at a member at once, whatever the round says.
    pub(super) fn look_at(&mut self, slot: u32, out: &mut Vec<Effect>) {
        self.probe(slot, out);
    }

    pub(super) fn pinged(
        &mut self,
        sender: NodeId,
        from: Option<SocketAddr>,
        seq: u32,
        to: u32,
        out: &mut Vec<Effect>,
    ) {
        if to != self.me.node.id.half() || self.me.phase != Phase::Member {
            return;
        }
        let known = self.peers.find(sender);
        if known.is_some() {
            self.counted_in(sender, out);
        }
        let Some(from) = from else {
            if let Some(slot) = known {
                let back = self.peers.at(slot).addr();
                self.stream(back, &Message::Ack { seq }, out);
            }
            return;
        };
        // One who counts as failed and asks whether we are there is told so, and defends itself.
        let failed = known.filter(|slot| self.peers.at(*slot).state == State::Failed);
        self.send(from, &Message::Ack { seq }, failed, out);
        if known.is_none() {
            self.send(from, &Message::Who, None, out);
        }
    }

    pub(super) fn acked(
        &mut self,
        sender: NodeId,
        seq: u32,
        datagram: bool,
        out: &mut Vec<Effect>,
    ) {
        if let Some(place) = self.probing.errands.iter().position(|it| it.seq == seq) {
            let errand = self.probing.errands.swap_remove(place);
            self.send(errand.back, &Message::Ack { seq: errand.their_seq }, None, out);
            return;
        }
        let Some(place) = self.probing.probes.iter().position(|it| it.seq == seq) else { return };
        let probe = self.probing.probes.swap_remove(place);
        self.health.better();
        self.answered(&probe);
        if probe.step == Step::Pinged
            && datagram
            && probe.id == sender
            && self.peers.holds(probe.slot, probe.id)
        {
            let took = self.now() - probe.began;
            let zone = self.peers.at(probe.slot).zone;
            self.trips.add(zone, took);
        }
    }

    /// A member that answers is not convicted yet, though its defence has not come.
    fn answered(&mut self, probe: &Probe) {
        if !self.config.lifeguard.second_opinion || !self.peers.holds(probe.slot, probe.id) {
            return;
        }
        let until = self.now() + self.terms().min;
        if let Some(suspicion) = self.suspicions.of_mut(probe.slot) {
            suspicion.seen_at = None;
            if suspicion.until < until {
                self.suspicions.postpone(probe.slot, until);
            }
        }
    }

    pub(super) fn nacked(&mut self, seq: u32) {
        if let Some(probe) = self.probing.probes.iter_mut().find(|it| it.seq == seq) {
            probe.nacked = (probe.nacked + 1).min(probe.asked);
        }
    }

    /// Another asks us to try a member that does not answer it.
    pub(super) fn asked(
        &mut self,
        from: Option<SocketAddr>,
        their_seq: u32,
        id: NodeId,
        addr: SocketAddr,
        out: &mut Vec<Effect>,
    ) {
        let Some(back) = from else { return };
        if self.me.phase != Phase::Member || self.probing.errands.len() >= ERRANDS_MAX {
            return;
        }
        // Where the other believes it to be, even if we know better: an answer from elsewhere would
        // let the other go on believing that it is there.
        let known = self.peers.find(id);
        let seq = self.probing.draw_seq();
        let now = self.now();
        let nack_at = now + micros(self.config.probe_timeout) / 2;
        let until = now + micros(self.config.probe_period);
        let errand = Errand { seq, their_seq, back, nack_at, nacked: false, until };
        self.probing.errands.push(errand);
        let buddy = self.config.lifeguard.buddies;
        let suspect = known.filter(|slot| buddy && self.peers.at(*slot).state != State::Alive);
        self.send(addr, &Message::Ping { seq, to: id.half() }, suspect, out);
    }

    fn run_errands(&mut self, now: Micros, out: &mut Vec<Effect>) {
        self.probing.errands.retain(|errand| errand.until > now);
        for place in 0..self.probing.errands.len() {
            let errand = &mut self.probing.errands[place];
            if !errand.nacked && errand.nack_at <= now {
                errand.nacked = true;
                let (back, seq) = (errand.back, errand.their_seq);
                self.send(back, &Message::Nack { seq }, None, out);
            }
        }
    }
}
