//! A real process, killed at any moment, time after time on the same file.
//!
//! ```text
//!     ┌─► start a victim ─► it opens the file ─► it commits, compacts, says ─► SIGKILL ─┐
//!     │                       (or SIGKILL here)                                         │
//!     └── the next one ◄── all that was acknowledged is there, transactions whole ◄─────┘
//! ```
//!
//! Each transaction of a victim's thread sets a record of its own, deletes an older one, and counts
//! up the thread's counter. So the counter says exactly which records there must be.
//!
//! To replay a run's choices (not the kernel's): `SEED=n cargo test -p drystone-btree killed_at`.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use drystone_btree::{Db, Options, TxnId, Writer};
use drystone_vfs::OsVfs;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const ROUNDS: u32 = 120;
const ROUNDS_SLOW: u32 = 5000;
const THREADS: u64 = 3;
/// How many of its records a thread leaves.
const KEPT: u64 = 40;
const ORDERS: &str = "DRYSTONE_BTREE_LIFE";
/// Far longer than a recovery takes; a victim that is not through by then hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the rounds went.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: u64,
    /// Killed before the file was open.
    in_recovery: u32,
    /// Killed with something written that nobody had been told of.
    in_flight: u32,
}

/// A running victim; it does not outlive the test.
struct Victim {
    child: Child,
    lines: Receiver<String>,
}

impl Victim {
    fn start(orders: &str) -> Victim {
        let name = "kernel::kill::a_process_killed_at_any_moment_loses_nothing_acknowledged";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(ORDERS, orders)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (line, lines) = channel();
        let stdout: ChildStdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            // A last line without its end was being written when the victim died.
            let mut reader = BufReader::new(stdout);
            let mut text = String::new();
            while reader.read_line(&mut text).is_ok_and(|count| count > 0) && text.ends_with('\n') {
                drop(line.send(text.trim_end().to_owned()));
                text.clear();
            }
        });
        Victim { child, lines }
    }

    /// Reads up to the line `wanted`.
    fn until(&self, wanted: &str) {
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).expect("the victim lives and is not stuck");
            assert!(!line.starts_with("failed"), "the victim {line}");
            if line == wanted {
                return;
            }
        }
    }

    /// Lets it live a little longer, kills it, and returns its last words.
    fn kill_after(mut self, delay: Duration) -> Vec<String> {
        // Nobody sends anything here: this is a wait that ends with the time.
        let (_keep, alarm) = channel::<()>();
        assert_eq!(alarm.recv_timeout(delay), Err(RecvTimeoutError::Timeout));
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // Killed already, unless an assertion failed meanwhile.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn record(thread: u64, number: u64) -> (Vec<u8>, Vec<u8>) {
    let key = format!("thread {thread}, record {number:08}").into_bytes();
    let len = [20, 300, 900, 7000][(thread + number) as usize % 4];
    let mut value = format!("{thread} {number} ").into_bytes();
    value.resize(len.max(value.len()), (thread * 31 + number) as u8);
    (key, value)
}

fn counter(thread: u64) -> Vec<u8> {
    format!("counter {thread}").into_bytes()
}

fn number_in(db: &Db, thread: u64) -> u64 {
    let r = db.read();
    let Some(tree) = r.tree("t") else { return 0 };
    let value = r.get(tree, &counter(thread)).unwrap();
    value.map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap()))
}

struct Run {
    rng: ChaCha8Rng,
    path: PathBuf,
    /// The last acknowledged number, and transaction.
    acknowledged: BTreeMap<u64, u64>,
    txn: u64,
    tally: Tally,
}

impl Run {
    fn round(&mut self, round: u32) {
        let path = self.path.to_str().expect("a temporary path is text");
        let orders = format!("{} {round} {} {path}", self.rng.random::<u32>(), self.txn);
        let victim = Victim::start(&orders);
        victim.until("opening");
        let is_early = self.rng.random_bool(0.25);
        let words = if is_early {
            victim.kill_after(Duration::from_micros(self.rng.random_range(0..600)))
        } else {
            victim.until("open");
            victim.kill_after(Duration::from_micros(self.rng.random_range(0..25_000)))
        };
        self.tally.in_recovery += u32::from(is_early && words.is_empty());
        for word in &words {
            self.hear(word);
        }
        self.check();
    }

    /// `durable THREAD NUMBER TXN`
    fn hear(&mut self, word: &str) {
        assert!(!word.starts_with("failed"), "the victim {word}");
        let Some(facts) = word.strip_prefix("durable ") else { return };
        let facts: Vec<u64> = facts.split(' ').map(|number| number.parse().unwrap()).collect();
        let last = self.acknowledged.entry(facts[0]).or_default();
        *last = facts[1].max(*last);
        self.txn = self.txn.max(facts[2]);
        self.tally.acknowledged += 1;
    }

