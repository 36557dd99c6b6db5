//! The log's decoder under libFuzzer: see the README, and `wal/tests/suite/fuzz.rs`.
//!
//! Half of the mutations are libFuzzer's own, on the bytes; half know the format. The rule against
//! invented records is left to the tests: libFuzzer watches comparisons, and learns checksums.

#![no_main]
#![expect(clippy::unwrap_used, dead_code, reason = "the files are shared with a test suite")]

#[path = "../../tests/suite/fuzz/corpus.rs"]
mod corpus;
#[path = "../../tests/suite/fuzz/entry.rs"]
mod entry;
#[path = "../../tests/suite/fuzz/folder.rs"]
mod folder;
#[path = "../../tests/suite/fuzz/layout.rs"]
mod layout;
#[path = "../../tests/suite/fuzz/meter.rs"]
mod meter;
#[path = "../../tests/suite/fuzz/mutate.rs"]
mod mutate;

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use corpus::Corpus;

/// Where to put the seeds before the fuzzer reads its corpus.
const SEEDS: &str = "DRYSTONE_FUZZ_SEEDS";

static CORPUS: LazyLock<Corpus> = LazyLock::new(corpus::make);

fuzz_target!(
    init: write_seeds(),
    |input: &[u8]| {
        entry::check(input, None);
    }
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed.is_multiple_of(2) {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut folder = folder::decode(&data[..size]);
    mutate::mutate(&mut folder, &CORPUS, &mut ChaCha8Rng::seed_from_u64(u64::from(seed)));
    let mutated = folder::encode(&folder);
    if mutated.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..mutated.len()].copy_from_slice(&mutated);
    mutated.len()
});

fn write_seeds() {
    let Some(dir) = std::env::var_os(SEEDS).map(PathBuf::from) else { return };
    for seed in &CORPUS.seeds {
        let path = dir.join(format!("seed: {}", seed.name).replace([' ', ':'], "-"));
        std::fs::write(path, folder::encode(&seed.folder)).expect("the corpus can be written");
    }
}
