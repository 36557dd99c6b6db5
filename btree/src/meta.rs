//! The meta page: which root is the newest, where it is written twice, and when to believe it.
//!
//! ```text
//!   file    ┌──────────────┬──────────────┬────────┬────────┬─ ─ ─
//!           │ slot 0, 4096 │ slot 1, 4096 │ page 2 │ page 3 │          (pages of 8 or 16 KiB: the
//!           └──────────────┴──────────────┴────────┴────────┴─ ─ ─     slots lie in page 0, page 1
//!                                                                       is not used)
//!   slot    ┌───────────────┬───────────────┬───────────┬─────────┐
//!           │ record, 1536  │ its copy, 1536│ mark, 512 │ zeros   │    no two share a sector
//!           └───────────────┴───────────────┴───────────┴─────────┘
//!
//!   record  offset bytes
//!                0  8    magic "drybtree"
//!                8  4    CRC-32 of the bytes from 12 to the record's length
//!               12  4    the record's length
//!               16  4    format version: 1
//!               20  4    bytes in a page
//!               24  8    database id: random, the same in every record and mark of a file
//!               32  8    sequence number of the flush: the highest sound record is the newest
//!               40  8    transaction
//!               48  12   catalog root: id, checksum, transaction (0, 0, 0: there are no trees)
//!               60  1    its level         61  3  zeros
//!               64  8    how many trees
//!               72  4    end: no page of this state has this number or a higher one
//!               76  4    CRC-32 over the checksums of the pages written with this record, in order
//!               80  2    w: runs of pages written with it; 0xFFFF: those were synced before it
//!               82  2    t: runs of pages that changed sides since the free map was written
//!               84  2    d: directory pages of the free map
//!               86  2    zeros
//!               88  8    the journal's first record that this state does not have; 0: no journal
//!               96  12d  directory pages: id, checksum, transaction; zeros if there is none
//!                   8w   runs written: first page, pages
//!                   8t   runs changed: first page, pages
//!
//!   mark         0  8    magic "drymark1"
//!                8  4    CRC-32 of the bytes from 12 to 40
//!               12  4    zeros
//!               16  8    database id
//!               24  8    sequence number of a record that was durable when the mark was written
//!               32  8    its transaction
//! ```
//!
//! **One sync for a commit.** Record and pages are written in any order and synced together. If the
//! power fails meanwhile, the record may be there without its pages; so it lists them with a
//! checksum over all, and is believed only if they are there. Otherwise the other slot holds the
//! state before, none of whose pages have been touched. A flush of many pages, or of scattered
//! ones, syncs them first and the record after: there a second sync costs little.
//!
//! **Flushes take turns.** A record goes to the slot that does not hold the last durable one.
//!
//! **Marks.** A record that is unreadable may have been torn when the power failed, before anyone
//! was told that it is safe; or it was safe, and is damaged. From the slots alone these cannot be
//! told apart. So at a clean close (and after each flush that was asked for by
//! [`persist`](crate::Db::persist)) a mark is written that says which record was durable: whoever
//! finds nothing as new as the mark refuses the file. A mark never has to be taken back.

use drystone_wal::Lsn;

use crate::crc::{crc_of, u16_at, u32_at, u64_at};
use crate::types::{Extent, PageId, PagePtr, TreeRoot, TxnId};

pub(crate) const MAGIC: &[u8; 8] = b"drybtree";
const MARK_MAGIC: &[u8; 8] = b"drymark1";
/// The version of the file's format that this build writes, and the only one it reads.
pub const VERSION: u32 = 1;

pub(crate) const SLOT_BYTES: usize = 4096;
pub(crate) const RECORD_BYTES: usize = 1536;
pub(crate) const MARK_OFFSET: usize = 2 * RECORD_BYTES;
const SECTOR_BYTES: usize = 512;
const MARK_BYTES: usize = 40;
const RUNS_OFFSET: usize = 96;
const RUN_BYTES: usize = 8;
/// Bytes before the checksummed ones.
const BARE_BYTES: usize = 12;
const WRITTEN_BEFORE: u16 = u16::MAX;

