//! What one record of the log says, and its bytes.
//!
//! Every record says whose it is and the how-manieth of its group's it is, its *serial*: a record
//! that is lost leaves a number that nobody has, and what others say of the time after it tells
//! what it may have been.
//!
//! ```text
//!     0      1          9           17
//!     ┌──────┬──────────┬───────────┬──────────────────────────────────────────────────────────┐
//!     │ kind │ group, 8 │ serial, 8 │ what the kind needs                                      │
//!     └──────┴──────────┴───────────┴──────────────────────────────────────────────────────────┘
//!     1 Head     term 8, vote 8, generation 8, base 16, last 16, run 8, before 8, lost end 16,
//!                flags 1, committed 8 if the flags say so
//!     2 Run      position 16 of the first, payload…        payload: 0 blank  1 length 4, data
//!     3 Mended   position 16, payload                               2 configuration  3 withheld
//!     4 Cut      index 8
//!     5 Mark     fresh 1, position 16, index 8, configuration
//!     6 Gap      first 8, last 8
//!     7 Start    life 8, doubtful 1
//!
//!     position       term 8, index 8
//!     configuration  members 4, (id 8, suffrage 1, priority 1)…, outgoing 4, (id 8)…
//! ```
//!
//! Numbers are little-endian. Each write of a group begins with a head, which repeats the term and
//! the vote, and says where the log ended before it: where its last term began (`run`), and which
//! term came before that. By log matching (Raft §5.3) this is enough to tell which older entries
//! are still the log's, when the records between are lost. How far the log is known to be committed
//! is said for whoever looks at it from outside (`inspection.rs`); a node finds that out anew.
//!
//! The entries of a write that are of one term are one *run*, up to [`RUN_MAX`] of them: a record
//! costs a checksum and 40 bytes, more than most commands. What is damaged is lost by the record.

use std::fmt;
use std::iter::Peekable;
use std::sync::Arc;

use bytes::Bytes;

use crate::boot::{HardState, SnapshotMeta};
use crate::configuration::{Configuration, Member, Suffrage};
use crate::entry::{Entry, Payload};
use crate::types::{Index, NodeId, Position, Term};

/// Names a group among those that share a node, its log and its connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

impl GroupId {
    /// Whose records are those of the store itself. No group has this name.
    pub(crate) const STORE: GroupId = GroupId(u64::MAX);
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a write of a group begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Head {
    pub(crate) hard: HardState,
    /// What is compacted away.
    pub(crate) base: Position,
    /// Where the log ended before this write.
    pub(crate) last: Position,
    /// The first index of the term of `last`.
    pub(crate) run: Index,
    /// The term of the entry before that.
    pub(crate) before: Term,
    /// What the base was, and its members, is lost.
    pub(crate) base_lost: bool,
    /// Entries up to here were known to be committed; 0 if none were, or older builds wrote it.
    pub(crate) commit: Index,
}

/// What one record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Head(Head),
    /// Entries of one term, in a row: one at least.
    Run(Vec<Entry>),
    /// An entry in its old place: nothing behind it is cut.
    Mended(Entry),
    /// Everything behind this index is cut.
    Cut(Index),
    /// Everything up to `meta.last` is compacted away; if `fresh`, the group begins anew here.
    Mark {
        fresh: bool,
        meta: SnapshotMeta,
    },
    /// These entries are missing, and it is known.
    Gap(Index, Index),
    /// The store was opened, in this life. If `doubtful`, it may have lost whole groups.
    Start {
        life: u64,
        doubtful: bool,
    },
}

const HEAD: u8 = 1;
const RUN: u8 = 2;
const MENDED: u8 = 3;
const CUT: u8 = 4;
const MARK: u8 = 5;
const GAP: u8 = 6;
const START: u8 = 7;

const FLAG_VOTE_LOST: u8 = 1;
const FLAG_END_LOST: u8 = 2;
const FLAG_BASE_LOST: u8 = 4;
const FLAG_COMMIT: u8 = 8;

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    put(out, position.term.0);
    put(out, position.index.0);
}

fn begin(out: &mut Vec<u8>, kind: u8, group: GroupId, serial: u64) {
    out.push(kind);
    put(out, group.0);
    put(out, serial);
}

