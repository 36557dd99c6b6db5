//! A member under libFuzzer: see the README, and `membership/sim/tests/suite/fuzz.rs`.

#![no_main]

#[path = "../../sim/tests/suite/fuzz/entry.rs"]
mod entry;

#[path = "../../sim/tests/suite/fuzz/envelope.rs"]
mod envelope;

#[path = "../../sim/tests/suite/fuzz/script.rs"]
mod script;

#[path = "../../sim/tests/suite/fuzz/speech.rs"]
mod speech;

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;

/// Where to put the seeds before the fuzzer reads its corpus.
const SEEDS: &str = "DRYSTONE_FUZZ_SEEDS";

fuzz_target!(
    init: write_seeds(),
    |input: &[u8]| {
        drystone_membership::spelling::check(input);
        entry::check(input);
    }
);

fn write_seeds() {
    let Some(dir) = std::env::var_os(SEEDS).map(PathBuf::from) else { return };
    for (number, seed) in entry::seeds().enumerate() {
        std::fs::write(dir.join(format!("seed-{number}")), seed).expect("it can be written");
    }
}
