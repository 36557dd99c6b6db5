//! Snapshots: taken while the group works, logs that stay short, followers that are far behind.

use drystone_raft::ReadMode;

use crate::node_support::Cluster;

fn often(config: &mut drystone_raft::runtime::NodeConfig) {
    config.snapshot_entries = 20;
    config.kept_entries = 5;
    config.kept_entries_max = 50;
}

/// A log that is never shortened fills the disk; one that is shortened must lose nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_is_shortened_and_all_is_there_after_a_restart() {
    let mut cluster = Cluster::new(&[1, 2, 3], often).await;
    for i in 0..200 {
        cluster.put(&format!("k{}={i}", i % 30)).await;
    }
    for id in 1..=3 {
        let group = cluster.group(id).clone();
        while group.status().await.unwrap().base.index.0 < 100 {
            cluster.put("more=1").await;
        }
    }
    let leader = cluster.leader().await;
    cluster.group(leader).read(ReadMode::Index).await.unwrap();
    let before = cluster.map(leader).state.lock().clone();
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    for id in 1..=3 {
        cluster.start(id).await;
    }
    for id in 1..=3 {
        cluster.applied(id, before.applied).await;
        assert_eq!(cluster.map(id).state.lock().map, before.map, "node {id}");
    }
}

/// Scenarios 40 and 41: who is behind what the logs still hold gets a snapshot, as a stream that it
/// pulls, and then goes on from the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follower_that_was_away_gets_a_snapshot() {
    let mut cluster = Cluster::new(&[1, 2, 3], often).await;
    cluster.put("first=1").await;
    let leader = cluster.leader().await;
    let away = (1..=3).find(|id| *id != leader).unwrap();
    cluster.kill(away).await;
    let mut count = 1;
    loop {
        cluster.put(&format!("k{count}=v")).await;
        count += 1;
        let leader = cluster.leader().await;
        if cluster.group(leader).status().await.unwrap().base.index.0 > 60 {
            break;
        }
    }
    cluster.start(away).await;
    cluster.applied(away, count).await;
    let leader = cluster.leader().await;
    cluster.group(leader).read(ReadMode::Index).await.unwrap();
    let whole = cluster.map(leader).state.lock().map.clone();
    assert_eq!(cluster.map(away).state.lock().map, whole);
    assert!(
        cluster.group(away).status().await.unwrap().base.index.0 > 0,
        "it stands on a snapshot"
    );
    cluster.put("last=1").await;
    cluster.applied(away, count + 1).await;
}