/// The free map has no more directory pages than this.
pub(crate) const DIRECTORIES_MAX: usize = 32;
/// However many they are, this many runs fit.
pub(crate) const RUNS_MIN: usize =
    (RECORD_BYTES - RUNS_OFFSET - DIRECTORIES_MAX * PagePtr::BYTES) / RUN_BYTES;
const _: () = assert!(RUNS_MIN >= 128, "there is room for the runs of a usual commit");
const _: () = assert!(RECORD_BYTES.is_multiple_of(SECTOR_BYTES), "no sector is shared");
const _: () = assert!(MARK_OFFSET + SECTOR_BYTES <= SLOT_BYTES, "the mark fits behind the records");

/// How many runs fit beside that many directory pages.
pub(crate) fn runs_max(directories: usize) -> usize {
    (RECORD_BYTES - RUNS_OFFSET - directories * PagePtr::BYTES) / RUN_BYTES
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub page_bytes: u32,
    pub db_id: u64,
    pub seq: u64,
    pub txn: TxnId,
    pub catalog: TreeRoot,
    pub end: u32,
    /// Where the journal goes on from this state, if there is one.
    pub journal: Option<Lsn>,
    pub written: Written,
    pub directories: Vec<PagePtr>,
    pub changed: Vec<Extent>,
}

/// What has to be on disk for a record to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// It was synced before the record was written.
    Before,
    /// These pages, whose checksums have this checksum.
    With { runs: Vec<Extent>, crc: u32 },
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRecord {
    /// The file ends before it.
    #[error("file ends early")]
    FileEnds,
    /// It does not begin like one.
    #[error("no record")]
    Magic,
    /// It is torn or damaged.
    #[error("checksum of the record does not match")]
    Checksum,
    /// It is sound and names a size or a count that cannot be.
    #[error("record makes no sense")]
    Fields,
    /// The pages that were written with it are not all there.
    #[error("pages written with the record are not there")]
    Pages,
    /// The free map it leads to is not there.
    #[error("free map of the record is not there")]
    FreeMap,
}

/// What a record was decoded to.
pub(crate) enum Decoded {
    Record(Meta),
    /// A sound record of this later version.
    Future(u32),
    Bad(BadRecord),
}

