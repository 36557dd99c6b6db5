//! What becomes of members that are half reachable: figures 9 and 10 of the Rapid paper (§7.2).
//!
//! A member that answers every other minute is worse than one that is dead: whoever is told that it
//! is back starts to rely on it. The faulty ones should be removed by everybody, soon and for good,
//! and the healthy ones by nobody.

use drystone_sim::{Link, NodeId, Rate};

use crate::SECOND;
use crate::cluster::{Cluster, Setup};
use crate::gossiper::Gossiper;
use crate::truth::Standing;
use crate::watch::{Falsehood, Flaps, Watch};

/// What is done to one member in a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing reaches it for 20 s, then all does for 20 s, and so on (figure 9).
    FlipFlop,
    /// It loses 80 % of what is sent to it.
    LossIn,
    /// It loses 80 % of what it sends (figure 10).
    LossOut,
}

const FLIP: u64 = 20 * SECOND;

/// What became of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Rapid {
    /// Seconds until every healthy member had removed every faulty one at the same time; sampled
    /// each second, `None` if that never was so.
    pub removed_after: Option<f64>,
    /// The share of healthy views without a faulty member, at the end.
    pub removed_share: f64,
    /// Transitions that a healthy member reports of a faulty one, by minute.
    pub flaps_per_minute: f64,
    /// The most that any healthy member reported of any faulty one in the whole run.
    pub flaps_most: u64,
    /// Reports that a healthy member is down, by anybody.
    pub healthy_removed: u64,
    /// Those of them that healthy members made.
    pub healthy_removed_by_healthy: u64,
}

/// Hurts a hundredth of a warm cluster for so many seconds.
pub fn rapid<G: Gossiper>(
    setup: &Setup<G::Config>,
    seed: u64,
    fault: Fault,
    seconds: u64,
) -> Rapid {
    let mut cluster = Cluster::<G>::warm(setup, seed);
    let victims = cluster.some((setup.members / 100).max(1));
    for victim in &victims {
        cluster.set_standing(*victim, Standing::Troubled);
    }
    if fault != Fault::FlipFlop {
        lose(&mut cluster, &victims, fault);
    }
    let (mut flaps, mut falsehood) = (Flaps::default(), Falsehood::default());
    let from = cluster.now();
    let mut removed_after = None;
    for second in 0..seconds {
        if fault == Fault::FlipFlop && (second * SECOND).is_multiple_of(FLIP) {
            let deaf = (second * SECOND / FLIP).is_multiple_of(2);
            flip(&mut cluster, &victims, deaf);
        }
        let watches: &mut [&mut dyn Watch] = &mut [&mut flaps, &mut falsehood];
        cluster.run_until(from + (second + 1) * SECOND, watches);
        if removed_after.is_none() && removed_share(&cluster, &victims) >= 1.0 {
            removed_after = Some((second + 1) as f64);
        }
    }
    let observers = cluster.truth().all(Standing::Healthy).count();
    Rapid {
        removed_after,
        removed_share: removed_share(&cluster, &victims),
        flaps_per_minute: flaps.per_minute(&victims, observers, seconds as f64 / 60.0),
        flaps_most: flaps.most(&victims),
        healthy_removed: falsehood.about_healthy,
        healthy_removed_by_healthy: falsehood.at_healthy,
    }
}

/// Cuts or mends all links to the victims.
fn flip<G: Gossiper>(cluster: &mut Cluster<G>, victims: &[NodeId], deaf: bool) {
    let network = cluster.world_mut().network_mut();
    for to in victims {
        for from in network.ids().filter(|from| from != to) {
            match deaf {
                true => network.cut(from, *to),
                false => network.mend(from, *to),
            }
        }
    }
}

/// Lets the links to or from the victims lose most.
fn lose<G: Gossiper>(cluster: &mut Cluster<G>, victims: &[NodeId], fault: Fault) {
    let network = cluster.world_mut().network_mut();
    let bad = Link { loss: Rate::percent(80), ..network.usual().clone() };
    for victim in victims {
        for other in network.ids().filter(|other| other != victim) {
            match fault {
                Fault::LossOut => network.set_link(*victim, other, bad.clone()),
                _ => network.set_link(other, *victim, bad.clone()),
            }
        }
    }
}

/// Of the views that healthy members have, the share in which no victim is.
fn removed_share<G: Gossiper>(cluster: &Cluster<G>, victims: &[NodeId]) -> f64 {
    let (mut clean, mut all) = (0, 0_usize);
    for node in cluster.truth().all(Standing::Healthy) {
        let Some(member) = cluster.world().process(node) else { continue };
        all += 1;
        let found = member.gossiper().members().any(|other| victims.contains(&other));
        clean += usize::from(!found);
    }
    clean as f64 / all.max(1) as f64
}
