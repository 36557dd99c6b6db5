//! etcd's journal, read: the raft log of a member behind what its database holds.
//!
//! ```text
//!   <seq, 16 hex>-<first index, 16 hex>.wal, by seq; each:
//!
//!   frame    length u64, little endian │ record │ padding
//!            bits 0..56 of the length are that of the record; if bit 63 is set, bits 56..59 are
//!            that of the padding. A length of 0 ends the file: it is made larger than it needs be.
//!
//!   record   kind 1 whose journal it is │ 2 an entry │ 3 term, vote, commit │ 4 checksum
//!            │ 5 there is a snapshot at that index; then a checksum, then data
//! ```
//!
//! The checksum is CRC-32C over the data of all records up to there, from the first file on; a
//! record of kind 4 begins each file and says where the one before has ended. An entry takes the
//! place of what stood at its index, and of all that came behind.
//!
//! The last frame of the last file may be torn: it was never acknowledged, and is left out. Any
//! other damage is an error.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use bytes::{Buf, Bytes};
use prost::Message;

use super::crc32c::Crc32c;
use super::messages::{HardState, LogEntry, Metadata, Record, SnapshotMark};

const KIND_METADATA: i64 = 1;
const KIND_ENTRY: i64 = 2;
const KIND_STATE: i64 = 3;
const KIND_CHECKSUM: i64 = 4;
const KIND_SNAPSHOT: i64 = 5;

const LENGTH_BYTES: usize = 8;
/// A disk writes at least so much at once: where a frame is torn, such a piece of it is zeros.
const SECTOR_BYTES: usize = 512;

/// What a journal says.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Whose it is.
    pub(crate) metadata: Metadata,
    /// What the member promised last.
    pub(crate) hard: HardState,
    /// Entries behind `applied`, in order.
    pub(crate) entries: Vec<LogEntry>,
    /// Changes of the members among all entries that it has, those before `applied` as well.
    pub(crate) changes: Vec<LogEntry>,
    /// The first entry that it has; 0 if there is none.
    pub(crate) first: u64,
    /// The term of the entry at `applied`, if the journal has that.
    pub(crate) applied_term: Option<u64>,
    /// The newest snapshot, by index.
    pub(crate) snapshot: SnapshotMark,
    /// That the end was torn, and where.
    pub(crate) torn: Option<String>,
    applied: u64,
    crc: Crc32c,
}

/// What is wrong with a frame.
enum Trouble {
    /// It was never finished, if nothing comes behind it.
    Torn(&'static str),
    Damaged(String),
}

impl Journal {
    /// Reads all files in `dir`; of the entries, those behind `applied` are kept.
    ///
    /// # Errors
    ///
    /// If there is none, one cannot be read, or is damaged other than by a crash.
    pub(crate) fn read(dir: &Path, applied: u64) -> Result<Journal> {
        let files = files(dir)?;
        let mut journal = Journal { applied, ..Journal::default() };
        for (at, path) in files.iter().enumerate() {
            let is_last = at + 1 == files.len();
            let bytes =
                fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            journal.take_file(&bytes.into(), path, is_last)?;
        }
        if journal.metadata.node_id == 0 {
            bail!("{} does not say whose journal it is", dir.display());
        }
        Ok(journal)
    }

    fn take_file(&mut self, bytes: &Bytes, path: &Path, is_last: bool) -> Result<()> {
        let mut rest = bytes.clone();
        loop {
            let offset = bytes.len() - rest.len();
            match self.take_frame(&mut rest) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(Trouble::Torn(what)) if is_last => {
                    self.torn = Some(format!("{}: byte {offset}: {what}", path.display()));
                    return Ok(());
                }
                Err(Trouble::Torn(what)) => {
                    bail!("{} is damaged: byte {offset}: {what}", path.display());
                }
                Err(Trouble::Damaged(what)) => {
                    bail!("{} is damaged: byte {offset}: {what}", path.display());
                }
            }
        }
    }

    /// Takes one frame off `rest`; false at the end.
    fn take_frame(&mut self, rest: &mut Bytes) -> Result<bool, Trouble> {
        if rest.is_empty() {
            return Ok(false);
        }
        if rest.len() < LENGTH_BYTES {
            return Err(Trouble::Torn("the file ends within a length"));
        }
        let field = (&rest[..LENGTH_BYTES]).get_u64_le();
        if field == 0 {
            // Pieces of an unfinished write may have come to the disk in any order.
            let blank = rest.iter().all(|byte| *byte == 0);
            return if blank { Ok(false) } else { Err(Trouble::Torn("a length is missing")) };
        }
        let padding = if field >> 63 == 1 { (field >> 56) & 7 } else { 0 };
        let length = usize::try_from(field & ((1 << 56) - 1)).unwrap_or(usize::MAX);
        let whole = length.saturating_add(padding as usize);
        if whole > rest.len() - LENGTH_BYTES {
            // A file that still ends in the zeros that it was made with was not cut.
            let is_cut = !rest.ends_with(&[0; LENGTH_BYTES]);
            return Err(if is_cut {
                Trouble::Torn("the file ends within a record")
            } else {
                Trouble::Damaged("a length reaches beyond the end of the file".into())
            });
        }
        let body = rest.slice(LENGTH_BYTES..LENGTH_BYTES + length);
        let taken = Record::decode(body.clone())
            .map_err(|error| Trouble::Damaged(format!("a record cannot be read: {error}")))
            .and_then(|record| self.take_record(&record));
        if let Err(Trouble::Damaged(_)) = &taken
            && is_torn(&body)
        {
            return Err(Trouble::Torn("a record was not written to its end"));
        }
        taken?;
        rest.advance(LENGTH_BYTES + whole);
        Ok(true)
    }

