//! User broadcasts: bytes from one member to all others, delivered once.
//!
//! ```text
//!     origin 8, life 4, number varint, topic (varint, bytes), payload (varint, bytes)
//! ```
//!
//! A broadcast is gossiped like a word about a member, in a lane of its own. Each has a number of
//! its origin's; whoever gets one keeps the highest number of that origin and which of the 64 below
//! it have come, and takes every other for old. Delivery is likely, not certain: there is no
//! second way, as metadata has.
//!
//! The card of a member tells the number of its last broadcast. Only a newcomer that catches up
//! with what the others know takes that for what it has missed, so that a packet of before its time
//! that is sent again says nothing new to it. For all others a card that comes before the
//! broadcasts it counts is just faster than they are.

use crate::error::Result;
use crate::types::NodeId;
use crate::wire::{Put, Reader};

/// The most bytes of a topic.
pub const TOPIC_BYTES_MAX: usize = 64;

/// The most bytes around topic and payload.
pub(crate) const BROADCAST_FRAME_BYTES: usize = 8 + 4 + 5 + 1 + 3;

/// A broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broadcast<'a> {
    pub(crate) origin: NodeId,
    pub(crate) life: u32,
    pub(crate) number: u32,
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
}

impl<'a> Broadcast<'a> {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(BROADCAST_FRAME_BYTES + self.topic.len() + self.payload.len());
        out.put_id(self.origin);
        out.put_u32(self.life);
        out.put_varint(u64::from(self.number));
        out.put_slice(self.topic.as_bytes());
        out.put_slice(self.payload);
        out
    }

    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Broadcast<'a>> {
        Ok(Broadcast {
            origin: reader.id()?,
            life: reader.u32()?,
            number: reader.number(u64::from(u32::MAX), "a broadcast's number out of bounds")?
                as u32,
            topic: reader.text(TOPIC_BYTES_MAX, "a topic of too many bytes")?,
            payload: reader.slice(1 << 16, "a payload of too many bytes")?,
        })
    }
}

/// Which broadcasts of an origin have come, in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Window {
    life: u32,
    highest: u32,
    /// Bit n: the one n below the highest has come.
    seen: u64,
}

impl Window {
    /// All up to this number count as seen.
    pub(crate) fn from(life: u32, heard: u32) -> Window {
        Window { life, highest: heard, seen: u64::MAX }
    }

    pub(crate) fn highest(&self, life: u32) -> u32 {
        if self.life == life { self.highest } else { 0 }
    }

    /// Notes it. Whether it is the first time.
    pub(crate) fn note(&mut self, life: u32, number: u32) -> bool {
        if life < self.life || number == 0 {
            return false;
        }
        if life > self.life {
            *self = Window { life, highest: number, seen: 1 };
            return true;
        }
        if number > self.highest {
            let by = number - self.highest;
            self.seen = self.seen.checked_shl(by).unwrap_or(0) | 1;
            self.highest = number;
            return true;
        }
        let below = self.highest - number;
        let bit = 1_u64.checked_shl(below).unwrap_or(0);
        let new = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Twice is as wrong as never, and gossip brings everything many times.
    #[test]
    fn each_is_new_once() {
        let mut window = Window::default();
        assert!(window.note(1, 1) && !window.note(1, 1));
        assert!(window.note(1, 4) && window.note(1, 2) && window.note(1, 3));
        assert!(!window.note(1, 2));
        assert!(window.note(1, 100), "the next is far ahead");
        assert!(window.note(1, 37) && !window.note(1, 36), "64 can be late, and no more");
        assert!(!window.note(0, 200), "a former life says nothing new");
        assert!(window.note(2, 1) && !window.note(1, 101));
        assert!(!Window::from(3, 9).note(3, 9) && Window::from(3, 9).note(3, 10));
    }

    #[test]
    fn a_broadcast_comes_back_as_it_was() {
        let (origin, payload) = (NodeId(9), &b"payload"[..]);
        let sent = Broadcast { origin, life: 7, number: 300, topic: "deploy", payload };
        let bytes = sent.write();
        assert_eq!(Broadcast::read(&mut Reader::new(&bytes, 0)), Ok(sent));
        for short in 0..bytes.len() {
            assert!(Broadcast::read(&mut Reader::new(&bytes[..short], 0)).is_err());
        }
    }
}
