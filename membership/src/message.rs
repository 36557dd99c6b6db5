//! What members say to each other: one message a packet, and behind it news.
//!
//! ```text
//!     sender 8, kind 1, then what the kind needs:
//!
//!      datagrams                                 streams
//!      1 Ping    seq 4, to 4                     10 Join     card of the newcomer as a word
//!      2 Ack     seq 4                           11 Welcome  words
//!      3 Nack    seq 4                           12 Taken    life 4, address of the owner
//!      4 Ask     seq 4, id 8, address            13 Buckets  sums
//!      5 Gossip                                  14 Words    a mask, or 0; words
//!      6 Digest  sum 8, bits 1, word about it    15 Want     (id 8, life 4, version varint)*
//!      7 Who                                     16 Give     deltas: see metadata.rs
//!      8 Hello   word about the sender           17 Keys     a ring of keys: see keyring.rs
//!                                                18 Claim    life 4, address
//!
//!     words     count varint, then each as rumor.rs draws it
//!     sums      bits 1, then 4 for each of 2^bits buckets
//!     mask      bits 1, then a bit for each of 2^bits buckets
//! ```
//!
//! Behind a datagram's message stand sections of news until its end, each `lane 1, count varint`
//! and so many entries: lane 1 has words about members, 2 user broadcasts, 3 metadata. A stream
//! carries no news. `Ping`, `Ack` may come by stream, too, where datagrams do not get through.

use std::net::SocketAddr;

use crate::error::Result;
use crate::rumor::{RUMOR_BYTES_MIN, Rumor};
use crate::sums::{Mask, Sums, read_bits};
use crate::types::NodeId;
use crate::wire::{Put, Reader};

