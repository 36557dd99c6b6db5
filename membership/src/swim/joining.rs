//! Coming in, and two who come in under one name.
//!
//! ```text
//!     newcomer ── Join: a word about itself ──► seed ──► the word goes around
//!              ◄── Welcome: who is there ────── seed
//! ```
//!
//! The welcome tells the newcomer what is known of *it*, too: if that is of an incarnation as high
//! as its own, from a life before, it begins a higher one, and need not wait until somebody calls
//! it dead. A cluster is welcomed into part by part: beyond [`WELCOME_MAX`] members the rest is
//! learned by comparing.
//!
//! **Two of one name.** A name belongs to the process that the cluster knows until that has failed.
//! A newcomer who finds its name taken is told by whom (*Taken*) and told to wait; the owner is
//! looked at right away, so that a process that has moved to another address waits for no longer
//! than a suspicion lasts. Two that were let in on the two sides of a partition meet when it heals:
//! they find each other by the words about themselves, compare lives (*Claim*), and the older
//! process falls silent until the name is free. Nobody else believes a word that would move a
//! member that is there, so nothing flaps.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::{Phase, Swim};
use crate::clock::{Micros, micros};
use crate::effect::{Effect, Event};
use crate::message::{Message, Words, WordsOut};
use crate::packet::Envelope;
use crate::rumor::Rumor;
use crate::types::{Incarnation, NodeId};

/// How many members a welcome names at most.
const WELCOME_MAX: usize = 1024;
/// How many seeds are asked at a time.
const SEEDS_AT_ONCE: usize = 8;
/// The shortest and the longest wait between two attempts.
const RETRY_MIN: Micros = 1_000_000;
const RETRY_MAX: Micros = 10_000_000;
/// How long a newcomer is one.
const NEW: Micros = 5_000_000;
/// How many disputes about names are remembered, to tell of each once.
const DISPUTES_MAX: usize = 64;

/// Where we are with coming in.
#[derive(Debug, Clone, Default)]
pub(super) struct Joining {
    seeds: Vec<SocketAddr>,
    /// Which seed is next.
    place: usize,
    /// When the next attempt is due; none once we are in.
    at: Option<Micros>,
    rest: Micros,
    /// When the next of those who are lost is tried.
    pub(super) reconnect_at: Micros,
    admitted: bool,
    /// Until then we are new, and what we learn is no news to the others.
    new_until: Micros,
    /// How often we have asked to be let in.
    knocks: u32,
    disputes: VecDeque<(NodeId, SocketAddr)>,
    /// Until when no further death is doubted.
    doubted_at: Micros,
}

impl Joining {
    pub(super) fn next_timer(&self) -> Micros {
        self.at.unwrap_or(u64::MAX).min(self.reconnect_at)
    }
}

impl Swim {
    pub(super) fn join(&mut self, seeds: Vec<SocketAddr>, out: &mut Vec<Effect>) {
        for seed in seeds {
            if !self.is_me(seed) && !self.joining.seeds.contains(&seed) {
                // A place of chance: not every newcomer begins with the same.
                let place = self.rng.place(self.joining.seeds.len() + 1);
                self.joining.seeds.insert(place, seed);
            }
        }
        if !self.joining.seeds.is_empty() {
            self.joining.rest = RETRY_MIN;
            self.try_seeds(out);
        }
    }

    /// Asks the next seeds, unless we are about to leave.
    fn try_seeds(&mut self, out: &mut Vec<Effect>) {
        if matches!(self.me.phase, Phase::Leaving { .. }) {
            return;
        }
        let count = self.joining.seeds.len();
        for _ in 0..SEEDS_AT_ONCE.min(count) {
            let seed = self.joining.seeds[self.joining.place % count];
            self.joining.place = self.joining.place.wrapping_add(1);
            self.knock(seed, out);
            // One that is asked at a time is enough while few are known.
            if count <= 3 {
                break;
            }
        }
        let rest = self.joining.rest;
        self.joining.at = Some(self.now() + rest / 2 + self.rng.below(rest));
        self.joining.rest = (2 * rest).min(RETRY_MAX);
    }

    /// Asks to be let in.
    fn knock(&mut self, to: SocketAddr, out: &mut Vec<Effect>) {
        self.joining.knocks += 1;
        let mut packet = Envelope::begin(&self.keyring);
        Message::Join { me: self.my_word() }.write(self.me.node.id, &mut packet);
        self.post_stream(to, packet, out);
    }