/// Most entries of a run.
pub(crate) const RUN_MAX: u32 = 128;

/// Bytes of a run beyond which it takes no further entry: what a read of one entry may cost.
const RUN_BYTES: usize = 64 << 10;

/// Appends the bytes of a run: as many of the entries as are of one term and fit. Returns the
/// first, and how many.
pub(crate) fn put_run<'e>(
    out: &mut Vec<u8>,
    group: GroupId,
    serial: u64,
    entries: &mut Peekable<impl Iterator<Item = &'e Entry>>,
) -> Option<(Position, u32)> {
    let first = entries.peek()?.position();
    let from = out.len();
    begin(out, RUN, group, serial);
    put_position(out, first);
    let mut count = 0;
    while count < RUN_MAX
        && out.len() - from < RUN_BYTES
        && let Some(entry) = entries.next_if(|entry| {
            entry.term == first.term && entry.index.0 == first.index.0 + u64::from(count)
        })
    {
        put_payload(out, &entry.payload);
        count += 1;
    }
    Some((first, count))
}

fn put_payload(out: &mut Vec<u8>, payload: &Payload) {
    match payload {
        Payload::Blank => out.push(0),
        Payload::Data(data) => {
            out.push(1);
            // No overflow: the log takes no record of 4 GiB.
            out.extend_from_slice(&(data.len() as u32).to_le_bytes());
            out.extend_from_slice(data);
        }
        Payload::Configuration(configuration) => {
            out.push(2);
            put_configuration(out, configuration);
        }
        Payload::Withheld => out.push(3),
    }
}

impl Record {
    /// Appends its bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>, group: GroupId, serial: u64) {
        match self {
            Record::Head(head) => {
                begin(out, HEAD, group, serial);
                put(out, head.hard.term.0);
                put(out, head.hard.vote.unwrap_or(0));
                put(out, head.hard.generation);
                put_position(out, head.base);
                put_position(out, head.last);
                put(out, head.run.0);
                put(out, head.before.0);
                put_position(out, head.hard.lost_end.unwrap_or_default());
                let flag = |lost, flag| if lost { flag } else { 0 };
                let vote = flag(head.hard.lost_vote, FLAG_VOTE_LOST);
                let end = flag(head.hard.lost_end.is_some(), FLAG_END_LOST);
                let commit = flag(head.commit > Index(0), FLAG_COMMIT);
                out.push(vote | end | flag(head.base_lost, FLAG_BASE_LOST) | commit);
                if commit != 0 {
                    put(out, head.commit.0);
                }
            }
            Record::Run(entries) => {
                let put = put_run(out, group, serial, &mut entries.iter().peekable());
                debug_assert_eq!(put.map(|(_, count)| count as usize), Some(entries.len()));
            }
            Record::Mended(entry) => {
                begin(out, MENDED, group, serial);
                put_position(out, entry.position());
                put_payload(out, &entry.payload);
            }
            Record::Cut(last) => {
                begin(out, CUT, group, serial);
                put(out, last.0);
            }
            Record::Mark { fresh, meta } => {
                begin(out, MARK, group, serial);
                out.push(u8::from(*fresh));
                put_meta(out, meta);
            }
            Record::Gap(first, last) => {
                begin(out, GAP, group, serial);
                put(out, first.0);
                put(out, last.0);
            }
            Record::Start { life, doubtful } => {
                begin(out, START, group, serial);
                put(out, *life);
                out.push(u8::from(*doubtful));
            }
        }
    }

    /// Reads a record: whose it is, its serial, and what it says. The error is what is wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(GroupId, u64, Record), &'static str> {
        let mut reader = Reader { bytes };
        let kind = reader.byte()?;
        let group = GroupId(reader.number()?);
        let serial = reader.number()?;
        let record = match kind {
            HEAD => Record::Head(reader.head()?),
            RUN => Record::Run(reader.run()?),
            MENDED => Record::Mended(reader.entry()?),
            CUT => Record::Cut(Index(reader.number()?)),
            MARK => Record::Mark { fresh: reader.byte()? != 0, meta: reader.meta()? },
            GAP => Record::Gap(Index(reader.number()?), Index(reader.number()?)),
            START => Record::Start { life: reader.number()?, doubtful: reader.byte()? != 0 },
            _ => return Err("a record of a kind that there is not"),
        };
        if !reader.bytes.is_empty() {
            return Err("a record with bytes to spare");
        }
        Ok((group, serial, record))
    }
}

