//! Real files, and disks that fail.

use std::path::PathBuf;
use std::sync::Arc;

use drystone_raft::runtime::{Channels, Node, NodeConfig};
use drystone_raft::{Config, Configuration, Fault, Refused, Role};
use drystone_vfs::{Harm, Op, OpenMode, OsVfs, SimVfs, Vfs};

use crate::node_support::{Cluster, DIR, Map, tick};

/// The whole way down to a real directory and back, several times, with threads that write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_comes_back_from_a_real_directory() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..4_u64 {
        let mut config = NodeConfig::new(1, Configuration::voters([1]));
        config.raft = Config::new(50);
        (config.snapshot_entries, config.kept_entries) = (15, 3);
        let (link, map) = (Channels::new().join(1), Map::default());
        let disk = Arc::new(OsVfs::new());
        let node = Node::spawn(config, disk, folder.path(), link, map.clone()).await.unwrap();
        for i in 0..10 {
            let reply = loop {
                match node.propose(format!("r{round}i{i}=x")).await {
                    Ok(reply) => break reply,
                    Err(_) => tick().await,
                }
            };
            assert_eq!(reply, 10 * round + i, "everything before is there");
        }
        assert_eq!(map.state.lock().map.len() as u64, 10 * (round + 1));
        if round % 2 == 0 {
            node.kill().await;
        } else {
            node.shutdown().await.unwrap();
        }
    }
}

/// Scenario 50: after a failed sync a node says nothing any more, its callers are told, and the
/// others go on without it.
#[tokio::test(start_paused = true)]
async fn node_whose_disk_fails_stops() {
    let mut cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    cluster.put("a=1").await;
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    let disk = SimVfs::new(1);
    cluster.disks.insert(leader, Arc::new(disk.clone()) as Arc<dyn Vfs>);
    // Its old disk is gone: by the rules it must not come back under its name, but here it has
    // acknowledged nothing that the others lack.
    cluster.start(leader).await;
    cluster.applied(leader, 1).await;
    disk.fail(drystone_vfs::Fault::new(Op::Sync, Harm::Error).forever());
    cluster.put("b=2").await;
    let group = cluster.group(leader).clone();
    while group.status().await.unwrap().role != Role::Stopped {
        tick().await;
    }
    assert_eq!(group.propose("c=3").await, Err(Refused::Stopped));
    let (node, _) = cluster.nodes.remove(&leader).unwrap();
    cluster.channels.leave(leader);
    node.kill().await;
    assert_eq!(cluster.put("c=3").await, 2);
}

/// Scenario 48: a bit flipped in the middle of one follower's log costs nothing: it is mended from
/// the others, and not cut.
#[tokio::test(start_paused = true)]
async fn damaged_follower_is_mended() {
    let mut cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    for i in 0..60 {
        cluster.put(&format!("key{i}={}", "value".repeat(10))).await;
    }
    let leader = cluster.leader().await;
    let hurt = (1..=3).find(|id| *id != leader).unwrap();
    cluster.applied(hurt, 60).await;
    let (node, _) = cluster.nodes.remove(&hurt).unwrap();
    node.shutdown().await.unwrap();
    flip_in_the_middle(&*cluster.disks[&hurt]);
    cluster.start(hurt).await;
    let damage = cluster.nodes[&hurt].0.store().damage().expect("it is noticed");
    assert_eq!(damage.holes.len(), 1);
    cluster.put("last=1").await;
    cluster.applied(hurt, 61).await;
    while !cluster.group(hurt).status().await.unwrap().sound {
        tick().await;
    }
    let whole = cluster.map(leader).state.lock().map.clone();
    assert_eq!(cluster.map(hurt).state.lock().map, whole);
    // And it is mended for good.
    cluster.kill(hurt).await;
    cluster.start(hurt).await;
    assert!(cluster.nodes[&hurt].0.store().damage().is_none());
    assert!(cluster.group(hurt).status().await.unwrap().sound);
    cluster.applied(hurt, 61).await;
}

/// Scenario 48: a bit that flips after the log was opened is found when the entry is applied. The
/// node asks the others for it, and goes on.
#[tokio::test(start_paused = true)]
async fn damage_that_is_found_while_applying_is_mended() {
    let mut cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    for i in 0..60 {
        cluster.put(&format!("key{i}={}", "value".repeat(10))).await;
    }
    let leader = cluster.leader().await;
    let hurt = (1..=3).find(|id| *id != leader).unwrap();
    cluster.applied(hurt, 60).await;
    cluster.kill(hurt).await;
    // It comes back, and hears nothing: it does not know that anything is committed.
    for other in (1..=3).filter(|id| *id != hurt) {
        cluster.channels.cut(hurt, other);
        cluster.channels.cut(other, hurt);
    }
    cluster.start(hurt).await;
    assert!(cluster.nodes[&hurt].0.store().damage().is_none());
    assert_eq!(cluster.map(hurt).state.lock().applied, 0);
    flip_in_the_middle(&*cluster.disks[&hurt]);
    cluster.channels.heal();
    // What the last entry was, the next one vouches for.
    cluster.put("last=1").await;
    cluster.applied(hurt, 61).await;
    while !cluster.group(hurt).status().await.unwrap().sound {
        tick().await;
    }
    let whole = cluster.map(leader).state.lock().map.clone();
    assert_eq!(cluster.map(hurt).state.lock().map, whole);
}

fn flip_in_the_middle(disk: &dyn Vfs) {
    let log = PathBuf::from(DIR).join("log-1");
    let names = disk.list(&log).unwrap();
    let first = names.iter().find(|name| name.to_string_lossy().ends_with(".wal")).unwrap();
    let file = disk.open(&log.join(first), OpenMode::Write).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let text = b"key30=value";
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    let flipped = [bytes[at] ^ 4];
    file.write_at(&[std::io::IoSlice::new(&flipped)], at as u64).unwrap();
}

/// Somebody must hear of what the core says aloud.
#[tokio::test(start_paused = true)]
async fn faults_are_reported() {
    let heard = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let ears = Arc::clone(&heard);
    let disk = SimVfs::new(1);
    let mut config = NodeConfig::new(1, Configuration::voters([1]));
    config.store.wal = config.store.wal.writer(drystone_wal::Writer::Caller);
    let config = config.on_fault(move |_, fault| ears.lock().push(fault.clone()));
    let vfs = Arc::new(disk.clone());
    let dir = std::path::Path::new(DIR);
    let link = Channels::new().join(1);
    let node = Node::spawn(config, vfs, dir, link, Map::default()).await.unwrap();
    disk.fail(drystone_vfs::Fault::new(Op::Sync, Harm::Error).forever());
    while node.propose("a=1").await != Err(Refused::Stopped) {
        tick().await;
    }
    assert_eq!(*heard.lock(), [Fault::Storage]);
}
