//! Entries and members, as a message carries them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::configuration::{Configuration, Member, Suffrage};
use crate::entry::{Entry, Payload};
use crate::error::Error;
use crate::types::{Index, NodeId, Term};
use crate::wire::reader::Reader;
use crate::wire::{POSITION_END, put as put_number, put_index};

/// A payload is shorter than this: two bits of its head say what it is.
const PAYLOAD_END: usize = 1 << 30;
/// What an entry takes at least.
pub(crate) const HEAD_BYTES: usize = 4;
/// What a member takes at least.
const MEMBER_BYTES: usize = 3;
/// What a run takes at least.
const RUN_BYTES: usize = 2;

const BLANK: u32 = 0;
const DATA: u32 = 1;
const MEMBERS: u32 = 2;
const WITHHELD: u32 = 3;

/// Appends entries that follow each other.
pub(crate) fn put(out: &mut Vec<u8>, entries: &[Entry]) {
    put_number(out, entries.len() as u64);
    let Some(first) = entries.first() else { return };
    put_index(out, first.index);
    let follow = entries
        .windows(2)
        .all(|pair| pair[0].index.next() == pair[1].index && pair[0].term <= pair[1].term);
    assert!(follow, "entries of a message follow each other");
    let last = entries.last().expect("there is a first one");
    assert!(last.term.0 < POSITION_END && last.index.0 < POSITION_END, "positions stay below 2^62");

    let same = |a: &Entry, b: &Entry| a.term == b.term;
    put_number(out, entries.chunk_by(same).count() as u64);
    let mut before = 0;
    for run in entries.chunk_by(same) {
        put_number(out, run[0].term.0 - before);
        put_number(out, run.len() as u64);
        before = run[0].term.0;
    }
    for entry in entries {
        put_payload(out, &entry.payload);
    }
}

fn put_payload(out: &mut Vec<u8>, payload: &Payload) {
    match payload {
        Payload::Blank => put_head(out, BLANK, 0),
        Payload::Data(data) => {
            put_head(out, DATA, data.len());
            out.extend_from_slice(data);
        }
        Payload::Configuration(configuration) => {
            let head = out.len();
            put_head(out, MEMBERS, 0);
            put_configuration(out, configuration);
            let len = out.len() - head - HEAD_BYTES;
            let word = (len as u32) << 2 | MEMBERS;
            out[head..head + HEAD_BYTES].copy_from_slice(&word.to_le_bytes());
        }
        Payload::Withheld => put_head(out, WITHHELD, 0),
    }
}

fn put_head(out: &mut Vec<u8>, what: u32, len: usize) {
    assert!(len < PAYLOAD_END, "a payload is shorter than 2^30 bytes");
    out.extend_from_slice(&((len as u32) << 2 | what).to_le_bytes());
}

/// Appends members, by id.
pub(crate) fn put_configuration(out: &mut Vec<u8>, configuration: &Configuration) {
    put_number(out, configuration.members().len() as u64);
    let mut before = 0;
    for member in configuration.members() {
        put_number(out, member.id - before);
        before = member.id;
        out.push(match member.suffrage {
            Suffrage::Voter => 0,
            Suffrage::Witness => 1,
            Suffrage::Learner => 2,
        });
        out.push(member.priority);
    }
    put_number(out, configuration.outgoing().len() as u64);
    let mut before = 0;
    for id in configuration.outgoing() {
        put_number(out, id - before);
        before = *id;
    }
}

/// The inverse of [`put`].
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Vec<Entry>, Error> {
    let count = reader.count(HEAD_BYTES)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let first = reader.index()?;
    if first.0 == 0 || count as u64 > POSITION_END - first.0 {
        return Err(reader.wrong(1, "entries where none can be"));
    }
    let runs = reader.count(RUN_BYTES)?;
    let mut entries = Vec::with_capacity(count);
    let mut term = 0_u64;
    for run in 0..runs {
        let above = reader.number()?;
        if above == 0 && run > 0 {
            return Err(reader.wrong(1, "two runs of one term"));
        }
        term = term
            .checked_add(above)
            .filter(|term| *term < POSITION_END)
            .ok_or(reader.wrong(1, "a term that cannot be"))?;
        let len = reader.number()?;
        if len == 0 || len > (count - entries.len()) as u64 {
            return Err(reader.wrong(1, "a run that is empty, or longer than all entries"));
        }
        for _ in 0..len {
            let index = Index(first.0 + entries.len() as u64);
            entries.push(Entry { term: Term(term), index, payload: Payload::Blank });
        }
    }
    if entries.len() < count {
        return Err(reader.wrong(1, "runs that are shorter than all entries"));
    }
    for entry in &mut entries {
        entry.payload = payload(reader)?;
    }
    Ok(entries)
}

fn payload(reader: &mut Reader<'_>) -> Result<Payload, Error> {
    let head = reader.word()?;
    let len = (head >> 2) as usize;
    if len > reader.left() {
        return Err(reader.wrong(HEAD_BYTES, "a payload longer than the message"));
    }
    match head & 3 {
        DATA => Ok(Payload::Data(reader.slice(len)?)),
        MEMBERS => {
            let end = reader.at() + len;
            let members = configuration(reader)?;
            if reader.at() != end {
                return Err(reader.wrong(0, "members do not end where they should"));
            }
            Ok(Payload::Configuration(Arc::new(members)))
        }
        _ if len > 0 => Err(reader.wrong(HEAD_BYTES, "a payload where there is none")),
        BLANK => Ok(Payload::Blank),
        _ => Ok(Payload::Withheld),
    }
}

/// The inverse of [`put_configuration`].
pub(crate) fn configuration(reader: &mut Reader<'_>) -> Result<Configuration, Error> {
    let count = reader.count(MEMBER_BYTES)?;
    let mut members = Vec::with_capacity(count);
    let mut id = 0;
    for _ in 0..count {
        id = next_id(reader, id)?;
        let suffrage = match reader.byte()? {
            0 => Suffrage::Voter,
            1 => Suffrage::Witness,
            2 => Suffrage::Learner,
            _ => return Err(reader.wrong(1, "a suffrage that there is not")),
        };
        members.push(Member { id, suffrage, priority: reader.byte()? });
    }
    let count = reader.count(1)?;
    let mut outgoing = Vec::with_capacity(count);
    let mut id = 0;
    for _ in 0..count {
        id = next_id(reader, id)?;
        outgoing.push(id);
    }
    Ok(Configuration::new(members, outgoing))
}

/// Ids rise, so each is written as what it is above the one before.
fn next_id(reader: &mut Reader<'_>, before: NodeId) -> Result<NodeId, Error> {
    let above = reader.number()?;
    let id = before.checked_add(above).filter(|_| above > 0);
    id.ok_or(reader.wrong(1, "ids that do not rise, or too far"))
}
