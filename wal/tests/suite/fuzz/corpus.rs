//! Real logs for the fuzzers to begin with, made by the log itself, and a list of all that was ever
//! written into any of them.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drystone_vfs::{Fault, Harm, Op, OpenMode, SimVfs, Vfs};
use drystone_wal::{Lsn, Options, Wal, Writer};

use super::entry::Written;
use super::folder::{self, Folder};

/// One log, and what a look at it must show.
#[derive(Debug)]
pub(crate) struct Seed {
    pub(crate) name: &'static str,
    pub(crate) folder: Folder,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) closed: bool,
}

/// All seeds, and all records ever written in making them, those cut off again included.
#[derive(Debug, Default)]
pub(crate) struct Corpus {
    pub(crate) seeds: Vec<Seed>,
    pub(crate) written: Written,
}

/// A log being made.
struct Maker<'a> {
    disk: SimVfs,
    wal: Option<Wal>,
    log_id: u64,
    written: &'a mut Written,
}

impl Maker<'_> {
    fn options(&self) -> Options {
        Options::default().segment_bytes(16 << 10).writer(Writer::Caller).log_id(self.log_id)
    }

    fn open_with(&mut self, options: Options) {
        let disk = Arc::new(self.disk.clone());
        self.wal = Some(Wal::open(disk, Path::new("log"), options).unwrap().0);
    }

    fn open(&mut self) {
        self.open_with(self.options());
    }

    fn wal(&self) -> &Wal {
        self.wal.as_ref().expect("it is open")
    }

    /// Appends a group of records of these lengths, and waits for it.
    fn group(&mut self, lens: &[usize]) {
        let next = self.wal().next_lsn().0;
        let salt = self.log_id;
        let byte = |lsn: u64, i: usize| (lsn * 31 + salt + i as u64 / 16) as u8;
        let records: Vec<Vec<u8>> = (next..)
            .zip(lens)
            .map(|(lsn, len)| (0..*len).map(|i| byte(lsn, i)).collect())
            .collect();
        let refs: Vec<&[u8]> = records.iter().map(|record| &record[..]).collect();
        self.wal().append(&refs).unwrap().wait().unwrap();
        for (lsn, record) in (next..).zip(records) {
            self.written.entry(lsn).or_default().insert(record);
        }
    }

    fn puts(&mut self, count: usize, len: usize) {
        for _ in 0..count {
            self.group(&[len]);
        }
    }

    fn close(&mut self) {
        self.wal.take().expect("it is open").close().unwrap();
    }

    /// The log as it lies on the disk now.
    fn seed(mut self, name: &'static str, first: u64, last: u64, closed: bool) -> Seed {
        let folder = take(&self.disk.crash_copy(0));
        drop(self.wal.take());
        Seed { name, folder, first, last, closed }
    }
}

fn take(disk: &SimVfs) -> Folder {
    let name = |path: &PathBuf| path.file_name().and_then(|n| n.to_str()).and_then(folder::number);
    disk.files().into_iter().filter_map(|(path, bytes)| Some((name(&path)?, bytes))).collect()
}

/// Makes all the seeds. The same bytes every time.
pub(crate) fn make() -> Corpus {
    let mut corpus = Corpus::default();
    for recipe in [
        several_segments,
        recycled,
        closed_twice,
        suffix_cut,
        in_the_middle_of_a_cut,
        groups,
        tiny,
        one_giant,
        another_log,
        empty,
        high_positions,
        leftovers,
    ] {
        let seed = recipe(&mut corpus.written);
        corpus.seeds.push(seed);
    }
    corpus
}

fn maker(written: &mut Written, log_id: u64) -> Maker<'_> {
    let mut maker = Maker { disk: SimVfs::new(1), wal: None, log_id, written };
    maker.open();
    maker
}

fn several_segments(written: &mut Written) -> Seed {
    let mut log = maker(written, 42);
    log.puts(30, 1000);
    log.seed("several segments", 1, 30, false)
}

/// Old frames, sound but for their seed, behind the end.
fn recycled(written: &mut Written) -> Seed {
    let mut log = maker(written, 42);
    for _ in 0..5 {
        log.puts(14, 900);
        log.wal().truncate_prefix(log.wal().durable()).unwrap();
    }
    log.puts(18, 900);
    let first = log.wal().first_lsn().0;
    log.seed("recycled", first, 88, false)
}

fn closed_twice(written: &mut Written) -> Seed {
    let mut log = maker(written, 42);
    log.puts(5, 50);
    log.close();
    log.open();
    log.puts(5, 70);
    log.close();
    log.seed("closed", 1, 10, true)
}

fn suffix_cut(written: &mut Written) -> Seed {
    let mut log = maker(written, 42);
    log.puts(25, 800);
    log.wal().truncate_suffix(Lsn(20)).unwrap();
    log.puts(3, 333);
    log.seed("suffix cut", 1, 23, false)
}

fn in_the_middle_of_a_cut(written: &mut Written) -> Seed {
    let mut log = maker(written, 42);
    log.puts(30, 700);
    log.disk.fail(Fault::new(Op::Rename, Harm::Error));
    log.wal().truncate_suffix(Lsn(12)).unwrap_err();
    log.seed("in the middle of a cut", 1, 12, false)
}

fn groups(written: &mut Written) -> Seed {
    let mut log = maker(written, 42);
    log.group(&[100, 0, 30]);
    for i in 1..9 {
        let lens: Vec<usize> = (0..i).map(|j| j * 40).collect();
        log.group(&lens);
    }
    log.seed("groups", 1, 39, false)
}

fn tiny(written: &mut Written) -> Seed {
    let mut log = maker(written, 42);
    for i in 0..60 {
        log.group(&[i % 10]);
    }
    log.seed("tiny records", 1, 60, false)
}

fn one_giant(written: &mut Written) -> Seed {
    let mut log = maker(written, 42);
    log.puts(3, 100);
    log.group(&[40_000]);
    log.puts(3, 100);
    log.seed("a record larger than a segment", 1, 7, false)
}

fn another_log(written: &mut Written) -> Seed {
    let mut log = maker(written, 0xdead_beef_0bad_cafe);
    log.puts(20, 1000);
    log.seed("another log", 1, 20, false)
}

fn empty(written: &mut Written) -> Seed {
    maker(written, 42).seed("empty", 1, 0, false)
}

/// Where the low bits of a position wrap.
fn high_positions(written: &mut Written) -> Seed {
    let mut log = Maker { disk: SimVfs::new(1), wal: None, log_id: 42, written };
    let first = (1 << 28) - 4;
    log.open_with(log.options().first_lsn(Lsn(first)));
    log.puts(20, 1200);
    log.seed("high positions", first, first + 19, false)
}

fn leftovers(written: &mut Written) -> Seed {
    let mut log = maker(written, 42);
    log.puts(8, 200);
    for name in ["log/spare.tmp", "log/cut.tmp"] {
        let file = log.disk.open(Path::new(name), OpenMode::Create).unwrap();
        file.write_at(&[IoSlice::new(&[7; 5000])], 0).unwrap();
        file.sync_data().unwrap();
        log.disk.sync_dir(Path::new("log")).unwrap();
    }
    log.seed("leftovers", 1, 8, false)
}
