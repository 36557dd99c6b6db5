//! What is believed of members, and what changes it (SWIM §4.2, Lifeguard §IV).
//!
//! ```text
//!     incarnation of the word     it says         and we believe        then
//!     higher than ours            alive           anything              alive
//!     as high, or higher          suspect         alive, suspect        suspect, one accuser more
//!     as high, or higher          failed          suspect for a while   failed
//!                                                 alive                 suspect, and hurry
//!     as high, or higher          left            anything              left
//!     lower                       anything        anything              nothing
//! ```
//!
//! The second line for *failed* is ours. In SWIM a word of failure is final for whoever hears it,
//! so one member that is cut off and wrong about everyone is believed by everyone as soon as its
//! packets get out. Here those who thought that the member was well take it for an accusation, and
//! the member has the shortest time to defend itself. If it has failed indeed, they have known for
//! seconds that it is suspected, and nothing is lost.

use super::{Phase, Swim};
use crate::broadcast::Window;
use crate::clock::micros;
use crate::effect::{Effect, Event};
use crate::error::{Error, Result};
use crate::peer::Peer;
use crate::rumor::{Card, Rumor};
use crate::suspicion::Accused;
use crate::types::{Incarnation, NodeId, State};

impl Swim {
    /// A word about a member has come.
    pub(super) fn hear(&mut self, rumor: &Rumor<'_>, teller: NodeId, out: &mut Vec<Effect>) {
        if rumor.id == self.me.node.id {
            self.hear_of_us(rumor, out);
            return;
        }
        match rumor.state {
            State::Alive => self.hear_alive(rumor, teller, out),
            State::Suspect => self.hear_suspect(rumor, teller, out),
            State::Failed => self.hear_failed(rumor, teller, out),
            State::Left => self.hear_left(rumor, out),
        }
    }

    pub(super) fn hear_alive(&mut self, rumor: &Rumor<'_>, teller: NodeId, out: &mut Vec<Effect>) {
        let Some(card) = rumor.card else { return };
        let Some(slot) = self.peers.find(rumor.id) else {
            match self.peers.tomb(rumor.id) {
                Some(tomb) if tomb >= rumor.incarnation => {
                    self.doubt_tomb(rumor.id, tomb, card.addr, out);
                }
                _ => self.add(rumor, &card, teller, out),
            }
            return;
        };
        let peer = self.peers.at(slot);
        if rumor.incarnation > peer.incarnation {
            if peer.state.is_member() && peer.addr() != card.addr {
                self.dispute(slot, card.addr, out);
                return;
            }
            if !peer.state.is_member() && self.is_full() {
                return;
            }
            self.believe_alive(slot, rumor.incarnation, &card, out);
            self.tell(slot);
        } else if rumor.incarnation == peer.incarnation && peer.state == State::Alive {
            self.heard_again(slot);
        }
        if rumor.incarnation >= self.peers.at(slot).incarnation {
            self.heard_of_version(slot, card.version, teller);
        }
    }

    /// A member that was not known.
    fn add(&mut self, rumor: &Rumor<'_>, card: &Card<'_>, teller: NodeId, out: &mut Vec<Effect>) {
        if self.is_full() || self.is_me(card.addr) {
            return;
        }
        let mut peer = Peer::new(rumor.id, card.addr);
        peer.incarnation = rumor.incarnation;
        self.adopt_card(&mut peer, card);
        if self.hushed && card.heard > 0 {
            // What is no news to the others was said before we came. Whatever else we have not
            // heard is on its way still, though the card is here already: of a peer that we know,
            // and of a newcomer that has spoken at once.
            peer.more().broadcasts = Window::from(rumor.incarnation.life, card.heard);
        }
        let slot = self.peers.add(peer, &mut self.rng);
        self.tell(slot);
        let node = self.member(self.peers.at(slot)).node;
        self.event(Event::Joined(node), out);
        self.persist_soon();
        self.heard_of_version(slot, card.version, teller);
    }

    fn is_full(&self) -> bool {
        self.peers.members() + 1 >= self.config.members_max
    }

    fn adopt_card(&mut self, peer: &mut Peer, card: &Card<'_>) {
        peer.move_to(card.addr);
        peer.zone = self.peers.zone(card.zone);
        if peer.name() != card.name {
            peer.more().name = card.name.into();
        }
    }

