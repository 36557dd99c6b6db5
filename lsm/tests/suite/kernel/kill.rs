//! A real process, killed at any moment, again and again in the same directory.
//!
//! ```text
//!     ┌─► start a victim ─► it opens ─► writes from three threads, says what is durable ─► SIGKILL ─┐
//!     │                     (or SIGKILL here)      flushes and compacts meanwhile                   │
//!     └── the next one ◄── every number up to the last said is there, whole, and no gap ◄── open ───┘
//! ```
//!
//! Every batch of a thread carries its number into two keyspaces, and a merge operand into a third:
//! one key there holds, in order, every number that counts, so that a batch that was replayed twice
//! shows. To replay a run's choices (not the kernel's): `SEED=n cargo test -p drystone-lsm killed_at`.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use drystone_lsm::{Batch, Db, Keyspace, Options};
use drystone_vfs::{OsClock, OsVfs};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::hurt::noise;
use crate::support::keyspace;

const ROUNDS: u32 = 60;
const ROUNDS_SLOW: u32 = 3000;
const ORDERS: &str = "DRYSTONE_LSM_LIFE";
const THREADS: u32 = 3;
/// Far longer than a recovery takes; a victim that is not through by then hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn open(dir: &Path, threads: usize) -> Db {
    // Small memtables: each life sees several flushes.
    let options = Options::default().memory_bytes(128 << 10).threads(threads);
    Db::open(Arc::new(OsVfs::new()), Arc::new(OsClock::new()), dir, options)
        .unwrap_or_else(|error| panic!("open: {error}"))
}

fn key(thread: u32, number: u64) -> Vec<u8> {
    format!("{thread}-{number:06}").into_bytes()
}

/// The numbers that count, told by the operands of one thread's key.
fn numbers(db: &Db, sums: &Keyspace, thread: u32) -> Vec<u64> {
    let text = db.get(sums, &[thread as u8]).unwrap().map_or_else(Vec::new, |v| v.to_vec());
    let text = String::from_utf8(text).unwrap();
    text.split(',').filter(|word| !word.is_empty()).map(|word| word.parse().unwrap()).collect()
}

/// The victim's whole life. Never returns.
fn live(dir: &Path) -> ! {
    std::panic::set_hook(Box::new(|panic| {
        say(&format!("failed: {}", panic.to_string().replace('\n', " ")));
        std::process::exit(3);
    }));
    // The first line ends whatever the test harness has begun.
    say("");
    say("opening");
    let db = open(dir, 2);
    let spaces = ["big", "small", "sums"].map(|name| keyspace(&db, name));
    say("open");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, spaces) = (&db, &spaces);
            let next = numbers(db, &spaces[2], thread).len() as u64;
            scope.spawn(move || write_for_ever(db, spaces, thread, next));
        }
        // Some lives have a lot of upkeep.
        for turn in 0_u64.. {
            if turn % 3 == 0 {
                db.flush().unwrap_or_else(|error| panic!("flush: {error}"));
            }
            db.compact_once().unwrap_or_else(|error| panic!("compact: {error}"));
        }
    });
    unreachable!("it is killed")
}

