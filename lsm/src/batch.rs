//! Changes that happen together or not at all.
//!
//! A batch is written as it is kept: one run of bytes, which goes into the journal as one record
//! (packed, if it is large: see `packed.rs`) and is read back from there by the same decoder.
//!
//! ```text
//!    0           8       12
//!   ┌───────────┬───────┬────────┬────────┬─ ...
//!   │ first seq │ count │ change │ change │
//!   │ u64       │ u32   │        │        │
//!   └───────────┴───────┴────────┴────────┴─ ...
//!
//!   change:   kind u8 │ keyspace u32 │ key len u16 │ value len u32 │ key │ value
//!   kind:     0 delete, 1 put, 2 merge: the value is the operand,
//!             3 delete of a range: from the key up to and without the value
//! ```
//!
//! Change number i has sequence number `first seq + i`: of two changes to one key the later wins.
//!
//! Beside batches the journal holds *times*: what was seen to have expired before the next batch
//! stays so, see `time.rs`.
//!
//! ```text
//!   time      u64::MAX │ milliseconds since 1970, u64       no batch has this first number
//! ```

use std::sync::Arc;

use smallvec::SmallVec;

use crate::codec::Input;
use crate::config::{BATCH_BYTES_MAX, ROOM_MAX};
use crate::error::{Error, Result};
use crate::key::{KEY_BYTES_MAX, Kind, SeqNo, VALUE_BYTES_MAX};
use crate::keyspace::{Keyspace, Shared};
use crate::memtable::{KeyspaceId, Memtable};

pub(crate) const HEAD_BYTES: usize = 12;
const RANGE: u8 = 3;

/// A list of changes to any keyspaces of one database. Apply it with
/// [`Db::write`](crate::Db::write).
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
    /// The first change that does not fit the limits; told when the batch is written.
    failed: Option<Error>,
    pub(crate) keyspaces: SmallVec<[Arc<Shared>; 2]>,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch::new()
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::with_capacity(0)
    }

    /// An empty batch with room for this many bytes of keys and values.
    pub fn with_capacity(bytes: usize) -> Batch {
        let mut buf = Vec::with_capacity(HEAD_BYTES + bytes);
        buf.resize(HEAD_BYTES, 0);
        Batch { bytes: buf, count: 0, failed: None, keyspaces: SmallVec::new() }
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, keyspace: &Keyspace, key: &[u8], value: &[u8]) {
        if keyspace.shared.expires {
            let expiry = keyspace.shared.expiry().to_le_bytes();
            self.push(Kind::Put as u8, keyspace, key, &[value, &expiry]);
        } else {
            self.push(Kind::Put as u8, keyspace, key, &[value]);
        }
    }

    /// Removes `key`; no error if it is not there.
    pub fn delete(&mut self, keyspace: &Keyspace, key: &[u8]) {
        self.push(Kind::Delete as u8, keyspace, key, &[]);
    }

    /// Removes every key in `start..end`, at a cost that does not depend on how many there are.
    pub fn delete_range(&mut self, keyspace: &Keyspace, start: &[u8], end: &[u8]) {
        if end.len() > KEY_BYTES_MAX {
            self.fail(end.len(), KEY_BYTES_MAX);
        } else {
            self.push(RANGE, keyspace, start, &[end]);
        }
    }

    /// Adds `operand` to what is to be merged into `key`. The keyspace must have a
    /// [merge operator](crate::KeyspaceOptions::merge), and no time to live.
    pub fn merge(&mut self, keyspace: &Keyspace, key: &[u8], operand: &[u8]) {
        if keyspace.shared.options().merge.is_none() || keyspace.shared.expires {
            let rule = "must be given, and go without a ttl, for merges";
            self.failed.get_or_insert(Error::Options { option: "merge", rule });
            return;
        }
        self.push(Kind::Merge as u8, keyspace, key, &[operand]);
    }

    fn push(&mut self, kind: u8, keyspace: &Keyspace, key: &[u8], value: &[&[u8]]) {
        let value_len: usize = value.iter().map(|part| part.len()).sum();
        if key.len() > KEY_BYTES_MAX {
            return self.fail(key.len(), KEY_BYTES_MAX);
        }
        if value_len > VALUE_BYTES_MAX {
            return self.fail(value_len, VALUE_BYTES_MAX);
        }
        if self.bytes.len() + key.len() + value_len > BATCH_BYTES_MAX {
            return self.fail(self.bytes.len() + key.len() + value_len, BATCH_BYTES_MAX);
        }
        let shared = &keyspace.shared;
        if !self.keyspaces.iter().any(|known| Arc::ptr_eq(known, shared)) {
            self.keyspaces.push(Arc::clone(shared));
        }
        let mut head = [0; 11];
        head[0] = kind;
        head[1..5].copy_from_slice(&shared.id.0.to_le_bytes());
        head[5..7].copy_from_slice(&(key.len() as u16).to_le_bytes());
        head[7..11].copy_from_slice(&(value_len as u32).to_le_bytes());
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(key);
        for part in value {
            self.bytes.extend_from_slice(part);
        }
        self.count += 1;
    }

    fn fail(&mut self, bytes: usize, bytes_max: usize) {
        let (bytes, bytes_max) = (bytes as u64, bytes_max as u64);
        self.failed.get_or_insert(Error::TooLarge { bytes, bytes_max });
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets the changes and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.truncate(HEAD_BYTES);
        (self.count, self.failed) = (0, None);
        self.keyspaces.clear();
    }

    /// Why the batch cannot be written, if so.
    pub(crate) fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// The room that it needs in a memtable.
    pub(crate) fn room(&self) -> u64 {
        Memtable::room(u64::from(self.count), self.bytes.len() as u64)
    }

    /// Gives the changes their numbers, from `first` on.
    pub(crate) fn number(&mut self, first: SeqNo) {
        self.bytes[..8].copy_from_slice(&first.0.to_le_bytes());
        self.bytes[8..12].copy_from_slice(&self.count.to_le_bytes());
    }

    /// The record for the journal.
    pub(crate) fn record(&self) -> &[u8] {
        &self.bytes
    }
}

