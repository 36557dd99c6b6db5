//! Planted bugs, each of which must be found.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use drystone_kv_sim::{Changes, Flaw, run_plan};
use drystone_sim::Seed;

/// Within so many seeds each is found.
const SEEDS: u64 = 100;

/// What says that one was found, for each.
fn cry(flaw: Flaw) -> &'static [&'static str] {
    match flaw {
        Flaw::ApplyTwice | Flaw::DropCommand => &["the revision once", "answered wrongly"],
        Flaw::EarlyAnswer => &["is lost", "where", "answered wrongly", "went before", "was known"],
        Flaw::LocalRead => &[" saw revision "],
        Flaw::SaveLies | Flaw::ShortenTooFar => &["and the log begins behind"],
        Flaw::DeafToDisk => &["had acknowledged", "is lost", "two entries"],
        Flaw::SaveOutrunsLog => &["starts with a wrong entry", "differs from what"],
        Flaw::WatchTwice | Flaw::WatchGap => &["a watch shows", "a watch tells"],
        // A lease that is to end early is also said to be shorter than it was granted.
        Flaw::EarlyExpiry => &["and was to live to", "was granted another time"],
    }
}

// A check that has never failed may be looking at nothing.
#[test]
fn every_planted_bug_is_found() {
    let before = take_hook();
    set_hook(Box::new(|_| {}));
    let found: Vec<_> = Flaw::ALL.into_iter().map(|flaw| (flaw, hunt(flaw))).collect();
    set_hook(before);
    for (flaw, found) in found {
        let (seed, text) = found.unwrap_or_else(|| panic!("{flaw:?} is not found"));
        println!("{flaw:?}: seed {seed}: {text}");
        assert!(cry(flaw).iter().any(|cry| text.contains(cry)), "{flaw:?} shows as: {text}");
    }
}

fn hunt(flaw: Flaw) -> Option<(u64, String)> {
    (1..=SEEDS).find_map(|value| {
        let seed = Seed::from(value);
        let plan = Changes { flaw: Some(flaw), ..Changes::default() }.plan(&seed);
        let panic = catch_unwind(AssertUnwindSafe(|| run_plan(seed, &plan))).err()?;
        let text = panic.downcast_ref::<String>().cloned();
        Some((value, text.unwrap_or_else(|| "a panic without words".to_owned())))
    })
}