impl Meta {
    /// The first 3072 bytes of a slot: the record, twice.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 * RECORD_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.page_bytes.to_le_bytes());
        out.extend_from_slice(&self.db_id.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.txn.0.to_le_bytes());
        out.extend_from_slice(&self.catalog.ptr.encode());
        out.extend_from_slice(&[self.catalog.level, 0, 0, 0]);
        out.extend_from_slice(&self.catalog.records.to_le_bytes());
        out.extend_from_slice(&self.end.to_le_bytes());
        let (crc, written, count) = match &self.written {
            Written::Before => (0, &[][..], WRITTEN_BEFORE),
            Written::With { runs, crc } => (*crc, &runs[..], runs.len() as u16),
        };
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&(self.changed.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.directories.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.journal.unwrap_or(Lsn::NONE).0.to_le_bytes());
        assert!(out.len() == RUNS_OFFSET, "the fields are as drawn");
        self.directories.iter().for_each(|ptr| out.extend_from_slice(&ptr.encode()));
        for run in written.iter().chain(&self.changed) {
            out.extend_from_slice(&run.first.0.to_le_bytes());
            out.extend_from_slice(&run.pages.to_le_bytes());
        }
        assert!(out.len() <= RECORD_BYTES, "whoever made the record counted its runs");
        let len = out.len() as u32;
        out[12..16].copy_from_slice(&len.to_le_bytes());
        let crc = crc_of(&out[BARE_BYTES..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out.resize(RECORD_BYTES, 0);
        out.extend_from_within(..);
        out
    }

    /// Decodes one record, from as many bytes as there are.
    pub(crate) fn decode(bytes: &[u8]) -> Decoded {
        if bytes.len() < RECORD_BYTES {
            return Decoded::Bad(BadRecord::FileEnds);
        }
        if bytes[..8] != *MAGIC {
            return Decoded::Bad(BadRecord::Magic);
        }
        let len = u32_at(bytes, 12) as usize;
        if !(RUNS_OFFSET..=RECORD_BYTES).contains(&len) {
            return Decoded::Bad(BadRecord::Checksum);
        }
        if crc_of(&bytes[BARE_BYTES..len]) != u32_at(bytes, 8) {
            return Decoded::Bad(BadRecord::Checksum);
        }
        let version = u32_at(bytes, 16);
        if version != VERSION {
            return Decoded::Future(version);
        }
        Meta::decode_fields(&bytes[..len]).map_or(Decoded::Bad(BadRecord::Fields), Decoded::Record)
    }

    fn decode_fields(bytes: &[u8]) -> Option<Meta> {
        let written = u16_at(bytes, 80);
        let counts = [u16_at(bytes, 84), if written == WRITTEN_BEFORE { 0 } else { written }];
        let [directories, writes] = counts.map(usize::from);
        let changes = usize::from(u16_at(bytes, 82));
        let runs_at = RUNS_OFFSET + directories * PagePtr::BYTES;
        let need = runs_at + (writes + changes) * RUN_BYTES;
        if directories > DIRECTORIES_MAX || need != bytes.len() {
            return None;
        }
        let meta = Meta {
            page_bytes: u32_at(bytes, 20),
            db_id: u64_at(bytes, 24),
            seq: u64_at(bytes, 32),
            txn: TxnId(u64_at(bytes, 40)),
            catalog: TreeRoot {
                ptr: ptr_at(bytes, 48),
                level: bytes[60],
                records: u64_at(bytes, 64),
            },
            end: u32_at(bytes, 72),
            journal: Some(Lsn(u64_at(bytes, 88))).filter(|lsn| *lsn != Lsn::NONE),
            written: match written {
                WRITTEN_BEFORE => Written::Before,
                _ => Written::With {
                    runs: runs_at_offset(bytes, runs_at, writes),
                    crc: u32_at(bytes, 76),
                },
            },
            directories: (0..directories)
                .map(|i| ptr_at(bytes, RUNS_OFFSET + i * PagePtr::BYTES))
                .collect(),
            changed: runs_at_offset(bytes, runs_at + writes * RUN_BYTES, changes),
        };
        let inside = |first: u32, pages: u32| {
            first >= 2 && pages > 0 && first.checked_add(pages).is_some_and(|end| end <= meta.end)
        };
        let written = match &meta.written {
            Written::Before => &[][..],
            Written::With { runs, .. } => runs,
        };
        // Numbers that count up have room to.
        let sound = meta.end >= 2
            && meta.seq < u64::MAX / 2
            && meta.txn.0 < u64::MAX / 2
            && meta.journal.is_none_or(|lsn| lsn.0 <= meta.txn.next().0)
            && matches!(meta.page_bytes, 4096 | 8192 | 16384)
            && (meta.catalog.ptr.is_none() || inside(meta.catalog.ptr.id.0, 1))
            && meta.directories.iter().all(|ptr| ptr.is_none() || inside(ptr.id.0, 1))
            && written.iter().chain(&meta.changed).all(|run| inside(run.first.0, run.pages));
        sound.then_some(meta)
    }
}

/// Says which record was durable when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub db_id: u64,
    pub seq: u64,
    pub txn: TxnId,
}