    pub(super) fn joining_timers(&mut self, out: &mut Vec<Effect>) {
        let now = self.now();
        if self.joining.at.is_some_and(|at| at <= now) {
            self.joining.at = None;
            if self.me.phase == Phase::Ousted || !self.joining.admitted {
                self.try_seeds(out);
            }
        }
        if self.joining.reconnect_at <= now {
            let rest = micros(self.config.reconnect_period);
            self.joining.reconnect_at = now + rest / 2 + self.rng.below(rest);
            self.reconnect(out);
            self.knock_at_lost_seed(out);
        }
    }

    /// A seed that is no member may have a cluster of its own behind it. And who was ousted asks
    /// anyone whether its name is free.
    fn knock_at_lost_seed(&mut self, out: &mut Vec<Effect>) {
        if self.me.phase == Phase::Ousted {
            let any = self.peers.draw(1, &mut self.rng, |_| true);
            if let Some(slot) = any.first() {
                let to = self.peers.at(*slot).addr();
                self.knock(to, out);
            }
        }
        let count = self.joining.seeds.len();
        if self.me.phase != Phase::Member || !self.joining.admitted || count == 0 {
            return;
        }
        let seed = self.joining.seeds[self.joining.place % count];
        self.joining.place = self.joining.place.wrapping_add(1);
        let here = self.peers.roster().iter().any(|slot| self.peers.at(*slot).addr() == seed);
        if !here {
            self.knock(seed, out);
        }
    }

    /// Somebody wants to come in.
    pub(super) fn let_in(&mut self, word: &Rumor<'_>, out: &mut Vec<Effect>) {
        let Some(card) = word.card else { return };
        if self.me.phase != Phase::Member {
            return;
        }
        // What is known of the newcomer goes into its welcome, as it was before it came.
        let known = self.peers.find(word.id);
        if let Some(slot) = known {
            let peer = self.peers.at(slot);
            if peer.state.is_member() && peer.addr() != card.addr {
                let (life, addr) = (peer.incarnation.life, peer.addr());
                // One of an older life may be a packet of long ago: no reason to alarm anybody, and
                // reason enough to look whether the owner is there.
                if word.incarnation.life >= life {
                    self.dispute(slot, card.addr, out);
                } else {
                    self.look_at(slot, out);
                }
                self.stream(card.addr, &Message::Taken { life, addr }, out);
                return;
            }
        }
        let mut words = WordsOut::default();
        if let Some(slot) = known {
            words.push(&self.word(slot, self.peers.at(slot).state.is_member()));
        } else if let Some(incarnation) = self.peers.tomb(word.id) {
            words.push(&Rumor::failed(word.id, incarnation));
        }
        self.hear(word, word.id, out);
        words.push(&self.my_word());
        let some = self.peers.draw(WELCOME_MAX, &mut self.rng, |peer| peer.id != word.id);
        some.iter().for_each(|slot| words.push(&self.word(*slot, true)));
        self.stream(card.addr, &Message::Welcome { words: words.as_words() }, out);
        if !self.keyring.is_empty() {
            self.send_keys(card.addr, out);
        }
    }

    /// We are in.
    pub(super) fn welcomed(&mut self, by: NodeId, words: &Words<'_>, out: &mut Vec<Effect>) {
        self.joining.at = None;
        if self.me.phase == Phase::Ousted {
            self.change_me(|me| me.phase = Phase::Member);
            self.tell_me();
        }
        let first = !self.joining.admitted;
        self.joining.admitted = true;
        // What a welcome says the others know: it is no news to tell.
        self.hushed = true;
        for word in words.iter() {
            self.hear(&word, by, out);
        }
        self.hushed = false;
        // Nobody but the one who lets us in can have heard of us: it is a life before ours that it
        // knows, with our number, and with metadata that is not ours.
        let id = self.me.node.id;
        let ours = self.me.incarnation;
        let known = words.iter().find(|word| word.id == id && word.state.is_member());
        if first && self.joining.knocks == 1 && known.is_some_and(|it| it.incarnation == ours) {
            self.begin_life(ours, out);
        }
        if first {
            self.joining.new_until = self.now() + NEW;
            self.event(Event::Admitted { by }, out);
        }
        self.sync_eagerly();
    }

    /// A member that we know probes us, so it counts us as one: we are in, though our welcome was
    /// lost.
    pub(super) fn counted_in(&mut self, by: NodeId, out: &mut Vec<Effect>) {
        if !self.joining.admitted && !self.joining.seeds.is_empty() {
            (self.joining.at, self.joining.admitted) = (None, true);
            self.joining.new_until = self.now() + NEW;
            self.event(Event::Admitted { by }, out);
            self.sync_eagerly();
        }
    }

    /// Whether we have come in just now.
    pub(super) fn is_new(&self) -> bool {
        self.now() < self.joining.new_until
    }

