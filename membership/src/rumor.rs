//! One word about one member: the news that gossip spreads and that two members compare.
//!
//! ```text
//!     byte 0    what | card?       0 alive  1 suspect  2 failed  3 left;  4 if a card follows
//!     id        8
//!     life      4                  the incarnation for which it is said
//!     count     varint
//!     ── if it has a card ──
//!     address   7 or 19            4 or 6, the bytes of the address, the port
//!     zone      varint, bytes
//!     name      varint, bytes
//!     heard     varint             the last user broadcast of this life
//!     version   varint             of its metadata
//!     ── if suspect ──
//!     accusers  1, then 8 each     who have got no answer
//! ```
//!
//! A word that a member is alive has its card, so that whoever has never heard of it can add it.
//! The others are about members that are known, and have 14 bytes as a rule.

use std::net::SocketAddr;

use crate::error::Result;
use crate::node::NAME_BYTES_MAX;
use crate::types::{Incarnation, NodeId, State};
use crate::wire::{Put, Reader};

/// The most accusers that a suspicion names.
pub(crate) const ACCUSERS_MAX: usize = 13;

/// The fewest bytes of a word.
pub(crate) const RUMOR_BYTES_MIN: usize = 14;

const CARD: u8 = 4;

/// A word about a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rumor<'a> {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) state: State,
    pub(crate) card: Option<Card<'a>>,
    pub(crate) accusers: Accusers,
}

/// What is needed to add a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Card<'a> {
    pub(crate) addr: SocketAddr,
    pub(crate) zone: &'a str,
    pub(crate) name: &'a str,
    pub(crate) heard: u32,
    pub(crate) version: u64,
}

/// Who accuse a member: a few, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Accusers {
    ids: [NodeId; ACCUSERS_MAX],
    count: u8,
}

impl Accusers {
    pub(crate) fn of(id: NodeId) -> Accusers {
        let mut accusers = Accusers::default();
        accusers.add(id, ACCUSERS_MAX);
        accusers
    }

    /// Adds one if it is new and there are fewer than `limit`.
    pub(crate) fn add(&mut self, id: NodeId, limit: usize) -> bool {
        let count = usize::from(self.count);
        if self.as_slice().contains(&id) || count >= limit.min(ACCUSERS_MAX) {
            return false;
        }
        self.ids[count] = id;
        self.count += 1;
        true
    }

    pub(crate) fn as_slice(&self) -> &[NodeId] {
        &self.ids[..usize::from(self.count)]
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.count)
    }
}

impl<'a> Rumor<'a> {
    /// The word that a member has failed of whom nothing else is known.
    pub(crate) fn failed(id: NodeId, incarnation: Incarnation) -> Rumor<'static> {
        let (state, accusers) = (State::Failed, Accusers::default());
        Rumor { id, incarnation, state, card: None, accusers }
    }

    /// Reads one.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Rumor<'a>> {
        let place = reader.clone();
        let what = reader.byte()?;
        if what >= 2 * CARD {
            return place.wrong("a word of an unknown kind");
        }
        let state = match what % CARD {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Failed,
            _ => State::Left,
        };
        let id = reader.id()?;
        let life = reader.u32()?;
        let count = reader.number(u64::from(u32::MAX), "an incarnation out of bounds")? as u32;
        let card = if what >= CARD { Some(Card::read(reader)?) } else { None };
        if state == State::Alive && card.is_none() {
            return place.wrong("a member alive without an address");
        }
        let mut accusers = Accusers::default();
        if state == State::Suspect {
            let count = reader.byte()?;
            if count == 0 || usize::from(count) > ACCUSERS_MAX {
                return reader.wrong("a suspicion of nobody's, or of too many");
            }
            for _ in 0..count {
                accusers.add(reader.id()?, ACCUSERS_MAX);
            }
        }
        let incarnation = Incarnation { life, count };
        Ok(Rumor { id, incarnation, state, card, accusers })
    }

    /// Appends it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let what = match self.state {
            State::Alive => 0,
            State::Suspect => 1,
            State::Failed => 2,
            State::Left => 3,
        };
        out.push(what | if self.card.is_some() { CARD } else { 0 });
        out.put_id(self.id);
        out.put_u32(self.incarnation.life);
        out.put_varint(u64::from(self.incarnation.count));
        if let Some(card) = &self.card {
            card.write(out);
        }
        if self.state == State::Suspect {
            out.push(self.accusers.count);
            self.accusers.as_slice().iter().for_each(|id| out.put_id(*id));
        }
    }
}

impl<'a> Card<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Card<'a>> {
        Ok(Card {
            addr: reader.addr()?,
            zone: reader.text(NAME_BYTES_MAX, "a zone of too many bytes")?,
            name: reader.text(NAME_BYTES_MAX, "a name of too many bytes")?,
            heard: reader.number(u64::from(u32::MAX), "a broadcast's number out of bounds")? as u32,
            version: reader.number(1 << 62, "a version out of bounds")?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.put_addr(self.addr);
        out.put_slice(self.zone.as_bytes());
        out.put_slice(self.name.as_bytes());
        out.put_varint(u64::from(self.heard));
        out.put_varint(self.version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn card() -> Card<'static> {
        let addr = "10.1.2.3:7946".parse().unwrap();
        Card { addr, zone: "a", name: "web-1", heard: 300, version: 1 << 40 }
    }

    // What is written is what is read, or members disagree about each other for good.
    #[test]
    fn a_word_comes_back_as_it_was() {
        let mut two = Accusers::of(NodeId(8));
        two.add(NodeId(9), 3);
        let rumors = [
            (State::Alive, Some(card()), Accusers::default()),
            (State::Suspect, None, two),
            (State::Suspect, Some(card()), Accusers::of(NodeId(1))),
            (State::Failed, None, Accusers::default()),
            (State::Left, None, Accusers::default()),
        ];
        for (state, card, accusers) in rumors {
            let incarnation = Incarnation { life: 1_800_000_000, count: 3 };
            let rumor = Rumor { id: NodeId(7), incarnation, state, card, accusers };
            let mut bytes = Vec::new();
            rumor.write(&mut bytes);
            let mut reader = Reader::new(&bytes, 0);
            assert_eq!(Rumor::read(&mut reader), Ok(rumor));
            assert_eq!(reader.left(), 0);
            assert!(bytes.len() >= RUMOR_BYTES_MIN);
            for short in 0..bytes.len() {
                assert!(Rumor::read(&mut Reader::new(&bytes[..short], 0)).is_err());
            }
        }
    }

    // A member whose address nobody knows cannot be probed.
    #[test]
    fn a_word_that_makes_no_sense_is_refused_where_it_begins() {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&[0; 13]);
        let refused = Rumor::read(&mut Reader::new(&bytes, 30));
        let what = "a member alive without an address";
        assert_eq!(refused, Err(Error::Packet { offset: 30, what }));
        bytes[0] = 8;
        assert!(Rumor::read(&mut Reader::new(&bytes, 30)).is_err());
        bytes[0] = 1;
        bytes.push(0);
        assert!(Rumor::read(&mut Reader::new(&bytes, 30)).is_err());
    }

    // A flood of accusers must not grow without bound.
    #[test]
    fn accusers_are_few_and_different() {
        let mut accusers = Accusers::of(NodeId(1));
        assert!(!accusers.add(NodeId(1), 3));
        assert!(accusers.add(NodeId(2), 3) && accusers.add(NodeId(3), 3));
        assert!(!accusers.add(NodeId(4), 3));
        assert_eq!(accusers.as_slice(), [NodeId(1), NodeId(2), NodeId(3)]);
    }
}
