//! The records of the manifest, byte by byte.
//!
//! ```text
//!   seal    kind u8 = 3
//!   base    kind u8 = 1 │ version u32 │ salt u64 │ epoch u64 │ counters │ changes
//!   edit    kind u8 = 2 │ counters │ changes
//!
//!   counters   next table u64 │ next keyspace u32 │ last seq u64 │ journal from u64 │
//!              journal durable u64 │ journal id u64 │ time floor u64
//!   changes    count u32, and each:
//!     1 make keyspace   id u32 │ compression u8 │ policy u8 │ expires u8 │ name u16 + bytes
//!     2 drop keyspace   id u32
//!     3 add table       keyspace u32 │ level u8 │ the table's description
//!     4 remove table    keyspace u32 │ id u64
//! ```
//!
//! All integers have their little end first. A base makes the state from nothing; an edit changes
//! it. A seal says nothing: that it is there proves that the record before it was durable.

use crate::codec::{Input, put_string};
use crate::compress::Compression;
use crate::config::{LEVELS, NAME_BYTES_MAX, Policy};
use crate::key::SeqNo;
use crate::keyspace::Traits;
use crate::memtable::KeyspaceId;
use crate::table::{TableId, TableMeta};
use drystone_wal::Lsn;

/// The version of the formats of manifest, journal and tables together: the one that this build
/// writes, and the only one it reads.
pub const VERSION: u32 = 1;

pub(super) const BASE: u8 = 1;
pub(super) const EDIT: u8 = 2;
pub(super) const SEAL: u8 = 3;

/// No database makes as many tables, or begins its manifest anew as often. One that claims to have
/// done so is refused: so there is always a next number.
pub(super) const TABLES_OUT_OF_REACH: u64 = 1 << 56;
const EPOCHS_OUT_OF_REACH: u64 = 1 << 31;

/// Numbers that every record carries as they stand after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters {
    /// No table made so far has this number or a higher one.
    pub(crate) next_table: u64,
    pub(crate) next_keyspace: u32,
    /// The last write that is in tables.
    pub(crate) last_seq: SeqNo,
    /// Journal records before this one are in tables.
    pub(crate) journal_from: Lsn,
    /// A journal that ends before this record has lost something.
    pub(crate) journal_durable: Lsn,
    /// The number of the journal's log; 0 if there has never been one.
    pub(crate) journal_id: u64,
    /// The latest wall time seen, in milliseconds.
    pub(crate) time_floor: u64,
}

/// One change of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Make { id: KeyspaceId, name: String, traits: Traits },
    Drop { id: KeyspaceId },
    Add { space: KeyspaceId, level: u8, meta: TableMeta },
    Remove { space: KeyspaceId, id: TableId },
}

/// What a record says.
#[derive(Debug)]
pub(super) enum Record {
    Base { salt: u64, epoch: u64, counters: Counters, changes: Vec<Change> },
    Edit { counters: Counters, changes: Vec<Change> },
    Seal,
}

/// Why a record cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Damaged(&'static str),
    Unsupported(&'static str),
}

impl From<&'static str> for Refusal {
    fn from(what: &'static str) -> Refusal {
        Refusal::Damaged(what)
    }
}

pub(super) fn encode_base(
    salt: u64,
    epoch: u64,
    counters: &Counters,
    changes: &[Change],
) -> Vec<u8> {
    let mut buf = vec![BASE];
    buf.extend_from_slice(&VERSION.to_le_bytes());
    buf.extend_from_slice(&salt.to_le_bytes());
    buf.extend_from_slice(&epoch.to_le_bytes());
    encode_rest(&mut buf, counters, changes);
    buf
}

pub(super) fn encode_edit(counters: &Counters, changes: &[Change]) -> Vec<u8> {
    let mut buf = vec![EDIT];
    encode_rest(&mut buf, counters, changes);
    buf
}

fn encode_rest(buf: &mut Vec<u8>, counters: &Counters, changes: &[Change]) {
    buf.extend_from_slice(&counters.next_table.to_le_bytes());
    buf.extend_from_slice(&counters.next_keyspace.to_le_bytes());
    for number in [
        counters.last_seq.0,
        counters.journal_from.0,
        counters.journal_durable.0,
        counters.journal_id,
        counters.time_floor,
    ] {
        buf.extend_from_slice(&number.to_le_bytes());
    }
    let count = u32::try_from(changes.len()).expect("an edit is small");
    buf.extend_from_slice(&count.to_le_bytes());
    for change in changes {
        encode_change(buf, change);
    }
}