/// Appends the bytes of what a snapshot holds.
pub(crate) fn put_meta(out: &mut Vec<u8>, meta: &SnapshotMeta) {
    put_position(out, meta.last);
    put(out, meta.configuration_index.0);
    put_configuration(out, &meta.configuration);
}

/// The inverse of [`put_meta`].
pub(crate) fn read_meta(bytes: &[u8]) -> Result<SnapshotMeta, &'static str> {
    let mut reader = Reader { bytes };
    let meta = reader.meta()?;
    if reader.bytes.is_empty() { Ok(meta) } else { Err("bytes to spare") }
}

fn put_configuration(out: &mut Vec<u8>, configuration: &Configuration) {
    // No overflow: members are 10 bytes each in memory that is there.
    out.extend_from_slice(&(configuration.members().len() as u32).to_le_bytes());
    for member in configuration.members() {
        put(out, member.id);
        out.push(match member.suffrage {
            Suffrage::Voter => 0,
            Suffrage::Witness => 1,
            Suffrage::Learner => 2,
        });
        out.push(member.priority);
    }
    out.extend_from_slice(&(configuration.outgoing().len() as u32).to_le_bytes());
    for id in configuration.outgoing() {
        put(out, *id);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

const SHORT: &str = "a record that ends early";

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(SHORT)?;
        self.bytes = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        Ok(self.take::<1>()?[0])
    }

    fn number(&mut self) -> Result<u64, &'static str> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    /// A number of things of `bytes` each, which must be there.
    fn count(&mut self, bytes: usize) -> Result<usize, &'static str> {
        let count = u32::from_le_bytes(self.take()?) as usize;
        let fits = count.checked_mul(bytes).is_some_and(|all| all <= self.bytes.len());
        if fits { Ok(count) } else { Err(SHORT) }
    }

    fn position(&mut self) -> Result<Position, &'static str> {
        let (term, index) = (Term(self.number()?), Index(self.number()?));
        if index.0 > u64::MAX / 2 {
            Err("an index that cannot be")
        } else {
            Ok(Position { term, index })
        }
    }

    fn head(&mut self) -> Result<Head, &'static str> {
        let term = Term(self.number()?);
        let vote = Some(self.number()?).filter(|id: &NodeId| *id != 0);
        let generation = self.number()?;
        let (base, last) = (self.position()?, self.position()?);
        let (run, before) = (Index(self.number()?), Term(self.number()?));
        let lost = Position { term: Term(self.number()?), index: Index(self.number()?) };
        let flags = self.byte()?;
        let lost_end = (flags & FLAG_END_LOST != 0).then_some(lost);
        let (lost_vote, base_lost) = (flags & FLAG_VOTE_LOST != 0, flags & FLAG_BASE_LOST != 0);
        let hard = HardState { term, vote, generation, lost_vote, lost_end };
        let commit = if flags & FLAG_COMMIT != 0 { Index(self.number()?) } else { Index(0) };
        Ok(Head { hard, base, last, run, before, base_lost, commit })
    }

    fn entry(&mut self) -> Result<Entry, &'static str> {
        let Position { term, index } = self.position()?;
        Ok(Entry { term, index, payload: self.payload()? })
    }

    fn run(&mut self) -> Result<Vec<Entry>, &'static str> {
        let first = self.entry()?;
        let Position { term, mut index } = first.position();
        let mut entries = vec![first];
        while !self.bytes.is_empty() {
            index = index.next();
            entries.push(Entry { term, index, payload: self.payload()? });
        }
        if entries.len() > RUN_MAX as usize { Err("a run that is too long") } else { Ok(entries) }
    }

    fn payload(&mut self) -> Result<Payload, &'static str> {
        Ok(match self.byte()? {
            0 => Payload::Blank,
            1 => {
                let length = self.count(1)?;
                let (data, rest) = self.bytes.split_at(length);
                self.bytes = rest;
                Payload::Data(Bytes::copy_from_slice(data))
            }
            2 => Payload::Configuration(Arc::new(self.configuration()?)),
            3 => Payload::Withheld,
            _ => return Err("a payload of a kind that there is not"),
        })
    }

    fn meta(&mut self) -> Result<SnapshotMeta, &'static str> {
        let last = self.position()?;
        let configuration_index = Index(self.number()?);
        if configuration_index > last.index {
            return Err("members that are named behind the end");
        }
        let configuration = Arc::new(self.configuration()?);
        Ok(SnapshotMeta { last, configuration, configuration_index })
    }

    fn configuration(&mut self) -> Result<Configuration, &'static str> {
        let count = self.count(10)?;
        let mut members = Vec::with_capacity(count);
        for _ in 0..count {
            let id = self.number()?;
            let suffrage = match self.byte()? {
                0 => Suffrage::Voter,
                1 => Suffrage::Witness,
                2 => Suffrage::Learner,
                _ => return Err("a suffrage that there is not"),
            };
            members.push(Member { id, suffrage, priority: self.byte()? });
        }
        let count = self.count(8)?;
        let mut outgoing = Vec::with_capacity(count);
        for _ in 0..count {
            outgoing.push(self.number()?);
        }
        Ok(Configuration::new(members, outgoing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let position = Position::new(Term(3), Index(9));
        let member = Member { id: 4, suffrage: Suffrage::Witness, priority: 7 };
        let configuration = Arc::new(Configuration::new([member], [1, 2]));
        let entry = |payload| Entry { term: Term(3), index: Index(9), payload };
        let hard =
            HardState { term: Term(4), vote: Some(2), generation: 1, ..HardState::default() };
        let lost = HardState { lost_vote: true, lost_end: Some(position), ..hard };
        let head = Head { hard, last: position, run: Index(8), ..Head::default() };
        let meta = SnapshotMeta {
            last: position,
            configuration: Arc::clone(&configuration),
            configuration_index: Index(5),
        };
        vec![
            Record::Head(head),
            Record::Head(Head { hard: lost, base_lost: true, ..head }),
            Record::Head(Head { commit: Index(7), ..head }),
            Record::Run(vec![entry(Payload::Data("x".into()))]),
            Record::Run(
                (9..12)
                    .zip([Payload::Blank, Payload::Data("yz".into()), Payload::Withheld])
                    .map(|(index, payload)| Entry { index: Index(index), ..entry(payload) })
                    .collect(),
            ),
            Record::Mended(entry(Payload::Configuration(configuration))),
            Record::Run(vec![entry(Payload::Data(Bytes::new()))]),
            Record::Cut(Index(8)),
            Record::Mark { fresh: true, meta },
            Record::Gap(Index(3), Index(4)),
            Record::Start { life: 77, doubtful: true },
        ]
    }

    /// What is read must be what was written, and every byte of it must be looked at.
    #[test]
    fn records_come_back_whole_or_not_at_all() {
        for record in records() {
            let mut bytes = Vec::new();
            record.put(&mut bytes, GroupId(5), 6);
            assert_eq!(Record::decode(&bytes), Ok((GroupId(5), 6, record.clone())));
            for end in 0..bytes.len() {
                // A run that ends with an entry is a run.
                let cut = Record::decode(&bytes[..end]);
                let part = match (&cut, &record) {
                    (Ok((_, _, Record::Run(part))), Record::Run(whole)) => {
                        part.len() < whole.len() && whole.starts_with(part)
                    }
                    _ => false,
                };
                assert!(cut.is_err() || part, "{record:?} cut at {end}: {cut:?}");
            }
        }
    }

    /// A count is believed only as far as there are bytes for it.
    #[test]
    fn a_count_allocates_no_more_than_is_there() {
        let mut bytes = Vec::new();
        begin(&mut bytes, MARK, GroupId(1), 1);
        bytes.push(1);
        put_position(&mut bytes, Position::default());
        put(&mut bytes, 0);
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Record::decode(&bytes), Err(SHORT));
    }
}
