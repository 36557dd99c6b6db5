//! Any bytes at all (scenario 48): an answer, of bounded cost, and nothing invented.
//!
//! ```text
//!     real logs ─► mutate ─► a directory as bytes ─► entry::check ─► all that must hold
//!     (corpus)      ▲                                  ▲
//!                   └── libFuzzer, in `wal/fuzz`, uses the same three for hours
//! ```
//!
//! What holds is listed in [`entry`]. To replay one input: `SEED=n cargo test -p drystone-wal
//! whatever_the_bytes`. `SLOW=1` runs a hundred times as many.
//!
//! Known to fail when it should, each with a line of the log changed: memory taken for the length a
//! frame claims; checksums that nobody compares; positions that the scan does not compare; a walk
//! that stays where it is; a repair that leaves old bytes behind the end.

pub(crate) mod corpus;
pub(crate) mod entry;
pub(crate) mod folder;
pub(crate) mod layout;
pub(crate) mod meter;
pub(crate) mod mutate;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use drystone_vfs::{Clock, OsClock};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use corpus::Corpus;
use entry::Look;

const INPUTS: u64 = 100_000;
/// A slow machine stops earlier, but not before this many.
const INPUTS_MIN: u64 = 5_000;
const TIME: Duration = Duration::from_secs(15);
const THREADS: usize = 2;
/// No input takes a hundredth of this.
const PATIENCE: Duration = Duration::from_secs(30);

fn replay(seed: u64) -> String {
    format!("replay: SEED={seed} cargo test -p drystone-wal whatever_the_bytes")
}

/// One input, made from its number.
fn run(corpus: &Corpus, number: u64) -> Look {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let mut folder = corpus.seeds[rng.random_range(0..corpus.seeds.len())].folder.clone();
    let forged = mutate::mutate(&mut folder, corpus, &mut rng);
    entry::check(&folder::encode(&folder), (!forged).then_some(&corpus.written))
}

/// Says on the way out of a panic which input it was.
struct Blame(u64);

impl Drop for Blame {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", replay(self.0));
        }
    }
}

/// How the inputs fared: a fuzzer whose every input is refused at once finds nothing.
#[derive(Debug, Default)]
struct Tally {
    inputs: AtomicU64,
    opened: AtomicU64,
    records: AtomicU64,
}

// A decoder is where the bytes of others meet our arithmetic.
#[test]
fn whatever_the_bytes_an_answer_at_a_bounded_cost() {
    let corpus = corpus::make();
    if let Ok(seed) = std::env::var("SEED") {
        println!("{:?}", run(&corpus, seed.parse().unwrap()));
        return;
    }
    let slow = std::env::var_os("SLOW").is_some();
    let (inputs, time) = if slow { (100 * INPUTS, 100 * TIME) } else { (INPUTS, TIME) };
    let (next, tally, clock) = (AtomicU64::new(0), Tally::default(), OsClock::new());
    let current = [const { AtomicU64::new(0) }; THREADS];
    std::thread::scope(|scope| {
        let (pulse, pulses) = channel();
        for current in &current {
            let (pulse, next, tally, corpus, clock) =
                (pulse.clone(), &next, &tally, &corpus, &clock);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let late = clock.monotonic() > time && number >= INPUTS_MIN;
                    if number >= inputs || late {
                        return;
                    }
                    current.store(number, Ordering::Relaxed);
                    pulse.send(()).expect("the watch outlasts us");
                    let _blame = Blame(number);
                    let look = run(corpus, number);
                    tally.inputs.fetch_add(1, Ordering::Relaxed);
                    tally.opened.fetch_add(u64::from(look.outcome.is_ok()), Ordering::Relaxed);
                    tally.records.fetch_add(look.count, Ordering::Relaxed);
                }
            });
        }
        drop(pulse);
        watch(&pulses, &current);
    });
    println!("{tally:?} of {inputs}");
    let Tally { inputs, opened, records } = tally;
    let (inputs, opened) = (inputs.into_inner(), opened.into_inner());
    assert!(inputs >= INPUTS_MIN);
    assert!(opened > inputs / 10, "only {opened} of {inputs} open");
    assert!(opened < inputs * 9 / 10, "{opened} of {inputs} open");
    assert!(records.into_inner() > inputs, "the logs that open hold records");
}

/// Returns when all threads are done; ends the process if one of them hangs.
fn watch(pulses: &Receiver<()>, current: &[AtomicU64]) {
    loop {
        match pulses.recv_timeout(PATIENCE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                // A thread that hangs can only be ended together with the process.
                eprintln!("one of these does not come to an end:");
                current.iter().for_each(|n| eprintln!("{}", replay(n.load(Ordering::Relaxed))));
                std::process::exit(101);
            }
        }
    }
}

// The beginnings must be right, or all that is made of them is noise.
#[test]
fn every_seed_is_what_its_writer_left() {
    let corpus = corpus::make();
    assert!(corpus.seeds.len() >= 10);
    for seed in &corpus.seeds {
        let encoded = folder::encode(&seed.folder);
        assert!(folder::decode(&encoded) == seed.folder, "{}", seed.name);
        let look = entry::check(&encoded, Some(&corpus.written));
        let outcome = Ok((seed.first, seed.last, seed.closed));
        assert_eq!(
            (look.outcome, look.count),
            (outcome, seed.last + 1 - seed.first),
            "{}",
            seed.name
        );
    }
}

// If the second knowledge of the format is wrong, forged bytes stop at the first checksum.
#[test]
fn checksums_made_to_fit_are_those_of_the_log() {
    for seed in &corpus::make().seeds {
        for (name, file) in seed.folder.iter().filter(|(name, _)| **name > 1) {
            let mut again = file.clone();
            layout::fix_header(&mut again);
            // Frames left from an earlier life have the checksums of that life.
            for at in layout::frames(file) {
                let mut fixed = file.clone();
                layout::fix_frame(&mut fixed, at);
                if layout::word(&fixed, at + 4) == layout::word(file, at + 4) {
                    layout::fix_frame(&mut again, at);
                } else {
                    assert_eq!(seed.name, "recycled", "the frame at {at} of {name}");
                }
            }
            assert!(again == *file, "{}: {name}", seed.name);
        }
    }
}