fn write_for_ever(db: &Db, spaces: &[Keyspace; 3], thread: u32, next: u64) {
    let mut waiting = Vec::new();
    for number in next.. {
        let mut batch = Batch::new();
        let len = 20 + (number % 11) as usize * 60;
        batch.put(&spaces[0], &key(thread, number % 400), &noise(number, len));
        batch.put(&spaces[1], &key(thread, number), &number.to_le_bytes());
        batch.merge(&spaces[2], &[thread as u8], format!("{number},").as_bytes());
        waiting.push(db.write(batch).unwrap_or_else(|error| panic!("write: {error}")));
        if number % u64::from(thread + 1) == 0 {
            for commit in waiting.drain(..) {
                commit.wait().unwrap_or_else(|error| panic!("wait: {error}"));
            }
            say(&format!("durable {thread} {number}"));
        }
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

/// A running victim; it does not outlive the test.
struct Victim {
    child: Child,
    lines: Receiver<String>,
    /// Disconnected when the victim is dead.
    alive: Receiver<()>,
}

impl Victim {
    fn start(dir: &Path) -> Victim {
        let name = "kernel::kill::a_process_killed_at_any_moment_loses_nothing_acknowledged";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(ORDERS, dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (line, lines) = channel();
        let (pulse, alive) = channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            // A last line without its end was being written when the victim died.
            let mut reader = BufReader::new(stdout);
            let mut text = String::new();
            while reader.read_line(&mut text).is_ok_and(|count| count > 0) && text.ends_with('\n') {
                drop(line.send(text.trim_end().to_owned()));
                text.clear();
            }
            drop(pulse);
        });
        Victim { child, lines, alive }
    }

    /// Reads up to the line `wanted`.
    fn until(&self, wanted: &str) {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("the victim lives, and gets on");
            assert!(!line.starts_with("failed"), "the victim {line}");
            if line == wanted {
                return;
            }
        }
    }

    /// Lets it live a little longer, kills it, and returns its last words.
    fn kill_after(mut self, delay: Duration) -> Vec<String> {
        let died = self.alive.recv_timeout(delay) == Err(RecvTimeoutError::Disconnected);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let words: Vec<String> = self.lines.iter().collect();
        assert!(!died, "the victim died by itself: {:?}", words.last());
        words
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Killed already, unless an assertion failed meanwhile.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Everything said to be durable is there; batches are whole, in order, once. Returns how many
/// batches of each thread there are.
fn check(dir: &Path, durable: &[u64; THREADS as usize]) -> [u64; THREADS as usize] {
    let db = open(dir, 0);
    let spaces = ["big", "small", "sums"].map(|name| keyspace(&db, name));
    let mut counts = [0; THREADS as usize];
    for thread in 0..THREADS {
        let found = numbers(&db, &spaces[2], thread);
        let count = found.len() as u64;
        assert!(found.iter().copied().eq(0..count), "thread {thread}: out of order, or twice");
        let promised = durable[thread as usize];
        assert!(promised <= count, "thread {thread}: {promised} were acknowledged, {count} found");
        for number in 0..count {
            let small = db.get(&spaces[1], &key(thread, number)).unwrap();
            assert!(small.is_some_and(|v| *v == number.to_le_bytes()), "{thread}: {number}");
        }
        let beyond = db.get(&spaces[1], &key(thread, count)).unwrap();
        assert!(beyond.is_none(), "thread {thread}: half of batch {count}");
        for last in count.saturating_sub(400)..count {
            let len = 20 + (last % 11) as usize * 60;
            let big = db.get(&spaces[0], &key(thread, last % 400)).unwrap();
            assert!(big.is_some_and(|v| *v == noise(last, len)[..]), "{thread}: value of {last}");
        }
        counts[thread as usize] = count;
    }
    db.verify().unwrap();
    counts
}

// All of it at once: journal, flushes, compactions, recovery, and death in any of them. A promise that
// holds only while processes end well is none.
#[test]
fn a_process_killed_at_any_moment_loses_nothing_acknowledged() {
    if let Some(dir) = std::env::var_os(ORDERS) {
        live(&PathBuf::from(dir));
    }
    let seed = std::env::var("SEED").map_or_else(|_| fresh_seed(), |s| s.parse().unwrap());
    let rounds = if std::env::var_os("SLOW").is_some() { ROUNDS_SLOW } else { ROUNDS };
    println!("replay: SEED={seed} cargo test -p drystone-lsm killed_at");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let home = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let dir = home.path().join("db");
    let (mut early, mut acknowledged, mut beyond) = (0, 0, 0);
    let mut durable = [0; THREADS as usize];
    for round in 0..rounds {
        // Old numbers are read again at each check: begin anew before that takes long.
        if round % 30 == 29 {
            std::fs::remove_dir_all(&dir).unwrap();
            durable = [0; THREADS as usize];
        }
        let victim = Victim::start(&dir);
        victim.until("opening");
        let words = if rng.random_bool(0.25) {
            victim.kill_after(Duration::from_micros(rng.random_range(0..3000)))
        } else {
            victim.until("open");
            victim.kill_after(Duration::from_micros(rng.random_range(0..40_000)))
        };
        early += u32::from(!words.iter().any(|word| word.starts_with("durable")));
        for word in &words {
            assert!(!word.starts_with("failed"), "the victim {word}");
            if let Some(fact) = word.strip_prefix("durable ") {
                let (thread, number) = fact.split_once(' ').unwrap();
                let thread: usize = thread.parse().unwrap();
                durable[thread] = durable[thread].max(number.parse::<u64>().unwrap() + 1);
                acknowledged += 1;
            }
        }
        let found = check(&dir, &durable);
        beyond += u32::from(found != durable);
        durable = found;
    }
    println!("{rounds} rounds: {early} early, {acknowledged} acknowledged, {beyond} with more");
    assert!(acknowledged > rounds && early > 0, "{acknowledged} acknowledged, {early} early");
}

/// Another one each time: what the kernel does is another thing each time as well.
fn fresh_seed() -> u64 {
    RandomState::new().hash_one(0)
}
