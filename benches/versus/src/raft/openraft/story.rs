//! What openraft does when nodes die and wires break, in a time of its own.
//!
//! tokio's clock stands still while a task has something to do, and jumps to the next timer when
//! none has. A tick is 100 ms of it. Everything runs on one thread, and what is drawn follows from
//! a seed, so a run can be repeated.
//!
//! A follower waits for as long as its greatest election timeout, the leader's lease, before it
//! begins to count a drawn one. So that its patience ends where that of the others does, at 2 E, it
//! is given half of their timeouts, `E / 2` to `E`, in the proportion of its defaults. Heartbeats
//! come every three ticks: a call may take no longer than until the next one, and here takes two.
//! Pre-vote is on, and so is what it has for check-quorum, at its quickest: a leader without a
//! quorum falls silent for a time, but goes on to lead.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use openraft::async_runtime::WatchReceiver as _;
use openraft::{Config, ReadPolicy, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep_until};

use super::store::Machine;
use super::tasks::nodes;
use super::wire::{Net, Weather};
use super::{NAME, Node, Put, runtime};
use crate::raft::cluster::{Cluster, Wires};
use crate::raft::replica::{ELECTION_TICKS, Payload, Reads, Shape};

/// A tick.
const TICK: Duration = Duration::from_millis(100);

/// Ticks between two heartbeats.
const HEARTBEAT: u64 = 3;

/// A group in a time of its own.
pub struct Story {
    runtime: Runtime,
    net: Arc<Net>,
    nodes: Vec<Node>,
    machines: Vec<Machine>,
    began: Instant,
    now: u64,
    random: ChaCha8Rng,
}

impl Story {
    fn weather(&self) -> &Weather {
        self.net.weather.as_ref().expect("a story has weather")
    }
}

fn config() -> Config {
    let tick = u64::try_from(TICK.as_millis()).expect("a tick is short");
    Config {
        election_timeout_min: tick * ELECTION_TICKS / 2,
        election_timeout_max: tick * ELECTION_TICKS,
        heartbeat_interval: tick * HEARTBEAT,
        quorum_loss_probe_interval: Some(tick * 2 * ELECTION_TICKS),
        enable_pre_vote: Some(true),
        snapshot_policy: SnapshotPolicy::Never,
        ..Config::default()
    }
}

impl Cluster for Story {
    const NAME: &'static str = NAME;

    fn start(shape: Shape, delay: u64, seed: u64) -> Result<Story> {
        runtime::begin_with(seed);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let voters = usize::try_from(shape.voters)?;
        let weather = Weather {
            delay: TICK * u32::try_from(delay)?,
            wires: Mutex::new(Wires::new(voters)),
            dead: Mutex::new(vec![false; voters]),
        };
        let (net, nodes, machines) =
            runtime.block_on(nodes(shape.voters, config(), Some(weather)))?;
        let began = runtime.block_on(async { Instant::now() });
        let random = ChaCha8Rng::seed_from_u64(seed);
        Ok(Story { runtime, net, nodes, machines, began, now: 0, random })
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn random(&mut self) -> &mut ChaCha8Rng {
        &mut self.random
    }

    fn leaders(&self) -> Vec<(usize, u64)> {
        let dead = self.weather().dead.lock();
        let leads = |(place, node): (usize, &Node)| {
            let metrics = node.server_metrics();
            let metrics = metrics.borrow_watched();
            let leads = metrics.state == ServerState::Leader && !dead[place];
            leads.then_some((place, metrics.vote.leader_id.term))
        };
        self.nodes.iter().enumerate().filter_map(leads).collect()
    }

    fn word_max(&self) -> u64 {
        let dead = self.weather().dead.lock();
        let alive = self.machines.iter().zip(&*dead).filter(|(_, dead)| !**dead);
        alive.map(|(machine, _)| machine.applied().word_max).max().unwrap_or(0)
    }

    fn tick(&mut self) -> Result<()> {
        self.now += 1;
        let until = self.began + TICK * u32::try_from(self.now)?;
        self.runtime.block_on(async { sleep_until(until).await });
        Ok(())
    }

    fn propose(&mut self, place: usize, payloads: &[Payload]) -> Result<()> {
        for payload in payloads {
            let put = self.nodes[place].client_write_ff(Put(*payload), None);
            self.runtime.block_on(put).context("proposing")?;
        }
        Ok(())
    }

    fn crash(&mut self, place: usize) -> Result<()> {
        self.weather().dead.lock()[place] = true;
        let stopped = self.runtime.block_on(self.nodes[place].shutdown());
        stopped.context("stopping a node")
    }

    fn cut(&mut self, change: impl FnOnce(&mut Wires, &mut ChaCha8Rng)) {
        let weather = self.net.weather.as_ref().expect("a story has weather");
        change(&mut weather.wires.lock(), &mut self.random);
    }
}

/// A node holds what connects it to the others, and is held by it.
impl Drop for Story {
    fn drop(&mut self) {
        self.net.nodes.lock().clear();
    }
}

/// Messages between three nodes for so many reads at their leader, which arrive at once.
///
/// # Errors
/// If a read is not answered.
pub fn reads(reads: Reads, count: u64) -> Result<u64> {
    let mut group = Story::start(Shape::of(3), 0, 1)?;
    let leader = group.elect()?;
    let policy = match reads {
        Reads::Index => ReadPolicy::ReadIndex,
        Reads::Lease => ReadPolicy::LeaseRead,
    };
    group.propose(leader, &[Payload { number: 1, word: 0 }])?;
    group.tick()?;
    let calls = group.net.calls.load(Relaxed);
    let node = &group.nodes[leader];
    let answered = group.runtime.block_on(async {
        let began = Instant::now();
        let mut tasks = Vec::new();
        for _ in 0..count {
            let (node, policy) = (node.clone(), policy.clone());
            tasks.push(tokio::spawn(async move { node.ensure_linearizable(policy).await }));
        }
        let mut answered = 0;
        for task in tasks {
            answered += u64::from(task.await?.is_ok());
        }
        ensure!(began.elapsed().is_zero(), "{NAME}: a heartbeat may have come between");
        Ok(answered)
    })?;
    ensure!(answered == count, "{NAME}: {answered} of {count} reads were answered");
    Ok(2 * (group.net.calls.load(Relaxed) - calls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::failover::{Failover, failover};

    /// A run that cannot be repeated cannot be looked into.
    #[test]
    fn the_same_seed_takes_as_long_again() {
        let plan = Failover { voters: 3, delay: 1 };
        let all = |_| (0..10).map(|seed| failover::<Story>(plan, seed).unwrap()).collect();
        let [first, again]: [Vec<_>; 2] = [0, 1].map(all);
        assert_eq!(first, again);
        assert!(first.iter().all(Option::is_some), "{first:?}");
    }
}
