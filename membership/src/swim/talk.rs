//! What members have to say for themselves: metadata, broadcasts, keys.
//!
//! **Metadata** travels in three ways. A change that fits goes into the third lane of packets, with
//! what it builds on. One that does not is announced by the version on our card, and fetched:
//! whoever hears of a version that it lacks asks the one who told (*Want*), and is given what has
//! changed since its own (*Give*), by stream. And versions are part of the sums that members
//! compare, so what was missed is found.
//!
//! **Keys** travel like metadata of the cluster: *Keys* by stream to some members when the ring has
//! turned, from each who hears it for the first time to some others, and to whoever comes in, or
//! compares itself with us and has missed it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::packets::read_deltas;
use super::{Phase, Swim};
use crate::broadcast::{Broadcast, TOPIC_BYTES_MAX, Window};
use crate::clock::{Micros, micros};
use crate::effect::{Effect, Event};
use crate::error::{Error, Result};
use crate::keyring::KeyStep;
use crate::message::Message;
use crate::metadata::Delta;
use crate::packet::Envelope;
use crate::peer::Peer;
use crate::rng::mix;
use crate::types::{NodeId, State};
use crate::wire::{Put, Reader};

/// The key of our metadata that says which ring of keys we hold.
pub(super) const RING_KEY: &str = "_ring";

/// How many members' metadata is asked for at once.
const WANTS_MAX: usize = 256;
/// How long what is lacking is gathered.
const WANT_REST: Micros = 50_000;
/// The most bytes of metadata in one message.
const GIVE_BYTES_MAX: usize = 1 << 18;

/// What we lack of others' metadata, and who has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Wants {
    by_slot: BTreeMap<u32, NodeId>,
    pub(super) at: Option<Micros>,
}

impl Swim {
    /// Sets a key of our own.
    pub(super) fn set(&mut self, key: &str, value: Option<Bytes>) -> Result<()> {
        if self.me.phase != Phase::Member {
            return Err(Error::Gone);
        }
        let before = self.me.metadata.version;
        let mut next = self.me.metadata.clone();
        if !next.set(key, value, self.config.metadata_bytes_max)? {
            return Ok(());
        }
        self.change_me(|me| me.metadata = next);
        let (id, life) = (self.me.node.id, self.me.incarnation.life);
        let delta = self.me.metadata.delta(id, life, before);
        if delta.len() <= self.share_bytes() {
            self.changes.put(mix(id.0).wrapping_add(self.me.metadata.version), delta.into());
            self.gossip_soon();
        } else {
            // Too large for a packet: others hear of the version, and ask.
            self.tell_me();
        }
        Ok(())
    }

    /// A newer version of a member's metadata exists.
    pub(super) fn heard_of_version(&mut self, slot: u32, version: u64, teller: NodeId) {
        let peer = self.peers.at_mut(slot);
        if version <= peer.version() {
            return;
        }
        let more = peer.more();
        more.newest = more.newest.max(version);
        self.want(slot, teller);
    }

    fn want(&mut self, slot: u32, teller: NodeId) {
        if self.wants.by_slot.len() < WANTS_MAX {
            self.wants.by_slot.insert(slot, teller);
            let at = self.now() + self.rng.below(WANT_REST);
            self.wants.at.get_or_insert(at);
        }
    }

    /// Asks for what is lacking.
    pub(super) fn ask_for_metadata(&mut self, out: &mut Vec<Effect>) {
        self.wants.at = None;
        let mut by_teller: BTreeMap<NodeId, Vec<u8>> = BTreeMap::new();
        for (slot, teller) in std::mem::take(&mut self.wants.by_slot) {
            let peer = self.peers.at(slot);
            let newest = peer.more.as_ref().map_or(0, |more| more.newest);
            if newest > peer.version() && peer.state.is_member() {
                let wants = by_teller.entry(teller).or_default();
                wants.put_id(peer.id);
                wants.put_u32(peer.incarnation.life);
                wants.put_varint(peer.version());
            }
        }
        for (teller, bytes) in by_teller {
            if let Some(slot) = self.peers.find(teller) {
                let to = self.peers.at(slot).addr();
                self.stream(to, &Message::Want { bytes: &bytes }, out);
            }
        }
    }

    /// Gives what another lacks.
    pub(super) fn give(&mut self, sender: NodeId, wants: &[u8], out: &mut Vec<Effect>) {
        let Some(to) = self.peers.find(sender).map(|slot| self.peers.at(slot).addr()) else {
            return;
        };
        let mut bytes = Vec::new();
        let mut messages = Vec::new();
        for (id, life, version) in read_wants(wants) {
            let (ours, metadata) = if id == self.me.node.id {
                (self.me.incarnation.life, Some(&self.me.metadata))
            } else if let Some(slot) = self.peers.find(id) {
                let peer = self.peers.at(slot);
                (peer.incarnation.life, peer.more.as_ref().map(|more| &more.metadata))
            } else {
                continue;
            };
            if let Some(metadata) = metadata.filter(|it| life == ours && it.version > version) {
                bytes.extend_from_slice(&metadata.delta(id, life, version));
            }
            if bytes.len() > GIVE_BYTES_MAX {
                messages.push(std::mem::take(&mut bytes));
            }
        }
        if !bytes.is_empty() {
            messages.push(bytes);
        }
        for bytes in messages {
            self.stream(to, &Message::Give { bytes: &bytes }, out);
        }
    }

