//! Every order in which a few threads can use the queue, tried out by loom.
//!
//! The disk is a counter; the queue, the pen and the bells are the real ones. Loom reports a lost
//! wake-up as a deadlock, and a missing fence as an old value read. To run: `cargo xtask loom`, or
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p drystone-wal --lib --target-dir target/loom
//! ```
//!
//! Schedules with more than [`PREEMPTIONS_MAX`] forced switches are left out, as loom's authors
//! advise: the number of schedules grows by powers, and bugs show in the first few.
//!
//! How we know that these can fail: each of the following, done to the code, is found. A waiter
//! that notes the strokes after the lock is let go; one that writes without taking the pen; a
//! leader that lays the pen down without a look at what has gathered, or at whether the log is
//! closing; a write that counts as durable before the disk has it; a failure that rings one bell of
//! the two; a commit that is let go and calls nobody; a sleeper that is not woken; listeners that
//! are not counted; a buffer that is taken without turning to the other bell; room that nobody is
//! told of.

use std::sync::Arc;
use std::task::{Wake, Waker};

use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use loom::thread::{self, yield_now};

use super::*;
use crate::config::Options;
use crate::sync::TIME_PASSES;

const PREEMPTIONS_MAX: usize = 3;

/// What the disk holds, for all to see.
#[derive(Debug)]
struct Platter {
    synced: AtomicU64,
    syncs: AtomicUsize,
}

/// A disk whose syncs work, up to the one that does not.
#[derive(Debug)]
struct Disk {
    platter: Arc<Platter>,
    sound_syncs: usize,
}

impl Step for Disk {
    fn step(&mut self, queue: &Queue) -> Option<Settled> {
        let load = queue.take()?;
        let before = self.platter.synced.load(Ordering::Relaxed);
        assert_eq!(load.first.0, before + 1, "records are written in order, each once");
        if self.platter.syncs.fetch_add(1, Ordering::Relaxed) >= self.sound_syncs {
            queue.fail(Error::poison(Path::new("disk"), io::Error::other("sync")));
            return None;
        }
        self.platter.synced.store(load.last.0, Ordering::Relaxed);
        Some(queue.finish(load))
    }
}

type Log = Arc<Core<Disk>>;

fn log(mode: Mode, options: &Options, sound_syncs: usize) -> (Log, Arc<Platter>) {
    let platter = Arc::new(Platter { synced: AtomicU64::new(0), syncs: AtomicUsize::new(0) });
    let disk = Disk { platter: Arc::clone(&platter), sound_syncs };
    let core = Core {
        queue: Queue::new(Lsn(0), options, mode == Mode::Thread),
        writer: Mutex::new(disk),
        mode,
    };
    (Arc::new(core), platter)
}

/// Every model is run twice: with naps that end at once, and with naps that never end, so that
/// nothing rests on the scribe's looking by itself.
fn check(model: impl Fn() + Send + Sync + 'static) {
    // Time is one for the process, and tests run side by side.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let model = Arc::new(model);
    for passes in [true, false] {
        TIME_PASSES.store(passes, Ordering::Relaxed);
        let model = Arc::clone(&model);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(PREEMPTIONS_MAX);
        builder.check(move || model());
    }
}

/// Appends, waits, and sees its record on the platter.
fn put(log: &Log, platter: &Platter) {
    let ticket = log.append(&[b"record"]).expect("the disk is sound");
    let durable = log.wait(ticket).expect("the disk is sound");
    assert!(durable >= ticket.lsn, "a commit resolves when its record is durable");
    assert!(platter.synced.load(Ordering::Relaxed) >= ticket.lsn.0, "durable means synced");
}

fn start_scribe(log: &Log) -> thread::JoinHandle<()> {
    let log = Arc::clone(log);
    thread::spawn(move || log.run())
}

// Lost wake-ups, records written twice or never, the pen lost: all would show as a deadlock or a
// failed assertion in some order.
#[test]
fn two_appenders_and_the_scribe_settle_every_record() {
    check(|| {
        let (log, platter) = log(Mode::Thread, &Options::default(), usize::MAX);
        let scribe = start_scribe(&log);
        let other = {
            let (log, platter) = (Arc::clone(&log), Arc::clone(&platter));
            thread::spawn(move || put(&log, &platter))
        };
        put(&log, &platter);
        other.join().unwrap();
        log.queue.stop();
        scribe.join().unwrap();
        assert_eq!(platter.synced.load(Ordering::Relaxed), 2);
    });
}

// Without a scribe the pen goes from waiter to waiter.
#[test]
fn three_callers_settle_every_record_among_themselves() {
    check(|| {
        let (log, platter) = log(Mode::Caller, &Options::default(), usize::MAX);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (log, platter) = (Arc::clone(&log), Arc::clone(&platter));
                thread::spawn(move || put(&log, &platter))
            })
            .collect();
        put(&log, &platter);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(platter.synced.load(Ordering::Relaxed), 3);
    });
}