    /// Our name has an owner.
    pub(super) fn refused_entry(&mut self, owner: SocketAddr, out: &mut Vec<Effect>) {
        if owner == self.me.node.addr || self.me.phase != Phase::Member {
            return;
        }
        if self.joining.at.is_none() {
            // We are in, so this is old, or from a cluster that ours meets: the owner shall say.
            self.claim(owner, out);
            return;
        }
        self.step_back(owner, out);
    }

    /// Gives our name up until it is free.
    fn step_back(&mut self, owner: SocketAddr, out: &mut Vec<Effect>) {
        if self.me.phase != Phase::Member {
            return;
        }
        self.change_me(|me| me.phase = Phase::Ousted);
        self.joining.admitted = false;
        let (id, claimant) = (self.me.node.id, self.me.node.addr);
        self.event(Event::Conflict { id, owner, claimant }, out);
        self.joining.rest = RETRY_MIN;
        if !self.joining.seeds.is_empty() {
            self.joining.at = Some(self.now() + RETRY_MIN);
        }
    }

    /// A word says that a member that is there is somewhere else as well.
    pub(super) fn dispute(&mut self, slot: u32, claimant: SocketAddr, out: &mut Vec<Effect>) {
        let (id, owner) = (self.peers.at(slot).id, self.peers.at(slot).addr());
        self.look_at(slot, out);
        if self.joining.disputes.contains(&(id, claimant)) {
            return;
        }
        self.joining.disputes.push_back((id, claimant));
        if self.joining.disputes.len() > DISPUTES_MAX {
            self.joining.disputes.pop_front();
        }
        self.event(Event::Conflict { id, owner, claimant }, out);
    }

    /// Tells another process of our name since when it is ours.
    pub(super) fn claim(&mut self, to: SocketAddr, out: &mut Vec<Effect>) {
        let (life, addr) = (self.me.born, self.me.node.addr);
        self.stream(to, &Message::Claim { life, addr }, out);
    }

    /// A packet under our own name has come.
    pub(super) fn under_our_name(&mut self, message: &Message<'_>, out: &mut Vec<Effect>) {
        match message {
            Message::Claim { life, addr } if !self.is_me(*addr) => {
                let ours = (self.me.born, self.me.node.addr);
                if (*life, *addr) > ours {
                    self.step_back(*addr, out);
                } else if self.me.phase == Phase::Member {
                    self.claim(*addr, out);
                }
            }
            Message::Join { me } => {
                if let Some(card) = me.card.filter(|card| !self.is_me(card.addr)) {
                    let (life, addr) = (self.me.incarnation.life, self.me.node.addr);
                    self.stream(card.addr, &Message::Taken { life, addr }, out);
                }
            }
            _ => {}
        }
    }

    /// Somebody has introduced itself.
    pub(super) fn met(&mut self, word: &Rumor<'_>, out: &mut Vec<Effect>) {
        if self.me.phase != Phase::Member {
            return;
        }
        self.hear(word, word.id, out);
        // It counts as gone, and its word was not new enough to change that: it should know.
        if let Some(slot) = self.peers.find(word.id)
            && !self.peers.at(slot).state.is_member()
            && let Some(card) = word.card
        {
            self.send(card.addr, &Message::Gossip, Some(slot), out);
        }
        // So should one whose death is all that we know of it.
        if self.peers.find(word.id).is_none()
            && let Some(incarnation) = self.peers.tomb(word.id)
            && let Some(card) = word.card
        {
            self.tell_of_tomb(word.id, incarnation, card.addr, out);
        }
    }

    /// Somebody else says that one is alive whose death is all that we know of it. If that is so it
    /// should hear of it, and defend itself: to wait until it happens to talk to us takes longer
    /// the more members there are. One a second is enough, as all hear of its defence.
    pub(super) fn doubt_tomb(
        &mut self,
        id: NodeId,
        incarnation: Incarnation,
        at: SocketAddr,
        out: &mut Vec<Effect>,
    ) {
        let now = self.now();
        if self.joining.doubted_at <= now && self.me.phase == Phase::Member {
            self.joining.doubted_at = now + micros(self.config.probe_period);
            self.tell_of_tomb(id, incarnation, at, out);
        }
    }

    fn tell_of_tomb(
        &mut self,
        id: NodeId,
        incarnation: Incarnation,
        at: SocketAddr,
        out: &mut Vec<Effect>,
    ) {
        let mut words = WordsOut::default();
        words.push(&Rumor::failed(id, incarnation));
        self.stream(at, &Message::Words { answer: None, words: words.as_words() }, out);
    }
}