    /// What we lacked has come.
    pub(super) fn given(&mut self, sender: NodeId, bytes: &[u8], out: &mut Vec<Effect>) {
        for delta in read_deltas(bytes, 0).expect("they were checked") {
            self.hear_change(&delta, None, sender, out);
        }
    }

    /// A change of somebody's metadata. `bytes` are the delta's own, to be told on.
    pub(super) fn hear_change(
        &mut self,
        delta: &Delta<'_>,
        bytes: Option<&[u8]>,
        teller: NodeId,
        out: &mut Vec<Effect>,
    ) {
        let Some(slot) = self.peers.find(delta.id) else { return };
        let (peer, now) = (self.peers.at(slot), self.now());
        if delta.life != peer.incarnation.life || delta.version <= peer.version() {
            return;
        }
        let state = peer.state;
        let bytes_max = self.config.metadata_bytes_max;
        let mut metadata = peer.more.as_ref().map(|more| more.metadata.clone()).unwrap_or_default();
        let Some(keys) = metadata.apply(delta, bytes_max) else {
            self.heard_of_version(slot, delta.version, teller);
            return;
        };
        self.peers.change(slot, state, now, &mut self.rng, |peer| {
            let more = peer.more();
            more.newest = more.newest.max(metadata.version);
            more.metadata = metadata;
        });
        if let Some(bytes) = bytes {
            let subject = mix(delta.id.0).wrapping_add(delta.version);
            self.changes.put(subject, Bytes::copy_from_slice(bytes));
            self.gossip_soon();
        }
        let keys: Vec<String> = keys.into_iter().filter(|key| key != RING_KEY).collect();
        if !keys.is_empty() {
            self.event(Event::Updated { id: delta.id, keys }, out);
        }
    }

    /// Tells all members something once.
    pub(super) fn broadcast(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        if self.me.phase != Phase::Member {
            return Err(Error::Gone);
        }
        if topic.len() > TOPIC_BYTES_MAX {
            let (bytes, bytes_max) = (topic.len(), TOPIC_BYTES_MAX);
            return Err(Error::TooLarge { what: "a topic", bytes, bytes_max });
        }
        let (bytes, bytes_max) = (topic.len() + payload.len(), self.broadcast_bytes_max());
        if bytes > bytes_max {
            return Err(Error::TooLarge { what: "a broadcast", bytes, bytes_max });
        }
        self.me.broadcasts += 1;
        let (origin, life) = (self.me.node.id, self.me.incarnation.life);
        let number = self.me.broadcasts;
        let broadcast = Broadcast { origin, life, number, topic, payload };
        self.broadcasts.put(subject(&broadcast), broadcast.write().into());
        self.gossip_soon();
        Ok(())
    }

    pub(super) fn hear_broadcast(&mut self, broadcast: &Broadcast<'_>, out: &mut Vec<Effect>) {
        let Some(slot) = self.peers.find(broadcast.origin) else { return };
        let life = self.peers.at(slot).incarnation.life;
        if broadcast.life != life {
            return;
        }
        let more = self.peers.at_mut(slot).more();
        if more.broadcasts == Window::default() {
            more.broadcasts = Window::from(life, 0);
        }
        if !more.broadcasts.note(broadcast.life, broadcast.number) {
            return;
        }
        self.broadcasts.put(subject(broadcast), broadcast.write().into());
        self.gossip_soon();
        let event = Event::Broadcast {
            from: broadcast.origin,
            topic: broadcast.topic.to_owned(),
            payload: Bytes::copy_from_slice(broadcast.payload),
        };
        self.event(event, out);
    }

    /// Turns the ring for the whole cluster.
    pub(super) fn turn_keys(
        &mut self,
        step: KeyStep,
        anyway: bool,
        out: &mut Vec<Effect>,
    ) -> Result<()> {
        if self.me.phase != Phase::Member {
            return Err(Error::Gone);
        }
        let behind = self.behind(&step);
        if !anyway && !behind.is_empty() {
            return Err(Error::KeysBehind(behind));
        }
        self.keyring.turn(step)?;
        self.ring_turned(out);
        Ok(())
    }

