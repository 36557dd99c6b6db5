//! One group in one process: proposals, reads, restarts, handing over, changes.

use drystone_raft::{Change, ReadMode, Refused};

use crate::node_support::{Cluster, tick};

/// The front door: what was acknowledged is in every state machine, and reads see it.
#[tokio::test(start_paused = true)]
async fn acknowledged_is_applied_everywhere() {
    let cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    for i in 0..20 {
        assert_eq!(cluster.put(&format!("k{i}=v{i}")).await, i, "replies are the machine's own");
    }
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    for (id, mode) in
        [(leader, ReadMode::Index), (follower, ReadMode::Index), (leader, ReadMode::Log)]
    {
        cluster.group(id).read(mode).await.unwrap();
        assert_eq!(cluster.map(id).state.lock().map["k19"], "v19", "node {id} {mode:?}");
    }
    let elsewhere = cluster.group(follower).propose("x=y").await;
    assert_eq!(elsewhere, Err(Refused::NotLeader(Some(leader))));
}

/// Scenario 45 at the edge: a leader that is killed takes nothing with it that was acknowledged,
/// and comes back as a follower that has it all.
#[tokio::test(start_paused = true)]
async fn killed_leader_loses_nothing() {
    let mut cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    for round in 0..3 {
        cluster.put(&format!("a{round}=1")).await;
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        cluster.put(&format!("b{round}=2")).await;
        cluster.start(leader).await;
        cluster.applied(leader, 2 * round + 2).await;
        let map = cluster.map(leader).state.lock().map.clone();
        assert_eq!(map[&format!("b{round}")], "2", "round {round}");
    }
}

/// All at once: the log alone brings back what was acknowledged.
#[tokio::test(start_paused = true)]
async fn group_comes_back_from_its_disks() {
    let mut cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    for i in 0..50 {
        cluster.put(&format!("k{i}=v{i}")).await;
    }
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    for id in 1..=3 {
        cluster.start(id).await;
    }
    assert_eq!(cluster.put("last=1").await, 50);
    for id in 1..=3 {
        cluster.applied(id, 51).await;
        assert_eq!(cluster.map(id).state.lock().map.len(), 51);
    }
}

/// A node that is asked to go hands over first: nobody waits for a timeout.
#[tokio::test(start_paused = true)]
async fn shutdown_hands_over() {
    let mut cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    cluster.put("a=1").await;
    let leader = cluster.leader().await;
    let handle = cluster.group(leader).clone();
    let (node, _) = cluster.nodes.remove(&leader).unwrap();
    let began = tokio::time::Instant::now();
    node.shutdown().await.unwrap();
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    assert!(began.elapsed().as_millis() < 200, "less than an election timeout");
    assert_eq!(handle.propose("b=2").await, Err(Refused::Stopped));
    assert_eq!(cluster.put("b=2").await, 1);
}

/// Nobody may wait for ever: whatever is under way when a node goes is answered, once.
#[tokio::test(start_paused = true)]
async fn everyone_is_answered_when_a_node_goes() {
    let mut cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    cluster.put("a=1").await;
    let leader = cluster.leader().await;
    for other in (1..=3).filter(|id| *id != leader) {
        cluster.channels.cut(leader, other);
        cluster.channels.cut(other, leader);
    }
    let handle = cluster.group(leader).clone();
    let mut calls = Vec::new();
    for i in 0..100 {
        let handle = handle.clone();
        calls.push(tokio::spawn(async move {
            match i % 3 {
                0 => handle.propose(format!("x{i}=1")).await.map(|_| ()),
                1 => handle.read(ReadMode::Index).await.map(|_| ()),
                _ => handle.change(Change::new().learner(9)).await.map(|_| ()),
            }
        }));
    }
    tick().await;
    let (node, _) = cluster.nodes.remove(&leader).unwrap();
    node.shutdown().await.unwrap();
    for call in calls {
        let answer = call.await.unwrap();
        assert!(answer.is_err(), "nothing can be committed alone");
    }
}

/// Members come and go while the group works, and a new one gets everything.
#[tokio::test(start_paused = true)]
async fn learner_joins_and_is_promoted() {
    let mut cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    for i in 0..10 {
        cluster.put(&format!("k{i}=v")).await;
    }
    let leader = cluster.leader().await;
    let disk = std::sync::Arc::new(drystone_vfs::MemVfs::new());
    let (link, map) = (cluster.channels.join(4), crate::node_support::Map::default());
    let mut config = cluster.config(4);
    config.members = drystone_raft::Configuration::default();
    let dir = std::path::Path::new(crate::node_support::DIR);
    let node = drystone_raft::runtime::Node::spawn(config, disk, dir, link, map.clone());
    cluster.nodes.insert(4, (node.await.unwrap(), map));
    cluster.group(leader).change(Change::new().learner(4)).await.unwrap();
    cluster.applied(4, 10).await;
    cluster.group(leader).change(Change::new().voter(4).remove(leader)).await.unwrap();
    let next = cluster.leader().await;
    assert_ne!(next, leader);
    assert!(cluster.group(next).status().await.unwrap().members.is_voter(4));
}
