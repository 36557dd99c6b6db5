//! What libFuzzer begins with, and how it makes more, where an input is a recipe.

use std::path::PathBuf;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::recipe;

/// Where to put the seeds before the fuzzer reads its corpus.
const FOLDER: &str = "DRYSTONE_FUZZ_SEEDS";
const SEEDS_PER_SPECIMEN: u64 = 32;

/// Writes some recipes for each specimen, the first without a change.
pub(crate) fn write(specimens: usize) {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    for specimen in 0..specimens {
        for number in 0..SEEDS_PER_SPECIMEN {
            let mut seed = vec![specimen as u8];
            let mut rng = ChaCha8Rng::seed_from_u64(number);
            (0..number.min(3)).for_each(|_| recipe::grow(&mut seed, &mut rng));
            let path = folder.join(format!("seed-{specimen}-{number}"));
            std::fs::write(path, seed).expect("the corpus can be written");
        }
    }
}

/// Half of the mutations are libFuzzer's own, on the bytes of a recipe; half add a change to it.
pub(crate) fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    match grown(&data[..size], max_size, seed) {
        Some(grown) => {
            data[..grown.len()].copy_from_slice(&grown);
            grown.len()
        }
        None => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    }
}

/// The recipe with another change, half of the time and if there is room.
fn grown(recipe: &[u8], max_size: usize, seed: u32) -> Option<Vec<u8>> {
    if seed.is_multiple_of(2) {
        return None;
    }
    let mut grown = recipe.to_vec();
    recipe::grow(&mut grown, &mut ChaCha8Rng::seed_from_u64(u64::from(seed)));
    (grown.len() <= max_size).then_some(grown)
}
