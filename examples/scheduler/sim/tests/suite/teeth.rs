//! Every check can fail: something is broken on purpose, and the check that is there for it says
//! so.

use std::panic::{AssertUnwindSafe, catch_unwind};

use drystone_sim::Seed;
use mason_sim::flaw::{Flaw, Lie, Of, Twist};
use mason_sim::plan::live_with;

/// What is broken, and which checks must find it: each its name, and a word of what it says.
const FOUND: &[(Flaw, &[&str])] = &[
    (Flaw::Blind(&[Of::Result]), &["I1: second result"]),
    (Flaw::Blind(&[Of::Lead, Of::Task]), &["I1: bound to"]),
    (Flaw::Lie(Lie::NoMarks), &["I1: was"]),
    (Flaw::Lie(Lie::AllGood), &["I1: after"]),
    (Flaw::LostDisk, &["I2: second time"]),
    (Flaw::Forgetful, &["I2: folder"]),
    (Flaw::EarlyExpiry, &["I3: and"]),
    (Flaw::IdleKeepers, &["I3: fence"]),
    (Flaw::Lie(Lie::Lenient), &["I3: fence"]),
    (Flaw::Lie(Lie::WideNodes), &["I4: ask for"]),
    (Flaw::Lie(Lie::ManyTasks), &["I4: takes"]),
    (Flaw::LostWords, &["I7: not all"]),
    (Flaw::DeafToBinds, &["I8: claimed"]),
    (Flaw::DeafToEnds, &["I9: lives"]),
    (Flaw::HastyKeepers, &["I9: reaped"]),
    (Flaw::Lie(Lie::OpenNodes), &["N1: since"]),
    (Flaw::Untold(Of::Node), &["N1: takes none"]),
    (Flaw::Lie(Lie::AllCounts), &["N2: after", "N2: has failed after"]),
    (Flaw::Lie(Lie::MoreTries), &["N3: too often"]),
    (Flaw::Lie(Lie::OneTry), &["N3: tries"]),
    (Flaw::Twist(Twist::OtherReasons), &["N4: not so"]),
    (Flaw::SlowOrders, &["J1: is bound", "L4: told"]),
    (Flaw::Twist(Twist::NeverDrain), &["L2: told"]),
    (Flaw::Twist(Twist::Begin), &["J2: begins before"]),
    (Flaw::Lie(Lie::AllAtOnce), &["J3: at once"]),
    (Flaw::LateClock, &["J4: at once", "L6: deadline", "L7: forgotten"]),
    (Flaw::Lie(Lie::AnyFailures), &["J5: did well"]),
    (Flaw::Untold(Of::Alive), &["L1: lost"]),
    (Flaw::Untold(Of::Result), &["L3: result"]),
    (Flaw::Untold(Of::Job), &["L5: deleted", "L6: suspended"]),
    (Flaw::UntoldRetries, &["L8: tried again"]),
    (Flaw::Twist(Twist::NeverEnd), &["L9: stops"]),
    (Flaw::Lie(Lie::LostTicks), &["W1: second time"]),
    (Flaw::Lie(Lie::OtherNames), &["W1: nobody wished"]),
    (Flaw::Lie(Lie::NoOrder), &["W2: waits for"]),
    (Flaw::Lie(Lie::AllDone), &["W2: Anyhow and", "W3: outlives"]),
    (Flaw::Lie(Lie::Undead), &["W3: nobody asked"]),
    (Flaw::Lie(Lie::UndeadJobs), &["W3: nobody asked"]),
    (Flaw::Lie(Lie::OtherWords), &["W4: told"]),
    (Flaw::Lie(Lie::NoOwners), &["W5: left"]),
    (Flaw::Lie(Lie::AllWell), &["W6: without", "W7: left"]),
    (Flaw::Lie(Lie::Overlaps), &["C1: while"]),
    (Flaw::Lie(Lie::NoCatchup), &["C2: never made"]),
    (Flaw::Lie(Lie::TicksDone), &["C3: forgotten"]),
];

/// So many days are enough for each.
const DAYS: u64 = 200;

/// What a day says that ends badly.
fn words_of(seed: u64, flaw: Flaw) -> Option<String> {
    let seed = Seed::from(seed);
    let error = catch_unwind(AssertUnwindSafe(|| live_with(&seed, flaw))).err()?;
    let words = error.downcast_ref::<String>().cloned();
    Some(words.or_else(|| error.downcast_ref::<&str>().map(|it| (*it).to_owned())).expect("words"))
}

/// Whether a check says what is expected: its name, and something else of its words.
fn is_it(words: &str, expected: &str) -> bool {
    let (name, rest) = expected.split_once(": ").expect("a name and a word");
    let said = words.lines().find(|line| line.contains(&format!("{name}: ")));
    said.is_some_and(|line| line.contains(rest))
}

/// A check that cannot fail proves nothing, however many days it looks at.
#[test]
fn every_check_finds_what_it_is_there_for() {
    let mut blind = Vec::new();
    for &(flaw, expected) in FOUND {
        let mut missing = expected.to_vec();
        for day in 1..=DAYS {
            let words = if missing.is_empty() { break } else { words_of(day, flaw) };
            missing.retain(|it| {
                let found = words.as_ref().is_some_and(|words| is_it(words, it));
                if found {
                    println!("{flaw:?}: {it:?} on day {day}");
                }
                !found
            });
        }
        blind.extend(missing.into_iter().map(|it| (flaw, it)));
    }
    assert!(blind.is_empty(), "not found: {blind:?}");
}
