//! What openraft costs: three nodes and their clients, on tokio's threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use openraft::async_runtime::WatchReceiver as _;
use openraft::{Config, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use super::store::{Log, Machine};
use super::wire::{Exchange, Net, Weather};
use super::{NAME, Node, Put};
use crate::cost::Meters;
use crate::raft::replica::{Applied, Payload};
use crate::raft::service::Service;
use crate::raft::throughput::Sample;

/// Entries in a message at most, as in its own benchmark.
const MESSAGE_ENTRIES_MAX: u64 = 1024;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three nodes in one process, in real time.
pub struct Tasks {
    runtime: Runtime,
    nodes: Vec<Node>,
    machines: Vec<Machine>,
    net: Arc<Net>,
    expected: Applied,
}

/// So many nodes, which know each other and are about to elect the first.
pub(super) async fn nodes(
    voters: u64,
    config: Config,
    weather: Option<Weather>,
) -> Result<(Arc<Net>, Vec<Node>, Vec<Machine>)> {
    let config = Arc::new(config.validate()?);
    let net = Arc::new(Net { nodes: Mutex::new(Vec::new()), calls: AtomicU64::new(0), weather });
    let (mut all, mut machines) = (Vec::new(), Vec::new());
    for id in 1..=voters {
        let exchange = Exchange { net: Arc::clone(&net), from: id };
        let machine = Machine::default();
        let node =
            Node::new(id, Arc::clone(&config), exchange, Log::default(), machine.clone()).await?;
        all.push(node);
        machines.push(machine);
    }
    net.nodes.lock().clone_from(&all);
    all[0].initialize((1..=voters).collect::<std::collections::BTreeSet<_>>()).await?;
    Ok((net, all, machines))
}

impl Service for Tasks {
    const NAME: &'static str = NAME;

    fn start(workers: usize) -> Result<Tasks> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_time()
            .build()?;
        let config = Config {
            election_timeout_min: 200,
            election_timeout_max: 2000,
            max_payload_entries: MESSAGE_ENTRIES_MAX,
            snapshot_policy: SnapshotPolicy::Never,
            ..Config::default()
        };
        let (net, nodes, machines) = runtime.block_on(async {
            let made = nodes(3, config, None).await?;
            made.1[0].wait(Some(PATIENCE)).current_leader(1, "the first leads").await?;
            anyhow::Ok(made)
        })?;
        Ok(Tasks { runtime, nodes, machines, net, expected: Applied::default() })
    }

    fn turn(&mut self, clients: u64, puts: u64) -> Result<Sample> {
        let (each, first) = (puts / clients, self.expected.count);
        let calls = self.net.calls.load(Relaxed);
        let before = Meters::read()?;
        self.runtime.block_on(async {
            let mut tasks = Vec::new();
            for client in 0..clients {
                let leader = self.nodes[0].clone();
                tasks.push(tokio::spawn(async move {
                    for i in 1..=each {
                        let number = first + client * each + i;
                        leader.client_write(Put(Payload { number, word: 0 })).await?;
                    }
                    anyhow::Ok(())
                }));
            }
            for task in tasks {
                task.await??;
            }
            // Followers may still be behind; the work is done when they are not.
            let last = self.nodes[0].metrics().borrow_watched().last_log_index;
            for node in &self.nodes {
                let wait = node.wait(Some(PATIENCE));
                wait.applied_index_at_least(last, "all have applied all").await?;
            }
            anyhow::Ok(())
        })?;
        let cost = before.spent()?;
        for number in first + 1..=first + clients * each {
            self.expected.take(&Payload { number, word: 0 }.bytes());
        }
        for machine in &self.machines {
            let applied = machine.applied();
            ensure!(applied == self.expected, "{applied:?} applied, not {:?}", self.expected);
        }
        let messages = 2 * (self.net.calls.load(Relaxed) - calls);
        Ok(Sample { entries: clients * each, messages, cost })
    }

    fn stop(self) -> Result<()> {
        self.runtime.block_on(async {
            for node in &self.nodes {
                node.shutdown().await.context("stopping a node")?;
            }
            self.net.nodes.lock().clear();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts that nobody applied would be the fastest of all.
    #[test]
    fn all_puts_are_applied_by_all() {
        let mut tasks = Tasks::start(2).unwrap();
        let sample = tasks.turn(4, 400).unwrap();
        assert!(sample.entries == 400 && sample.messages >= 4, "{sample:?}");
        assert_eq!(tasks.turn(8, 80).unwrap().entries, 80);
        tasks.stop().unwrap();
    }
}
