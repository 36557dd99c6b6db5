//! The bytes of a message.
//!
//! What members say to each other is small and said often: a heartbeat is fourteen bytes here. What
//! they say at length is entries, and of those only the payload matters: the entries of one message
//! follow each other, and nearly always have one term, so neither is written down for each.
//!
//! ```text
//!     message   version 1, kind 1, from v, to v, generation v, term v, then what the kind needs:
//!
//!      1 PreVote      last p                        10 ReadReply   id v, option o, index v if 1
//!      2 Vote         last p, forced f              11 Offer       last p, named at v, members
//!      3 Ballot       pre f, asked v, word w,       12 Delegate    to v
//!                     last p                        13 TimeoutNow  last p
//!      4 Append       prev p, commit v, round v,    14 Mend        after v, anchor p
//!                     entries                       15 Mended      anchor p, entries
//!      5 Accepted     matched v, round v, life v    16 Borrow      prev p
//!      6 Rejected     prev v, hint p, round v,      17 Lent        prev p, entries
//!                     life v                        18 Outdated
//!      7 Heartbeat    commit v, round v, quiesce f
//!      8 Alive        round v, seen v, stored v,
//!                     receiving f, life v
//!      9 ReadRequest  id v, lease f
//!
//!     entries   count v; then, unless it is 0,
//!               first index v, runs v,
//!               (term above the last run's v, entries in it v) for each run,
//!               (head 4, payload) for each entry
//!     head      little-endian: length of the payload << 2 | what it is
//!               0 blank   1 data   2 members   3 withheld
//!     members   count v, (id above the last one's v, suffrage w, priority 1) for each;
//!               count of voters of the past v, (id above the last one's v) for each
//!     suffrage  0 voter, 1 witness, 2 learner
//!     word      0 granted, 1 refused, 2 stale, 3 unsure
//!
//!     v  a number: seven bits a byte, the low ones first, the top bit set on all but the last
//!     p  a position: term v, index v          f, o, w  one byte: 0 or 1, 0 or 1, as listed
//! ```
//!
//! An entry's length has a fixed width: a reader of many small ones spends its time on finding out
//! how long they are, and an entry costs four bytes at least, so that a hostile count cannot make
//! much of little. Other numbers are short or rare.
//!
//! # Promises
//!
//! * `decode(encode(m)) == m`, and if bytes decode at all, encoding gives the same bytes: there is
//!   one way to write a message. A number written longer than it need be, a flag of 2, runs that
//!   could be one, bytes to spare are errors, each with its place.
//! * Payloads are slices of the bytes that were given: nothing is copied. Whoever keeps one keeps
//!   all of them in memory.
//! * What is allocated is at most sixteen bytes for each byte given, and a count that the
//!   bytes cannot hold is refused before anything is.
//! * Nothing given makes it panic. Terms and indexes are below 2^62 and nodes are not 0, so that
//!   the core can count on.
//!
//! # Absent
//!
//! A checksum: an altered message can be a sound one. That is for whoever carries them
//! (`runtime/tcp.rs`). Nor is it said which group a message is for, or how long it is.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::boot::SnapshotMeta;
use crate::entry::Entry;
use crate::error::Error;
use crate::message::{Body, Message, Word};
use crate::types::{Index, Position, Term};

mod entries;
mod reader;

#[cfg(test)]
mod tests;

use reader::Reader;

/// The first byte of every message.
const VERSION: u8 = 1;

/// Terms and indexes stay below this.
const POSITION_END: u64 = 1 << 62;

/// What is allocated is at most this for each byte given. The worst are blank entries.
const GROWTH_MAX: usize = 16;
const _: () = assert!(size_of::<Entry>() <= GROWTH_MAX * entries::HEAD_BYTES, "see the promise");

const PRE_VOTE: u8 = 1;
const VOTE: u8 = 2;
const BALLOT: u8 = 3;
const APPEND: u8 = 4;
const ACCEPTED: u8 = 5;
const REJECTED: u8 = 6;
const HEARTBEAT: u8 = 7;
const ALIVE: u8 = 8;
const READ_REQUEST: u8 = 9;
const READ_REPLY: u8 = 10;
const OFFER: u8 = 11;
const DELEGATE: u8 = 12;
const TIMEOUT_NOW: u8 = 13;
const MEND: u8 = 14;
const MENDED: u8 = 15;
const BORROW: u8 = 16;
const LENT: u8 = 17;
const OUTDATED: u8 = 18;