    fn take_record(&mut self, record: &Record) -> Result<(), Trouble> {
        let odd = |what: &'static str| {
            move |error: prost::DecodeError| Trouble::Damaged(format!("{what}: {error}"))
        };
        let mut crc = self.crc;
        crc.update(&record.data);
        if record.kind == KIND_CHECKSUM {
            if self.crc.0 != 0 && self.crc.0 != record.crc {
                return Err(Trouble::Damaged("the file before this one has lost its end".into()));
            }
            self.crc = Crc32c(record.crc);
            return Ok(());
        }
        if crc.0 != record.crc {
            return Err(Trouble::Damaged("a record fails its checksum".into()));
        }
        self.crc = crc;
        let data = record.data.clone();
        match record.kind {
            KIND_METADATA => self.metadata = Metadata::decode(data).map_err(odd("metadata"))?,
            KIND_STATE => self.hard = HardState::decode(data).map_err(odd("term and vote"))?,
            KIND_ENTRY => self.take_entry(LogEntry::decode(data).map_err(odd("an entry"))?),
            KIND_SNAPSHOT => {
                let mark = SnapshotMark::decode(data).map_err(odd("a snapshot"))?;
                if mark.index >= self.snapshot.index {
                    self.snapshot = mark;
                }
                if mark.index == self.applied {
                    self.applied_term = Some(mark.term);
                }
            }
            kind => return Err(Trouble::Damaged(format!("a record is of unknown kind {kind}"))),
        }
        Ok(())
    }

    fn take_entry(&mut self, entry: LogEntry) {
        for list in [&mut self.entries, &mut self.changes] {
            while list.last().is_some_and(|last| last.index >= entry.index) {
                list.pop();
            }
        }
        if self.first == 0 {
            self.first = entry.index;
        }
        if entry.kind != 0 {
            self.changes.push(entry.clone());
        }
        match entry.index.cmp(&self.applied) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => self.applied_term = Some(entry.term),
            std::cmp::Ordering::Greater => self.entries.push(entry),
        }
    }

    /// Checks that the journal goes on where the database ends.
    ///
    /// # Errors
    ///
    /// If entries are missing.
    pub(crate) fn check_gapless(&self) -> Result<()> {
        for (expected, entry) in (self.applied + 1..).zip(&self.entries) {
            if entry.index != expected {
                bail!(
                    "the journal lacks entry {expected}, and so does the database: the next that \
                     it holds is {}",
                    entry.index
                );
            }
        }
        let last = self.entries.last().map_or(self.applied, |entry| entry.index);
        if last < self.hard.commit {
            bail!("the journal ends at entry {last}, and {} was committed", self.hard.commit);
        }
        Ok(())
    }
}