/// What a packet is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// Are you there? `to` is half of the id of whom it is for.
    Ping { seq: u32, to: u32 },
    /// Yes. Or: the one whom you asked me to try is.
    Ack { seq: u32 },
    /// The one whom you asked me to try does not answer me either. But I do.
    Nack { seq: u32 },
    /// Try this one for me.
    Ask { seq: u32, id: NodeId, addr: SocketAddr },
    /// Nothing but news.
    Gossip,
    /// This is the sum of what I know; if yours is another, let us compare, in `1 << bits` buckets
    /// at least.
    Digest { sum: u64, bits: u8, me: Rumor<'a> },
    /// I do not know you.
    Who,
    /// This is me.
    Hello { me: Rumor<'a> },
    /// Let me in.
    Join { me: Rumor<'a> },
    /// You are in, and these are the others.
    Welcome { words: Words<'a> },
    /// Your name has an owner, and it lives here.
    Taken { life: u32, addr: SocketAddr },
    /// The sums of what I know, by bucket.
    Buckets { sums: Sums },
    /// What I know, and in which buckets you are to tell me what you know beside it, if in any.
    Words { answer: Option<Mask>, words: Words<'a> },
    /// Metadata of these members that is newer than what I have: see `swim/talk.rs`.
    Want { bytes: &'a [u8] },
    /// Here it is.
    Give { bytes: &'a [u8] },
    /// The ring of keys.
    Keys { bytes: &'a [u8] },
    /// This name is mine, since this life.
    Claim { life: u32, addr: SocketAddr },
}

/// Words that were checked to be sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Words<'a> {
    /// Reads `count` words and what they say wrong, if they do.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Words<'a>> {
        let count = reader.count(RUMOR_BYTES_MIN)?;
        let mut ahead = reader.clone();
        for _ in 0..count {
            Rumor::read(&mut ahead)?;
        }
        let bytes = reader.take(reader.left() - ahead.left())?;
        Ok(Words { bytes, count })
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Rumor<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes, 0);
        (0..self.count).map(move |_| Rumor::read(&mut reader).expect("it was read before"))
    }
}

impl<'a> Message<'a> {
    /// Appends the sender and the message.
    pub(crate) fn write(&self, from: NodeId, out: &mut Vec<u8>) {
        out.put_id(from);
        out.push(self.kind());
        match self {
            Message::Ping { seq, to } => {
                out.put_u32(*seq);
                out.put_u32(*to);
            }
            Message::Ack { seq } | Message::Nack { seq } => out.put_u32(*seq),
            Message::Ask { seq, id, addr } => {
                out.put_u32(*seq);
                out.put_id(*id);
                out.put_addr(*addr);
            }
            Message::Gossip | Message::Who => {}
            Message::Digest { sum, bits, me } => {
                out.put_u64(*sum);
                out.push(*bits);
                me.write(out);
            }
            Message::Hello { me } | Message::Join { me } => me.write(out),
            Message::Welcome { words } => words.write(out),
            Message::Taken { life, addr } | Message::Claim { life, addr } => {
                out.put_u32(*life);
                out.put_addr(*addr);
            }
            Message::Buckets { sums } => sums.write(out),
            Message::Words { answer, words } => {
                match answer {
                    Some(mask) => mask.write(out),
                    None => out.push(0),
                }
                words.write(out);
            }
            Message::Want { bytes } | Message::Give { bytes } | Message::Keys { bytes } => {
                out.extend_from_slice(bytes);
            }
        }
    }

    /// Reads the sender and the message, and leaves the reader at the news.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<(NodeId, Message<'a>)> {
        let from = reader.id()?;
        let place = reader.clone();
        let message = match reader.byte()? {
            1 => Message::Ping { seq: reader.u32()?, to: reader.u32()? },
            2 => Message::Ack { seq: reader.u32()? },
            3 => Message::Nack { seq: reader.u32()? },
            4 => Message::Ask { seq: reader.u32()?, id: reader.id()?, addr: reader.addr()? },
            5 => Message::Gossip,
            6 => {
                let (sum, bits) = (reader.u64()?, read_bits(reader)?);
                Message::Digest { sum, bits, me: introduction(reader, from)? }
            }
            7 => Message::Who,
            8 => Message::Hello { me: introduction(reader, from)? },
            10 => Message::Join { me: introduction(reader, from)? },
            11 => Message::Welcome { words: Words::read(reader)? },
            12 => Message::Taken { life: reader.u32()?, addr: reader.addr()? },
            13 => Message::Buckets { sums: Sums::read(reader)? },
            14 => {
                let mut ahead = reader.clone();
                let answer = if ahead.byte()? == 0 {
                    *reader = ahead;
                    None
                } else {
                    Some(Mask::read(reader)?)
                };
                Message::Words { answer, words: Words::read(reader)? }
            }
            15 => Message::Want { bytes: reader.take(reader.left())? },
            16 => Message::Give { bytes: reader.take(reader.left())? },
            17 => Message::Keys { bytes: reader.take(reader.left())? },
            18 => Message::Claim { life: reader.u32()?, addr: reader.addr()? },
            _ => return place.wrong("a message of an unknown kind"),
        };
        Ok((from, message))
    }

    fn kind(&self) -> u8 {
        match self {
            Message::Ping { .. } => 1,
            Message::Ack { .. } => 2,
            Message::Nack { .. } => 3,
            Message::Ask { .. } => 4,
            Message::Gossip => 5,
            Message::Digest { .. } => 6,
            Message::Who => 7,
            Message::Hello { .. } => 8,
            Message::Join { .. } => 10,
            Message::Welcome { .. } => 11,
            Message::Taken { .. } => 12,
            Message::Buckets { .. } => 13,
            Message::Words { .. } => 14,
            Message::Want { .. } => 15,
            Message::Give { .. } => 16,
            Message::Keys { .. } => 17,
            Message::Claim { .. } => 18,
        }
    }

    /// Whether it may come in a datagram.
    pub(crate) fn is_datagram(&self) -> bool {
        self.kind() < 10
    }

    /// Whether it may come by stream.
    pub(crate) fn is_stream(&self) -> bool {
        self.kind() >= 10 || matches!(self, Message::Ping { .. } | Message::Ack { .. })
    }
}

impl Words<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_varint(self.count as u64);
        out.extend_from_slice(self.bytes);
    }
}

/// Words that are being written.
#[derive(Debug, Default)]
pub(crate) struct WordsOut {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: usize,
}

impl WordsOut {
    pub(crate) fn push(&mut self, rumor: &Rumor<'_>) {
        rumor.write(&mut self.bytes);
        self.count += 1;
    }

    pub(crate) fn as_words(&self) -> Words<'_> {
        Words { bytes: &self.bytes, count: self.count }
    }
}

/// A word about the sender, by which it introduces itself.
fn introduction<'a>(reader: &mut Reader<'a>, from: NodeId) -> Result<Rumor<'a>> {
    let place = reader.clone();
    let rumor = Rumor::read(reader)?;
    if rumor.id != from || rumor.state != crate::types::State::Alive {
        return place.wrong("an introduction of somebody else");
    }
    Ok(rumor)
}