impl Mark {
    pub(crate) fn encode(self) -> [u8; MARK_BYTES] {
        let mut out = [0; MARK_BYTES];
        out[..8].copy_from_slice(MARK_MAGIC);
        out[16..24].copy_from_slice(&self.db_id.to_le_bytes());
        out[24..32].copy_from_slice(&self.seq.to_le_bytes());
        out[32..40].copy_from_slice(&self.txn.0.to_le_bytes());
        let crc = crc_of(&out[BARE_BYTES..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Mark> {
        let bytes = bytes.get(..MARK_BYTES)?;
        let sound = bytes[..8] == *MARK_MAGIC && crc_of(&bytes[BARE_BYTES..]) == u32_at(bytes, 8);
        sound.then(|| Mark {
            db_id: u64_at(bytes, 16),
            seq: u64_at(bytes, 24),
            txn: TxnId(u64_at(bytes, 32)),
        })
    }
}

fn ptr_at(bytes: &[u8], at: usize) -> PagePtr {
    let bytes = &bytes[at..at + PagePtr::BYTES];
    PagePtr::decode(bytes.try_into().expect("twelve bytes"))
}

fn runs_at_offset(bytes: &[u8], at: usize, count: usize) -> Vec<Extent> {
    let run = |i: usize| Extent {
        first: PageId(u32_at(bytes, at + i * RUN_BYTES)),
        pages: u32_at(bytes, at + i * RUN_BYTES + 4),
    };
    (0..count).map(run).collect()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn meta() -> Meta {
        let run = |first, pages| Extent { first: PageId(first), pages };
        Meta {
            page_bytes: 4096,
            db_id: 77,
            seq: 5,
            txn: TxnId(12),
            catalog: TreeRoot {
                ptr: PagePtr { id: PageId(9), crc: 4, txn: 12 },
                level: 1,
                records: 3,
            },
            end: 100,
            journal: Some(Lsn(11)),
            written: Written::With { runs: vec![run(7, 3), run(20, 1)], crc: 99 },
            directories: vec![PagePtr { id: PageId(11), crc: 6, txn: 10 }],
            changed: vec![run(30, 4)],
        }
    }

    fn decode(bytes: &[u8]) -> Option<Meta> {
        match Meta::decode(bytes) {
            Decoded::Record(meta) => Some(meta),
            _ => None,
        }
    }

    // What is written is read, from either copy.
    #[test]
    fn a_record_and_its_copy_come_back() {
        for written in [meta().written, Written::Before] {
            let meta = Meta { written, ..meta() };
            let bytes = meta.encode();
            assert_eq!(bytes.len(), 2 * RECORD_BYTES);
            assert_eq!(decode(&bytes).as_ref(), Some(&meta));
            assert_eq!(decode(&bytes[RECORD_BYTES..]).as_ref(), Some(&meta));
        }
        let mark = Mark { db_id: 3, seq: 9, txn: TxnId(11) };
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
    }

    // A flipped bit anywhere in a record must not give another root.
    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = meta().encode();
        let len = u32_at(&bytes, 12) as usize;
        for bit in 0..len * 8 {
            let mut hurt = bytes.clone();
            hurt[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&hurt).is_none(), "bit {bit}");
        }
    }

    // Scenario 48: arbitrary bytes under a right checksum make no panic and no unbounded vector.
    #[test]
    fn hostile_records_are_refused_or_sound() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for round in 0..20_000 {
            let mut bytes = meta().encode();
            for _ in 0..rng.random_range(1..8) {
                let at = rng.random_range(16..RECORD_BYTES);
                bytes[at] = rng.next_u32() as u8;
            }
            if round % 3 == 0 {
                let len = rng.random_range(0..RECORD_BYTES as u32 + 9);
                bytes[12..16].copy_from_slice(&len.to_le_bytes());
            }
            let len = (u32_at(&bytes, 12) as usize).clamp(BARE_BYTES, RECORD_BYTES);
            let crc = crc_of(&bytes[BARE_BYTES..len]);
            bytes[8..12].copy_from_slice(&crc.to_le_bytes());
            if let Some(meta) = decode(&bytes) {
                assert!(meta.changed.iter().all(|run| run.first.0 + run.pages <= meta.end));
                assert_eq!(decode(&meta.encode()), Some(meta));
            }
        }
    }
}
