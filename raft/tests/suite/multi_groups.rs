//! Many groups on three nodes: one log, one parcel, silence, and a node that is gone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drystone_raft::runtime::{Channels, Group, MultiNode, NodeConfig};
use drystone_raft::store::GroupId;
use drystone_raft::{Config, Configuration, Refused, Role};
use drystone_vfs::{MemVfs, Vfs};

use crate::node_support::{Map, tick};

const NODES: u64 = 3;

struct Hosts {
    channels: Channels,
    disks: Vec<Arc<MemVfs>>,
    nodes: Vec<Option<MultiNode<Map>>>,
    /// By group, by node.
    groups: Vec<Vec<(Group<Map>, Map)>>,
}

impl Hosts {
    async fn new(count: u64) -> Hosts {
        let mut hosts = Hosts {
            channels: Channels::new(),
            disks: (0..NODES).map(|_| Arc::new(MemVfs::new())).collect(),
            nodes: Vec::new(),
            groups: (0..count).map(|_| Vec::new()).collect(),
        };
        for at in 0..NODES {
            let node = hosts.spawn(at);
            for (id, group) in (0..count).map(GroupId).zip(&mut hosts.groups) {
                let map = Map::default();
                group.push((node.start(id, map.clone()).await.unwrap(), map));
            }
            hosts.nodes.push(Some(node));
        }
        for (at, group) in hosts.groups.iter().enumerate() {
            group[at % 3].0.campaign().await.unwrap();
        }
        hosts
    }

    fn spawn(&self, at: u64) -> MultiNode<Map> {
        let id = at + 1;
        let mut config = NodeConfig::new(id, Configuration::voters(1..=NODES));
        config.raft = Config::new(1000);
        config.raft.quiesce_after = Some(1000);
        config.shards = 2;
        config.store.wal = config.store.wal.writer(drystone_wal::Writer::Caller);
        let disk = Arc::clone(&self.disks[at as usize]) as Arc<dyn Vfs>;
        MultiNode::spawn(config, disk, Path::new("raft"), self.channels.join(id)).unwrap()
    }

    /// Proposes to whichever of `nodes` leads the group.
    async fn put(&self, group: usize, nodes: &[usize], command: &str) -> u64 {
        loop {
            for at in nodes {
                let proposed = self.groups[group][*at].0.propose(Bytes::from(command.to_owned()));
                match proposed.await {
                    Ok(reply) => return reply,
                    Err(Refused::Stopped) => panic!("node {at} has stopped"),
                    Err(_) => {}
                }
            }
            tick().await;
        }
    }
}

/// A thousand groups are a thousand logs, elections and state machines, on one log and few tasks:
/// each takes commands, keeps them apart from the others', and has them after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousand_groups_share_a_node() {
    let count = 1000;
    let mut hosts = Hosts::new(count as u64).await;
    for group in 0..count {
        assert_eq!(hosts.put(group, &[0, 1, 2], &format!("k={group}")).await, 0, "group {group}");
    }
    let killed = hosts.nodes[0].take().unwrap();
    hosts.channels.leave(1);
    killed.kill().await;
    // Those that it led go on with another leader, although nobody may have been listening.
    for group in (0..count).step_by(7) {
        assert_eq!(hosts.put(group, &[1, 2], "l=2").await, 1, "group {group}");
    }
    let node = hosts.spawn(0);
    assert_eq!(node.groups().len(), count, "all are on the disk");
    let mut maps = Vec::new();
    for group in 0..count {
        let map = Map::default();
        node.start(GroupId(group as u64), map.clone()).await.unwrap();
        maps.push(map);
    }
    for (group, map) in maps.iter().enumerate() {
        let wanted = if group % 7 == 0 { 2 } else { 1 };
        while map.state.lock().applied < wanted {
            // A group that is silent says nothing by itself: a command wakes it.
            hosts.put(group, &[1, 2], "m=3").await;
            tick().await;
        }
        assert_eq!(map.state.lock().map["k"], group.to_string());
    }
}

/// Silence costs nothing, and is not deafness: when a node is gone, the groups that it led elect
/// others without being asked.
#[tokio::test(start_paused = true)]
async fn silent_groups_notice_that_a_node_is_gone() {
    let mut hosts = Hosts::new(30).await;
    for group in 0..30 {
        hosts.put(group, &[0, 1, 2], "k=1").await;
    }
    // Long enough for all to fall silent.
    tokio::time::advance(Duration::from_secs(1)).await;
    for _ in 0..1000 {
        tick().await;
    }
    let killed = hosts.nodes[0].take().unwrap();
    // Nobody is told: it just says nothing any more.
    killed.kill().await;
    let leads = async |group: usize| {
        for at in [1, 2] {
            let status = hosts.groups[group][at].0.status().await.unwrap();
            if status.role == Role::Leader {
                return true;
            }
        }
        false
    };
    for group in 0..30 {
        let mut ticks = 0;
        while !leads(group).await {
            tick().await;
            ticks += 1;
            assert!(ticks < 2000, "group {group} has no leader after ten seconds");
        }
    }
}
