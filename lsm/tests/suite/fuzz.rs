//! Any bytes at all, with the checksums right (scenario 48): an answer, of bounded cost.
//!
//! ```text
//!     sound folders ─► a recipe ─► a folder ─► entry::survives ─► all that must hold
//!      (specimens)        ▲
//!                         └── drawn here; libFuzzer, in `lsm/fuzz`, breeds them for hours
//! ```
//!
//! What holds is listed in [`entry`], what a recipe can do in [`recipe`]. To replay one input:
//! `SEED=n cargo test -p drystone-lsm whatever_the_recipe`; one that libFuzzer left in a file:
//! `RECIPE=file cargo test -p drystone-lsm whatever_the_recipe`. `SLOW=1` runs a hundred times as
//! many.

#[path = "../../../tests/fuzz/bounded.rs"]
pub(crate) mod bounded;
pub(crate) mod entry;
#[path = "../../../tests/fuzz/recipe.rs"]
pub(crate) mod recipe;
#[path = "../../../tests/fuzz/recipes.rs"]
pub(crate) mod recipes;
pub(crate) mod specimens;

use std::time::Duration;

use bounded::Bounds;

const BOUNDS: Bounds = Bounds {
    package: "drystone-lsm",
    filter: "whatever_the_recipe",
    inputs: 1_500,
    inputs_min: 150,
    time: Duration::from_secs(3),
};

/// Recipes that once led to something that must not be.
const FOUND: [&[u8]; 2] = [
    // A table with numbers that no write has had: merging it was a panic.
    &[27, 9, 211, 242, 219, 140, 118, 16, 250, 223, 12, 0, 2, 95, 103],
    // A table with other keys than it says: its neighbours overlapped what it was merged into.
    &[119, 17, 138, 110, 64, 0, 29, 3, 8, 2, 25, 0, 255, 17, 0],
];

// A decoder is where the bytes of others meet our arithmetic.
#[test]
fn whatever_the_recipe_an_answer_at_a_bounded_cost() {
    let specimens = specimens::make();
    recipes::run(BOUNDS, &FOUND, 0.05..0.95, |recipe| {
        entry::survives(&specimens::hurt(&specimens, recipe), "a recipe")
    });
}

// The beginnings must be right, or all that is made of them is noise; and what is sealed again
// without a change must be what it was, or forged bytes stop at the first checksum.
#[test]
fn a_recipe_without_a_change_leaves_a_sound_database() {
    let specimens = specimens::make();
    for (number, specimen) in specimens.iter().enumerate() {
        // Flips and flips back: changed, and the same.
        let mut recipe = vec![number as u8];
        for layer in 0..3 {
            for piece in 0..3 {
                for _ in 0..2 {
                    recipe.extend([6 + 8 * layer, piece, 0, 20, 0, 4]);
                }
            }
        }
        let disk = specimens::hurt(&specimens, &recipe);
        assert!(entry::survives(&disk, specimen.name), "{}", specimen.name);
    }
}
