//! What is asked of ours, and whether it holds.

use drystone_versus::gossip::Subject;
use drystone_versus::table::table;

/// One thing that is asked, with the figure that was found.
#[derive(Debug)]
pub(crate) struct Goal {
    asked: String,
    found: String,
    holds: bool,
}

impl Goal {
    pub(crate) fn new(asked: impl Into<String>, found: impl Into<String>, holds: bool) -> Goal {
        Goal { asked: asked.into(), found: found.into(), holds }
    }

    /// A figure that may be as large as this.
    pub(crate) fn at_most(asked: impl Into<String>, found: f64, most: f64) -> Goal {
        Goal::new(asked, figure(found), found <= most)
    }

    pub(crate) fn holds(&self) -> bool {
        self.holds
    }
}

/// Three digits, or the whole number.
pub(crate) fn figure(value: f64) -> String {
    match value {
        value if value.abs() >= 100.0 => format!("{value:.0}"),
        value if value.abs() >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// What this one has got among the figures of all, if it takes part.
pub(crate) fn of<'a, T>(name: &str, subjects: &[&dyn Subject], figures: &'a [T]) -> Option<&'a T> {
    let place = subjects.iter().position(|subject| subject.name() == name)?;
    figures.get(place)
}

/// The names of columns.
pub(crate) const OURS: &str = "drystone";
pub(crate) const DATAGRAMS: &str = "drystone (datagrams)";
pub(crate) const SWIM: &str = "drystone (plain SWIM)";
pub(crate) const STABLE: &str = "drystone (stable view)";
pub(crate) const FOCA: &str = "foca";

pub(crate) fn table_of(goals: &[Goal]) -> String {
    let line = |goal: &Goal| {
        let verdict = if goal.holds { "PASS" } else { "FAIL" };
        vec![goal.asked.clone(), goal.found.clone(), verdict.to_owned()]
    };
    let lines: Vec<Vec<String>> = goals.iter().map(line).collect();
    table(&["asked", "found", "verdict"], &lines)
}
