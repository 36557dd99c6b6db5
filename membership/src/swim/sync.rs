//! Two members compare what they know (anti-entropy, Demers et al. 1987).
//!
//! Gossip reaches everyone with high probability, and no more than that; and who was cut off for
//! longer than news are told has missed them. So now and then each member compares itself with
//! another by chance. Other libraries send the whole table both ways, which grows with the cluster.
//! Here a comparison costs one small datagram while both know the same, and otherwise about as much
//! as they differ:
//!
//! ```text
//!     A ── Digest: the sum of all, a word about A ──► B     equal: that was it
//!     A ◄── Buckets: sums of parts, see sums.rs ──── B     else, by stream
//!     A ── Words: all of the buckets that differ ──► B
//!     A ◄── Words: what B knows beside them ───────── B
//! ```
//!
//! Where a few differ, few buckets tell which. Whoever is new asks for more of them, and so does
//! whoever has found that it differs in much.
//!
//! The words are believed by the same rules as any others. A member that has failed is in them,
//! too, so that both sides of a healed partition hear what the other thinks of them, and object.
//!
//! **Finding the lost.** Members that have failed, and seeds that are no members, are sent a digest
//! from time to time. When a partition heals, the first of these that gets through starts the
//! merge.

use std::net::SocketAddr;

use super::{Phase, Swim};
use crate::clock::{Micros, micros};
use crate::effect::Effect;
use crate::message::{Message, Words, WordsOut};
use crate::packet::Envelope;
use crate::rumor::Rumor;
use crate::sums::{BITS_MIN, Mask, Sums, bucket};
use crate::suspicion::log2;
use crate::types::{NodeId, State};

/// With fewer members than this, all their words are less than the sums.
const FEW: usize = 40;
/// The most bytes of words in one message; more messages follow.
const WORDS_BYTES_MAX: usize = 1 << 18;
/// Who differs from another in more buckets than this probably differs from all.
const MANY: usize = 32;
/// The shortest time between two comparisons of a member that has found differences.
const EAGER: Micros = 1_000_000;

/// Peers of whom the other knows what we know, by slot.
#[derive(Debug, Default)]
struct Known(Vec<u64>);

impl Known {
    fn add(&mut self, slot: u32) {
        let word = slot as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (slot % 64);
    }

    fn has(&self, slot: u32) -> bool {
        self.0.get(slot as usize / 64).is_some_and(|word| word & 1 << (slot % 64) != 0)
    }
}

impl Swim {
    /// How often this cluster compares: more rarely the larger it is.
    fn sync_period(&self) -> Micros {
        let doublings = (log2(self.peers.members() as u64 / 64 + 1) >> 16).min(6);
        micros(self.config.sync_period) * (doublings + 2) / 2
    }

    /// Compares often for a while, as there is probably something to learn.
    pub(super) fn sync_eagerly(&mut self) {
        self.sync_rest = EAGER;
        let at = self.now() + self.rng.below(EAGER);
        self.sync_at = self.sync_at.min(at);
    }

    pub(super) fn sync(&mut self, out: &mut Vec<Effect>) {
        if self.me.phase == Phase::Member {
            let drawn = self.peers.draw(1, &mut self.rng, |peer| peer.state == State::Alive);
            if let Some(slot) = drawn.first() {
                let to = self.peers.at(*slot).addr();
                self.send_digest(to, None, out);
            }
        }
        let period = self.sync_period();
        // Not all at once, whatever has started all at once.
        let rest = self.sync_rest.min(period);
        self.sync_at = self.now() + rest / 2 + self.rng.below(rest);
        self.sync_rest = (2 * rest).min(period);
    }

    /// In how many buckets we want to compare: in many while there is probably much to learn.
    fn sums_bits(&self) -> u8 {
        let eager = self.sync_rest < self.sync_period();
        if eager { self.peers.sums().bits() } else { BITS_MIN }
    }

    pub(super) fn send_digest(
        &mut self,
        to: SocketAddr,
        about: Option<u32>,
        out: &mut Vec<Effect>,
    ) {
        let mut packet = Envelope::begin(&self.keyring);
        let (sum, bits) = (self.peers.sum(), self.sums_bits());
        let message = Message::Digest { sum, bits, me: self.my_word() };
        message.write(self.me.node.id, &mut packet);
        self.post(to, packet, about, out);
    }

    /// Another member wants to compare.
    pub(super) fn compare(
        &mut self,
        sender: NodeId,
        sum: u64,
        bits: u8,
        word: &Rumor<'_>,
        out: &mut Vec<Effect>,
    ) {
        self.met(word, out);
        self.offer_ring(sender, out);
        if self.me.phase != Phase::Member || sum == self.peers.sum() {
            return;
        }
        let Some(card) = word.card else { return };
        if self.peers.members() < FEW {
            self.send_words(card.addr, &Mask::all(), true, &Known::default(), out);
            return;
        }
        let sums = self.peers.sums().folded(bits.max(self.sums_bits()));
        self.stream(card.addr, &Message::Buckets { sums }, out);
    }

