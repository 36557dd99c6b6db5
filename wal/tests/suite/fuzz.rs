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

#[path = "../../../tests/fuzz/bounded.rs"]
pub(crate) mod bounded;
pub(crate) mod corpus;
pub(crate) mod entry;
pub(crate) mod folder;
pub(crate) mod layout;
pub(crate) mod meter;
pub(crate) mod mutate;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use bounded::Bounds;
use corpus::Corpus;
use entry::Look;

const BOUNDS: Bounds = Bounds {
    package: "drystone-wal",
    filter: "whatever_the_bytes",
    inputs: 100_000,
    inputs_min: 5_000,
    time: Duration::from_secs(15),
};

/// One input, made from its number.
fn run(corpus: &Corpus, number: u64) -> Look {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let mut folder = corpus.seeds[rng.random_range(0..corpus.seeds.len())].folder.clone();
    let forged = mutate::mutate(&mut folder, corpus, &mut rng);
    entry::check(&folder::encode(&folder), (!forged).then_some(&corpus.written))
}

/// How the inputs fared: a fuzzer whose every input is refused at once finds nothing.
#[derive(Debug, Default)]
struct Tally {
    opened: AtomicU64,
    records: AtomicU64,
}

// A decoder is where the bytes of others meet our arithmetic.
#[test]
fn whatever_the_bytes_an_answer_at_a_bounded_cost() {
    let corpus = corpus::make();
    let tally = Tally::default();
    let inputs = bounded::run(BOUNDS.or_slow(), |number| {
        let look = run(&corpus, number);
        tally.opened.fetch_add(u64::from(look.outcome.is_ok()), Ordering::Relaxed);
        tally.records.fetch_add(look.count, Ordering::Relaxed);
    });
    println!("{tally:?}");
    let Some(inputs) = inputs else { return };
    let Tally { opened, records } = tally;
    let opened = opened.into_inner();
    assert!(opened > inputs / 10, "only {opened} of {inputs} open");
    assert!(opened < inputs * 9 / 10, "{opened} of {inputs} open");
    assert!(records.into_inner() > inputs, "the logs that open hold records");
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
