//! What is known of a table without reading it: the manifest's entry, and the table's own.
//!
//! ```text
//!   id        u64    number of the file
//!   salt      u64    of the database; with the id it seeds every checksum in the file
//!   bytes     u64    length of the file
//!   entries   u64    puts, deletes and merges
//!   deletes   u64    of these, deletes
//!   merges    u64    of these, merge operands
//!   ranges    u64    fragments of range deletes
//!   keys      u64    bytes of user keys, as they were added
//!   values    u64    bytes of values, as they were added
//!   seq_min   u64    lowest write number, range deletes included
//!   seq_max   u64    highest write number, range deletes included
//!   time_max  u64    latest stamp given, 0 if none: when it is past, the whole table is
//!   ingested  u64    0, or the write that all entries count as; only the manifest knows it
//!   smallest  u16 + bytes
//!   upper     u8     1: `largest` is a key in the table; 0: a range delete ends before it
//!   largest   u16 + bytes
//! ```

use bytes::Bytes;

use crate::codec::{Input, put_string};
use crate::key::{Kind, SeqNo};
use crate::range_del::Fragments;

/// No count of a table comes to so much: what many tables count can be added up.
const COUNT_END: u64 = 1 << 48;

/// The number of a table's file. Never used twice in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TableId(pub u64);

/// Where a table ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upper {
    /// With this user key, which has entries in it.
    At(Bytes),
    /// Before this user key: a range delete reaches up to it and does not touch it.
    Before(Bytes),
}

impl Upper {
    /// The user key named.
    pub fn key(&self) -> &Bytes {
        match self {
            Upper::At(key) | Upper::Before(key) => key,
        }
    }

    /// Whether `key` lies at or below this end.
    pub fn covers(&self, key: &[u8]) -> bool {
        match self {
            Upper::At(end) => key <= end,
            Upper::Before(end) => key < end,
        }
    }
}

/// What is known of a table without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMeta {
    /// Number of the file.
    pub id: TableId,
    /// Salt of the database; with the id it seeds every checksum in the file.
    pub salt: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Puts, deletes and merges.
    pub entries: u64,
    /// Of these, deletes.
    pub deletes: u64,
    /// Of these, merge operands.
    pub merges: u64,
    /// Fragments of range deletes.
    pub range_deletes: u64,
    /// Bytes of user keys, as they were added.
    pub key_bytes: u64,
    /// Bytes of values, as they were added.
    pub value_bytes: u64,
    /// Lowest write number, range deletes included.
    pub seq_min: SeqNo,
    /// Highest write number, range deletes included.
    pub seq_max: SeqNo,
    /// Latest stamp given to the builder, 0 if none.
    pub time_max: u64,
    /// For a table that was written outside and taken in: the write that all its entries count as,
    /// whatever it says itself. [`SeqNo::ZERO`] for every other.
    pub ingested: SeqNo,
    /// The lowest user key, or where the first range delete starts if that is lower.
    pub smallest: Bytes,
    /// Where the table ends.
    pub largest: Upper,
}

impl TableMeta {
    /// Of a table in which nothing is yet.
    pub(crate) fn empty(id: TableId, salt: u64) -> TableMeta {
        TableMeta {
            id,
            salt,
            bytes: 0,
            entries: 0,
            deletes: 0,
            merges: 0,
            range_deletes: 0,
            key_bytes: 0,
            value_bytes: 0,
            seq_min: SeqNo::ZERO,
            seq_max: SeqNo::ZERO,
            time_max: 0,
            ingested: SeqNo::ZERO,
            smallest: Bytes::new(),
            largest: Upper::At(Bytes::new()),
        }
    }

    /// Counts an entry in.
    pub(crate) fn count(&mut self, key: &[u8], seq: SeqNo, kind: Kind, value_bytes: usize) {
        self.entries += 1;
        self.deletes += u64::from(kind == Kind::Delete);
        self.merges += u64::from(kind == Kind::Merge);
        self.key_bytes += key.len() as u64;
        self.value_bytes += value_bytes as u64;
        self.seq_min = self.seq_min.min(seq);
        self.seq_max = self.seq_max.max(seq);
    }

