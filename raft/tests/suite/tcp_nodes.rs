//! Nodes whose peers are reached over TCP.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use drystone_raft::runtime::tcp::{RefusalKind, Tcp, TcpConfig};
use drystone_raft::runtime::{Group, Node, NodeConfig};
use drystone_raft::{Config, Configuration, NodeId, ReadMode, Role};
use drystone_vfs::{MemVfs, Vfs};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::node_support::{Map, tick};

const CLUSTER: u64 = 0x7c9;
const IDS: [NodeId; 3] = [1, 2, 3];

struct Seat {
    node: Node<Map>,
    map: Map,
    tcp: Tcp,
}

/// Three nodes that find each other on ports of this machine.
struct Cluster {
    disks: BTreeMap<NodeId, Arc<dyn Vfs>>,
    addresses: BTreeMap<NodeId, String>,
    seats: BTreeMap<NodeId, Seat>,
    /// How long without a leader until somebody stands, in milliseconds.
    patience: u64,
}

impl Cluster {
    async fn new(patience: u64) -> Cluster {
        let disk = |id: NodeId| (id, Arc::new(MemVfs::new()) as Arc<dyn Vfs>);
        let disks = IDS.into_iter().map(disk).collect();
        let (addresses, seats) = (BTreeMap::new(), BTreeMap::new());
        let mut cluster = Cluster { disks, addresses, seats, patience };
        for id in IDS {
            cluster.start(id).await;
        }
        cluster
    }

    /// Starts a node, on the port where it was before, and lets all know where it is.
    async fn start(&mut self, id: NodeId) {
        let free = "127.0.0.1:0".to_owned();
        let at = self.addresses.get(&id).unwrap_or(&free).clone();
        let (tcp, inbound) = loop {
            match Tcp::bind(&at, TcpConfig::new(CLUSTER, id)).await {
                Ok(bound) => break bound,
                // The one before has not let go of it yet.
                Err(_) => tick().await,
            }
        };
        self.addresses.insert(id, tcp.local_addr().to_string());
        for seat in self.seats.values() {
            seat.tcp.peer(id, self.addresses.get(&id).cloned());
        }
        for (other, address) in &self.addresses {
            tcp.peer(*other, Some(address.clone()));
        }
        let mut config = NodeConfig::new(id, Configuration::voters(IDS));
        config.raft = Config::new(self.patience);
        config.snapshot_entries = 20;
        config.kept_entries = 5;
        config.kept_entries_max = 50;
        let (map, disk) = (Map::default(), Arc::clone(&self.disks[&id]));
        let link = tcp.link(inbound);
        let node = Node::spawn(config, disk, Path::new("raft"), link, map.clone()).await.unwrap();
        self.seats.insert(id, Seat { node, map, tcp });
    }

    async fn kill(&mut self, id: NodeId) {
        let seat = self.seats.remove(&id).unwrap();
        drop(seat.tcp);
        seat.node.kill().await;
    }

    async fn leader(&self) -> NodeId {
        loop {
            for (id, seat) in &self.seats {
                let status = seat.node.status().await.unwrap();
                if status.role == Role::Leader && status.last.index == status.commit {
                    return *id;
                }
            }
            tick().await;
        }
    }

    fn group(&self, id: NodeId) -> &Group<Map> {
        self.seats[&id].node.group()
    }

    async fn put(&self, command: &str) {
        loop {
            let leader = self.leader().await;
            if self.group(leader).propose(command.to_owned()).await.is_ok() {
                return;
            }
            tick().await;
        }
    }

    async fn has(&self, id: NodeId, key: &str) {
        while !self.seats[&id].map.state.lock().map.contains_key(key) {
            tick().await;
        }
    }
}

/// The whole of it: sockets, disks and cores carry a group past the death of its leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_over_tcp_outlive_their_leader() {
    let mut cluster = Cluster::new(200).await;
    cluster.put("a=1").await;
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    cluster.put("b=2").await;
    cluster.start(leader).await;
    cluster.put("c=3").await;
    for id in IDS {
        for key in ["a", "b", "c"] {
            cluster.has(id, key).await;
        }
    }
}

/// Scenario 40: a snapshot travels on a connection of its own, to a node that was away for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_fetches_a_snapshot_over_tcp() {
    let mut cluster = Cluster::new(200).await;
    let leader = cluster.leader().await;
    let away = IDS.into_iter().find(|id| *id != leader).unwrap();
    cluster.put("first=1").await;
    cluster.kill(away).await;
    let mut count = 0;
    loop {
        cluster.put(&format!("k{count}={}", "v".repeat(1_000))).await;
        count += 1;
        let leader = cluster.leader().await;
        if cluster.group(leader).status().await.unwrap().base.index.0 > 60 {
            break;
        }
    }
    cluster.start(away).await;
    cluster.put("last=1").await;
    cluster.has(away, "last").await;
    let leader = cluster.leader().await;
    cluster.group(leader).read(ReadMode::Index).await.unwrap();
    let whole = cluster.seats[&leader].map.state.lock().map.clone();
    assert_eq!(cluster.seats[&away].map.state.lock().map, whole);
    let fetched = cluster.seats[&away].tcp.metrics().snapshot_bytes_received;
    assert!(fetched > 20_000, "{fetched} bytes of a snapshot came over the network");
}

/// Hostile bytes on every peer port: an error, a counter, and a group that notices nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bytes_change_no_state() {
    // Nobody is to stand because the machine is busy.
    let cluster = Cluster::new(1_500).await;
    cluster.put("a=1").await;
    let leader = cluster.leader().await;
    let term = cluster.group(leader).status().await.unwrap().hard.term;
    for round in 0..50_u8 {
        for address in cluster.addresses.values() {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let noise: Vec<u8> = (0..200).map(|at: u8| at.wrapping_mul(31) ^ round).collect();
            let bytes = if round % 2 == 0 { [b"dryraft\n", &noise[..]].concat() } else { noise };
            let _ = socket.write_all(&bytes).await;
        }
        cluster.put(&format!("k{round}=1")).await;
    }
    for (id, seat) in &cluster.seats {
        while seat.tcp.metrics().refused(RefusalKind::Foreign) < 50 {
            tick().await;
        }
        let status = seat.node.status().await.unwrap();
        assert_eq!(status.hard.term, term, "node {id} saw no election");
    }
    assert_eq!(cluster.leader().await, leader);
}