    /// Looks at what is left, changing nothing: repairing it is the next victim's business.
    fn check(&mut self) {
        let options = Options::default().writer(Writer::Caller).min_txn(TxnId(self.txn));
        let db = match Db::open_read_only(Arc::new(OsVfs::new()), &self.path, options) {
            Ok(db) => db,
            Err(error) => return assert!(self.txn == 0, "{error}"),
        };
        db.verify().unwrap();
        let r = db.read();
        let mut expected = BTreeMap::new();
        for thread in 0..THREADS {
            let last = number_in(&db, thread);
            let acknowledged = self.acknowledged.entry(thread).or_default();
            assert!(last >= *acknowledged, "thread {thread}: {last}, {acknowledged} acknowledged");
            self.tally.in_flight += u32::from(last > *acknowledged);
            // What is found now is what the next victim goes on from.
            *acknowledged = last;
            if last > 0 {
                expected.insert(counter(thread), last.to_le_bytes().to_vec());
            }
            let first = (last + 1).saturating_sub(KEPT).max(1);
            expected.extend((first..=last).map(|number| record(thread, number)));
        }
        let found: BTreeMap<_, _> = r.tree("t").map_or_else(BTreeMap::new, |tree| {
            let items = r.iter(tree).map(|item| item.unwrap());
            items.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
        });
        assert!(found.keys().eq(expected.keys()), "transactions are whole");
        assert!(found == expected, "values are those that were put");
    }
}

// All of it at once: commits in flight, pages used again, compaction, recovery, and death in any of
// them. A promise that holds only while processes end well is none.
#[test]
fn a_process_killed_at_any_moment_loses_nothing_acknowledged() {
    if let Ok(orders) = std::env::var(ORDERS) {
        live(&orders);
    }
    let fresh = || RandomState::new().hash_one(0);
    let seed = std::env::var("SEED").map_or_else(|_| fresh(), |s| s.parse().unwrap());
    let rounds = if std::env::var_os("SLOW").is_some() { ROUNDS_SLOW } else { ROUNDS };
    println!("replay: SEED={seed} cargo test -p drystone-btree killed_at");
    // On the disk where the build lies, for `/tmp` may be memory.
    let temp = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let mut run = Run {
        rng: ChaCha8Rng::seed_from_u64(seed),
        path: temp.path().join("db"),
        acknowledged: BTreeMap::new(),
        txn: 0,
        tally: Tally::default(),
    };
    (1..=rounds).for_each(|round| run.round(round));
    println!("{rounds} rounds: {:?}", run.tally);
    let Tally { acknowledged, in_recovery, in_flight } = run.tally;
    assert!(acknowledged > u64::from(rounds), "{acknowledged} acknowledged");
    assert!(in_recovery > 0, "{in_recovery} killed in recovery");
    assert!(in_flight >= rounds / 10, "{in_flight} killed with work in flight");
}

/// The victim's whole life. Never returns.
fn live(orders: &str) -> ! {
    std::panic::set_hook(Box::new(|panic| {
        say(&format!("failed: {}", panic.to_string().replace('\n', " ")));
        std::process::exit(3);
    }));
    let words: Vec<&str> = orders.splitn(4, ' ').collect();
    let number = |i: usize| words[i].parse::<u64>().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(number(0));
    let writer = if rng.random_bool(0.3) { Writer::Caller } else { Writer::Thread };
    let memory = if rng.random_bool(0.5) { 1 << 20 } else { 64 << 20 };
    let options = Options::default().writer(writer).memory_bytes(memory).min_txn(TxnId(number(2)));
    say("opening");
    let db = Db::open(Arc::new(OsVfs::new()), Path::new(words[3]), options).unwrap();
    say("open");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let db = &db;
            scope.spawn(move || commit(db, thread));
        }
        loop {
            db.compact(Duration::from_micros(200)).map(drop).unwrap();
            std::thread::yield_now();
        }
    })
}

/// Commits for ever, often several at once.
fn commit(db: &Db, thread: u64) {
    let tree = db.tree("t").unwrap();
    let mut last = number_in(db, thread);
    loop {
        let commits: Vec<_> = (0..1 + last % 4)
            .map(|_| {
                last += 1;
                let (key, value) = record(thread, last);
                let mut w = db.write().unwrap();
                w.put(tree, &key, &value).unwrap();
                if last > KEPT {
                    assert!(w.delete(tree, &record(thread, last - KEPT).0).unwrap());
                }
                w.put(tree, &counter(thread), &last.to_le_bytes()).unwrap();
                (last, w.commit().unwrap())
            })
            .collect();
        for (number, commit) in commits {
            let own = commit.txn();
            commit.wait().unwrap();
            say(&format!("durable {thread} {number} {own}"));
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
