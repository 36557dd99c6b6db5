//! Every order in which a few threads can use the queue, tried out by loom.
//!
//! The disk is a counter; the queue, the pen and the bells are the real ones. Loom reports a lost
//! wake-up as a deadlock, and a missing fence as an old value read. To run: `cargo xtask loom`, or
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p drystone-btree --lib model
//! ```
//!
//! Schedules with more than [`PREEMPTIONS_MAX`] forced switches are left out, as loom's authors
//! advise: the number of schedules grows by powers, and bugs show in the first few.

use std::sync::Arc;
use std::task::{Wake, Waker};

use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use loom::thread::{self, yield_now};

use super::*;
use crate::sync::TIME_PASSES;

const PREEMPTIONS_MAX: usize = 3;

/// What the disk holds, for all to see.
#[derive(Debug)]
struct Platter {
    synced: AtomicU64,
    syncs: AtomicUsize,
}

/// A disk whose syncs work, but for one.
#[derive(Debug)]
struct Disk {
    platter: Arc<Platter>,
    failing_sync: usize,
    /// Whether a failed flush may be tried again.
    is_patient: bool,
}

impl Step for Disk {
    fn step(&mut self, queue: &Queue) -> Option<Settled> {
        let txn = queue.take()?;
        assert!(self.platter.synced.load(Ordering::Relaxed) < txn.0, "each flush has news");
        if self.platter.syncs.fetch_add(1, Ordering::Relaxed) == self.failing_sync {
            let error = Error::poison(Path::new("disk"), io::Error::other("sync"));
            if self.is_patient {
                queue.give_up(error)
            } else {
                queue.fail(error)
            }
            return None;
        }
        self.platter.synced.store(txn.0, Ordering::Relaxed);
        Some(queue.finish(txn))
    }
}

/// A database without pages: commits are numbers, given under a lock as by the writer's desk.
struct Base {
    core: Core<Disk>,
    platter: Arc<Platter>,
    desk: Mutex<u64>,
}

fn base(mode: Mode, is_eager: bool, failing_sync: usize) -> Arc<Base> {
    let platter = Arc::new(Platter { synced: AtomicU64::new(0), syncs: AtomicUsize::new(0) });
    let disk = Disk { platter: Arc::clone(&platter), failing_sync, is_patient: !is_eager };
    let queue = Queue::new(TxnId(0), is_eager, mode == Mode::Thread);
    let core = Core::new(queue, disk, mode);
    Arc::new(Base { core, platter, desk: Mutex::new(0) })
}

impl Base {
    fn commit(&self) -> Result<Ticket> {
        let mut last = self.desk.lock();
        let ticket = self.core.queue.push(TxnId(*last + 1))?;
        *last += 1;
        Ok(ticket)
    }

    /// Commits, waits, and sees its commit on the platter.
    fn put(&self) {
        let ticket = self.commit().expect("the disk is sound");
        let durable = self.core.wait(ticket).expect("the disk is sound");
        assert!(durable >= ticket.txn, "a commit resolves when it is durable");
        assert!(self.synced() >= ticket.txn.0, "durable means synced");
    }

    fn synced(&self) -> u64 {
        self.platter.synced.load(Ordering::Relaxed)
    }

    fn syncs(&self) -> usize {
        self.platter.syncs.load(Ordering::Relaxed)
    }
}

/// Every model is run twice: with naps that end at once, and with naps that never end, so that
/// nothing rests on the scribe's looking by itself.
fn check(model: impl Fn() + Send + Sync + 'static) {
    // Time is one for the process, and tests run side by side.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let model = Arc::new(model);
    for passes in [true, false] {
        TIME_PASSES.store(passes, std::sync::atomic::Ordering::Relaxed);
        let model = Arc::clone(&model);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(PREEMPTIONS_MAX);
        builder.check(move || model());
    }
}

fn start_scribe(base: &Arc<Base>) -> thread::JoinHandle<()> {
    let base = Arc::clone(base);
    thread::spawn(move || base.core.run())
}

fn spawn(base: &Arc<Base>, act: impl Fn(&Base) + Send + 'static) -> thread::JoinHandle<()> {
    let base = Arc::clone(base);
    thread::spawn(move || act(&base))
}

// Lost wake-ups, commits flushed never, the pen lost: all would show as a deadlock or a failed
// assertion in some order.
#[test]
fn two_committers_and_the_scribe_settle_every_commit() {
    for is_eager in [true, false] {
        check(move || {
            let base = base(Mode::Thread, is_eager, usize::MAX);
            let scribe = start_scribe(&base);
            let other = spawn(&base, Base::put);
            base.put();
            other.join().unwrap();
            base.core.queue.stop();
            scribe.join().unwrap();
            assert_eq!(base.synced(), 2);
        });
    }
}

