//! How fast decisions are, and how well they pack: the numbers that `mason bench` prints.
//!
//! # Question
//! How many decisions a second does one core make at 5,000 and 10,000 nodes, how long does the
//! hundredth slowest take, and do the shapes that are slow elsewhere (affinity, spreading) cost
//! more?
//!
//! # Method
//! Nodes have the shape of those in the performance tests of Kubernetes' scheduler: 4 cores, 32
//! GiB, 110 tasks; three zones, racks of 40. A workload fills the cluster to about a half and then,
//! so that it stays there, releases a random task for each that it places. Time is that of all of
//! it, releases and the making of classes included; a percentile is over the single decisions, with
//! the making of its class if it has one of its own.
//!
//! Decisions a second are counted by processor time and by the clock. The goal is held against the
//! first: on a machine that is shared the second measures the neighbours. Percentiles are by the
//! clock, but for classes of one task: their decisions are long enough for the machine to be taken
//! away in the middle of one in a hundred, so these are by processor time too, and marked so.
//!
//! # Sketch
//! A decision looks at one changed node (three lines of the cache, some 20 multiplications), a
//! block of 64 ranks and a row of 80: some 200 ns, so millions a second; one of a class nobody
//! asked about yet looks at each node, 5,000 times about 10 ns: 20,000 a second.

mod packing;
mod table;
mod workload;

use super::mix::Rng;
use super::{Ask, ClassId, NodeIx};
use packing::Packing;
pub use table::{Goal, Row};
use workload::{Kind, Source, WORKLOADS, Workload};

/// Tells time to who has no clock.
pub trait Clock {
    /// Nanoseconds since some start.
    fn wall(&mut self) -> u64;
    /// Nanoseconds that this thread has had a processor, if that can be told.
    fn processor(&mut self) -> Option<u64>;
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Only workloads whose names have this in them; all if empty.
    pub only: &'a str,
    /// So many hundredths of the usual number of decisions.
    pub percent: u64,
    /// What the workloads are drawn from.
    pub seed: u64,
}

/// Measures, and hands each line of a table to `print` when it is known. Says whether all goals are
/// met.
pub fn measure(plan: Plan<'_>, clock: &mut dyn Clock, print: &mut dyn FnMut(&str)) -> bool {
    let mut passed = true;
    for line in table::head() {
        print(&line);
    }
    for workload in WORKLOADS.iter().filter(|workload| workload.name.contains(plan.only)) {
        for &(nodes, goal) in workload.goals {
            let row = run(workload, (nodes, goal), plan, clock);
            passed &= row.passes();
            print(&row.to_string());
        }
    }
    if "packing".contains(plan.only) {
        let found = Packing::measure(plan.seed);
        passed &= found.passes();
        print(&found.to_string());
    }
    for line in table::foot() {
        print(&line);
    }
    passed
}

/// One workload at one size.
fn run(
    workload: &Workload,
    (nodes, goal): (u32, Goal),
    plan: Plan<'_>,
    clock: &mut dyn Clock,
) -> Row {
    let mut rng = Rng::new(plan.seed);
    let mut cluster = workload::cluster_of(workload, nodes);
    let mut source = Source::new(workload, &mut cluster);
    let mut live: Vec<(ClassId, NodeIx)> = Vec::new();
    let full = workload.fill(nodes);
    let decisions = (workload.decisions(nodes) * plan.percent / 100).max(100);
    let (mut times, mut refused) = (Vec::new(), 0);
    while workload.kind != Kind::Million && live.len() < full {
        let (class, ask) = source.next(&mut cluster, &mut rng);
        match cluster.try_place(class, ask) {
            Some(placed) => live.push((class, placed.node)),
            None => break,
        }
    }
    let (wall, processor) = (clock.wall(), clock.processor());
    for _ in 0..decisions {
        if workload.kind != Kind::Million && live.len() >= full {
            let at = usize::try_from(rng.below(live.len() as u64)).expect("an index");
            let (class, node) = live.swap_remove(at);
            assert!(cluster.release(class, node), "it was placed there");
            source.released(&mut cluster, class);
        }
        let start = stamp(clock, workload);
        let (class, ask) = source.next(&mut cluster, &mut rng);
        let placed = cluster.try_place(class, ask);
        times.push(u32::try_from(stamp(clock, workload) - start).unwrap_or(u32::MAX));
        match placed {
            Some(placed) => live.push((class, placed.node)),
            None => refused += 1,
        }
    }
    let wall = clock.wall() - wall;
    let processor = clock.processor().zip(processor).map_or(wall, |(now, then)| now - then);
    times.sort_unstable();
    let at = |percent: usize| u64::from(times[(times.len() - 1) * percent / 100]);
    Row {
        name: workload.name,
        nodes,
        decisions,
        refused,
        wall,
        processor,
        p50: at(50),
        p99: at(99),
        by_processor: workload.is_long() && clock.processor().is_some(),
        goal,
        published: workload.published,
    }
}

/// The time by which single decisions of a workload are measured.
fn stamp(clock: &mut dyn Clock, workload: &Workload) -> u64 {
    let processor = if workload.is_long() { clock.processor() } else { None };
    processor.unwrap_or_else(|| clock.wall())
}

/// The next task of a workload, as it is asked for.
pub(super) type Next = (ClassId, Ask);

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts calls as time, so that the measuring itself can be tested.
    struct Ticks(u64);

    impl Clock for Ticks {
        fn wall(&mut self) -> u64 {
            self.0 += 1_000;
            self.0
        }

        fn processor(&mut self) -> Option<u64> {
            Some(self.0)
        }
    }

    /// A workload that cannot be placed measures refusals, which are cheap, and looks fast.
    #[test]
    fn every_workload_places_what_it_asks_for() {
        let plan = Plan { only: "", percent: 1, seed: 1 };
        for workload in &WORKLOADS {
            let goal = Goal::new(1, 1_000);
            let row = run(workload, (480, goal), plan, &mut Ticks(0));
            assert_eq!(row.refused, 0, "{}", workload.name);
            assert!(row.decisions >= 100 && row.passes(), "{row}");
        }
    }

    /// A bench that cannot fail guards nothing.
    #[test]
    fn a_goal_that_is_missed_is_a_failure() {
        let plan = Plan { only: "one array", percent: 1, seed: 1 };
        // By these ticks a decision takes three microseconds, too many for 500,000 a second.
        let mut lines = Vec::new();
        for (rate, p99, expected) in [(1, 1_000, "PASS"), (500_000, 1_000, "FAIL"), (1, 0, "FAIL")]
        {
            let row = run(&WORKLOADS[0], (480, Goal::new(rate, p99)), plan, &mut Ticks(0));
            assert_eq!(row.passes(), expected == "PASS", "{row}");
            assert!(row.to_string().contains(expected), "{row}");
        }
        assert!(measure(plan, &mut Ticks(0), &mut |line| lines.push(line.to_owned())));
        assert!(lines.iter().any(|line| line.starts_with("basic, one array")), "{lines:?}");
    }
}
