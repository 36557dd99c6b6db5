//! Threads that wait are woken once, and only when it concerns them.
//!
//! Counted by the kernel: a thread that blocks gives up the processor of its own accord, and
//! `/proc` says how often it did.
#![cfg(target_os = "linux")]

use std::fs;
use std::thread::{self, Builder};

use drystone_wal::{Lsn, Wal};

use crate::group::held_up;

const WAITERS: usize = 16;
const TRIES: usize = 5;
/// Locks are taken on the way, and may make a thread wait for another now and then.
const SLEEPS_MAX: u64 = WAITERS as u64 + WAITERS as u64 / 2;

/// A line of the calling thread's status.
fn sleeps_so_far() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
    line.unwrap().split_whitespace().last().unwrap().parse().unwrap()
}

/// How many threads of this process with names like `name` are asleep.
#[expect(clippy::disallowed_methods, reason = "what the kernel says of its threads is no disk")]
fn asleep(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    stats.filter(|stat| stat.contains(&format!("({name}")) && stat.contains(") S ")).count()
}

fn wait_for_sleepers(name: &str) {
    while asleep(name) < WAITERS {
        thread::yield_now();
    }
}

fn append_and_count(wal: &Wal, i: usize) -> u64 {
    let commit = wal.append(&[&[i as u8; 100]]).unwrap();
    let before = sleeps_so_far();
    assert!(commit.wait().unwrap() >= commit.lsn());
    sleeps_so_far() - before
}

// A herd that wakes at every write, to look and to sleep again, costs more than the writes. A
// thread may lose the processor within a lock, and others then sleep for that: but not each time.
#[test]
fn a_waiter_sleeps_through_the_writes_of_others() {
    let sleeps: Vec<u64> = (0..TRIES).map(|_| sleeps_of_a_group()).collect();
    let least = sleeps.iter().min().unwrap();
    assert!(*least <= SLEEPS_MAX, "{WAITERS} waiters slept {sleeps:?} times");
}

/// How often a group of waiters sleeps until their write is settled, while another is before it.
fn sleeps_of_a_group() -> u64 {
    let (gate, wal, first) = held_up();
    let waiters: Vec<_> = (0..WAITERS)
        .map(|i| {
            let wal = wal.clone();
            let named = Builder::new().name(format!("herd-{i}"));
            named.spawn(move || append_and_count(&wal, i)).unwrap()
        })
        .collect();
    wait_for_sleepers("herd-");
    gate.pass_one();
    assert_eq!(first.wait().unwrap(), Lsn(1));
    // The write that carries their records has begun, and nobody has been woken for the first.
    gate.wait_for_sync();
    wait_for_sleepers("herd-");
    gate.set_shut(false);
    waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum()
}