    /// A peer has said that it is alive, after what was believed of it.
    fn believe_alive(
        &mut self,
        slot: u32,
        incarnation: Incarnation,
        card: &Card<'_>,
        out: &mut Vec<Effect>,
    ) {
        let was = self.peers.at(slot).state;
        let restarted = incarnation.life != self.peers.at(slot).incarnation.life;
        let now = self.now();
        let mut next = self.peers.at(slot).clone();
        next.incarnation = incarnation;
        if restarted && let Some(more) = &mut next.more {
            more.metadata = Default::default();
            more.newest = 0;
        }
        self.adopt_card(&mut next, card);
        self.peers.change(slot, State::Alive, now, &mut self.rng, |peer| {
            let seat = peer.seat;
            *peer = next;
            peer.seat = seat;
        });
        self.suspicions.clear(slot);
        let node = self.member(self.peers.at(slot)).node;
        let id = node.id;
        if !was.is_member() {
            self.event(Event::Joined(node), out);
            self.persist_soon();
        } else if restarted {
            self.event(Event::Restarted(node), out);
        } else {
            self.event(Event::Recovered { id, incarnation }, out);
        }
    }

    fn hear_suspect(&mut self, rumor: &Rumor<'_>, teller: NodeId, out: &mut Vec<Effect>) {
        let known = self.peers.find(rumor.id);
        let newer = known.is_none_or(|slot| rumor.incarnation > self.peers.at(slot).incarnation);
        if newer && rumor.card.is_some() {
            self.hear_alive(rumor, teller, out);
        } else if newer
            && let Some(slot) = known
            && self.peers.at(slot).state.is_member()
        {
            // It has refuted something that we do not know of, and is accused again.
            let card = self.word(slot, true).card.expect("it was asked for");
            let (addr, zone, name) = (card.addr, card.zone.to_owned(), card.name.to_owned());
            let (heard, version) = (card.heard, card.version);
            let card = Card { addr, zone: &zone, name: &name, heard, version };
            self.believe_alive(slot, rumor.incarnation, &card, out);
        }
        let Some(slot) = self.peers.find(rumor.id) else { return };
        let peer = self.peers.at(slot);
        if peer.incarnation != rumor.incarnation || !peer.state.is_member() {
            return;
        }
        let first = peer.state == State::Alive;
        for accuser in rumor.accusers.as_slice() {
            self.accuse(slot, *accuser, out);
        }
        if first {
            self.check_for_ourselves(slot, out);
        }
    }

    /// Somebody accuses a member: us, by a probe of ours, or another.
    pub(super) fn accuse(&mut self, slot: u32, accuser: NodeId, out: &mut Vec<Effect>) {
        let (terms, now) = (self.terms(), self.now());
        let accused = self.suspicions.accuse(slot, accuser, now, &terms);
        if accused == Accused::Known {
            return;
        }
        let id = self.peers.at(slot).id;
        if accused == Accused::New {
            self.peers.change(slot, State::Suspect, now, &mut self.rng, |_| {});
        }
        self.event(Event::Suspected { id, by: accuser }, out);
        match accused {
            Accused::New => self.tell(slot),
            // Somebody counts accusers.
            _ if terms.accusers_max > terms.confirmations + 1 => self.tell(slot),
            // One accuser more makes the time shorter where it is heard, and that is all.
            _ => self.tell_a_few(slot),
        }
        let suspicion = self.suspicions.of_mut(slot).expect("it was just accused");
        let sure = accuser == self.me.node.id
            || (terms.confirmations > 0 && suspicion.accusers.len() > terms.confirmations);
        if sure && !suspicion.told {
            suspicion.told = true;
            self.event(Event::Unreachable(id), out);
        }
    }

    fn hear_failed(&mut self, rumor: &Rumor<'_>, teller: NodeId, out: &mut Vec<Effect>) {
        let Some(slot) = self.peers.find(rumor.id) else {
            self.peers.remember(rumor.id, rumor.incarnation);
            return;
        };
        let peer = self.peers.at(slot);
        if rumor.incarnation == peer.incarnation && peer.state == State::Failed {
            // All have known of the suspicion, and it ends for all at about the same time: who did
            // not hear that it has ended finds out by itself, so this needs to be told less often.
            self.count_as_told(slot);
            return;
        }
        if rumor.incarnation < peer.incarnation || !peer.state.is_member() {
            self.heard_again(slot);
            return;
        }
        let (now, terms) = (self.now(), self.terms());
        let since = self.suspicions.of(slot).map(|suspicion| suspicion.since);
        let ripe = since.is_some_and(|since| since + terms.min / 2 <= now);
        if self.config.lifeguard.second_opinion && !ripe {
            self.accuse(slot, teller, out);
            self.suspicions.hurry(slot, now + terms.min);
            return;
        }
        self.fail(slot, out);
    }

    /// A member has failed.
    pub(super) fn fail(&mut self, slot: u32, out: &mut Vec<Effect>) {
        let now = self.now();
        self.peers.change(slot, State::Failed, now, &mut self.rng, |_| {});
        self.suspicions.clear(slot);
        let id = self.peers.at(slot).id;
        self.event(Event::Failed(id), out);
        self.persist_soon();
        self.tell(slot);
        self.sweep_if_many();
    }

