//! Runs that are worth looking at: what is done to a cluster, when, and all that it says of it.
//!
//! The other questions end in a figure. A story ends in a [`Chronicle`], from which a picture is
//! drawn: so a newcomer sees at one glance what a crash, a partition or a storm is like.

use drystone_sim::{NodeId, Rate, Shape};

use super::bootstrap::SEEDS;
use crate::chronicle::Chronicle;
use crate::cluster::{Cluster, Setup};
use crate::gossiper::{Gossiper, Order};
use crate::nemesis::{Nemesis, Storm};
use crate::truth::Standing;
use crate::watch::Watch;
use crate::{MILLISECOND, SECOND};

/// What is told; `membership-sim draw --scenario` knows each by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Plot {
    /// All join at once, through three seeds.
    Bootstrap,
    /// One in a hundred crashes, and comes back at half time.
    Crash,
    /// The cluster falls into halves until half time.
    Partition,
    /// 40 % of all datagrams are lost until two thirds of the time.
    Loss,
    /// One in eight is blocked again and again until two thirds of the time, for 16 s each.
    Anomaly,
    /// One in a hundred hears nobody by turns of 20 s until two thirds of the time.
    FlipFlop,
    /// Everything at once until half time.
    Chaos,
}

/// When the first thing is done.
const FIRST: u64 = 10 * SECOND;

/// A cluster whose story is being told.
struct Stage<G: Gossiper> {
    cluster: Cluster<G>,
    chronicle: Chronicle,
    begin: u64,
    /// How long it is from one look at who is right to the next.
    sample: u64,
    /// Who acts meanwhile, while there is a storm.
    nemesis: Option<Nemesis>,
}

impl<G: Gossiper> Stage<G> {
    /// Runs until so long after the begin.
    fn until(&mut self, at: u64) {
        let end = self.begin + at;
        while self.cluster.now() < end {
            let next = end.min(self.cluster.now() + self.sample);
            let watches: &mut [&mut dyn Watch] = &mut [&mut self.chronicle];
            match &mut self.nemesis {
                Some(nemesis) => nemesis.run_until(&mut self.cluster, next, watches),
                None => self.cluster.run_until(next, watches),
            }
            self.chronicle.sample(&self.cluster);
        }
    }

    fn mark(&mut self, text: impl Into<String>) {
        self.chronicle.mark(self.cluster.now(), text);
    }

    /// How long it has been going on.
    fn elapsed(&self) -> u64 {
        self.cluster.now() - self.begin
    }

    /// One in so many members, at least one.
    fn one_in(&mut self, parts: usize) -> Vec<NodeId> {
        let all = self.cluster.world().ids().len();
        self.cluster.some((all / parts).max(1))
    }

    fn trouble(&mut self, victims: &[NodeId]) {
        victims.iter().for_each(|node| self.cluster.set_standing(*node, Standing::Troubled));
    }

    fn relieve(&mut self, victims: &[NodeId]) {
        victims.iter().for_each(|node| self.cluster.set_standing(*node, Standing::Healthy));
    }
}

/// Tells a story of so many seconds.
pub fn story<G: Gossiper>(
    setup: &Setup<G::Config>,
    seed: u64,
    plot: Plot,
    seconds: u64,
) -> Chronicle {
    let cluster = match plot {
        Plot::Bootstrap => Cluster::<G>::cold(setup, seed, SEEDS, SECOND),
        _ => Cluster::warm(setup, seed),
    };
    let length = seconds * SECOND;
    let (begin, chronicle) = (cluster.now(), Chronicle::from(&cluster));
    let sample = (length / 480).max(250 * MILLISECOND);
    let mut stage = Stage { cluster, chronicle, begin, sample, nemesis: None };
    stage.chronicle.sample(&stage.cluster);
    match plot {
        Plot::Bootstrap => stage.mark("all join"),
        Plot::Crash => crash(&mut stage, length),
        Plot::Partition => partition(&mut stage, length),
        Plot::Loss => loss(&mut stage, setup.loss, length),
        Plot::Anomaly => anomaly(&mut stage, length),
        Plot::FlipFlop => flip_flop(&mut stage, length),
        Plot::Chaos => chaos(&mut stage, length),
    }
    stage.until(length);
    stage.chronicle
}

fn crash<G: Gossiper>(stage: &mut Stage<G>, length: u64) {
    stage.until(FIRST);
    let victims = stage.one_in(100);
    victims.iter().for_each(|node| stage.cluster.crash(*node));
    stage.mark(count(victims.len(), "crashes", "crash"));
    stage.until(length / 2);
    let others = stage.cluster.some(SEEDS);
    for node in &victims {
        stage.cluster.restart(*node);
        stage.cluster.order(*node, Order::Join(others.iter().copied().collect()));
    }
    stage.mark(count(victims.len(), "joins", "join"));
}

