//! The victim: a process that appends from several threads and says what it was promised.
//!
//! It never ends by itself. What it says goes down a pipe, one line for each fact, each written
//! with one system call, so that a line is there wholly or not at all however it dies:
//!
//! ```text
//!     opening                      recovery begins
//!     open                         recovery is done
//!     durable 17 15 9a0b 77c1      all up to 17 is durable; 15 and 16 have these checksums
//!     prefix 12                    records before 12 may go from now on
//!     cutting 14, then cut 14      all after 14 goes; while only the first was said: or stays
//! ```
//!
//! Every record says who wrote it: [`Mark`]. So the survivor can be checked without having been
//! told of every record.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::OsVfs;
use drystone_wal::{Commit, Lsn, Options, Wal, Writer};
use parking_lot::RwLock;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const APPENDERS: u32 = 4;
const MARK_BYTES: usize = 28;

/// What a victim is told: which life this is, and where.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    pub(super) seed: u64,
    pub(super) round: u32,
    pub(super) min_lsn: u64,
    pub(super) dir: String,
}

impl Orders {
    pub(super) fn encode(&self) -> String {
        format!("{} {} {} {}", self.seed, self.round, self.min_lsn, self.dir)
    }

    pub(super) fn decode(text: &str) -> Orders {
        let mut words = text.splitn(4, ' ');
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let (seed, round, min_lsn) = (number(), number() as u32, number());
        Orders { seed, round, min_lsn, dir: words.next().unwrap().to_owned() }
    }

    fn options(&self, rng: &mut ChaCha8Rng) -> Options {
        let writer = if rng.random_bool(0.15) { Writer::Caller } else { Writer::Thread };
        let segment = rng.random_range(16..64) << 10;
        Options::default()
            .segment_bytes(if giants(self.round) { 8 << 20 } else { segment })
            .buffer_bytes_max(rng.random_range(4..64) << 10)
            .min_lsn(Lsn(self.min_lsn))
            .writer(writer)
    }
}

/// Whether this is a life of groups so large, in segments larger still, that the signal can cut a
/// single write short. The kernel looks for it between pages.
fn giants(round: u32) -> bool {
    round.is_multiple_of(4)
}

/// Who wrote a record, and as which. Its bytes follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The process, and how many suffixes it had cut by then.
    pub(super) round: u32,
    pub(super) epoch: u32,
    pub(super) thread: u32,
    /// The group, counted by its thread since the last cut.
    pub(super) group: u32,
    /// The record within the group of `count`.
    pub(super) place: u32,
    pub(super) count: u32,
    /// Bytes after the mark itself.
    pub(super) len: u32,
}

impl Mark {
    fn fields(self) -> [u32; MARK_BYTES / 4] {
        let Mark { round, epoch, thread, group, place, count, len } = self;
        [round, epoch, thread, group, place, count, len]
    }

    pub(super) fn record(self) -> Vec<u8> {
        let mut record: Vec<u8> = self.fields().into_iter().flat_map(u32::to_le_bytes).collect();
        let mut state = crc32fast::hash(&record);
        record.extend((0..self.len).map(|_| {
            state = state.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
            (state >> 24) as u8
        }));
        record
    }

    /// The mark of a record that was written as it is; `None` for bytes that nobody wrote.
    pub(super) fn of(record: &[u8]) -> Option<Mark> {
        let fields: Vec<u32> = record
            .get(..MARK_BYTES)?
            .chunks_exact(4)
            .map(|field| u32::from_le_bytes(field.try_into().expect("four bytes")))
            .collect();
        let [round, epoch, thread, group, place, count, len] = fields[..].try_into().ok()?;
        let mark = Mark { round, epoch, thread, group, place, count, len };
        let sane = place < count && record.len() == MARK_BYTES + len as usize;
        (sane && mark.record() == record).then_some(mark)
    }
}