/// The time as it stands in the journal.
pub(crate) fn time_record(time: u64) -> [u8; 16] {
    let mut record = [0xff; 16];
    record[8..].copy_from_slice(&time.to_le_bytes());
    record
}

/// The time that a record of the journal tells; nothing if it is a batch.
pub(crate) fn time_of(record: &[u8]) -> Option<u64> {
    let time = record.strip_prefix(&u64::MAX.to_le_bytes())?;
    time.try_into().ok().map(u64::from_le_bytes)
}

/// A batch as it stands in the journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) first: SeqNo,
    pub(crate) count: u32,
    input: Input<'a>,
    bytes: usize,
}

/// Kind, keyspace and the two lengths.
const CHANGE_BYTES_MIN: u64 = 11;

/// Whether so many changes may stand in a plain record of so many bytes. Room is made for as many
/// as are promised, before they are looked at.
pub(crate) fn check_promise(count: u32, bytes: usize) -> Result<(), &'static str> {
    let (count, bytes) = (u64::from(count), bytes as u64);
    if bytes < count * CHANGE_BYTES_MIN {
        return Err("batch is too short for its changes");
    }
    if Memtable::room(count, bytes) > ROOM_MAX {
        return Err("batch has more changes than any memtable");
    }
    Ok(())
}

/// One change of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    Entry { kind: Kind, key: &'a [u8], value: &'a [u8] },
    Range { start: &'a [u8], end: &'a [u8] },
}

impl<'a> Record<'a> {
    /// Reads the head of a record; the error says what is wrong.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Record<'a>, &'static str> {
        let mut input = Input::new(bytes);
        let (first, count) = (SeqNo(input.u64()?), input.u32()?);
        if first == SeqNo::ZERO || first >= SeqNo::OUT_OF_REACH || count == 0 {
            return Err("numbers of a batch make no sense");
        }
        check_promise(count, bytes.len())?;
        Ok(Record { first, count, input, bytes: bytes.len() })
    }

    /// The last number of the batch.
    pub(crate) fn last(&self) -> SeqNo {
        SeqNo(self.first.0 + u64::from(self.count) - 1)
    }

    pub(crate) fn room(&self) -> u64 {
        Memtable::room(u64::from(self.count), self.bytes as u64)
    }

    /// Calls `each` with every change, its keyspace and its number.
    pub(crate) fn each(
        self,
        mut each: impl FnMut(KeyspaceId, SeqNo, Change<'a>),
    ) -> Result<(), &'static str> {
        let mut input = self.input;
        for i in 0..self.count {
            let kind = input.u8()?;
            let space = KeyspaceId(input.u32()?);
            let key_len = usize::from(input.u16()?);
            let value_len = input.u32()? as usize;
            let (key, value) = (input.bytes(key_len)?, input.bytes(value_len)?);
            let change = match (kind, Kind::from_u8(kind)) {
                (_, Some(kind)) => Change::Entry { kind, key, value },
                (RANGE, None) => Change::Range { start: key, end: value },
                _ => return Err("change of an unknown kind"),
            };
            each(space, SeqNo(self.first.0 + u64::from(i)), change);
        }
        if input.rest().is_empty() { Ok(()) } else { Err("bytes behind the last change") }
    }

    /// Puts every change into `memtable`, where there is room; those of keyspaces that are not
    /// `wanted` are left out.
    pub(crate) fn insert_into(
        self,
        memtable: &Memtable,
        wanted: impl Fn(KeyspaceId) -> bool,
    ) -> Result<(), &'static str> {
        self.each(|space, seq, change| {
            if !wanted(space) {
                return;
            }
            match change {
                Change::Entry { kind, key, value } => memtable.insert(space, key, seq, kind, value),
                Change::Range { start, end } => memtable.delete_range(space, start, end, seq),
            }
        })
    }
}
