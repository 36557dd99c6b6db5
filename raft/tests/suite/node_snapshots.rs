//! Snapshots: taken while the group works, logs that stay short, followers that are far behind.

use std::path::Path;
use std::sync::Arc;

use drystone_raft::runtime::{Chunks, GroupId, Link, Node, StateMachine, Transport};
use drystone_raft::store::Store;
use drystone_raft::{
    Configuration, Index, Member, Message, NodeId, Position, Raft, ReadMode, Suffrage,
};
use drystone_vfs::{Fault, Harm, Op, SimVfs};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::node_support::{Cluster, DIR, Map, tick};

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

/// A node that led would do nothing while its state machine is busy, nor would the group.
fn third_never_leads() -> Configuration {
    let voter = |id| Member { id, suffrage: Suffrage::Voter, priority: u8::from(id != 3) };
    Configuration::new([1, 2, 3].map(voter), [])
}

/// The state machine of a follower is busy while one snapshot comes and then another. The first
/// goes from the disk then, before it was read: what stands in the second is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn snapshot_that_was_overtaken_is_not_missed() {
    let cluster = Cluster::new(&[1, 2, 3], |config| {
        often(config);
        config.members = third_never_leads();
    });
    let (cluster, slow) = (cluster.await, 3);
    cluster.put("first=1").await;
    cluster.applied(slow, 1).await;
    let (release, held) = std::sync::mpsc::channel::<()>();
    let state = Arc::clone(&cluster.map(slow).state);
    let (holds, is_held) = tokio::sync::oneshot::channel();
    let busy = std::thread::spawn(move || {
        let _state = state.lock();
        holds.send(()).unwrap();
        let _ = held.recv();
    });
    is_held.await.unwrap();
    cluster.put("second=1").await;
    let base = async |id| cluster.group(id).status().await.unwrap().base.index.0;
    let mut count = 2;
    for _ in 0..2 {
        let before = base(slow).await;
        for id in 1..=3 {
            cluster.channels.cut(slow, id);
            cluster.channels.cut(id, slow);
        }
        while base(cluster.leader().await).await < before + 100 {
            cluster.put(&format!("k{count}=v")).await;
            count += 1;
        }
        cluster.channels.heal();
        while base(slow).await < before + 60 {
            tick().await;
        }
    }
    let names = || cluster.disks[&slow].list(&Path::new(DIR).join("snapshots")).unwrap();
    while names().len() > 1 {
        tick().await;
    }
    release.send(()).unwrap();
    busy.join().unwrap();
    cluster.put("last=1").await;
    let read = cluster.group(slow).read(ReadMode::Index).await;
    read.expect("its state machine goes on");
    assert_eq!(cluster.map(slow).state.lock().applied, count + 1);
    let whole = cluster.map(cluster.leader().await).state.lock().map.clone();
    assert_eq!(cluster.map(slow).state.lock().map, whole);
}

/// A network that cuts every transfer of a snapshot after its first piece.
#[derive(Debug)]
struct Cutting {
    inner: Arc<dyn Transport>,
    offsets: Arc<Mutex<Vec<u64>>>,
}

impl Transport for Cutting {
    fn send(&self, to: NodeId, group: GroupId, messages: Vec<Message>) {
        self.inner.send(to, group, messages);
    }

    fn fetch(&self, from: NodeId, group: GroupId, position: Position, offset: u64) -> Chunks {
        self.offsets.lock().push(offset);
        let mut whole = self.inner.fetch(from, group, position, offset);
        let (piece, chunks) = mpsc::channel(1);
        tokio::spawn(async move {
            let Some(first) = whole.recv().await else { return };
            let _ = piece.send(first).await;
            let _ = piece.send(Err(std::io::ErrorKind::ConnectionReset.into())).await;
        });
        chunks
    }
}

/// Scenario 41: a snapshot that takes longer than any connection lives comes through, because it
/// goes on where it was cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_that_is_cut_goes_on_where_it_was() {
    let mut cluster = Cluster::new(&[1, 2, 3], often).await;
    cluster.put("first=1").await;
    let leader = cluster.leader().await;
    let away = (1..=3).find(|id| *id != leader).unwrap();
    cluster.kill(away).await;
    let large = "v".repeat(100_000);
    let mut count = 0;
    while cluster.group(cluster.leader().await).status().await.unwrap().base.index.0 <= 60 {
        cluster.put(&format!("k{}={large}", count % 12)).await;
        count += 1;
    }
    let offsets = Arc::new(Mutex::new(Vec::new()));
    let Link { transport, inbound } = cluster.channels.join(away);
    let transport = Arc::new(Cutting { inner: transport, offsets: Arc::clone(&offsets) });
    let (map, config) = (Map::default(), cluster.config(away));
    let (disk, link) = (Arc::clone(&cluster.disks[&away]), Link { transport, inbound });
    let node = Node::spawn(config, disk, Path::new(DIR), link, map.clone()).await.unwrap();
    cluster.nodes.insert(away, (node, map));
    cluster.put("last=1").await;
    while !cluster.map(away).state.lock().map.contains_key("last") {
        tick().await;
    }
    let whole = cluster.map(cluster.leader().await).state.lock().map.clone();
    assert_eq!(cluster.map(away).state.lock().map, whole);
    let offsets = offsets.lock();
    assert!(offsets.len() > 4 && offsets[..5].is_sorted_by(|a, b| a < b), "{offsets:?}");
}

/// Scenario 41: the disk takes no more while a snapshot is fetched and put in the place of the log,
/// from any write on, and then the power fails. Until the new one is in place, the old one must be
/// there to stand on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_that_fails_while_a_snapshot_comes_in_keeps_the_old_one() {
    let first = SimVfs::new(3);
    let mut cluster = Cluster::of(&[1, 2, 3], often);
    cluster.disks.insert(3, Arc::new(first.clone()));
    for id in 1..=3 {
        cluster.start(id).await;
    }
    let behind = |cluster: &Cluster, id| cluster.group(id).clone();
    while behind(&cluster, 3).status().await.unwrap().base.index.0 < 30 {
        cluster.put("a=1").await;
    }
    cluster.kill(3).await;
    let leader = cluster.leader().await;
    while behind(&cluster, leader).status().await.unwrap().base.index.0 < 120 {
        cluster.put("b=2").await;
    }
    let mut came_up = 0;
    for writes in 0.. {
        let disk = first.kill_copy();
        disk.fail(Fault::new(Op::Write, Harm::Error).after(writes).forever());
        cluster.disks.insert(3, Arc::new(disk.clone()));
        // It may have come up before the write that counts.
        came_up += u64::from(cluster.has_come_up(3, 100).await);
        if came_up == 15 {
            assert!(writes > 15, "{writes} writes");
            break;
        }
        for seed in 0..8 {
            let place = format!("{writes} writes, seed {seed}");
            let disk = Arc::new(disk.crash_copy(seed));
            let store = Store::open(disk, Path::new(DIR), cluster.config(3).store).unwrap();
            let group = Node::<Map>::GROUP;
            let restored = store.restore(3, group, Index(0), |from| Map::default().restore(from));
            let (boot, applied) = restored.unwrap();
            let raft = Raft::restore(3, cluster.config(3).raft, boot, 0, 1).unwrap();
            assert!(raft.is_sound() && applied > Index(0), "{place}: nothing to stand on");
        }
    }
}