/// The victim's whole life. Never returns.
pub(super) fn live(orders: &Orders) -> ! {
    // A thread of the log's or of ours that panics must not go unnoticed among the others.
    std::panic::set_hook(Box::new(|panic| {
        say(&format!("failed: {}", panic.to_string().replace('\n', " ")));
        std::process::exit(3);
    }));
    let mut rng = ChaCha8Rng::seed_from_u64(orders.seed ^ u64::from(orders.round) << 32);
    let options = orders.options(&mut rng);
    // The first line ends whatever the test harness has begun.
    say("");
    say("opening");
    let opened = Wal::open(Arc::new(OsVfs::new()), Path::new(&orders.dir), options);
    let (wal, recovered) = opened.unwrap_or_else(|error| fail("open", &error));
    if rng.random_bool(0.5) {
        for record in recovered {
            record.unwrap_or_else(|error| fail("read", &error));
        }
    }
    say("open");
    // Appenders share it; whoever cuts a suffix has it alone, for a record that was promised to one
    // thread must not be promised after another has cut it away.
    let epoch = RwLock::new(0);
    std::thread::scope(|scope| {
        for thread in 0..APPENDERS {
            let rng = ChaCha8Rng::seed_from_u64(rng.random());
            let mut appender =
                Appender { wal: &wal, rng, round: orders.round, thread, epoch: 0, groups: 0 };
            let epoch = &epoch;
            scope.spawn(move || {
                loop {
                    appender.turn(&epoch.read());
                }
            });
        }
        loop {
            cut(&wal, &mut rng, &epoch);
        }
    })
}

struct Appender<'a> {
    wal: &'a Wal,
    rng: ChaCha8Rng,
    round: u32,
    thread: u32,
    epoch: u32,
    groups: u32,
}

impl Appender<'_> {
    /// Appends a few groups, waits for them, passes on what it was told.
    fn turn(&mut self, epoch: &u32) {
        if self.epoch != *epoch {
            (self.epoch, self.groups) = (*epoch, 0);
        }
        let count = [1, 1, 1, 1, 2, 6][self.rng.random_range(0..6)];
        let waiting: Vec<(Commit, String)> = (0..count).map(|_| self.append()).collect();
        for (commit, sums) in waiting {
            match commit.wait() {
                Ok(durable) => say(&format!("durable {durable} {sums}")),
                Err(error) => fail("wait", &error),
            }
        }
    }

    /// Appends one group; also returns its first position and the checksums of its records.
    fn append(&mut self) -> (Commit, String) {
        let giant = giants(self.round) && self.rng.random_bool(0.8);
        let count = if giant { 64 } else { [1, 1, 1, 2, 3, 8][self.rng.random_range(0..6)] };
        let len_max = if giant { 12_000 } else { 600 };
        let group: Vec<Vec<u8>> = (0..count)
            .map(|place| {
                let len = self.rng.random_range(0..len_max);
                let Appender { round, epoch, thread, groups: group, .. } = *self;
                Mark { round, epoch, thread, group, place, count, len }.record()
            })
            .collect();
        self.groups += 1;
        let refs: Vec<&[u8]> = group.iter().map(|record| &record[..]).collect();
        let commit = self.wal.append(&refs).unwrap_or_else(|error| fail("append", &error));
        let mut sums = (commit.lsn().0 + 1 - u64::from(count)).to_string();
        for record in &group {
            sums += &format!(" {:x}", crc32fast::hash(record));
        }
        (commit, sums)
    }
}

/// Waits for the log to grow a bit, then cuts it at one end.
fn cut(wal: &Wal, rng: &mut ChaCha8Rng, epoch: &RwLock<u32>) {
    let goal = wal.durable().0 + rng.random_range(1..200);
    let durable = wal.wait_durable(Lsn(goal)).unwrap_or_else(|error| fail("follow", &error));
    if rng.random_bool(0.7) {
        let first = Lsn(durable.0.saturating_sub(rng.random_range(0..400)));
        say(&format!("prefix {first}"));
        wal.truncate_prefix(first).unwrap_or_else(|error| fail("cut the prefix", &error));
    } else {
        let mut epoch = epoch.write();
        let durable = wal.durable();
        let last =
            Lsn(durable.0.saturating_sub(rng.random_range(0..100))).max(wal.first_lsn().previous());
        say(&format!("cutting {last}"));
        wal.truncate_suffix(last).unwrap_or_else(|error| fail("cut the suffix", &error));
        say(&format!("cut {last}"));
        *epoch += 1;
    }
}

/// One line, in one write. If nobody listens any more, there is nothing to live for.
fn say(line: &str) {
    let line = format!("{line}\n");
    let mut stdout = std::io::stdout().lock();
    if stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(4);
    }
}

fn fail(action: &str, error: &drystone_wal::Error) -> ! {
    say(&format!("failed to {action}: {error}"));
    std::process::exit(3);
}