impl Message {
    /// Appends the message's bytes to `out`. `wire.rs` draws them.
    ///
    /// # Panics
    /// If its entries do not follow each other, if a payload has 2^30 bytes or more, or if a term
    /// or an index has come to 2^62.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, kind(&self.body)]);
        put(out, self.from);
        put(out, self.to);
        put(out, self.generation);
        put_term(out, self.term);
        put_body(out, &self.body);
    }

    /// The message that these bytes are, to the last of them. Its payloads are slices of them.
    ///
    /// # Errors
    /// [`Error::Message`], with the first place where they are no message.
    pub fn decode(bytes: &Bytes) -> Result<Message, Error> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(reader.wrong(1, "a version that is not known here"));
        }
        let kind = reader.byte()?;
        let (from, to) = (reader.node()?, reader.node()?);
        let (generation, term) = (reader.number()?, reader.term()?);
        let body = body(&mut reader, kind)?;
        reader.end()?;
        Ok(Message { from, to, generation, term, body })
    }
}

/// Whether these may be the bytes of a message with payloads, to be told before it is decoded.
#[cfg(feature = "runtime")]
pub(crate) fn carries_payloads(bytes: &[u8]) -> bool {
    bytes.get(1).is_some_and(|kind| [APPEND, MENDED, LENT].contains(kind))
}

fn kind(body: &Body) -> u8 {
    match body {
        Body::PreVote { .. } => PRE_VOTE,
        Body::Vote { .. } => VOTE,
        Body::Ballot { .. } => BALLOT,
        Body::Append { .. } => APPEND,
        Body::Accepted { .. } => ACCEPTED,
        Body::Rejected { .. } => REJECTED,
        Body::Heartbeat { .. } => HEARTBEAT,
        Body::Alive { .. } => ALIVE,
        Body::ReadRequest { .. } => READ_REQUEST,
        Body::ReadReply { .. } => READ_REPLY,
        Body::Offer { .. } => OFFER,
        Body::Delegate { .. } => DELEGATE,
        Body::TimeoutNow { .. } => TIMEOUT_NOW,
        Body::Mend { .. } => MEND,
        Body::Mended { .. } => MENDED,
        Body::Borrow { .. } => BORROW,
        Body::Lent { .. } => LENT,
        Body::Outdated => OUTDATED,
    }
}

fn put_body(out: &mut Vec<u8>, body: &Body) {
    match body {
        Body::PreVote { last } | Body::TimeoutNow { last } => put_position(out, *last),
        Body::Vote { last, forced } => {
            put_position(out, *last);
            put_flag(out, *forced);
        }
        Body::Ballot { pre, asked, word, last } => {
            put_flag(out, *pre);
            put_term(out, *asked);
            out.push(word_byte(*word));
            put_position(out, *last);
        }
        Body::Append { prev, commit, round, entries } => {
            put_position(out, *prev);
            put_index(out, *commit);
            put(out, *round);
            entries::put(out, entries);
        }
        Body::Accepted { matched, round, life } => {
            put_index(out, *matched);
            put(out, *round);
            put(out, *life);
        }
        Body::Rejected { prev, hint, round, life } => {
            put_index(out, *prev);
            put_position(out, *hint);
            put(out, *round);
            put(out, *life);
        }
        Body::Heartbeat { commit, round, quiesce } => {
            put_index(out, *commit);
            put(out, *round);
            put_flag(out, *quiesce);
        }
        Body::Alive { round, seen, stored, receiving, life } => {
            put(out, *round);
            put_index(out, *seen);
            put_index(out, *stored);
            put_flag(out, *receiving);
            put(out, *life);
        }
        _ => put_rare(out, body),
    }
}

/// What a group with nothing wrong seldom says.
fn put_rare(out: &mut Vec<u8>, body: &Body) {
    match body {
        Body::ReadRequest { id, lease } => {
            put(out, *id);
            put_flag(out, *lease);
        }
        Body::ReadReply { id, index } => {
            put(out, *id);
            put_flag(out, index.is_some());
            if let Some(index) = index {
                put_index(out, *index);
            }
        }
        Body::Offer { meta } => {
            put_position(out, meta.last);
            put_index(out, meta.configuration_index);
            entries::put_configuration(out, &meta.configuration);
        }
        Body::Delegate { to } => put(out, *to),
        Body::Mend { after, anchor } => {
            put_index(out, *after);
            put_position(out, *anchor);
        }
        Body::Mended { anchor, entries } => {
            put_position(out, *anchor);
            entries::put(out, entries);
        }
        Body::Borrow { prev } => put_position(out, *prev),
        Body::Lent { prev, entries } => {
            put_position(out, *prev);
            entries::put(out, entries);
        }
        _ => assert!(matches!(body, Body::Outdated), "every other body has been written"),
    }
}

