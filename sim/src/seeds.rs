//! Many seeds, one after the other; the first that fails is run again with every step told.
//!
//! ```text
//!     seed 1  seed 2  seed 3  seed 4 ✗            SEED=4 cargo test -p drystone-raft safety
//!                                └─► once more, verbose ──► trace, seed, command
//! ```
//!
//! A run that fails and then, with the same seed, does not, is not deterministic, and that is said
//! too: it is the one fault that makes all other seeds worthless.
//!
//! From outside: `SEED=n` runs that seed alone, verbose. `SEEDS=n` runs so many instead of the
//! usual number, `SLOW=1` a hundred times the usual, and `SECONDS=n` goes on for so long; `FIRST=n`
//! begins with that seed instead of 1, so that the next night finds something else.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use crate::rng::Rng;

/// One seed, and what to say about it when it fails. A plain number is one too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    value: u64,
    command: Option<String>,
    verbose: bool,
}

impl Seed {
    /// The number.
    pub fn value(&self) -> u64 {
        self.value
    }

    /// A generator for a part of the run, by label.
    pub fn rng(&self, label: &str) -> Rng {
        Rng::new(self.value).fork(label)
    }

    /// Whether the trace of this run is to have every message in it.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// The same seed with a trace that has every message in it.
    #[must_use]
    pub fn verbose(mut self) -> Seed {
        self.verbose = true;
        self
    }

    /// Whether a failure is followed by another, verbose run.
    pub(crate) fn is_retried(&self) -> bool {
        self.command.is_some() && !self.verbose
    }

    /// The one command that replays it, if it is known.
    pub fn replay(&self) -> Option<String> {
        self.command.as_ref().map(|command| format!("SEED={} {command}", self.value))
    }
}

impl From<u64> for Seed {
    fn from(value: u64) -> Seed {
        Seed { value, command: None, verbose: false }
    }
}

/// A range of seeds to run a test with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds {
    command: String,
    first: u64,
    count: u64,
    /// Whatever the count, go on until so much time has passed.
    lasting: Option<Duration>,
    verbose: bool,
}

impl Seeds {
    /// Seeds 1 to `count`, or what the environment asks for. `command` is what runs the test that
    /// calls this, and nothing else: `cargo test -p drystone-raft safety`.
    pub fn new(command: &str, count: u64) -> Seeds {
        let number = |name| env::var(name).ok().and_then(|text: String| text.parse().ok());
        let slow = if env::var_os("SLOW").is_some() { 100 } else { 1 };
        let command = command.to_owned();
        match number("SEED") {
            Some(first) => Seeds { command, first, count: 1, lasting: None, verbose: true },
            None => {
                let (first, lasting) = (number("FIRST").unwrap_or(1), number("SECONDS"));
                let lasting = lasting.map(Duration::from_secs);
                let count = number("SEEDS").unwrap_or(count * slow);
                Seeds { command, first, count, lasting, verbose: false }
            }
        }
    }

    /// Runs `test` with each seed until one fails.
    ///
    /// # Panics
    ///
    /// If `test` does, as it did, after it was run once more with a verbose trace.
    #[expect(clippy::disallowed_methods, reason = "how long to go on is no part of any run")]
    pub fn run(&self, test: impl Fn(Seed)) {
        let begin = Instant::now();
        for value in self.first.. {
            let done = match self.lasting {
                Some(lasting) => begin.elapsed() >= lasting,
                None => value - self.first == self.count,
            };
            if done {
                if self.lasting.is_some() {
                    let (first, count) = (self.first, value - self.first);
                    println!("{count} seeds from {first} on: none failed");
                }
                return;
            }
            let command = Some(self.command.clone());
            let seed = Seed { value, command, verbose: self.verbose };
            let replay = seed.replay().expect("a seed of a range has a command");
            let once = |seed: Seed| catch_unwind(AssertUnwindSafe(|| test(seed)));
            let Err(first) = once(seed.clone()) else { continue };
            if self.verbose {
                eprintln!("seed {value} failed. To replay it: {replay}");
                resume_unwind(first);
            }
            eprintln!("seed {value} failed. Once more, with every step told:");
            match once(seed.verbose()) {
                Err(second) => {
                    eprintln!("seed {value} failed. To replay it: {replay}");
                    resume_unwind(second);
                }
                Ok(()) => panic!(
                    "seed {value} failed, and did not when it was run again: the test is not \
                     deterministic ({replay})"
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn seeds(first: u64, count: u64) -> Seeds {
        let command = "cargo test -p sim x".to_owned();
        Seeds { command, first, count, lasting: None, verbose: false }
    }

    // Without the second run nobody sees the messages that led to the failure.
    #[test]
    fn a_seed_that_fails_is_run_again_verbosely_and_then_no_other() {
        let runs = RefCell::new(Vec::new());
        let failed = catch_unwind(AssertUnwindSafe(|| {
            seeds(5, 10).run(|seed| {
                runs.borrow_mut().push((seed.value(), seed.is_verbose()));
                assert!(seed.value() != 7, "{}", seed.replay().unwrap());
            });
        }));
        let message = failed.unwrap_err();
        assert_eq!(*message.downcast::<String>().unwrap(), "SEED=7 cargo test -p sim x");
        assert_eq!(*runs.borrow(), [(5, false), (6, false), (7, false), (7, true)]);
    }

    // A night of seeds is asked for in hours, and must end.
    #[test]
    fn seeds_go_on_for_as_long_as_is_asked() {
        let runs = RefCell::new(0);
        let night = Seeds { lasting: Some(Duration::from_millis(20)), ..seeds(100, 1) };
        night.run(|seed| {
            assert_eq!(seed.value(), 100 + *runs.borrow());
            *runs.borrow_mut() += 1;
        });
        assert!(*runs.borrow() > 1);
        *runs.borrow_mut() = 0;
        seeds(1, 3).run(|_| *runs.borrow_mut() += 1);
        assert_eq!(*runs.borrow(), 3);
    }

    // A seed that cannot be trusted to fail again is worse than none.
    #[test]
    fn a_test_that_is_not_deterministic_is_told_so() {
        let runs = RefCell::new(0);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            seeds(1, 1).run(|_| {
                *runs.borrow_mut() += 1;
                assert!(*runs.borrow() > 1, "only the first time");
            });
        }));
        let message = failed.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("not deterministic"), "{message}");
    }

    // Parts that share a stream disturb each other.
    #[test]
    fn a_seed_gives_each_part_a_stream_of_its_own() {
        let seed = Seed::from(9);
        assert_eq!(seed.rng("clients"), seed.rng("clients"));
        assert_ne!(seed.rng("clients"), seed.rng("trouble"));
        assert_eq!(seed.replay(), None);
    }
}
