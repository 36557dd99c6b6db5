//! Many bad days, one after the other.

mod teeth;

use std::cell::RefCell;

use drystone_sim::Seeds;
use mason_sim::checks::Reach;
use mason_sim::plan::live;

/// What must happen on one day in twenty at least: what no day comes to, no check has looked at.
const REACHED: &[&str] = &[
    "a clock drifts",
    "a container is started",
    "a cron makes a job",
    "a machine crashes",
    "a machine is paused",
    "a run exits",
    "a run is drained",
    "a run is fenced",
    "a run is interrupted",
    "a run is lost",
    "a run is replaced",
    "a run is stopped",
    "a run's end is unknown",
    "a server comes to office",
    "a server has a gap",
    "a step is told what another printed",
    "a workflow fails",
    "a workflow makes a job",
    "a workflow succeeds",
    "all machines crash",
    "an agent is started",
    "an image is not to be had",
    "links are bad",
    "refused: a former leader",
    "refused: the job has changed",
    "refused: the node lives, or does not, or anew",
    "refused: the result is there, or another",
    "refused: the run has changed",
    "refused: the state has changed",
    "refused: the task has changed",
    "something is tried again",
    "the network is cut",
];

/// The promises hold on every one of a thousand bad days, and in the end everything is done.
#[test]
fn every_day_ends_well() {
    let command = "cargo test -p mason-sim --test suite every_day_ends_well";
    let (all, days) = (RefCell::new(Reach::default()), RefCell::new(0));
    Seeds::new(command, 1000).run(|seed| {
        let report = live(&seed);
        all.borrow_mut().add(&report.reach);
        *days.borrow_mut() += 1;
    });
    let (all, days) = (all.into_inner(), days.into_inner());
    println!("on {days} days:");
    for (what, count) in all.all() {
        println!("{count:8} times: {what}");
    }
    // A few days are no measure.
    for what in REACHED.iter().filter(|_| days >= 500) {
        let count = all.of(what);
        assert!(count * 20 >= days, "on {days} days {count} times: {what}");
    }
}
