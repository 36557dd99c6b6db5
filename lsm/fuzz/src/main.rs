//! A folder of the LSM tree under libFuzzer: see the README, and `lsm/tests/suite/fuzz.rs`.

#![no_main]
#![expect(clippy::unwrap_used, dead_code, reason = "the files are shared with a test suite")]

#[path = "../../tests/suite/fuzz/entry.rs"]
mod entry;
#[path = "../../tests/suite/forge.rs"]
mod forge;
#[path = "../../tests/suite/hurt.rs"]
mod hurt;
#[path = "../../../tests/fuzz/recipe.rs"]
mod recipe;
#[path = "../../../tests/fuzz/seeds.rs"]
mod seeds;
#[path = "../../tests/suite/fuzz/specimens.rs"]
mod specimens;
#[path = "../../tests/suite/support.rs"]
mod support;

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

use specimens::Specimen;

static SPECIMENS: LazyLock<Vec<Specimen>> = LazyLock::new(specimens::make);

fuzz_target!(
    init: seeds::write(SPECIMENS.len()),
    |recipe: &[u8]| {
        entry::survives(&specimens::hurt(&SPECIMENS, recipe), "a recipe");
    }
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    seeds::mutate(data, size, max_size, seed)
});
