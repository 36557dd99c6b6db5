//! One writer at a time: whoever has the tools.
//!
//! **The problem.** A small transaction is over in some microseconds, and a thread that lies down
//! for the next turn needs several times as long to get up. A desk that is handed from sleeper to
//! sleeper is empty most of the time.
//!
//! **The idea.** Whoever finds the tools gone looks for them a while before it lies down, and takes
//! them as soon as they are there, though others have come before: while a sleeper gets up, those
//! who are awake go on. One sleeper is woken at a time, so that nobody gets up for nothing together
//! with others.
//!
//! ```text
//!     awake:    take ──► write ──► put back ─┬─► take (somebody else) ──► ...
//!     asleep:                                └─ wake one ── gets up ──► looks, takes, or lies down
//! ```
//!
//! **Fairness.** Who is awake could go on for ever. So when the tools have gone past the sleepers
//! [`PASSED_MAX`] times, the next time they are kept for one of them.

#[cfg(not(loom))]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

#[cfg(loom)]
use loom::sync::atomic::AtomicBool;

use crate::sync::{Condvar, Mutex};

/// How often one looks, about ten microseconds in all, before it lies down.
const LOOKS: u32 = if cfg!(loom) { 1 } else { 256 };

/// How often the tools are taken by others while somebody sleeps.
const PASSED_MAX: u32 = if cfg!(loom) { 1 } else { 64 };

/// See the module.
#[derive(Debug)]
pub(crate) struct Desk<T> {
    place: Mutex<Place<T>>,
    /// Whether the tools can be taken, for those who look. A hint: the truth is behind the lock.
    is_free: AtomicBool,
    /// Sleepers wait here.
    left: Condvar,
}

/// Invariants:
/// * If the tools are here and somebody sleeps, one of the sleepers was woken and comes.
/// * The tools are kept only if somebody sleeps.
#[derive(Debug)]
struct Place<T> {
    tools: Option<T>,
    sleepers: u32,
    /// One of the sleepers was woken and has not looked yet.
    is_woken: bool,
    /// How often the tools went past those who sleep.
    passed: u32,
    /// They are for a sleeper.
    is_kept: bool,
}

impl<T> Place<T> {
    /// For one who does not sleep.
    fn take(&mut self) -> Option<T> {
        if self.is_kept {
            return None;
        }
        let tools = self.tools.take();
        if tools.is_some() && self.sleepers > 0 {
            self.passed += 1;
        }
        tools
    }

    /// For a sleeper that was woken.
    fn take_first(&mut self) -> Option<T> {
        self.is_woken = false;
        let tools = self.tools.take();
        if tools.is_some() {
            self.sleepers -= 1;
            self.passed = 0;
            self.is_kept = false;
        }
        tools
    }
}

impl<T> Desk<T> {
    pub(crate) fn new(tools: T) -> Desk<T> {
        let place =
            Place { tools: Some(tools), sleepers: 0, is_woken: false, passed: 0, is_kept: false };
        Desk { place: Mutex::new(place), is_free: AtomicBool::new(true), left: Condvar::new() }
    }

    /// Waits until nobody else writes.
    pub(crate) fn take(&self) -> T {
        for _ in 0..LOOKS {
            // Relaxed: what is behind the lock decides.
            if self.is_free.load(Ordering::Relaxed)
                && let Some(tools) = self.try_take()
            {
                return tools;
            }
            std::hint::spin_loop();
        }
        let mut place = self.place.lock();
        let mut found = place.take();
        if found.is_none() {
            place.sleepers += 1;
        }
        while found.is_none() {
            self.left.wait(&mut place);
            found = place.take_first();
        }
        self.is_free.store(false, Ordering::Relaxed);
        found.expect("the loop has ended")
    }

    /// The tools, if nobody writes, and nobody's turn it is.
    pub(crate) fn try_take(&self) -> Option<T> {
        let mut place = self.place.lock();
        let tools = place.take();
        if tools.is_some() {
            self.is_free.store(false, Ordering::Relaxed);
        }
        tools
    }

    pub(crate) fn put_back(&self, tools: T) {
        let mut place = self.place.lock();
        let old = place.tools.replace(tools);
        assert!(old.is_none(), "one writer at a time");
        place.is_kept = place.sleepers > 0 && place.passed >= PASSED_MAX;
        self.is_free.store(!place.is_kept, Ordering::Relaxed);
        let wake = place.sleepers > 0 && !place.is_woken;
        place.is_woken |= wake;
        drop(place);
        if wake {
            self.left.notify_one();
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use std::sync::Arc;

    use loom::thread;

    use super::*;

    fn explore(
        threads: usize,
        turns: usize,
        scenario: impl Fn(&Desk<u32>) + Send + Sync + 'static,
    ) {
        let scenario = Arc::new(scenario);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let desk = Arc::new(Desk::new(0));
            let others: Vec<_> = (1..threads)
                .map(|_| {
                    let (desk, scenario) = (Arc::clone(&desk), Arc::clone(&scenario));
                    thread::spawn(move || scenario(&desk))
                })
                .collect();
            scenario(&desk);
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(desk.try_take(), Some((threads * turns) as u32), "everyone had all turns");
        });
    }

    fn turn(desk: &Desk<u32>) {
        let tools = desk.take();
        desk.put_back(tools + 1);
    }

    // A sleeper that nobody wakes, or tools that are kept for one who has gone, would be the end of
    // all writing: loom reports it as a deadlock.
    #[test]
    fn everyone_gets_a_turn() {
        explore(3, 1, turn);
        explore(2, 3, |desk| (0..3).for_each(|_| turn(desk)));
    }
}
