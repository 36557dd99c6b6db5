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
//!     A ◄── Buckets: 256 sums ───────────────────── B     else, by stream
//!     A ── Words: all of the buckets that differ ──► B
//!     A ◄── Words: the same of B ────────────────── B
//! ```
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
use crate::message::{BUCKETS, Mask, Message, Sums, Words, WordsOut};
use crate::packet::Envelope;
use crate::peers::bucket;
use crate::rumor::Rumor;
use crate::suspicion::log2;
use crate::types::{NodeId, State};

/// With fewer members than this, all their words are less than the sums.
const FEW: usize = 40;
/// The most bytes of words in one message; more messages follow.
const WORDS_BYTES_MAX: usize = 60_000;
/// The shortest time between two comparisons of a member that has found differences.
const EAGER: Micros = 1_000_000;

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
        let period = self.sync_period();
        // Not all at once, whatever has started all at once.
        let rest = self.sync_rest.min(period);
        self.sync_at = self.now() + rest / 2 + self.rng.below(rest);
        self.sync_rest = (2 * rest).min(period);
        if self.me.phase != Phase::Member {
            return;
        }
        let drawn = self.peers.draw(1, &mut self.rng, |peer| peer.state == State::Alive);
        if let Some(slot) = drawn.first() {
            let to = self.peers.at(*slot).addr();
            self.send_digest(to, None, out);
        }
    }

    pub(super) fn send_digest(
        &mut self,
        to: SocketAddr,
        about: Option<u32>,
        out: &mut Vec<Effect>,
    ) {
        let mut packet = Envelope::begin(&self.keyring);
        let message = Message::Digest { sum: self.peers.sum(), me: self.my_word() };
        message.write(self.me.node.id, &mut packet);
        self.post(to, packet, about, out);
    }

    /// Another member wants to compare.
    pub(super) fn compare(
        &mut self,
        sender: NodeId,
        sum: u64,
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
            let mask = [u8::MAX; BUCKETS / 8];
            self.send_words(card.addr, &mask, true, out);
            return;
        }
        let sums: Vec<u8> = self.peers.sums().iter().flat_map(|sum| sum.to_le_bytes()).collect();
        self.stream(card.addr, &Message::Buckets { sums: Sums(&sums) }, out);
    }

    /// Another has told its sums.
    pub(super) fn compare_buckets(
        &mut self,
        sender: NodeId,
        sums: Sums<'_>,
        out: &mut Vec<Effect>,
    ) {
        let Some(slot) = self.peers.find(sender) else { return };
        let mut mask: Mask = [0; BUCKETS / 8];
        let mut differ = 0;
        for (place, sum) in self.peers.sums().iter().enumerate() {
            if *sum != sums.of(place) {
                mask[place / 8] |= 1 << (place % 8);
                differ += 1;
            }
        }
        if differ > 0 && self.me.phase == Phase::Member {
            self.sync_eagerly_if(differ);
            let to = self.peers.at(slot).addr();
            self.send_words(to, &mask, true, out);
        }
    }

    /// Where much is different, others probably know more still.
    fn sync_eagerly_if(&mut self, differ: usize) {
        if differ > BUCKETS / 8 {
            self.sync_eagerly();
        }
    }

    /// Sends all words of these buckets.
    fn send_words(&mut self, to: SocketAddr, mask: &Mask, reply: bool, out: &mut Vec<Effect>) {
        let wanted = |id: NodeId| {
            let bucket = bucket(id);
            mask[bucket / 8] & 1 << (bucket % 8) != 0
        };
        let mut messages = vec![WordsOut::default()];
        if wanted(self.me.node.id) {
            messages[0].push(&self.my_word());
        }
        for slot in self.peers.roster().iter().chain(self.peers.gone()) {
            if !wanted(self.peers.at(*slot).id) {
                continue;
            }
            let member = self.peers.at(*slot).state.is_member();
            let last = messages.last_mut().expect("there is one");
            last.push(&self.word(*slot, member));
            if last.bytes.len() > WORDS_BYTES_MAX {
                messages.push(WordsOut::default());
            }
        }
        let count = messages.len();
        for (place, words) in messages.iter().enumerate() {
            // The answer covers all, so it is asked for once.
            let reply = reply && place + 1 == count;
            let message = Message::Words { mask: *mask, reply, words: words.as_words() };
            self.stream(to, &message, out);
        }
    }

    /// Words of another member have come.
    pub(super) fn merge(
        &mut self,
        sender: NodeId,
        mask: &Mask,
        reply: bool,
        words: &Words<'_>,
        out: &mut Vec<Effect>,
    ) {
        // Whoever learns of more members than it knows is new itself: the others know them, and it
        // would take a newcomer a minute to tell them all again.
        let strangers = words.iter().filter(|word| self.peers.find(word.id).is_none()).count();
        self.hushed = strangers > self.peers.members();
        for word in words.iter() {
            self.hear(&word, sender, out);
        }
        self.hushed = false;
        if reply
            && self.me.phase == Phase::Member
            && let Some(slot) = self.peers.find(sender)
        {
            let to = self.peers.at(slot).addr();
            self.send_words(to, mask, false, out);
        }
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
