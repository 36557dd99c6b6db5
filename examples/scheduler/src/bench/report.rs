//! What was measured, line by line, beside what is asked for.

use std::fmt::Display;
use std::fs;

/// What is asked of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// At least this.
    Least(f64),
    /// At most this.
    Most(f64),
}

impl Goal {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Goal::Least(least) => figure >= least,
            Goal::Most(most) => figure <= most,
        }
    }
}

/// Prints each figure when it is known, and remembers whether all goals are met.
#[derive(Debug, Default)]
pub(super) struct Report {
    has_begun: bool,
    has_failed: bool,
}

impl Report {
    /// One figure.
    pub(super) fn figure(&mut self, what: &str, figure: f64, unit: &str, goal: Goal) {
        if !std::mem::replace(&mut self.has_begun, true) {
            println!("{}", machine());
            println!("{:<52} {:>12} {:<8} {:>12}", "what", "figure", "", "goal");
        }
        let asked = match goal {
            Goal::Least(least) => format!(">= {}", number(least)),
            Goal::Most(most) => format!("<= {}", number(most)),
        };
        let passes = goal.is_met(figure);
        self.has_failed |= !passes;
        let verdict = if passes { "PASS" } else { "FAIL" };
        let line = format!("{what:<52} {:>12} {unit:<8} {asked:>12}  {verdict}", number(figure));
        println!("{line}");
    }

    /// Something to say beside it.
    pub(super) fn note(&mut self, text: impl Display) {
        println!("  {text}");
    }

    /// What measures itself says whether it is content.
    pub(super) fn verdict(&mut self, passes: bool) {
        self.has_failed |= !passes;
    }

    /// Whether all goals are met.
    pub(super) fn passes(&self) -> bool {
        !self.has_failed
    }
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    if value.abs() >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value.abs() >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

/// What it was measured on, in a line.
pub(super) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let processor = field(&read("/proc/cpuinfo"), "model name").unwrap_or_default();
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "machine: {cores} cores of {processor}, memory {memory}, Linux {}, load before {load}",
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bench that cannot fail guards nothing.
    #[test]
    fn a_goal_that_is_missed_is_remembered() {
        for (goal, figure, expected) in [
            (Goal::Least(5.0), 5.0, true),
            (Goal::Least(5.0), 4.9, false),
            (Goal::Most(5.0), 5.0, true),
            (Goal::Most(5.0), 5.1, false),
        ] {
            let mut report = Report::default();
            report.figure("it", figure, "", goal);
            report.figure("another", 1.0, "", Goal::Least(1.0));
            assert_eq!(report.passes(), expected, "{goal:?} {figure}");
        }
    }
}