fn partition<G: Gossiper>(stage: &mut Stage<G>, length: u64) {
    stage.until(FIRST);
    let mut one = stage.cluster.some(usize::MAX);
    let other = one.split_off(one.len() / 2);
    stage.cluster.world_mut().partition(&Shape::Groups(vec![one, other]));
    stage.mark("cut in halves");
    stage.until(length / 2);
    stage.cluster.world_mut().partition(&Shape::Whole);
    stage.mark("whole again");
}

fn loss<G: Gossiper>(stage: &mut Stage<G>, usual: Rate, length: u64) {
    stage.until(FIRST);
    stage.cluster.set_loss(Rate::percent(40));
    stage.mark("40 % are lost");
    stage.until(length * 2 / 3);
    stage.cluster.set_loss(usual);
    stage.mark("none is lost");
}

fn anomaly<G: Gossiper>(stage: &mut Stage<G>, length: u64) {
    stage.until(FIRST);
    let victims = stage.one_in(8);
    let end = length * 2 / 3;
    while stage.elapsed() < end {
        victims.iter().for_each(|node| stage.cluster.block(*node));
        stage.mark(count(victims.len(), "is blocked", "are blocked"));
        stage.until(end.min(stage.elapsed() + 16_384 * MILLISECOND));
        victims.iter().for_each(|node| stage.cluster.unblock(*node));
        stage.until(stage.elapsed() + 64 * MILLISECOND);
    }
    stage.relieve(&victims);
    stage.mark("no more blocks");
}

fn flip_flop<G: Gossiper>(stage: &mut Stage<G>, length: u64) {
    stage.until(FIRST);
    let victims = stage.one_in(100);
    stage.trouble(&victims);
    let end = length * 2 / 3;
    while stage.elapsed() < end {
        turn(stage, &victims, true);
        stage.mark(count(victims.len(), "is deaf", "are deaf"));
        stage.until(end.min(stage.elapsed() + 20 * SECOND));
        turn(stage, &victims, false);
        stage.mark("all hear");
        stage.until(stage.elapsed() + 20 * SECOND);
    }
    stage.relieve(&victims);
}

/// Cuts or mends every link to the victims.
fn turn<G: Gossiper>(stage: &mut Stage<G>, victims: &[NodeId], deaf: bool) {
    let network = stage.cluster.world_mut().network_mut();
    for to in victims {
        for from in network.ids().filter(|from| from != to) {
            match deaf {
                true => network.cut(from, *to),
                false => network.mend(from, *to),
            }
        }
    }
}

fn chaos<G: Gossiper>(stage: &mut Stage<G>, length: u64) {
    stage.until(FIRST);
    stage.nemesis = Some(Nemesis::new(Storm::usual(), &stage.cluster));
    stage.mark("the storm begins");
    stage.until(length / 2);
    if let Some(mut nemesis) = stage.nemesis.take() {
        nemesis.heal(&mut stage.cluster);
        let done = nemesis.done();
        let sum = done.crashes + done.leaves + done.blocks + done.flip_flops + done.weather;
        let harm = done.harm;
        let sum = sum + harm.pauses + harm.partitions + harm.bad_links + harm.drifts + harm.jumps;
        stage.mark(format!("after {sum} troubles it is over"));
    }
}

fn count(number: usize, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;
    use drystone_membership::Config;

    use super::*;
    use crate::ours::Drystone;

    fn told(plot: Plot) -> Chronicle {
        story::<Drystone>(&Setup::new(16, Config::lan()), 1, plot, 90)
    }

    // A picture that leaves out what was done, or what came of it, explains nothing.
    #[test]
    fn a_story_has_what_was_done_and_what_was_said_of_it() {
        let crash = told(Plot::Crash);
        let marks: Vec<&str> = crash.marks().iter().map(|(_, text)| &text[..]).collect();
        assert_eq!(marks, ["1 crashes", "1 joins"]);
        let said: u64 = crash.seconds().iter().map(|second| second.true_downs).sum();
        assert_eq!(said, 15, "each of the others says so once");
        let shares = crash.convergence().samples();
        assert!(shares.iter().any(|(_, share)| *share < 0.1), "nobody knows at first");
        assert!((shares[shares.len() - 1].1 - 1.0).abs() < 1e-9, "in the end all do");
    }

    // Each plot begins well and ends well, or what is drawn is a bug and not a story.
    #[test]
    fn every_story_ends_well() {
        for plot in Plot::value_variants() {
            let told = told(*plot);
            let last = told.convergence().samples().last().map(|(_, share)| *share);
            assert_eq!(last, Some(1.0), "{plot:?}");
            assert!(!told.marks().is_empty(), "{plot:?}");
        }
    }
}
