//! This project's runtime: three nodes and their clients, on tokio's threads.
//!
//! Each has its log in our write-ahead log, on a disk in memory: records are encoded, checksummed
//! and read by nobody, as they would be on a real one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use drystone_raft::runtime::{Channels, Group, Node, NodeConfig, SnapshotJob, StateMachine};
use drystone_raft::{Configuration, Index, Role};
use drystone_vfs::MemVfs;
use drystone_wal::Writer;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use super::Ours;
use crate::cost::Meters;
use crate::raft::replica::{Applied, Payload, Replica as _};
use crate::raft::service::Service;
use crate::raft::throughput::Sample;

/// How often one looks whether something has happened that nobody tells.
const LOOK: Duration = Duration::from_millis(1);

/// How often one looks before something is wrong.
const LOOKS_MAX: usize = 60_000;

/// What a node has applied; clones are handles to the same.
#[derive(Clone, Default)]
struct Machine(Arc<Mutex<Applied>>);

impl StateMachine for Machine {
    type Reply = ();

    fn apply(&mut self, _: Index, command: &Bytes) {
        self.0.lock().take(command);
    }

    fn snapshot(&mut self) -> SnapshotJob {
        Box::new(|_| Err(std::io::Error::other("this comparison takes no snapshots")))
    }

    fn restore(&mut self, _: &mut dyn std::io::Read) -> std::io::Result<()> {
        Err(std::io::Error::other("this comparison takes no snapshots"))
    }
}

/// Three nodes in one process, in real time.
pub struct Nodes {
    runtime: Runtime,
    nodes: Vec<Node<Machine>>,
    machines: Vec<Machine>,
    leader: Group<Machine>,
    expected: Applied,
}

/// The leader, once it has committed all that it has.
async fn leader(nodes: &[Node<Machine>]) -> Result<Group<Machine>> {
    for _ in 0..LOOKS_MAX {
        for node in nodes {
            let status = node.group().status().await?;
            if status.role == Role::Leader && status.commit == status.last.index {
                return Ok(node.group().clone());
            }
        }
        sleep(LOOK).await;
    }
    anyhow::bail!("{}: nobody is elected", Ours::NAME)
}

impl Service for Nodes {
    const NAME: &'static str = Ours::NAME;

    fn start(workers: usize) -> Result<Nodes> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_time()
            .build()?;
        let machines: Vec<Machine> = (0..3).map(|_| Machine::default()).collect();
        let (nodes, leader) = runtime.block_on(async {
            let (channels, mut nodes) = (Channels::new(), Vec::new());
            for (id, machine) in (1..).zip(&machines) {
                let mut config = NodeConfig::new(id, Configuration::voters([1, 2, 3]));
                // No thread of its own, so that all the work is on the same two.
                config.store.wal = config.store.wal.writer(Writer::Caller);
                config.snapshot_entries = u64::MAX;
                config.snapshot_bytes = u64::MAX;
                let (disk, link) = (Arc::new(MemVfs::new()), channels.join(id));
                let node =
                    Node::spawn(config, disk, Path::new("raft"), link, machine.clone()).await?;
                nodes.push(node);
            }
            let leader = leader(&nodes).await?;
            anyhow::Ok((nodes, leader))
        })?;
        Ok(Nodes { runtime, nodes, machines, leader, expected: Applied::default() })
    }

    fn turn(&mut self, clients: u64, puts: u64) -> Result<Sample> {
        let (each, first) = (puts / clients, self.expected.count);
        for number in first + 1..=first + clients * each {
            self.expected.take(&Payload { number, word: 0 }.bytes());
        }
        let before = Meters::read()?;
        self.runtime.block_on(async {
            let mut tasks = Vec::new();
            for client in 0..clients {
                let leader = self.leader.clone();
                tasks.push(tokio::spawn(async move {
                    for i in 1..=each {
                        let number = first + client * each + i;
                        let payload = Payload { number, word: 0 };
                        leader.propose(Bytes::from_owner(payload.bytes())).await?;
                    }
                    anyhow::Ok(())
                }));
            }
            for task in tasks {
                task.await??;
            }
            // Followers may still be behind; the work is done when they are not.
            for _ in 0..LOOKS_MAX {
                if self.machines.iter().all(|it| it.0.lock().count >= self.expected.count) {
                    break;
                }
                sleep(LOOK).await;
            }
            anyhow::Ok(())
        })?;
        let cost = before.spent()?;
        for machine in &self.machines {
            let applied = *machine.0.lock();
            ensure!(applied == self.expected, "{applied:?} applied, not {:?}", self.expected);
        }
        // The channels do not tell how many messages they carried.
        Ok(Sample { entries: clients * each, messages: 0, cost })
    }

    fn stop(self) -> Result<()> {
        self.runtime.block_on(async {
            for node in self.nodes {
                node.shutdown().await.context("stopping a node")?;
            }
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
        let mut nodes = Nodes::start(2).unwrap();
        assert_eq!(nodes.turn(4, 400).unwrap().entries, 400);
        assert_eq!(nodes.turn(8, 80).unwrap().entries, 80);
        nodes.stop().unwrap();
    }
}
