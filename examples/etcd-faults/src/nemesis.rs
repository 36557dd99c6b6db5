//! Does to the cluster what the plan says.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::netem::Quality;
use crate::plan::{Family, Fault, Step, Victim};

/// What was done, and how often.
#[derive(Debug)]
pub(crate) struct Nemesis {
    /// How long the cluster may take to be well before a member is replaced, and after a restart.
    patience: Duration,
    /// Faults by kind.
    pub(crate) done: BTreeMap<Family, u32>,
    /// What could not be done, and why.
    pub(crate) failed: Vec<String>,
}

impl Nemesis {
    /// Nothing is done yet.
    pub(crate) fn new(patience: Duration) -> Nemesis {
        Nemesis { patience, done: BTreeMap::new(), failed: Vec::new() }
    }

    /// Performs one step of a plan. Says what it does.
    ///
    /// # Errors
    /// If a server cannot be started any more, or the network cannot be healed.
    pub(crate) async fn perform(&mut self, cluster: &mut Cluster, step: &Step) -> Result<()> {
        sleep(step.rest).await;
        for fault in &step.faults {
            match strike(cluster, fault, self.patience).await {
                Ok(()) => *self.done.entry(fault.family).or_default() += 1,
                Err(error) => self.failed.push(format!("{}: {error:#}", fault.family)),
            }
        }
        sleep(step.hold).await;
        cluster.heal()?;
        Ok(())
    }
}

async fn strike(cluster: &mut Cluster, fault: &Fault, patience: Duration) -> Result<()> {
    match fault.family {
        Family::Kill => {
            for slot in victims(cluster, fault).await {
                cluster.kill(slot);
            }
        }
        Family::Pause => {
            for slot in victims(cluster, fault).await {
                cluster.pause(slot, true);
            }
        }
        Family::Partition => {
            let minority = minority(cluster, fault).await;
            for (inside, outside) in across(cluster.count(), &minority) {
                cluster.network().cut(inside, outside)?;
                cluster.network().cut(outside, inside)?;
            }
        }
        Family::OneWay => {
            let minority = minority(cluster, fault).await;
            for (inside, outside) in across(cluster.count(), &minority) {
                let deaf = fault.dice.is_multiple_of(2);
                let (from, to) = if deaf { (outside, inside) } else { (inside, outside) };
                cluster.network().cut(from, to)?;
            }
        }
        Family::Slow => {
            let slow = victims(cluster, fault).await;
            cluster.network().worsen(&slow, quality(fault.dice))?;
        }
        Family::Disk => {
            for slot in victims(cluster, fault).await {
                cluster.fill_disk(slot)?;
            }
        }
        Family::Replace => {
            cluster.heal()?;
            cluster.wait_until_well(patience).await?;
            for slot in victims(cluster, fault).await {
                cluster.replace(slot).await?;
            }
            cluster.wait_until_well(patience).await?;
        }
        Family::Roll => {
            cluster.heal()?;
            for slot in 0..cluster.count() {
                cluster.wait_until_well(patience).await?;
                cluster.terminate(slot).await;
                cluster.start(slot)?;
            }
        }
    }
    Ok(())
}

/// How bad a line gets. Loss and rate show where the kernel makes it bad.
fn quality(dice: u64) -> Quality {
    let delay_ms = [5, 30, 100, 300][pick(dice, 4)];
    let loss_percent = [0, 0, 1, 10][pick(dice >> 24, 4)];
    let rate_kbit = [0, 0, 0, 1_000][pick(dice >> 32, 4)];
    Quality { delay_ms, jitter_ms: delay_ms, loss_percent, rate_kbit }
}

fn pick(dice: u64, count: usize) -> usize {
    let count = u64::try_from(count).expect("a count of a few");
    usize::try_from(dice % count).expect("less than a few")
}

/// Who it hits, as things are now. Without a known leader anyone counts as one.
async fn victims(cluster: &Cluster, fault: &Fault) -> Vec<usize> {
    let count = cluster.count();
    if count == 1 {
        return vec![0];
    }
    let anyone = pick(fault.dice >> 8, count);
    let leader = cluster.leader().await.unwrap_or(anyone);
    match fault.victim {
        Victim::Leader => vec![leader],
        Victim::Follower => vec![(leader + 1 + pick(fault.dice >> 8, count - 1)) % count],
        Victim::Most => (0..=count / 2).map(|step| (anyone + step) % count).collect(),
        Victim::All => (0..count).collect(),
    }
}

/// The smaller side of a partition: the victim, and with five members at times one more.
async fn minority(cluster: &Cluster, fault: &Fault) -> Vec<usize> {
    let mut side = victims(cluster, fault).await;
    side.truncate(1);
    let count = cluster.count();
    if count >= 5 && (fault.dice >> 20).is_multiple_of(2) {
        side.push((side[0] + 1) % count);
    }
    side
}

/// Every pair with one on either side.
fn across(count: usize, inside: &[usize]) -> Vec<(usize, usize)> {
    let outside = || (0..count).filter(|slot| !inside.contains(slot));
    inside.iter().flat_map(|one| outside().map(|other| (*one, other))).collect()
}