    fn hear_left(&mut self, rumor: &Rumor<'_>, out: &mut Vec<Effect>) {
        let Some(slot) = self.peers.find(rumor.id) else {
            self.peers.remember(rumor.id, rumor.incarnation);
            return;
        };
        let peer = self.peers.at(slot);
        if rumor.incarnation < peer.incarnation || peer.state == State::Left {
            self.heard_again(slot);
            return;
        }
        let was_member = peer.state.is_member();
        let (now, incarnation) = (self.now(), rumor.incarnation);
        self.peers.change(slot, State::Left, now, &mut self.rng, |peer| {
            peer.incarnation = incarnation;
        });
        self.suspicions.clear(slot);
        self.tell(slot);
        if was_member {
            let id = self.peers.at(slot).id;
            self.event(Event::Left(id), out);
            self.persist_soon();
        }
        self.sweep_if_many();
    }

    /// The application says that a member has failed.
    pub(super) fn condemn(&mut self, id: NodeId, out: &mut Vec<Effect>) -> Result<()> {
        let slot = self.peers.find(id).ok_or(Error::Unknown(id))?;
        if !self.peers.at(slot).state.is_member() {
            return Err(Error::Unknown(id));
        }
        self.fail(slot, out);
        Ok(())
    }

    /// A suspicion has run out.
    pub(super) fn convict(&mut self, slot: u32, out: &mut Vec<Effect>) {
        let now = self.now();
        if self.config.lifeguard.contrast && self.is_isolated(slot) {
            // It is we who are cut off, not the suspect.
            let rest = micros(self.config.probe_period);
            self.suspicions.postpone(slot, now + rest);
            return;
        }
        if self.config.lifeguard.second_opinion && !self.has_seen_for_itself(slot) {
            self.look_at(slot, out);
            let rest = self.stretch(micros(self.config.probe_period));
            self.suspicions.postpone(slot, now + rest);
            return;
        }
        if self.config.verdict == crate::config::Verdict::Application {
            let id = self.peers.at(slot).id;
            let suspicion = self.suspicions.of_mut(slot).expect("it has run out");
            if !suspicion.told {
                suspicion.told = true;
                self.event(Event::Unreachable(id), out);
            }
            self.suspicions.postpone(slot, u64::MAX);
            return;
        }
        self.fail(slot, out);
    }

    /// Whether our own probe of a suspect has failed, and not long ago. Nobody is convicted on what
    /// others say alone: a look of our own costs a second, and only where a defence was lost.
    fn has_seen_for_itself(&self, slot: u32) -> bool {
        // A probe may be under way that began before the look was asked for, and it takes as long
        // as our health stretches it.
        let recent = self.terms().min + 2 * self.stretch(micros(self.config.probe_period));
        let seen = self.suspicions.of(slot).and_then(|suspicion| suspicion.seen_at);
        seen.is_some_and(|at| self.now() - at <= recent)
    }

    /// A word about us.
    fn hear_of_us(&mut self, rumor: &Rumor<'_>, out: &mut Vec<Effect>) {
        if self.me.phase != Phase::Member {
            return;
        }
        let ours = self.me.incarnation;
        if rumor.state != State::Alive {
            if rumor.incarnation >= ours {
                self.defend(rumor.incarnation, out);
            }
            return;
        }
        let card = rumor.card.expect("a word that a member is alive has a card");
        if rumor.incarnation > ours {
            if card.addr != self.me.node.addr {
                self.claim(card.addr, out);
            }
            self.begin_life(rumor.incarnation, out);
        } else if rumor.incarnation == ours && card.version > self.me.metadata.version {
            // A process of our name before us had the same life, and metadata that is not ours.
            self.begin_life(ours, out);
        }
    }

    /// Refutes an accusation for this incarnation of ours.
    pub(super) fn defend(&mut self, accused: Incarnation, out: &mut Vec<Effect>) {
        if accused.life > self.me.incarnation.life {
            self.begin_life(accused, out);
            return;
        }
        self.stats.accused += 1;
        self.change_me(|me| me.incarnation = accused.max(me.incarnation).next());
        if self.config.lifeguard.slow_probes {
            self.health.worse(1);
        }
        self.speak_up(out);
    }

    /// The cluster knows of a life of our name that was not ours: ours comes after it.
    pub(super) fn begin_life(&mut self, after: Incarnation, out: &mut Vec<Effect>) {
        self.change_me(|me| me.incarnation = after.next_life().max(me.incarnation));
        self.speak_up(out);
    }
}