fn encode_change(buf: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Make { id, name, traits } => {
            buf.push(1);
            buf.extend_from_slice(&id.0.to_le_bytes());
            buf.push(compression_number(traits.compression));
            buf.push(match traits.policy {
                Policy::Leveled => 0,
                Policy::Tiered => 1,
            });
            buf.push(u8::from(traits.expires));
            put_string(buf, name.as_bytes());
        }
        Change::Drop { id } => {
            buf.push(2);
            buf.extend_from_slice(&id.0.to_le_bytes());
        }
        Change::Add { space, level, meta } => {
            buf.push(3);
            buf.extend_from_slice(&space.0.to_le_bytes());
            buf.push(*level);
            meta.encode(buf);
        }
        Change::Remove { space, id } => {
            buf.push(4);
            buf.extend_from_slice(&space.0.to_le_bytes());
            buf.extend_from_slice(&id.0.to_le_bytes());
        }
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Record, Refusal> {
    let mut input = Input::new(bytes);
    let record = match input.u8()? {
        SEAL => Record::Seal,
        BASE => {
            if input.u32()? != VERSION {
                return Err(Refusal::Unsupported("format version of the manifest"));
            }
            let (salt, epoch) = (input.u64()?, input.u64()?);
            if !(1..EPOCHS_OUT_OF_REACH).contains(&epoch) {
                return Err(Refusal::Damaged("epoch of the manifest out of range"));
            }
            let (counters, changes) = decode_rest(&mut input)?;
            Record::Base { salt, epoch, counters, changes }
        }
        EDIT => {
            let (counters, changes) = decode_rest(&mut input)?;
            Record::Edit { counters, changes }
        }
        _ => return Err(Refusal::Damaged("manifest record of an unknown kind")),
    };
    if input.rest().is_empty() {
        Ok(record)
    } else {
        Err(Refusal::Damaged("bytes behind a manifest record"))
    }
}

fn decode_rest(input: &mut Input<'_>) -> Result<(Counters, Vec<Change>), Refusal> {
    let counters = Counters {
        next_table: input.u64()?,
        next_keyspace: input.u32()?,
        last_seq: SeqNo(input.u64()?),
        journal_from: Lsn(input.u64()?),
        journal_durable: Lsn(input.u64()?),
        journal_id: input.u64()?,
        time_floor: input.u64()?,
    };
    if counters.last_seq >= SeqNo::OUT_OF_REACH {
        return Err(Refusal::Damaged("write number out of range"));
    }
    if counters.next_table >= TABLES_OUT_OF_REACH {
        return Err(Refusal::Damaged("table number out of range"));
    }
    let count = input.u32()?;
    // Every change takes a few bytes: the list grows with what was read, not with what is claimed.
    let mut changes = Vec::new();
    for _ in 0..count {
        changes.push(decode_change(input)?);
    }
    Ok((counters, changes))
}

fn decode_change(input: &mut Input<'_>) -> Result<Change, Refusal> {
    let tag = input.u8()?;
    let id = KeyspaceId(input.u32()?);
    Ok(match tag {
        1 => {
            let compression = compression_from(input.u8()?)?;
            let policy = match input.u8()? {
                0 => Policy::Leveled,
                1 => Policy::Tiered,
                _ => return Err(Refusal::Unsupported("compaction policy")),
            };
            let expires = input.u8()? != 0;
            let name = std::str::from_utf8(input.string()?)
                .map_err(|_| Refusal::Damaged("name of a keyspace is not UTF-8"))?;
            if name.len() > NAME_BYTES_MAX {
                return Err(Refusal::Damaged("name of a keyspace is too long"));
            }
            let traits = Traits { compression, policy, expires };
            Change::Make { id, name: name.to_owned(), traits }
        }
        2 => Change::Drop { id },
        3 => {
            let level = input.u8()?;
            if usize::from(level) > LEVELS {
                return Err(Refusal::Damaged("level out of range"));
            }
            let mut rest = input.rest();
            let meta = TableMeta::decode(&mut rest)?;
            *input = Input::new(rest);
            Change::Add { space: id, level, meta }
        }
        4 => Change::Remove { space: id, id: TableId(input.u64()?) },
        _ => return Err(Refusal::Damaged("manifest change of an unknown kind")),
    })
}

fn compression_number(compression: Compression) -> u8 {
    match compression {
        Compression::None => 0,
        Compression::Lz4 => 1,
        #[cfg(feature = "zstd")]
        Compression::Zstd => 2,
    }
}

fn compression_from(number: u8) -> Result<Compression, Refusal> {
    match number {
        0 => Ok(Compression::None),
        1 => Ok(Compression::Lz4),
        #[cfg(feature = "zstd")]
        2 => Ok(Compression::Zstd),
        _ => Err(Refusal::Unsupported("compression")),
    }
}
