//! Packets in and out.

use std::net::SocketAddr;

use super::{Phase, Swim};
use crate::broadcast::Broadcast;
use crate::effect::Effect;
use crate::error::Result;
use crate::message::Message;
use crate::metadata::Delta;
use crate::packet::Envelope;
use crate::rumor::{Card, Rumor};
use crate::types::{NodeId, State};
use crate::wire::Reader;

/// The lanes, as their sections of a packet are called.
pub(super) const WORDS: u8 = 1;
pub(super) const BROADCASTS: u8 = 2;
pub(super) const CHANGES: u8 = 3;

/// One piece of news.
enum News<'a> {
    Word(Rumor<'a>),
    Broadcast(Broadcast<'a>),
    Change(Delta<'a>, &'a [u8]),
}

impl Swim {
    /// A packet has come: from an address if it is a datagram, by stream if not.
    pub(super) fn packet(
        &mut self,
        from: Option<SocketAddr>,
        bytes: &[u8],
        out: &mut Vec<Effect>,
    ) -> Result<()> {
        let result = self.read_packet(from, bytes, out);
        self.stats.refused += u64::from(result.is_err());
        result
    }

    /// Reads all of it before anything is believed: a packet that is half sound changes nothing.
    fn read_packet(
        &mut self,
        from: Option<SocketAddr>,
        bytes: &[u8],
        out: &mut Vec<Effect>,
    ) -> Result<()> {
        let mut scratch = Vec::new();
        let (body, base) = self.envelope.open(&self.keyring, bytes, &mut scratch)?;
        let mut reader = Reader::new(body, base);
        let (sender, message) = Message::read(&mut reader)?;
        let allowed = if from.is_some() { message.is_datagram() } else { message.is_stream() };
        if !allowed {
            return reader.wrong("a message that does not come this way");
        }
        let mut news = reader.clone();
        if from.is_some() {
            read_news(&mut reader, |_| {})?;
        }
        reader.end()?;
        self.check_rest(&message, reader.offset())?;
        if sender == self.me.node.id {
            self.under_our_name(&message, out);
            return Ok(());
        }
        self.heard(sender);
        if let Some(key) = Envelope::key(bytes) {
            self.catch_up(sender, key, out);
        }
        if self.me.phase == Phase::Ousted && !matches!(message, Message::Welcome { .. }) {
            return Ok(());
        }
        self.obey(sender, from, &message, out);
        if from.is_some() {
            let mut all = Vec::new();
            read_news(&mut news, |piece| all.push(piece)).expect("it was read before");
            for piece in all {
                match piece {
                    News::Word(rumor) => self.hear(&rumor, sender, out),
                    News::Broadcast(broadcast) => self.hear_broadcast(&broadcast, out),
                    News::Change(delta, bytes) => {
                        self.hear_change(&delta, Some(bytes), sender, out);
                    }
                }
            }
        }
        Ok(())
    }

    /// Does what a message asks for.
    fn obey(
        &mut self,
        sender: NodeId,
        from: Option<SocketAddr>,
        message: &Message<'_>,
        out: &mut Vec<Effect>,
    ) {
        match message {
            Message::Ping { seq, to } => self.pinged(sender, from, *seq, *to, out),
            Message::Ack { seq } => self.acked(sender, *seq, from.is_some(), out),
            Message::Nack { seq } => self.nacked(*seq),
            Message::Ask { seq, id, addr } => self.asked(from, *seq, *id, *addr, out),
            Message::Gossip => self.greet(sender, from, out),
            Message::Digest { sum, bits, me } => self.compare(sender, *sum, *bits, me, out),
            Message::Who => {
                // Who leaves has no more to say to somebody who does not know it.
                if let Some(from) = from.filter(|_| self.is_member()) {
                    self.introduce(from, out);
                }
            }
            Message::Hello { me } => {
                // It knows us, so others know it: this is news to us alone. But it may have come
                // just now, and what it has said may be on its way.
                let card = me.card.map(|card| Card { heard: 0, ..card });
                self.hushed = true;
                self.met(&Rumor { card, ..me.clone() }, out);
                self.hushed = false;
            }
            Message::Join { me } => self.let_in(me, out),
            Message::Welcome { words } => self.welcomed(sender, words, out),
            Message::Taken { addr, .. } => self.refused_entry(*addr, out),
            Message::Buckets { sums } => self.compare_buckets(sender, sums, out),
            Message::Words { answer, words } => self.merge(sender, answer.as_ref(), words, out),
            Message::Want { bytes } => self.give(sender, bytes, out),
            Message::Give { bytes } => self.given(sender, bytes, out),
            Message::Keys { bytes } => self.hear_keys(bytes, out),
            // From another name it means nothing.
            Message::Claim { .. } => {}
        }
    }

    /// Says what is wrong with what a message has up to its end, which is in the packet at `end`.
    fn check_rest(&self, message: &Message<'_>, end: usize) -> Result<()> {
        match message {
            Message::Want { bytes } => super::talk::check_wants(bytes, end - bytes.len()),
            Message::Give { bytes } => read_deltas(bytes, end - bytes.len()).map(drop),
            Message::Keys { bytes } => self.keyring.check(bytes, end - bytes.len()),
            _ => Ok(()),
        }
    }

    /// Somebody who is not known, or counts as gone, talks to us: it should know, or be known.
    pub(super) fn greet(
        &mut self,
        sender: NodeId,
        from: Option<SocketAddr>,
        out: &mut Vec<Effect>,
    ) {
        let Some(from) = from else { return };
        match self.peers.find(sender) {
            None => self.send(from, &Message::Who, None, out),
            Some(slot) if self.peers.at(slot).state == State::Failed => {
                self.send(from, &Message::Gossip, Some(slot), out);
            }
            Some(_) => {}
        }
    }

    /// Sends a datagram, with a word about the member in the slot `about` and what else there is.
    pub(super) fn send(
        &mut self,
        to: SocketAddr,
        message: &Message<'_>,
        about: Option<u32>,
        out: &mut Vec<Effect>,
    ) {
        let mut packet = Envelope::begin(&self.keyring);
        message.write(self.me.node.id, &mut packet);
        self.post(to, packet, about, out);
    }

    /// Sends a datagram that introduces us.
    pub(super) fn introduce(&mut self, to: SocketAddr, out: &mut Vec<Effect>) {
        let mut packet = Envelope::begin(&self.keyring);
        Message::Hello { me: self.my_word() }.write(self.me.node.id, &mut packet);
        self.post(to, packet, None, out);
    }

    /// Adds news to a packet that has room for them, closes and sends it.
    pub(super) fn post(
        &mut self,
        to: SocketAddr,
        mut packet: Vec<u8>,
        about: Option<u32>,
        out: &mut Vec<Effect>,
    ) {
        self.put_news(&mut packet, about);
        let bytes = self.envelope.close(&mut self.keyring, packet);
        assert!(bytes.len() <= self.config.mtu, "a datagram fits the MTU");
        self.stats.datagrams += 1;
        self.stats.datagram_bytes += bytes.len() as u64;
        self.stats.datagram_bytes_max = self.stats.datagram_bytes_max.max(bytes.len());
        out.push(Effect::Datagram { to, bytes });
    }

    /// Sends a message by stream.
    pub(super) fn stream(&mut self, to: SocketAddr, message: &Message<'_>, out: &mut Vec<Effect>) {
        let mut packet = Envelope::begin(&self.keyring);
        message.write(self.me.node.id, &mut packet);
        self.post_stream(to, packet, out);
    }

    pub(super) fn post_stream(&mut self, to: SocketAddr, packet: Vec<u8>, out: &mut Vec<Effect>) {
        self.post_stream_by(self.keyring.primary(), to, packet, out);
    }

    pub(super) fn post_stream_by(
        &mut self,
        key: u32,
        to: SocketAddr,
        packet: Vec<u8>,
        out: &mut Vec<Effect>,
    ) {
        let bytes = self.envelope.close_by(key, &mut self.keyring, packet);
        self.stats.streams += 1;
        self.stats.stream_bytes += bytes.len() as u64;
        out.push(Effect::Stream { to, bytes });
    }

    /// The word about us.
    pub(super) fn my_word(&self) -> Rumor<'_> {
        let node = &self.me.node;
        let card = Card {
            addr: node.addr,
            zone: &node.zone,
            name: &node.name,
            heard: self.me.broadcasts,
            version: self.me.metadata.version,
        };
        let leaving = matches!(self.me.phase, Phase::Leaving { .. } | Phase::Gone);
        Rumor {
            id: node.id,
            incarnation: self.me.incarnation,
            state: if leaving { State::Left } else { State::Alive },
            card: (!leaving).then_some(card),
            accusers: Default::default(),
        }
    }

    /// The word about a peer, with its card if that is wanted or needed.
    pub(super) fn word(&self, slot: u32, with_card: bool) -> Rumor<'_> {
        let peer = self.peers.at(slot);
        let version = peer.more.as_ref().map_or(0, |more| more.newest.max(more.metadata.version));
        let card = Card {
            addr: peer.addr(),
            zone: self.peers.zone_name(peer.zone),
            name: peer.name(),
            heard: peer.heard(),
            version,
        };
        let suspicion = self.suspicions.of(slot);
        Rumor {
            id: peer.id,
            incarnation: peer.incarnation,
            state: peer.state,
            card: (with_card || peer.state == State::Alive).then_some(card),
            accusers: suspicion.map(|suspicion| suspicion.accusers).unwrap_or_default(),
        }
    }
}

/// Reads changes of metadata to the end.
pub(super) fn read_deltas(bytes: &[u8], base: usize) -> Result<Vec<Delta<'_>>> {
    let mut reader = Reader::new(bytes, base);
    let mut deltas = Vec::new();
    while reader.left() > 0 {
        deltas.push(Delta::read(&mut reader)?);
    }
    Ok(deltas)
}

/// Reads sections of news to the end.
fn read_news<'a>(reader: &mut Reader<'a>, mut each: impl FnMut(News<'a>)) -> Result<()> {
    while reader.left() > 0 {
        let place = reader.clone();
        let lane = reader.byte()?;
        let count = reader.count(1)?;
        for _ in 0..count {
            match lane {
                WORDS => each(News::Word(Rumor::read(reader)?)),
                BROADCASTS => each(News::Broadcast(Broadcast::read(reader)?)),
                CHANGES => {
                    let before = reader.clone();
                    let delta = Delta::read(reader)?;
                    let bytes = before.clone().take(before.left() - reader.left())?;
                    each(News::Change(delta, bytes));
                }
                _ => return place.wrong("news of an unknown lane"),
            }
        }
    }
    Ok(())
}
