//! Three nodes in one process: put a value, kill the leader, put another, read both.
//!
//! `cargo run -p drystone-raft --example hello`

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use drystone_raft::runtime::{Channels, Members, Node, NodeConfig, Shared, State};
use drystone_raft::{Configuration, Index, ReadMode};
use drystone_vfs::OsVfs;

/// The state that is replicated. A command is `key=value`.
#[derive(Clone, Debug, Default)]
struct Map(BTreeMap<String, String>);

impl State for Map {
    type Reply = Option<String>; // what was there before

    fn apply(&mut self, _: Index, command: &Bytes) -> Option<String> {
        let text = String::from_utf8_lossy(command);
        let (key, value) = text.split_once('=')?;
        self.0.insert(key.into(), value.into())
    }

    fn save(&self, out: &mut dyn Write) -> io::Result<()> {
        self.0.iter().try_for_each(|(key, value)| writeln!(out, "{key}={value}"))
    }

    fn load(from: &mut dyn Read) -> io::Result<Map> {
        let text = io::read_to_string(from)?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(Map(pairs.map(|(key, value)| (key.into(), value.into())).collect()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (network, folder) = (Channels::new(), tempfile::tempdir()?);
    let mut nodes = BTreeMap::new();
    for id in 1..=3 {
        let config = NodeConfig::new(id, Configuration::voters([1, 2, 3]));
        let (disk, dir) = (Arc::new(OsVfs::new()), folder.path().join(format!("node-{id}")));
        let map = Shared::new(Map::default());
        let node = Node::spawn(config, disk, &dir, network.join(id), map.clone()).await?;
        nodes.insert(id, (node, map));
    }
    let members: Members<_> = nodes.values().map(|(node, _)| node.group().clone()).collect();
    members.propose("stone=granite").await?;
    println!("stone=granite is on two disks at least, and its leader is killed");
    nodes.remove(&members.leader().await?).expect("one of the three").0.kill().await;
    members.propose("mortar=none").await?;
    for (node, map) in nodes.values() {
        node.read(ReadMode::Index).await?;
        println!("a survivor reads {:?}", *map.look());
    }
    Ok(())
}
