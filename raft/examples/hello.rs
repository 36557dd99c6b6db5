//! Three nodes in one process: put a value, kill the leader, put another, read both.
//!
//! `cargo run -p drystone-raft --example hello`

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drystone_raft::runtime::{Channels, Node, NodeConfig, SnapshotJob, StateMachine};
use drystone_raft::{Configuration, Index, ReadMode};
use drystone_vfs::OsVfs;
use parking_lot::Mutex;

/// The state machine: a map, and a handle to the same map for whoever reads.
#[derive(Clone, Default)]
struct Map(Arc<Mutex<BTreeMap<String, String>>>);

impl StateMachine for Map {
    type Reply = Option<String>; // what was there before

    fn apply(&mut self, _: Index, command: Bytes) -> Option<String> {
        let text = String::from_utf8_lossy(&command);
        let (key, value) = text.split_once('=')?;
        self.0.lock().insert(key.into(), value.into())
    }

    fn snapshot(&mut self) -> SnapshotJob {
        let map = self.0.lock().clone();
        Box::new(move |out| map.iter().try_for_each(|(key, value)| writeln!(out, "{key}={value}")))
    }

    fn restore(&mut self, from: &mut dyn Read) -> std::io::Result<()> {
        let text = std::io::read_to_string(from)?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        *self.0.lock() = pairs.map(|(key, value)| (key.into(), value.into())).collect();
        Ok(())
    }
}

/// Proposes a command to one node after the other until the one that leads has it done.
async fn put(nodes: &[(Node<Map>, Map)], command: &'static str) -> usize {
    loop {
        for (at, (node, _)) in nodes.iter().enumerate() {
            if node.propose(command).await.is_ok() {
                return at;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (network, folder) = (Channels::new(), tempfile::tempdir()?);
    let mut nodes = Vec::new();
    for id in 1..=3 {
        let config = NodeConfig::new(id, Configuration::voters([1, 2, 3]));
        let (map, dir) = (Map::default(), folder.path().join(format!("node-{id}")));
        let (disk, link) = (Arc::new(OsVfs::new()), network.join(id));
        nodes.push((Node::spawn(config, disk, &dir, link, map.clone()).await?, map));
    }
    let leader = put(&nodes, "stone=granite").await;
    println!("stone=granite is on two disks at least, and its leader is killed");
    nodes.swap_remove(leader).0.kill().await;
    put(&nodes, "mortar=none").await;
    for (node, map) in &nodes {
        node.read(ReadMode::Index).await?;
        println!("a survivor reads {:?}", map.0.lock());
    }
    for (node, _) in nodes {
        node.shutdown().await?;
    }
    Ok(())
}