    /// Who could not follow a step: members that do not hold the ring before it.
    fn behind(&self, step: &KeyStep) -> Vec<NodeId> {
        if matches!(step, KeyStep::Add(_)) {
            return Vec::new();
        }
        let number = self.keyring.number();
        // Before a key is removed, those who have failed count, too: they may come back.
        let gone = matches!(step, KeyStep::Remove(_)).then(|| self.peers.gone());
        let all = self.peers.roster().iter().chain(gone.into_iter().flatten());
        let behind = all.map(|slot| self.peers.at(*slot));
        let behind = behind.filter(|peer| peer.state != State::Left && !holds(peer, number));
        behind.map(|peer| peer.id).collect()
    }

    /// A member compares itself with us. If it has missed a step, as far as we know, it is told.
    pub(super) fn offer_ring(&mut self, sender: NodeId, out: &mut Vec<Effect>) {
        if self.keyring.is_empty() || self.me.phase != Phase::Member {
            return;
        }
        if let Some(slot) = self.peers.find(sender)
            && !holds(self.peers.at(slot), self.keyring.number())
        {
            let to = self.peers.at(slot).addr();
            self.send_keys(to, out);
        }
    }

    fn ring_turned(&mut self, out: &mut Vec<Effect>) {
        self.tell_ring();
        let (number, fingerprints) = self.keys();
        self.event(Event::Keys { number, fingerprints }, out);
        let some = self.peers.draw(2 * self.config.gossip_fanout, &mut self.rng, |_| true);
        for slot in some {
            let to = self.peers.at(slot).addr();
            self.send_keys(to, out);
        }
    }

    /// Says in our metadata which ring we hold.
    pub(super) fn tell_ring(&mut self) {
        if !self.keyring.is_empty() {
            let number = Bytes::copy_from_slice(&self.keyring.number().to_le_bytes());
            // It may be refused when the application has used up its metadata; then the ring waits
            // for `KeysAnyway`.
            let _ = self.set(RING_KEY, Some(number));
        }
    }

    pub(super) fn send_keys(&mut self, to: std::net::SocketAddr, out: &mut Vec<Effect>) {
        self.send_keys_by(self.keyring.primary(), to, out);
    }

    /// A packet of somebody's was sealed with this key. If it is not the one that seals, its sender
    /// has probably missed a step, and opens nothing that we seal: it is sent the ring, sealed with
    /// the key that it has. Only where it is known to be, as the key may be known to others.
    pub(super) fn catch_up(&mut self, sender: NodeId, key: u32, out: &mut Vec<Effect>) {
        let now = self.now();
        if key == self.keyring.primary()
            || self.me.phase != Phase::Member
            || self.keys_told_at > now
        {
            return;
        }
        if let Some(slot) = self.peers.find(sender) {
            self.keys_told_at = now + micros(self.config.gossip_period);
            let to = self.peers.at(slot).addr();
            self.send_keys_by(key, to, out);
        }
    }

    fn send_keys_by(&mut self, key: u32, to: std::net::SocketAddr, out: &mut Vec<Effect>) {
        let mut packet = Envelope::begin(&self.keyring);
        let ring = self.keyring.write();
        Message::Keys { bytes: &ring }.write(self.me.node.id, &mut packet);
        self.post_stream_by(key, to, packet, out);
    }

    pub(super) fn hear_keys(&mut self, bytes: &[u8], out: &mut Vec<Effect>) {
        if self.keyring.adopt(bytes) {
            self.ring_turned(out);
        }
    }
}

/// Whether a member has told that it holds this ring, or one after it.
fn holds(peer: &Peer, number: u64) -> bool {
    let metadata = peer.more.as_ref().map(|more| &more.metadata);
    metadata.and_then(|it| it.get(RING_KEY)).is_some_and(|bytes| {
        <[u8; 8]>::try_from(&bytes[..]).is_ok_and(|it| u64::from_le_bytes(it) >= number)
    })
}

/// What a broadcast is called in its lane.
fn subject(broadcast: &Broadcast<'_>) -> u64 {
    let number = u64::from(broadcast.life) << 32 | u64::from(broadcast.number);
    mix(broadcast.origin.0 ^ mix(number))
}

/// Asserts that wants can be read.
pub(super) fn check_wants(bytes: &[u8], base: usize) -> Result<()> {
    let mut reader = Reader::new(bytes, base);
    while reader.left() > 0 {
        reader.id()?;
        reader.u32()?;
        reader.number(1 << 62, "a version out of bounds")?;
    }
    Ok(())
}

fn read_wants(bytes: &[u8]) -> Vec<(NodeId, u32, u64)> {
    let mut reader = Reader::new(bytes, 0);
    let mut wants = Vec::new();
    while wants.len() < WANTS_MAX
        && let Ok(id) = reader.id()
        && let (Ok(life), Ok(version)) = (reader.u32(), reader.varint())
    {
        wants.push((id, life, version));
    }
    wants
}