/// The files, by number.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read etcd's journal in {}", dir.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) = name.strip_suffix(".wal") else { continue };
        let number = name.split_once('-').and_then(|(seq, _)| u64::from_str_radix(seq, 16).ok());
        let number = number.ok_or_else(|| anyhow!("{} has an odd name", path.display()))?;
        files.push((number, path));
    }
    files.sort_unstable();
    if files.is_empty() {
        bail!("there is no journal in {}", dir.display());
    }
    if let Some(pair) = files.windows(2).find(|pair| pair[0].0 + 1 != pair[1].0) {
        bail!("a file of the journal is missing before {}", pair[1].1.display());
    }
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// Whether a piece of it was never written.
fn is_torn(body: &[u8]) -> bool {
    body.chunks(SECTOR_BYTES).any(|sector| sector.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames as etcd writes them.
    struct Made {
        bytes: Vec<u8>,
        crc: Crc32c,
    }

    impl Made {
        fn new(crc: Crc32c) -> Made {
            let mut made = Made { bytes: Vec::new(), crc };
            made.frame(&Record { kind: KIND_CHECKSUM, crc: crc.0, data: Bytes::new() });
            made
        }

        fn frame(&mut self, record: &Record) {
            let record = record.encode_to_vec();
            let padding = record.len().next_multiple_of(8) - record.len();
            let flag = if padding > 0 { (0x80 | padding as u64) << 56 } else { 0 };
            self.bytes.extend_from_slice(&(record.len() as u64 | flag).to_le_bytes());
            self.bytes.extend_from_slice(&record);
            self.bytes.extend_from_slice(&[0; 8][..padding]);
        }

        fn put(&mut self, kind: i64, message: &impl Message) {
            let data: Bytes = message.encode_to_vec().into();
            self.crc.update(&data);
            self.frame(&Record { kind, crc: self.crc.0, data });
        }

        fn entry(&mut self, term: u64, index: u64) {
            let data = Bytes::from(vec![7; index as usize]);
            self.put(KIND_ENTRY, &LogEntry { kind: 0, term, index, data });
        }
    }

    fn sample() -> [Vec<u8>; 2] {
        let mut one = Made::new(Crc32c::default());
        one.put(KIND_METADATA, &Metadata { node_id: 1, cluster_id: 2 });
        one.put(KIND_SNAPSHOT, &SnapshotMark::default());
        (1..=5).for_each(|index| one.entry(1, index));
        let mut two = Made::new(one.crc);
        two.put(KIND_METADATA, &Metadata { node_id: 1, cluster_id: 2 });
        // A leader of another term had other entries.
        (4..=6).for_each(|index| two.entry(2, index));
        two.put(KIND_STATE, &HardState { term: 2, vote: 1, commit: 5 });
        one.bytes.extend([0; 64]);
        [one.bytes, two.bytes]
    }

    fn read(files: &[Vec<u8>], applied: u64) -> Result<Journal> {
        let mut journal = Journal { applied, ..Journal::default() };
        for (at, bytes) in files.iter().enumerate() {
            let path = PathBuf::from(format!("{at}.wal"));
            journal.take_file(&Bytes::copy_from_slice(bytes), &path, at + 1 == files.len())?;
        }
        Ok(journal)
    }

    // A file that is lost takes entries with it; one that etcd has set aside is none.
    #[test]
    fn files_are_taken_by_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = sample();
        let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
        write("0000000000000001-0000000000000006.wal", &two);
        write("0000000000000000-0000000000000000.wal", &one);
        write("1.tmp", b"");
        assert_eq!(Journal::read(dir.path(), 2).unwrap().entries.len(), 4);
        write("0000000000000003-0000000000000009.wal", &two);
        let error = Journal::read(dir.path(), 2).unwrap_err().to_string();
        assert!(error.contains("is missing before"), "{error}");
    }

    // What a later leader has overwritten must not come back.
    #[test]
    fn entry_takes_the_place_of_all_from_its_index_on() {
        let journal = read(&sample(), 2).unwrap();
        let log: Vec<(u64, u64)> = journal.entries.iter().map(|e| (e.index, e.term)).collect();
        assert_eq!(log, [(3, 1), (4, 2), (5, 2), (6, 2)]);
        assert_eq!((journal.applied_term, journal.hard.commit), (Some(1), 5));
        assert!(journal.torn.is_none() && journal.check_gapless().is_ok());
        assert!(read(&sample(), 7).unwrap().entries.is_empty());
    }

    // Each bit counts, but for those that nobody reads: padding and the zeros behind the end. What
    // kind a record is no checksum covers; an entry that is taken for something else is missing.
    #[test]
    fn flipped_bits_are_noticed() {
        let [one, two] = sample();
        let sound = read(&[one.clone(), two.clone()], 0).unwrap();
        let (mut unnoticed, bits) = (0, one.len() * 8 - 64 * 8);
        for bit in 0..bits {
            let mut bytes = one.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let journal = read(&[bytes, two.clone()], 0);
            if let Ok(journal) = journal
                && journal.check_gapless().is_ok()
            {
                assert_eq!(journal.entries, sound.entries, "bit {bit}");
                unnoticed += 1;
            }
        }
        assert!(unnoticed < bits / 4, "{unnoticed} of {bits} bits");
    }

    // A crash tears the last frame of the last file; a file in the midst cannot be torn.
    #[test]
    fn torn_end_is_left_out_and_a_torn_middle_is_not() {
        let [one, two] = sample();
        for length in 0..two.len() {
            let journal = read(&[one.clone(), two[..length].to_vec()], 0).unwrap();
            assert!(journal.entries.len() >= 4, "cut at {length}");
        }
        let cut = one[..one.len() - 70].to_vec();
        let error = read(&[cut, two.clone()], 0).unwrap_err().to_string();
        assert!(error.contains("is damaged: byte"), "{error}");
        let mut long = two.clone();
        long[20] = 0x7f;
        long.extend([0; 64]);
        assert!(read(&[one, long], 0).is_err(), "a wrong length hides what comes behind it");
        let error = read(&[two], 0).unwrap().check_gapless().unwrap_err().to_string();
        assert!(error.contains("lacks entry 1"), "{error}");
    }
}
