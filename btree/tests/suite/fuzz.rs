//! Any bytes at all, with the checksums right (scenarios 43 and 48): an answer, of bounded cost.
//!
//! ```text
//!     sound files ─► a recipe ─► a file ─► entry::survive ─► all that must hold
//!     (specimens)       ▲
//!                       └── drawn here; libFuzzer, in `btree/fuzz`, breeds them for hours
//! ```
//!
//! What holds is listed in [`entry`], what a recipe can do in [`recipe`]. To replay one input:
//! `SEED=n cargo test -p drystone-btree whatever_the_recipe`; one that libFuzzer left in a file:
//! `RECIPE=file cargo test -p drystone-btree whatever_the_recipe`. `SLOW=1` runs a hundred times as
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
    package: "drystone-btree",
    filter: "whatever_the_recipe",
    inputs: 2_000,
    inputs_min: 200,
    time: Duration::from_secs(3),
};

/// Recipes that once led to something that must not be.
const FOUND: [&[u8]; 1] = [
    // The free map calls a page free that a tree uses and then frees: more were free than there
    // are.
    b"\x03\x01\xbd\xa6\x46\x4c\x78\x06\x32\x99\x01\x68\x1e\x00\x00\x00\x00\x00\x00\x00\
      \x62\xe1\x2e\x01\x01\x86\xc0\x1a\x00\xb3\x02\x17\x62\x70\xf3\x7e\xf9\x3f\x0b\xf2\
      \x02\x08\x08\x1f\x3c\x00\x10\x42\x64\x2b\xe9\x87\xbc\x95\xb1\x98\x65\xdd\xff\x82\
      \x1a\xbe\x6d",
];

// A decoder is where the bytes of others meet our arithmetic.
#[test]
fn whatever_the_recipe_an_answer_at_a_bounded_cost() {
    let specimens = specimens::make();
    recipes::run(BOUNDS, &FOUND, 0.05..0.9, |recipe| {
        entry::survive(&specimens::hurt(&specimens, recipe), "a recipe").is_ok()
    });
}

// The beginnings must be right, or all that is made of them is noise; and what is sealed again
// without a change must be what it was, or forged bytes stop at the first checksum.
#[test]
fn a_recipe_without_a_change_leaves_a_sound_file() {
    let specimens = specimens::make();
    for (number, specimen) in specimens.iter().enumerate() {
        // A flip and a flip back: changed, and the same.
        let mut recipe = vec![number as u8];
        for layer in 0..3 {
            for _ in 0..2 {
                recipe.extend([6 + 8 * layer, 1, 0, 30, 0, 4]);
            }
        }
        let bytes = specimens::hurt(&specimens, &recipe);
        assert!(specimens::has_record(&bytes), "{}", specimen.name);
        entry::survive(&bytes, specimen.name).unwrap();
    }
}
