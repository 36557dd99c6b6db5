//! A fuzzer's inputs in a test: so many of them or so much time, on two threads, each made from its
//! number.
//!
//! One that panics says its number on the way out; one that does not come to an end is named, and
//! the process with it ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use drystone_vfs::{Clock, OsClock};

const THREADS: usize = 2;
/// No input takes a hundredth of this.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much to do, and how to come back to one input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Whose test it is, and what to call it by.
    pub(crate) package: &'static str,
    pub(crate) filter: &'static str,
    pub(crate) inputs: u64,
    /// A slow machine stops earlier, but not before this many.
    pub(crate) inputs_min: u64,
    pub(crate) time: Duration,
}

impl Bounds {
    /// A hundred times as much if `SLOW=1`.
    pub(crate) fn or_slow(self) -> Bounds {
        let factor = if std::env::var_os("SLOW").is_some() { 100 } else { 1 };
        let (inputs, time) = (self.inputs * u64::from(factor), self.time * factor);
        Bounds { inputs, time, ..self }
    }

    fn replay(&self, number: u64) -> String {
        format!("replay: SEED={number} cargo test -p {} {}", self.package, self.filter)
    }
}

/// Says on the way out of a panic which input it was.
struct Blame<'a>(&'a Bounds, u64);

impl Drop for Blame<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0.replay(self.1));
        }
    }
}

/// Calls `check` with the numbers of inputs. Returns how many there were; nothing if `SEED` asked
/// for one of them alone.
pub(crate) fn run(bounds: Bounds, check: impl Fn(u64) + Sync) -> Option<u64> {
    if let Ok(seed) = std::env::var("SEED") {
        check(seed.parse().expect("SEED is a number"));
        return None;
    }
    let (next, done, clock) = (AtomicU64::new(0), AtomicU64::new(0), OsClock::new());
    let current = [const { AtomicU64::new(0) }; THREADS];
    std::thread::scope(|scope| {
        let (pulse, pulses) = channel();
        for current in &current {
            let pulse = pulse.clone();
            let (next, done, clock, check) = (&next, &done, &clock, &check);
            let bounds = &bounds;
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let late = clock.monotonic() > bounds.time && number >= bounds.inputs_min;
                    if number >= bounds.inputs || late {
                        return;
                    }
                    current.store(number, Ordering::Relaxed);
                    pulse.send(()).expect("the watch outlasts us");
                    let _blame = Blame(bounds, number);
                    check(number);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        drop(pulse);
        watch(&bounds, &pulses, &current);
    });
    let done = done.into_inner();
    println!("{done} of {} inputs", bounds.inputs);
    assert!(done >= bounds.inputs_min, "{done} inputs");
    Some(done)
}

/// Returns when all threads are done; ends the process if one of them hangs.
fn watch(bounds: &Bounds, pulses: &Receiver<()>, current: &[AtomicU64]) {
    loop {
        match pulses.recv_timeout(PATIENCE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                // A thread that hangs can only be ended together with the process.
                eprintln!("one of these does not come to an end:");
                for number in current {
                    eprintln!("{}", bounds.replay(number.load(Ordering::Relaxed)));
                }
                std::process::exit(101);
            }
        }
    }
}
