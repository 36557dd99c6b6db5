//! A member from outside the crate, whatever it is handed: for seconds here, and for hours under
//! libFuzzer (`membership/fuzz`). `packets.rs` asks the same of what real members have said.

pub(crate) mod entry;
pub(crate) mod envelope;
pub(crate) mod script;
pub(crate) mod speech;

use std::cell::Cell;

use crate::lab::seeds;

/// Scripts of one seed of a test.
const SCRIPTS: u64 = 200;

// Whoever reaches the port may send anything, and whoever has the key may say anything: a member
// that falls for it takes its machine out of the cluster.
#[test]
fn whatever_the_script_no_rule_is_broken() {
    let (handed, believed, sent) = (Cell::new(0), Cell::new(0), Cell::new(0));
    seeds("whatever_the_script", 10).run(|seed| {
        let mut rng = seed.rng("script");
        for _ in 0..SCRIPTS {
            let len = rng.below(3000) as usize;
            let script: Vec<u8> = (0..len).map(|_| rng.draw() as u8).collect();
            let tally = entry::check(&script);
            handed.set(handed.get() + tally.handed);
            believed.set(believed.get() + tally.believed);
            sent.set(sent.get() + tally.sent);
        }
    });
    let (handed, believed, sent) = (handed.get(), believed.get(), sent.get());
    println!("{handed} packets handed in, {believed} of them believed, {sent} sent");
    // Where nearly all is refused, or nothing is said, nothing is tested.
    assert!(believed > handed / 10 && believed < handed * 9 / 10 && sent > handed / 10);
}

// The fuzzer begins with these: they must be worth it.
#[test]
fn seeds_of_the_fuzzer_have_much_to_say() {
    let tallies: Vec<_> = entry::seeds().map(|seed| entry::check(&seed)).collect();
    assert!(tallies.iter().filter(|it| it.believed > 2 && it.sent > 2).count() > 32, "{tallies:?}");
}
