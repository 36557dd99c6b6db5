//! From samples to rows, ratios and verdicts.

use std::fmt;

use crate::slice::Sample;
use crate::spread::Spread;
use crate::table::table;

/// The samples of one contender under one load, in the order of the rounds.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    /// Who.
    pub name: &'a str,
    /// One a round.
    pub samples: &'a [Sample],
}

impl Figures<'_> {
    /// The median over the rounds.
    #[must_use]
    pub fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        Spread::of(self.samples.iter().map(of)).median
    }

    /// This one's figure divided by the other's, round by round.
    #[must_use]
    pub fn ratio(&self, other: &Figures<'_>, of: impl Fn(&Sample) -> f64) -> Spread {
        assert_eq!(self.samples.len(), other.samples.len(), "every round has everyone");
        Spread::of(self.samples.iter().zip(other.samples).map(|(a, b)| of(a) / of(b)))
    }
}

/// A table of contenders, the first of which is compared with all.
#[must_use]
pub fn contenders(all: &[Figures<'_>]) -> String {
    let heads = [
        "contender",
        "appends/s",
        "CPU us",
        "kernel us",
        "sleeps",
        "per sync",
        "p50 us",
        "p99 us",
        "first/this",
        "min..max",
    ];
    let row = |it: &Figures<'_>| {
        let ratio = all[0].ratio(it, Sample::per_second);
        let kernel = |s: &Sample| s.cost.system.as_secs_f64() * 1e6 / s.ops as f64;
        vec![
            it.name.to_owned(),
            format!("{:.0}", it.median(Sample::per_second)),
            format!("{:.1}", it.median(Sample::cpu_us)),
            format!("{:.1}", it.median(kernel)),
            format!("{:.2}", it.median(Sample::switches)),
            match it.median(Sample::ops_per_sync) {
                // Durable without a sync: every write is.
                per_sync if per_sync.is_infinite() => "-".to_owned(),
                per_sync => format!("{per_sync:.1}"),
            },
            format!("{:.0}", it.median(|s| s.p50.as_secs_f64() * 1e6)),
            format!("{:.0}", it.median(|s| s.p99.as_secs_f64() * 1e6)),
            format!("{:.2}x", ratio.median),
            ratio.to_string(),
        ]
    };
    table(&heads, &all.iter().map(row).collect::<Vec<_>>())
}

/// What is wanted of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

/// A figure held against its goal.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What the figure is.
    pub what: String,
    /// The figure.
    pub figure: f64,
    /// The goal.
    pub goal: Goal,
}

impl Verdict {
    /// Whether the goal is reached.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self.goal {
            Goal::AtLeast(bound) => self.figure >= bound,
            Goal::AtMost(bound) => self.figure <= bound,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.passes() { "PASS" } else { "FAIL" };
        let (sign, bound) = match self.goal {
            Goal::AtLeast(bound) => (">=", bound),
            Goal::AtMost(bound) => ("<=", bound),
        };
        write!(f, "{word} {}: {:.2}, goal {sign} {bound:.2}", self.what, self.figure)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cost::Cost;

    fn sample(ops: u64) -> Sample {
        let cost = Cost { wall: Duration::from_secs(1), syncs: 1, ..Cost::default() };
        Sample { ops, cost, p50: Duration::from_micros(5), p99: Duration::from_micros(9) }
    }

    /// A machine that slows down half-way must not change what the ratio says.
    #[test]
    fn ratios_are_taken_within_a_round() {
        let (a, b) = ([sample(20), sample(2), sample(2)], [sample(10), sample(1), sample(1)]);
        let (a, b) = (Figures { name: "a", samples: &a }, Figures { name: "b", samples: &b });
        let ratio = a.ratio(&b, Sample::per_second);
        assert_eq!(ratio, Spread { min: 2.0, median: 2.0, max: 2.0 });
        let text = contenders(&[a, b]);
        assert!(text.contains("2.00x") && text.lines().count() == 4, "{text}");
    }

    /// A verdict that cannot fail is none.
    #[test]
    fn verdicts_pass_and_fail() {
        let verdict = |figure, goal| Verdict { what: "it".to_owned(), figure, goal };
        assert!(verdict(0.9, Goal::AtLeast(0.9)).passes());
        assert!(!verdict(0.89, Goal::AtLeast(0.9)).passes());
        assert!(verdict(10.0, Goal::AtMost(10.0)).passes());
        let failed = verdict(10.5, Goal::AtMost(10.0));
        assert_eq!(failed.to_string(), "FAIL it: 10.50, goal <= 10.00");
    }
}
