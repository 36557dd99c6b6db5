//! One change of one key, as the engine holds it.
//!
//! Records live in [`crate::engine::Space::Record`] under their revision (12 bytes, big-endian), so
//! a scan of the space replays the store's history. The newest record of a key is its present.
//!
//! ```text
//! 1 byte   kind: 0 tombstone, 1 put
//! bytes    key (varint length + bytes)
//!          -- a tombstone ends here --
//! varint   create revision
//! varint   version
//! zigzag   lease, 0 for none
//! rest     value
//! ```

use bytes::Bytes;

use crate::codec::{Decoder, Malformed, put_bytes, put_varint, varint_len, zigzag};
use crate::engine::{Engine, Space};
use crate::error::Error;
use crate::types::{KeyValue, LeaseId, Revision};

const KIND_TOMBSTONE: u8 = 0;
const KIND_PUT: u8 = 1;

/// A decoded record; byte strings share the memory that they were decoded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The key was deleted.
    Tombstone {
        /// The key.
        key: Bytes,
    },
    /// The key was set. `mod_revision` is the main revision that the record stands under.
    Put(KeyValue),
}

impl Record {
    /// The bytes of a tombstone.
    pub fn encode_tombstone(key: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(1 + varint_len(key.len() as u64) + key.len());
        out.push(KIND_TOMBSTONE);
        put_bytes(&mut out, key);
        out.into()
    }

    /// The bytes of a put: one allocation of the exact size, since the memory engine keeps it.
    pub fn encode_put(kv: &KeyValue) -> Bytes {
        let meta_bytes = varint_len(kv.create_revision)
            + varint_len(kv.version)
            + varint_len(zigzag(kv.lease.0));
        let key_bytes = varint_len(kv.key.len() as u64) + kv.key.len();
        let record_bytes = 1 + key_bytes + meta_bytes + kv.value.len();
        let mut out = Vec::with_capacity(record_bytes);
        out.push(KIND_PUT);
        put_bytes(&mut out, &kv.key);
        put_varint(&mut out, kv.create_revision);
        put_varint(&mut out, kv.version);
        put_varint(&mut out, zigzag(kv.lease.0));
        out.extend_from_slice(&kv.value);
        debug_assert_eq!(out.len(), record_bytes, "the size is computed exactly");
        out.into()
    }

    /// The record that `bytes` hold, standing under main revision `main`.
    pub fn decode(main: u64, bytes: Bytes) -> Result<Record, Malformed> {
        let mut input = Decoder::new(bytes);
        match input.byte()? {
            KIND_TOMBSTONE => {
                let key = input.bytes()?;
                input.finish()?;
                Ok(Record::Tombstone { key })
            }
            KIND_PUT => Ok(Record::Put(KeyValue {
                key: input.bytes()?,
                create_revision: input.varint()?,
                version: input.varint()?,
                lease: LeaseId(input.zigzag()?),
                mod_revision: main,
                value: input.rest(),
            })),
            _ => Err(Malformed("unknown record kind")),
        }
    }

    /// The key, whichever kind.
    pub fn key(&self) -> &Bytes {
        match self {
            Record::Tombstone { key } => key,
            Record::Put(kv) => &kv.key,
        }
    }
}

/// The record that the engine holds at `revision`, of which the index knows.
pub(crate) fn load(engine: &impl Engine, revision: Revision) -> Result<Record, Error> {
    let bytes = engine.get(Space::Record, &revision.to_bytes())?;
    decode(revision, bytes.ok_or_else(|| missing(revision))?)
}

/// That the engine lacks a record.
pub(crate) fn missing(revision: Revision) -> Error {
    Error::BadRecord { revision, reason: "the index knows the record, the engine does not" }
}

/// The put that the engine holds at `revision`.
pub(crate) fn load_put(engine: &impl Engine, revision: Revision) -> Result<KeyValue, Error> {
    live(revision, load(engine, revision)?)
}

/// The record at `revision`, from its bytes.
pub(crate) fn decode(revision: Revision, bytes: Bytes) -> Result<Record, Error> {
    let record = Record::decode(revision.main, bytes);
    record.map_err(|malformed| Error::BadRecord { revision, reason: malformed.0 })
}

/// The put at `revision`, from its bytes.
pub(crate) fn decode_put(revision: Revision, bytes: Bytes) -> Result<KeyValue, Error> {
    live(revision, decode(revision, bytes)?)
}

/// The revision that a record's key names.
pub(crate) fn revision_of(key: &[u8]) -> Result<Revision, Error> {
    let reason = "the record's key is not a revision";
    Revision::from_bytes(key).ok_or(Error::BadRecord { revision: Revision::default(), reason })
}

fn live(revision: Revision, record: Record) -> Result<KeyValue, Error> {
    match record {
        Record::Put(kv) => Ok(kv),
        Record::Tombstone { .. } => {
            let reason = "a tombstone stands where the index knows a live key";
            Err(Error::BadRecord { revision, reason })
        }
    }
}