// The first failed sync is told to all who wait, whatever buffer their record is in; nothing is
// written after it.
#[test]
fn a_failed_sync_is_told_to_everyone_and_never_retried() {
    check(|| {
        let (log, platter) = log(Mode::Thread, &Options::default(), 0);
        let scribe = start_scribe(&log);
        let fails = |log: &Log| {
            if let Ok(ticket) = log.append(&[b"record"]) {
                assert!(log.wait(ticket).is_err(), "nothing is durable");
            }
        };
        let other = {
            let log = Arc::clone(&log);
            thread::spawn(move || fails(&log))
        };
        fails(&log);
        other.join().unwrap();
        scribe.join().unwrap();
        assert_eq!(platter.syncs.load(Ordering::Relaxed), 1, "nothing is retried");
    });
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

// A future is polled, not waited for: the scribe must come, and must wake it once.
#[test]
fn a_polled_record_is_written_and_its_waker_woken_once() {
    check(|| {
        let (log, platter) = log(Mode::Thread, &Options::default(), usize::MAX);
        let scribe = start_scribe(&log);
        let other = {
            let (log, platter) = (Arc::clone(&log), Arc::clone(&platter));
            thread::spawn(move || put(&log, &platter))
        };
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let ticket = log.append(&[b"polled"]).unwrap();
        let settled = log.poll(ticket, &Waker::from(Arc::clone(&count))).is_some();
        other.join().unwrap();
        log.queue.stop();
        scribe.join().unwrap();
        assert!(log.queue.outcome(ticket).expect("settled by now").is_ok());
        assert_eq!(count.0.load(Ordering::Relaxed), usize::from(!settled), "woken exactly once");
    });
}

// What nobody waits for is written all the same, by the scribe, before it ends.
#[test]
fn a_record_that_nobody_waits_for_is_written() {
    check(|| {
        let (log, platter) = log(Mode::Thread, &Options::default(), usize::MAX);
        let scribe = start_scribe(&log);
        let ticket = log.append(&[b"dropped"]).unwrap();
        log.queue.call(ticket);
        while log.queue.durable() < ticket.lsn {
            yield_now();
        }
        log.queue.stop();
        scribe.join().unwrap();
        assert_eq!(platter.synced.load(Ordering::Relaxed), 1);
    });
}

// A commit that is held and never looked at: the scribe finds the record when its nap is over, even
// if it had gone to sleep before.
#[test]
fn a_record_whose_commit_is_only_held_is_written_in_time() {
    check(|| {
        if !TIME_PASSES.load(Ordering::Relaxed) {
            return;
        }
        let (log, platter) = log(Mode::Thread, &Options::default(), usize::MAX);
        let scribe = start_scribe(&log);
        // Long enough for the scribe to fall asleep.
        yield_now();
        let ticket = log.append(&[b"held"]).unwrap();
        while log.queue.durable() < ticket.lsn {
            yield_now();
        }
        log.queue.stop();
        scribe.join().unwrap();
        assert_eq!(platter.synced.load(Ordering::Relaxed), 1);
    });
}

// An appender that finds no room writes itself, or is let in by the one who does.
#[test]
fn a_full_buffer_lets_everyone_in_by_and_by() {
    for mode in [Mode::Thread, Mode::Caller] {
        check(move || {
            let (log, platter) = log(mode, &Options::default().buffer_bytes_max(1), usize::MAX);
            let scribe = (mode == Mode::Thread).then(|| start_scribe(&log));
            let other = {
                let log = Arc::clone(&log);
                thread::spawn(move || log.append(&[b"one"]).map(drop).unwrap())
            };
            put(&log, &platter);
            other.join().unwrap();
            log.wait(log.queue.ticket(Lsn(2))).unwrap();
            log.queue.stop();
            scribe.into_iter().for_each(|scribe| scribe.join().unwrap());
            assert_eq!(platter.synced.load(Ordering::Relaxed), 2);
        });
    }
}

// Two threads stop and append at once: the record is settled one way or the other by the close.
#[test]
fn an_append_during_the_close_is_settled() {
    check(|| {
        let (log, platter) = log(Mode::Thread, &Options::default(), usize::MAX);
        let scribe = start_scribe(&log);
        let other = {
            let log = Arc::clone(&log);
            thread::spawn(move || log.append(&[b"late"]).and_then(|ticket| log.wait(ticket)))
        };
        log.queue.stop();
        scribe.join().unwrap();
        while let Some(settled) = log.writer.lock().step(&log.queue) {
            log.queue.tell(settled);
        }
        log.queue.fail(Error::Closed);
        if other.join().unwrap().is_ok() {
            assert_eq!(platter.synced.load(Ordering::Relaxed), 1);
        }
    });
}
