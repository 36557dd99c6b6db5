//! News on their way: what goes into a packet, and the rounds that carry what no probe does.
//!
//! Every packet has news as far as there is room (SWIM §4.1). When there are some, rounds of gossip
//! begin: every `gossip_period` a packet to `gossip_fanout` members by chance, until all was told
//! often enough. The first round after a silence does not wait, so that a single word crosses the
//! cluster as fast as packets do; those that follow keep the distance.

use super::packets::{BROADCASTS, CHANGES, WORDS};
use super::{ME, Phase, Swim};
use crate::clock::micros;
use crate::effect::Effect;
use crate::lane::{Lane, Offer, Parcels, Taken, UNTOLD};
use crate::message::Message;
use crate::packet::Envelope;
use crate::types::State;
use crate::wire::varint_bytes;

/// The most bytes of the messages that news go behind.
pub(super) const HEAD_BYTES: usize = 192;
/// What a section has before its entries, and what its share loses to rounding.
pub(super) const SECTION_BYTES: usize = 8;
/// From so many words on, what others tell needs to be told less often.
const PRESSURE: usize = 100;
/// How often they are told then.
const PRESSED: u8 = 4;
/// How often a change is told that does not matter to all.
const FEW_TIMES: u8 = 4;
/// How long news wait for company before the first round.
const COMPANY: u64 = 10_000;

impl Swim {
    /// How often news are told: often enough that with a third of all packets lost, not one member
    /// of one cluster in a hundred thousand is left without. A member is missed by chance with the
    /// probability e^-c, if c copies come to it; with L tellings and 30 % loss that is 0.7 L, and
    /// N e^-0.7L stays below 10^-5 with L = log2 N + 18.
    ///
    /// A failure needs less, as whoever suspects finds out by itself: see `hear_failed`.
    fn often(&self) -> u8 {
        let bits = (self.peers.members() as u64 + 1).next_power_of_two().ilog2();
        (self.config.transmissions * bits + 18).min(200) as u8
    }

    /// How often words are told, and changes of metadata: not so often under pressure. Where there
    /// is so much to say that it takes seconds to say it once, most have heard it from others
    /// meanwhile, and comparing brings the rest to those who have not at less cost. Broadcasts have
    /// no such second way, and are told as often as ever.
    pub(super) fn tell_limit(&self) -> u8 {
        if self.words.len() > PRESSURE { PRESSED } else { self.often() }
    }

    /// There is a word to tell about a peer.
    pub(super) fn tell(&mut self, slot: u32) {
        if self.hushed {
            return;
        }
        self.peers.at_mut(slot).told = 0;
        self.words.push(slot);
        self.prune_words();
        self.gossip_soon();
    }

    /// The word about a peer, which all have heard, has changed a little: it is told a few times
    /// more.
    pub(super) fn tell_a_few(&mut self, slot: u32) {
        let told = self.tell_limit().saturating_sub(FEW_TIMES);
        let peer = self.peers.at_mut(slot);
        if peer.told > told && !self.hushed {
            peer.told = told;
            self.words.push_told(slot, told);
            self.prune_words();
            self.gossip_soon();
        }
    }

    /// A word that we are telling has come from another: under pressure that counts as told. With
    /// little to say it does not, as then nothing is saved, and each copy more reaches somebody.
    pub(super) fn heard_again(&mut self, slot: u32) {
        if self.words.len() >= PRESSURE {
            self.count_as_told(slot);
        }
    }

    /// Counts what another has told as if we had.
    pub(super) fn count_as_told(&mut self, slot: u32) {
        let limit = self.tell_limit();
        let peer = self.peers.at_mut(slot);
        if peer.told == UNTOLD {
            return;
        }
        peer.told = if peer.told + 1 >= limit { UNTOLD } else { peer.told + 1 };
        if peer.told != UNTOLD {
            self.words.push_told(slot, peer.told);
            self.prune_words();
        }
    }

    /// Keeps the lane of words from growing with what is told again before it was told.
    fn prune_words(&mut self) {
        let (me, peers) = (&self.me, &self.peers);
        self.words.prune(|slot| if slot == ME { me.told } else { peers.at(slot).told });
    }

    /// There is a word to tell about us.
    pub(super) fn tell_me(&mut self) {
        self.me.told = 0;
        self.words.push(ME);
        self.prune_words();
        self.gossip_soon();
    }

    /// Makes sure that there will be a round.
    pub(super) fn gossip_soon(&mut self) {
        if self.gossip_at.is_none() {
            let earliest = self.gossiped_at + micros(self.config.gossip_period);
            let company = self.now() + self.rng.below(COMPANY);
            self.gossip_at = Some(company.max(earliest));
        }
    }

    /// A round of gossip.
    pub(super) fn gossip(&mut self, out: &mut Vec<Effect>) {
        let now = self.now();
        (self.gossip_at, self.gossiped_at) = (None, now);
        let targets = self.peers.draw(self.config.gossip_fanout, &mut self.rng, |_| true);
        for slot in targets {
            if !self.has_news() {
                break;
            }
            let to = self.peers.at(slot).addr();
            self.send(to, &Message::Gossip, None, out);
        }
        if self.has_news() {
            self.gossip_at = Some(now + micros(self.config.gossip_period));
        }
    }

