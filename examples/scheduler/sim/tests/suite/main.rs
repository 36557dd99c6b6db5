//! Many bad days, one after the other.

use drystone_sim::Seeds;
use mason_sim::plan::live;

/// The promises hold on every one of a thousand bad days, and in the end everything is done.
#[test]
fn every_day_ends_well() {
    let command = "cargo test -p mason-sim --test suite every_day_ends_well";
    Seeds::new(command, 1000).run(|seed| {
        live(&seed);
    });
}