    /// Sets the bounds from the entries counted, the last of which is `last`, and the range
    /// deletes. There must be one or the other.
    pub(crate) fn bound(&mut self, fragments: &Fragments, last: Upper) {
        self.range_deletes = fragments.count() as u64;
        let mut largest = (self.entries > 0).then_some(last);
        if let Some((start, end)) = fragments.bounds() {
            if self.entries == 0 || *start < self.smallest {
                self.smallest = start.clone();
            }
            if largest.as_ref().is_none_or(|upper| upper.key() < end) {
                largest = Some(Upper::Before(end.clone()));
            }
        }
        self.largest = largest.expect("a table is not empty");
    }

    /// Whether some key can be both in the table and in `lo..=hi`.
    pub fn overlaps(&self, lo: &[u8], hi: &[u8]) -> bool {
        *self.smallest <= *hi && self.largest.covers(lo)
    }

    /// Whether the table may say something about `user_key`.
    pub fn contains(&self, user_key: &[u8]) -> bool {
        *self.smallest <= *user_key && self.largest.covers(user_key)
    }

    /// Whether the table may be taken in: all its entries are of write 0, so there is one for each
    /// key, and they can count as another write.
    pub fn is_timeless(&self) -> bool {
        self.seq_max == SeqNo::ZERO
    }

    /// The description of the same file, all entries of which count as write `seq`.
    ///
    /// # Panics
    /// If the table is not [timeless](TableMeta::is_timeless).
    pub fn ingested_at(self, seq: SeqNo) -> TableMeta {
        assert!(self.is_timeless(), "only entries of write 0 can be renumbered");
        assert!(SeqNo::ZERO < seq && seq < SeqNo::MAX, "a table is taken in by a write");
        TableMeta { ingested: seq, seq_min: seq, seq_max: seq, ..self }
    }

    /// What the file says of itself, if this is what the manifest says.
    pub(crate) fn as_written(&self) -> TableMeta {
        let mut written = self.clone();
        if self.ingested != SeqNo::ZERO {
            written.ingested = SeqNo::ZERO;
            (written.seq_min, written.seq_max) = (SeqNo::ZERO, SeqNo::ZERO);
        }
        written
    }

    /// Appends the bytes drawn above.
    pub fn encode(&self, buf: &mut Vec<u8>) {
        for number in [
            self.id.0,
            self.salt,
            self.bytes,
            self.entries,
            self.deletes,
            self.merges,
            self.range_deletes,
            self.key_bytes,
            self.value_bytes,
            self.seq_min.0,
            self.seq_max.0,
            self.time_max,
            self.ingested.0,
        ] {
            buf.extend_from_slice(&number.to_le_bytes());
        }
        put_string(buf, &self.smallest);
        buf.push(u8::from(matches!(self.largest, Upper::At(_))));
        put_string(buf, self.largest.key());
    }

    /// Takes a description off the front of `bytes`. The error says what is wrong with them.
    pub fn decode(bytes: &mut &[u8]) -> Result<TableMeta, &'static str> {
        let mut input = Input::new(bytes);
        let meta = TableMeta {
            id: TableId(input.u64()?),
            salt: input.u64()?,
            bytes: input.u64()?,
            entries: input.u64()?,
            deletes: input.u64()?,
            merges: input.u64()?,
            range_deletes: input.u64()?,
            key_bytes: input.u64()?,
            value_bytes: input.u64()?,
            seq_min: SeqNo(input.u64()?),
            seq_max: SeqNo(input.u64()?),
            time_max: input.u64()?,
            ingested: SeqNo(input.u64()?),
            smallest: Bytes::copy_from_slice(input.string()?),
            largest: match input.u8()? {
                0 => Upper::Before(Bytes::copy_from_slice(input.string()?)),
                1 => Upper::At(Bytes::copy_from_slice(input.string()?)),
                _ => return Err("table bound is of no known kind"),
            },
        };
        if !meta.largest.covers(&meta.smallest) {
            return Err("table bounds are out of order");
        }
        if meta.seq_min > meta.seq_max || meta.seq_max >= SeqNo::MAX {
            return Err("write numbers of a table are out of order");
        }
        let rows = [meta.entries, meta.deletes, meta.merges, meta.range_deletes];
        let sizes = [meta.key_bytes, meta.value_bytes];
        if rows.iter().chain(&sizes).any(|count| *count >= COUNT_END) {
            return Err("table counts more than it can hold");
        }
        let alone = meta.seq_min == meta.ingested && meta.seq_max == meta.ingested;
        if meta.ingested != SeqNo::ZERO && !alone {
            return Err("table was taken in by one write but has another");
        }
        *bytes = input.rest();
        Ok(meta)
    }
}
