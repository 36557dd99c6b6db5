//! A table of what was measured, beside what is asked for and what others publish.

use std::fmt;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Decisions a second, at least.
    pub rate: u64,
    /// Microseconds that 99 of 100 decisions take, at most.
    pub p99: u64,
}

impl Goal {
    pub(super) const fn new(rate: u64, p99: u64) -> Goal {
        Goal { rate, p99 }
    }
}

/// What was measured of one workload at one size. Times are in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The workload.
    pub name: &'static str,
    /// How many nodes.
    pub nodes: u32,
    /// How many decisions.
    pub decisions: u64,
    /// How many of those found no place.
    pub refused: u64,
    /// How long all took by the clock.
    pub wall: u64,
    /// How long all took of a processor.
    pub processor: u64,
    /// What half of the decisions took at most.
    pub p50: u64,
    /// What 99 of 100 took at most.
    pub p99: u64,
    /// Whether those two are of processor time, and not by the clock.
    pub by_processor: bool,
    /// What is asked for.
    pub goal: Goal,
    /// What others publish about the like.
    pub published: &'static str,
}

impl Row {
    /// Decisions in a second of a processor.
    pub fn rate(&self) -> f64 {
        self.decisions as f64 * 1e9 / self.processor.max(1) as f64
    }

    /// Whether it is as fast as asked for, and all that was asked for was placed.
    pub fn passes(&self) -> bool {
        self.rate() >= self.goal.rate as f64
            && self.p99 <= self.goal.p99 * 1_000
            && self.refused == 0
    }
}

pub(super) fn head() -> Vec<String> {
    let [name, rate, second, p50, p99] = ["workload", "per cpu-s", "per s", "p50 us", "p99 us"];
    let line = format!("{name:<24} {:>6} {rate:>9} {second:>9} {p50:>8} {p99:>8}", "nodes");
    let line = format!("{line}     {:>7} {:>9} {p99:>7}", "cpu us", "goal /s");
    let line = format!("{line}         published elsewhere (*)");
    let rule = "-".repeat(line.chars().count());
    vec![line, rule]
}

pub(super) fn foot() -> Vec<String> {
    [
        "cpu: p50 and p99 are of processor time.",
        "(*) Tasks a second, of other machines, and of more than decisions: thresholds of the CI",
        "    of Kubernetes' scheduler_perf at 5,000 nodes, with API server and etcd; Nomad as its",
        "    makers report of clusters. They say what is usual, and are no race on one machine.",
    ]
    .map(str::to_owned)
    .to_vec()
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |nanos: u64| format!("{:.2}", nanos as f64 / 1e3);
        let Row { name, nodes, decisions, refused, wall, goal, published, .. } = self;
        let per_second = *decisions as f64 * 1e9 / (*wall).max(1) as f64;
        let each = micros(self.processor / (*decisions).max(1));
        let (p50, p99, rate) = (micros(self.p50), micros(self.p99), self.rate());
        let verdict = if self.passes() { "PASS" } else { "FAIL" };
        let by = if self.by_processor { "cpu" } else { "" };
        write!(f, "{name:<24} {nodes:>6} {rate:>9.0} {per_second:>9.0} {p50:>8} {p99:>8} {by:<3}")?;
        write!(f, " {each:>7} {:>9} {:>7}  {verdict:<5} {published}", goal.rate, goal.p99)?;
        if *refused > 0 {
            write!(f, "  {refused} of {decisions} not placed")?;
        }
        Ok(())
    }
}