    pub(super) fn has_news(&self) -> bool {
        !(self.words.is_empty() && self.broadcasts.is_empty() && self.changes.is_empty())
    }

    /// Fills a packet with news: about one member first, if that is asked for. Then each lane has
    /// its share:
    ///
    /// ```text
    ///     broadcasts    go on until they have a quarter of the packet; one has less than that, so
    ///                   they have half at most
    ///     metadata      to three quarters, in which at least one change has room
    ///     words         the rest; then whoever has more to say
    /// ```
    pub(super) fn put_news(&mut self, packet: &mut Vec<u8>, about: Option<u32>) {
        let end = self.config.mtu - (Envelope::bytes(&self.keyring) - self.head_bytes());
        if let Some(slot) = about {
            let mut section = Section::begin(packet, WORDS, end);
            section.add(|out| self.word(slot, false).write(out));
            section.finish();
        }
        if !self.has_news() {
            return;
        }
        let begin = packet.len();
        let quarter = end.saturating_sub(begin) / 4;
        let [mut words, mut broadcasts, mut changes] = [(); 3].map(|()| Taken::default());
        let turns = [
            (BROADCASTS, begin + self.config.mtu.div_ceil(4), end),
            (CHANGES, end, begin + 3 * quarter),
            (WORDS, end, end),
            (BROADCASTS, end, end),
            (CHANGES, end, end),
        ];
        for (lane, enough, end) in turns {
            let mut section = Section { enough, ..Section::begin(packet, lane, end) };
            match lane {
                WORDS => self.put_words(&mut section, &mut words, about),
                BROADCASTS => put_parcels(&mut self.broadcasts, &mut broadcasts, &mut section),
                _ => put_parcels(&mut self.changes, &mut changes, &mut section),
            }
            section.finish();
        }
        let limit = self.tell_limit();
        self.words.settle(words, limit);
        self.broadcasts.settle(broadcasts, self.often());
        self.changes.settle(changes, limit);
    }

    fn head_bytes(&self) -> usize {
        Envelope::head_bytes(&self.keyring)
    }

    fn put_words(&mut self, section: &mut Section<'_>, taken: &mut Taken, about: Option<u32>) {
        let limit = self.tell_limit();
        let mut lane: Lane = std::mem::take(&mut self.words);
        lane.draw(taken, |slot, told| {
            let stands = if slot == ME { self.me.told } else { self.peers.at(slot).told };
            if stands != told {
                return Offer::Stale;
            }
            let added = Some(slot) == about
                || section.add(|out| {
                    if slot == ME {
                        self.my_word().write(out);
                    } else {
                        self.word(slot, false).write(out);
                    }
                });
            if !added {
                return Offer::Full;
            }
            let told = if told + 1 >= limit { UNTOLD } else { told + 1 };
            if slot == ME {
                self.me.told = told;
            } else {
                self.peers.at_mut(slot).told = told;
            }
            Offer::Taken
        });
        self.words = lane;
    }

    /// Tells our own news to some members right away: an accusation is running.
    pub(super) fn speak_up(&mut self, out: &mut Vec<Effect>) {
        self.tell_me();
        let targets = self
            .peers
            .draw(self.config.gossip_fanout, &mut self.rng, |peer| peer.state == State::Alive);
        for slot in targets {
            let to = self.peers.at(slot).addr();
            self.send(to, &Message::Gossip, None, out);
        }
    }

    /// Begins to leave.
    pub(super) fn leave(&mut self, out: &mut Vec<Effect>) {
        if self.me.phase != Phase::Member {
            self.me.phase = Phase::Gone;
            let id = self.me.node.id;
            self.event(crate::effect::Event::Left(id), out);
            return;
        }
        let until = self.now() + micros(self.config.leave_timeout);
        self.change_me(|me| {
            me.phase = Phase::Leaving { until };
        });
        self.tell_me();
        self.gossip(out);
    }
}

fn put_parcels(parcels: &mut Parcels, taken: &mut Taken, section: &mut Section<'_>) {
    parcels.draw(taken, |bytes| section.add(|out| out.extend_from_slice(bytes)));
}

/// A section of a packet that is being written.
struct Section<'a> {
    out: &'a mut Vec<u8>,
    /// Where it begins.
    at: usize,
    /// From here on nothing is added any more.
    enough: usize,
    /// Where it must end.
    end: usize,
    count: usize,
}

impl<'a> Section<'a> {
    fn begin(out: &'a mut Vec<u8>, lane: u8, end: usize) -> Section<'a> {
        let at = out.len();
        out.extend_from_slice(&[lane, 0]);
        Section { out, at, enough: end, end, count: 0 }
    }

    /// Adds an entry if it fits.
    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let before = self.out.len();
        // A count below 128 has one byte; few packets have more entries.
        if before >= self.enough || varint_bytes(self.count as u64 + 1) > 1 {
            return false;
        }
        write(self.out);
        if self.out.len() > self.end {
            self.out.truncate(before);
            return false;
        }
        self.count += 1;
        true
    }

    fn finish(self) {
        if self.count == 0 {
            self.out.truncate(self.at);
        } else {
            self.out[self.at + 1] = self.count as u8;
        }
    }
}
