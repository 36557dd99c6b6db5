//! Nodes in one process, and a state machine to look into.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use drystone_raft::runtime::{Channels, Group, Node, NodeConfig, SnapshotJob, StateMachine};
use drystone_raft::{Config, Configuration, Fault, Index, NodeId, Refused, Role};
use drystone_vfs::{MemVfs, Vfs};
use parking_lot::Mutex;

/// What a test looks into: the commands applied, in order, and a map that they make.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) map: BTreeMap<String, String>,
    pub(crate) applied: u64,
}

/// A map: `key=value` puts, and the reply is how many commands were applied before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Map {
    pub(crate) state: Arc<Mutex<State>>,
}

impl StateMachine for Map {
    type Reply = u64;

    fn apply(&mut self, _: Index, command: &Bytes) -> u64 {
        let mut state = self.state.lock();
        let text = String::from_utf8_lossy(command).into_owned();
        if let Some((key, value)) = text.split_once('=') {
            state.map.insert(key.to_owned(), value.to_owned());
        }
        state.applied += 1;
        state.applied - 1
    }

    fn snapshot(&mut self) -> SnapshotJob {
        let state = self.state.lock().clone();
        Box::new(move |out: &mut dyn Write| {
            writeln!(out, "{}", state.applied)?;
            state.map.iter().try_for_each(|(key, value)| writeln!(out, "{key}={value}"))
        })
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut text = String::new();
        from.read_to_string(&mut text)?;
        let mut lines = text.lines();
        let applied = lines.next().and_then(|line| line.parse().ok());
        let pairs = lines.filter_map(|line| line.split_once('='));
        let map = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        *self.state.lock() = State { map, applied: applied.ok_or(io::ErrorKind::InvalidData)? };
        Ok(())
    }
}

/// A group of nodes in one process, each with a disk of its own.
pub(crate) struct Cluster {
    pub(crate) channels: Channels,
    pub(crate) disks: BTreeMap<NodeId, Arc<dyn Vfs>>,
    pub(crate) nodes: BTreeMap<NodeId, (Node<Map>, Map)>,
    pub(crate) tune: fn(&mut NodeConfig),
}

pub(crate) const DIR: &str = "raft";

impl Cluster {
    /// One whose nodes are not started yet.
    pub(crate) fn of(ids: &[NodeId], tune: fn(&mut NodeConfig)) -> Cluster {
        let disk = |id: &NodeId| (*id, Arc::new(MemVfs::new()) as Arc<dyn Vfs>);
        let disks = ids.iter().map(disk).collect();
        Cluster { channels: Channels::new(), disks, nodes: BTreeMap::new(), tune }
    }

    pub(crate) async fn new(ids: &[NodeId], tune: fn(&mut NodeConfig)) -> Cluster {
        let mut cluster = Cluster::of(ids, tune);
        for id in ids {
            cluster.start(*id).await;
        }
        cluster
    }

    pub(crate) fn config(&self, id: NodeId) -> NodeConfig {
        let members = Configuration::voters(self.disks.keys().copied());
        let mut config = NodeConfig::new(id, members);
        config.raft = Config::new(200);
        // One thread does it all, so that the paused clock waits for the disk.
        config.store.wal = config.store.wal.writer(drystone_wal::Writer::Caller);
        (self.tune)(&mut config);
        config
    }

    pub(crate) async fn start(&mut self, id: NodeId) {
        let (link, map) = (self.channels.join(id), Map::default());
        let (disk, config) = (Arc::clone(&self.disks[&id]), self.config(id));
        let node = Node::spawn(config, disk, Path::new(DIR), link, map.clone()).await.unwrap();
        self.nodes.insert(id, (node, map));
    }

    pub(crate) async fn kill(&mut self, id: NodeId) {
        let (node, _) = self.nodes.remove(&id).unwrap();
        self.channels.leave(id);
        node.kill().await;
    }

    /// The node that leads, once one does and has its term's first entry committed.
    pub(crate) async fn leader(&self) -> NodeId {
        loop {
            for (id, (node, _)) in &self.nodes {
                let status = node.status().await.unwrap();
                if status.role == Role::Leader && status.last.index == status.commit {
                    return *id;
                }
            }
            tick().await;
        }
    }

    pub(crate) fn group(&self, id: NodeId) -> &Group<Map> {
        self.nodes[&id].0.group()
    }

    pub(crate) fn map(&self, id: NodeId) -> &Map {
        &self.nodes[&id].1
    }

    /// Proposes until it is done, wherever that is.
    pub(crate) async fn put(&self, command: &str) -> u64 {
        loop {
            let leader = self.leader().await;
            match self.group(leader).propose(command.to_owned()).await {
                Ok(reply) => return reply,
                Err(Refused::Stopped) => panic!("node {leader} has stopped"),
                Err(_) => tick().await,
            }
        }
    }

    /// Starts a node, and kills it again once it has applied as many commands, or its disk has
    /// failed, or nothing more comes of it. Says whether it got so far.
    pub(crate) async fn has_come_up(&mut self, id: NodeId, count: u64) -> bool {
        let (link, map, failed) = (self.channels.join(id), Map::default(), Arc::default());
        let flag: Arc<AtomicBool> = Arc::clone(&failed);
        let config = self.config(id).on_fault(move |_, fault| {
            flag.fetch_or(*fault == Fault::Storage, Ordering::Relaxed);
        });
        let disk = Arc::clone(&self.disks[&id]);
        let spawned = Node::spawn(config, disk, Path::new(DIR), link, map.clone()).await;
        let mut up = false;
        if let Ok(node) = spawned {
            for _ in 0..200 {
                tick().await;
                up = map.state.lock().applied >= count;
                if up || failed.load(Ordering::Relaxed) {
                    break;
                }
            }
            node.kill().await;
        }
        self.channels.leave(id);
        up
    }

    /// Waits until a node has applied as many commands.
    pub(crate) async fn applied(&self, id: NodeId, count: u64) {
        while self.map(id).state.lock().applied < count {
            tick().await;
        }
    }
}

/// Lets a little of the clock's time pass; a clock that is paused stands still while anything else
/// can happen.
pub(crate) async fn tick() {
    let mut interval = tokio::time::interval(std::time::Duration::from_millis(5));
    interval.tick().await;
    interval.tick().await;
}
