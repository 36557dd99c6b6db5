//! The test that a suite makes of its recipes: those that once found something, then drawn ones.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use drystone_vfs::{OpenMode, OsVfs, Vfs};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::bounded::{self, Bounds};
use super::recipe;

/// Calls `is_fine` with recipes; what it says decides nothing about one of them, but of all drawn
/// ones this share is to be fine: or most inputs are refused at the first look, or harm nothing.
/// `RECIPE=file` asks for the one in a file alone.
pub(crate) fn run(
    bounds: Bounds,
    found: &[&[u8]],
    share: Range<f64>,
    is_fine: impl Fn(&[u8]) -> bool + Sync,
) {
    if let Ok(path) = std::env::var("RECIPE") {
        let file = OsVfs::new().open(Path::new(&path), OpenMode::Read).unwrap();
        let mut recipe = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut recipe, 0).unwrap();
        println!("fine: {}", is_fine(&recipe));
        return;
    }
    for recipe in found {
        is_fine(recipe);
    }
    let fine = AtomicU64::new(0);
    let inputs = bounded::run(bounds.or_slow(), |number| {
        let recipe = recipe::draw(&mut ChaCha8Rng::seed_from_u64(number));
        fine.fetch_add(u64::from(is_fine(&recipe)), Ordering::Relaxed);
    });
    let Some(inputs) = inputs else { return };
    let fine = fine.into_inner() as f64 / inputs as f64;
    println!("{:.0} % were fine", 100.0 * fine);
    assert!(share.contains(&fine), "{fine:.3} of {inputs} were fine");
}
