//! The codec of messages under libFuzzer: see the README, and `raft/tests/suite/fuzz.rs`.

#![no_main]

#[path = "../../tests/suite/fuzz/entry.rs"]
mod entry;

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;

/// Where to put the seeds before the fuzzer reads its corpus.
const SEEDS: &str = "DRYSTONE_FUZZ_SEEDS";

fuzz_target!(
    init: write_seeds(),
    |input: &[u8]| {
        entry::check(input);
    }
);

fn write_seeds() {
    let Some(dir) = std::env::var_os(SEEDS).map(PathBuf::from) else { return };
    for (number, seed) in entry::SEEDS.iter().enumerate() {
        std::fs::write(dir.join(format!("seed-{number}")), seed).expect("it can be written");
    }
}