fn body(reader: &mut Reader<'_>, kind: u8) -> Result<Body, Error> {
    Ok(match kind {
        PRE_VOTE => Body::PreVote { last: reader.position()? },
        VOTE => Body::Vote { last: reader.position()?, forced: reader.flag()? },
        BALLOT => Body::Ballot {
            pre: reader.flag()?,
            asked: reader.term()?,
            word: word(reader)?,
            last: reader.position()?,
        },
        APPEND => Body::Append {
            prev: reader.position()?,
            commit: reader.index()?,
            round: reader.number()?,
            entries: entries::read(reader)?.into(),
        },
        ACCEPTED => Body::Accepted {
            matched: reader.index()?,
            round: reader.number()?,
            life: reader.number()?,
        },
        REJECTED => Body::Rejected {
            prev: reader.index()?,
            hint: reader.position()?,
            round: reader.number()?,
            life: reader.number()?,
        },
        HEARTBEAT => Body::Heartbeat {
            commit: reader.index()?,
            round: reader.number()?,
            quiesce: reader.flag()?,
        },
        ALIVE => Body::Alive {
            round: reader.number()?,
            seen: reader.index()?,
            stored: reader.index()?,
            receiving: reader.flag()?,
            life: reader.number()?,
        },
        _ => return rare(reader, kind),
    })
}

fn rare(reader: &mut Reader<'_>, kind: u8) -> Result<Body, Error> {
    Ok(match kind {
        READ_REQUEST => Body::ReadRequest { id: reader.number()?, lease: reader.flag()? },
        READ_REPLY => {
            let id = reader.number()?;
            let index = if reader.flag()? { Some(reader.index()?) } else { None };
            Body::ReadReply { id, index }
        }
        OFFER => Body::Offer { meta: meta(reader)? },
        DELEGATE => Body::Delegate { to: reader.node()? },
        TIMEOUT_NOW => Body::TimeoutNow { last: reader.position()? },
        MEND => Body::Mend { after: reader.index()?, anchor: reader.position()? },
        MENDED => Body::Mended { anchor: reader.position()?, entries: entries::read(reader)? },
        BORROW => Body::Borrow { prev: reader.position()? },
        LENT => Body::Lent { prev: reader.position()?, entries: entries::read(reader)? },
        OUTDATED => Body::Outdated,
        _ => return Err(Error::Message { offset: 1, what: "a kind of message that there is not" }),
    })
}

fn meta(reader: &mut Reader<'_>) -> Result<SnapshotMeta, Error> {
    let last = reader.position()?;
    let configuration_index = reader.index()?;
    let configuration = Arc::new(entries::configuration(reader)?);
    Ok(SnapshotMeta { last, configuration, configuration_index })
}

fn word_byte(word: Word) -> u8 {
    match word {
        Word::Granted => 0,
        Word::Refused => 1,
        Word::Stale => 2,
        Word::Unsure => 3,
    }
}

fn word(reader: &mut Reader<'_>) -> Result<Word, Error> {
    match reader.byte()? {
        0 => Ok(Word::Granted),
        1 => Ok(Word::Refused),
        2 => Ok(Word::Stale),
        3 => Ok(Word::Unsure),
        _ => Err(reader.wrong(1, "a word that there is not")),
    }
}

/// Appends a number: seven bits a byte, the low ones first.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_flag(out: &mut Vec<u8>, flag: bool) {
    out.push(u8::from(flag));
}

fn put_term(out: &mut Vec<u8>, term: Term) {
    assert!(term.0 < POSITION_END, "terms stay below 2^62");
    put(out, term.0);
}

fn put_index(out: &mut Vec<u8>, index: Index) {
    assert!(index.0 < POSITION_END, "indexes stay below 2^62");
    put(out, index.0);
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    put_term(out, position.term);
    put_index(out, position.index);
}