// Without a scribe the pen goes from waiter to waiter.
#[test]
fn three_callers_settle_every_commit_among_themselves() {
    for is_eager in [true, false] {
        check(move || {
            let base = base(Mode::Caller, is_eager, usize::MAX);
            let others = [spawn(&base, Base::put), spawn(&base, Base::put)];
            base.put();
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(base.synced(), 3);
        });
    }
}

// Scenario 44: the first failed sync is told to all who wait, whatever bell they listen to; nothing
// is written after it.
#[test]
fn a_failed_sync_is_told_to_everyone_and_never_retried() {
    check(|| {
        let base = base(Mode::Thread, true, 0);
        let scribe = start_scribe(&base);
        let fails = |base: &Base| {
            if let Ok(ticket) = base.commit() {
                assert!(base.core.wait(ticket).is_err(), "nothing is durable");
            }
        };
        let other = spawn(&base, fails);
        fails(&base);
        other.join().unwrap();
        scribe.join().unwrap();
        assert_eq!(base.syncs(), 1, "nothing is retried");
    });
}

// Where a failed flush may be tried again, whoever waited is told, nobody hangs, and the next who
// asks gets everything on disk.
#[test]
fn a_failed_attempt_is_told_and_the_next_one_saves_everything() {
    for mode in [Mode::Thread, Mode::Caller] {
        check(move || {
            let base = base(mode, false, 0);
            let scribe = (mode == Mode::Thread).then(|| start_scribe(&base));
            let tries = |base: &Base| {
                let ticket = base.commit().expect("commits go on");
                // It may have come before the failure, or after.
                drop(base.core.wait(ticket));
            };
            let other = spawn(&base, tries);
            tries(&base);
            other.join().unwrap();
            while base.core.wait(base.core.queue.ticket()).is_err() {}
            assert_eq!(base.synced(), 2);
            base.core.queue.stop();
            scribe.into_iter().for_each(|scribe| scribe.join().unwrap());
        });
    }
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

// A future is polled, not waited for: the scribe must come, and must wake it once.
#[test]
fn a_polled_commit_is_flushed_and_its_waker_woken_once() {
    for is_eager in [true, false] {
        check(move || {
            let base = base(Mode::Thread, is_eager, usize::MAX);
            let scribe = start_scribe(&base);
            let other = spawn(&base, Base::put);
            let count = Arc::new(Count(AtomicUsize::new(0)));
            let ticket = base.commit().unwrap();
            let queue = &base.core.queue;
            let settled = queue.poll(ticket, &Waker::from(Arc::clone(&count))).is_some();
            other.join().unwrap();
            while queue.durable() < ticket.txn {
                yield_now();
            }
            queue.stop();
            scribe.join().unwrap();
            assert!(queue.outcome(ticket).expect("settled by now").is_ok());
            assert_eq!(count.0.load(Ordering::Relaxed), usize::from(!settled), "woken once");
        });
    }
}

// What nobody waits for is flushed all the same, by the scribe, before it ends; and if nobody asked
// for it, it is not.
#[test]
fn a_commit_that_nobody_waits_for_is_flushed_if_commits_are() {
    check(|| {
        let base = base(Mode::Thread, true, usize::MAX);
        let scribe = start_scribe(&base);
        let ticket = base.commit().unwrap();
        base.core.queue.call(ticket);
        while base.core.queue.durable() < ticket.txn {
            yield_now();
        }
        base.core.queue.stop();
        scribe.join().unwrap();
        assert_eq!(base.synced(), 1);
    });
    check(|| {
        let base = base(Mode::Thread, false, usize::MAX);
        let scribe = start_scribe(&base);
        drop(base.commit());
        base.core.queue.stop();
        scribe.join().unwrap();
        assert_eq!(base.synced(), 0, "nobody asked");
    });
}

// A commit that is held and never looked at: the scribe finds it when its nap is over, even if it
// had gone to sleep before.
#[test]
fn a_commit_that_is_only_held_is_flushed_in_time() {
    check(|| {
        if !TIME_PASSES.load(std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        let base = base(Mode::Thread, true, usize::MAX);
        let scribe = start_scribe(&base);
        // Long enough for the scribe to fall asleep.
        yield_now();
        let ticket = base.commit().unwrap();
        while base.core.queue.durable() < ticket.txn {
            yield_now();
        }
        base.core.queue.stop();
        scribe.join().unwrap();
        assert_eq!(base.synced(), 1);
    });
}

// Somebody closes while another commits: the commit is settled one way or the other.
#[test]
fn a_commit_during_the_close_is_settled() {
    check(|| {
        let base = base(Mode::Thread, true, usize::MAX);
        let scribe = start_scribe(&base);
        let other = spawn(&base, |base| {
            if base.commit().and_then(|ticket| base.core.wait(ticket)).is_ok() {
                assert_eq!(base.synced(), 1);
            }
        });
        base.core.queue.stop();
        scribe.join().unwrap();
        while let Some(settled) = base.core.flusher.lock().step(&base.core.queue) {
            base.core.queue.tell(settled);
        }
        base.core.queue.fail(Error::Closed);
        other.join().unwrap();
    });
}