    /// Another has told its sums.
    pub(super) fn compare_buckets(&mut self, sender: NodeId, sums: &Sums, out: &mut Vec<Effect>) {
        let Some(slot) = self.peers.find(sender) else { return };
        let (mask, count) = self.peers.sums().differing(sums);
        if count > 0 && self.me.phase == Phase::Member {
            if count > MANY {
                // Where much is different, others probably know more still.
                self.sync_eagerly();
            }
            let to = self.peers.at(slot).addr();
            self.send_words(to, &mask, true, &Known::default(), out);
        }
    }

    /// Sends the words of these buckets, but for those that are known. If it `asks`, the other is
    /// to tell what it knows beside them, part by part: what it knows of a bucket once all words of
    /// this have gone.
    fn send_words(
        &mut self,
        to: SocketAddr,
        mask: &Mask,
        asks: bool,
        known: &Known,
        out: &mut Vec<Effect>,
    ) {
        let all = self.peers.roster().iter().chain(self.peers.gone()).copied();
        let all = all.filter(|slot| !known.has(*slot));
        let all = all.map(|slot| (bucket(self.peers.at(slot).id, mask.bits()), slot));
        let mut told: Vec<(usize, u32)> = all.filter(|(bucket, _)| mask.has(*bucket)).collect();
        told.sort_unstable();
        let mut words = WordsOut::default();
        if mask.has(bucket(self.me.node.id, mask.bits())) {
            words.push(&self.my_word());
        }
        let mut from = 0;
        for (bucket, slot) in told {
            if words.bytes.len() > WORDS_BYTES_MAX {
                let part = asks.then(|| mask.part(from, bucket));
                from = bucket;
                let words = std::mem::take(&mut words);
                self.stream(to, &Message::Words { answer: part, words: words.as_words() }, out);
            }
            let member = self.peers.at(slot).state.is_member();
            words.push(&self.word(slot, member));
        }
        let part = asks.then(|| mask.part(from, 1 << mask.bits()));
        self.stream(to, &Message::Words { answer: part, words: words.as_words() }, out);
    }

    /// Words of another member have come.
    pub(super) fn merge(
        &mut self,
        sender: NodeId,
        answer: Option<&Mask>,
        words: &Words<'_>,
        out: &mut Vec<Effect>,
    ) {
        // A newcomer that learns of more members than it knows learns what the others know, and it
        // would take it a minute to tell them all again. For one that is not new it is another
        // cluster, from behind a partition that has healed, and that is news to all.
        let members = self.peers.members();
        self.hushed = self.is_new()
            && words.len() > members
            && words.iter().filter(|word| self.peers.find(word.id).is_none()).count() > members;
        let mut known = Known::default();
        for word in words.iter() {
            self.hear(&word, sender, out);
            if let Some(slot) = self.peers.find(word.id)
                && answer.is_some()
                && self.says_nothing_new(slot, &word)
            {
                known.add(slot);
            }
        }
        self.hushed = false;
        if let Some(mask) = answer
            && self.me.phase == Phase::Member
            && let Some(slot) = self.peers.find(sender)
        {
            let to = self.peers.at(slot).addr();
            self.send_words(to, mask, false, &known, out);
        }
    }

    /// Whether our own word about a peer would tell nothing to whoever has told us this one.
    fn says_nothing_new(&self, slot: u32, theirs: &Rumor<'_>) -> bool {
        let ours = self.peers.at(slot);
        // Of a suspect there may be accusers to tell.
        ours.state != State::Suspect
            && ours.state == theirs.state
            && ours.incarnation == theirs.incarnation
            && theirs.card.is_none_or(|card| card.version >= ours.version())
    }

    /// Tries to reach one of those who are lost.
    pub(super) fn reconnect(&mut self, out: &mut Vec<Effect>) {
        if self.me.phase == Phase::Member {
            let gone = self.peers.gone();
            let drawn = (!gone.is_empty()).then(|| gone[self.rng.place(gone.len())]);
            if let Some(slot) = drawn.filter(|slot| self.peers.at(*slot).state == State::Failed) {
                let to = self.peers.at(slot).addr();
                self.send_digest(to, Some(slot), out);
            }
        }
    }

    /// How many that are gone are kept.
    fn gone_max(&self) -> usize {
        2 * self.peers.members() + GONE_SPARE
    }

    /// Does not wait for the next sweep when there are too many: whoever sends words without end
    /// must not fill our memory in between.
    pub(super) fn sweep_if_many(&mut self) {
        if self.peers.gone().len() > self.gone_max() + GONE_SPARE {
            self.sweep();
        }
    }

    /// Buries those who have been gone for long, or are too many.
    pub(super) fn sweep(&mut self) {
        let now = self.now();
        let reap_after = self.config.reap_after.as_secs();
        let mut too_many = self.peers.gone().len().saturating_sub(self.gone_max());
        let mut gone: Vec<u32> = self.peers.gone().to_vec();
        gone.sort_unstable_by_key(|slot| self.peers.at(*slot).since);
        for slot in gone {
            let peer = self.peers.at(slot);
            let keep = if peer.state == State::Left { LEFT_SECONDS } else { reap_after };
            if peer.gone_for(now) >= keep || too_many > 0 {
                too_many = too_many.saturating_sub(1);
                self.peers.bury(slot);
            }
        }
    }
}

/// How long one who has left is kept, so that its word gets around.
const LEFT_SECONDS: u64 = 60;
/// So many that are gone are kept whatever the size of the cluster.
const GONE_SPARE: usize = 256;
