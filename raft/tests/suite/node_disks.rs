//! Real files, and disks that fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use drystone_raft::runtime::{Channels, Chunks, GroupId, Link, Node, NodeConfig, Transport};
use drystone_raft::{Body, Config, Configuration, Fault, Message, NodeId, Position, Refused, Role};
use drystone_vfs::{Harm, Op, OpenMode, OsVfs, SimVfs, Vfs};
use tokio::time::Instant;

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

/// Three nodes with as many entries everywhere: with them, who leads and one who does not.
async fn with_sixty_entries() -> (Cluster, NodeId, NodeId) {
    let cluster = Cluster::new(&[1, 2, 3], |_| {}).await;
    for i in 0..60 {
        cluster.put(&format!("key{i}={}", "value".repeat(10))).await;
    }
    let leader = cluster.leader().await;
    let hurt = (1..=3).find(|id| *id != leader).unwrap();
    cluster.applied(hurt, 60).await;
    (cluster, leader, hurt)
}

/// One entry more is applied by the node that was hurt, which misses nothing then.
async fn goes_on_and_is_mended(cluster: &mut Cluster, leader: NodeId, hurt: NodeId) {
    cluster.put("last=1").await;
    cluster.applied(hurt, 61).await;
    while !cluster.group(hurt).status().await.unwrap().sound {
        tick().await;
    }
    let whole = cluster.map(leader).state.lock().map.clone();
    assert_eq!(cluster.map(hurt).state.lock().map, whole);
}

/// Scenario 48: a bit flipped in the middle of one follower's log costs nothing: it is mended from
/// the others, and not cut.
#[tokio::test(start_paused = true)]
async fn damaged_follower_is_mended() {
    let (mut cluster, leader, hurt) = with_sixty_entries().await;
    let (node, _) = cluster.nodes.remove(&hurt).unwrap();
    node.shutdown().await.unwrap();
    flip_in_the_middle(&*cluster.disks[&hurt]);
    cluster.start(hurt).await;
    let damage = cluster.nodes[&hurt].0.store().damage().expect("it is noticed");
    assert_eq!(damage.holes.len(), 1);
    goes_on_and_is_mended(&mut cluster, leader, hurt).await;
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
    let (mut cluster, leader, hurt) = with_sixty_entries().await;
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
    goes_on_and_is_mended(&mut cluster, leader, hurt).await;
}

/// Scenario 48: an entry that has gone bad on every disk that had it is still in everybody's state.
/// Who lacks it gets a snapshot, taken for that, and nothing is missing any more.
#[tokio::test(start_paused = true)]
async fn what_nobody_can_read_any_more_comes_as_a_snapshot() {
    let mut cluster = Cluster::new(&[1, 2, 3], |config| config.raft.tail_bytes_max = 0).await;
    let leader = cluster.leader().await;
    let late = (1..=3).find(|id| *id != leader).unwrap();
    cluster.kill(late).await;
    for i in 0..60 {
        cluster.put(&format!("key{i}={}", "value".repeat(10))).await;
    }
    let others = (1..=3).filter(|id| *id != late);
    for id in others.clone() {
        cluster.applied(id, 60).await;
        flip_in_the_middle(&*cluster.disks[&id]);
    }
    cluster.start(late).await;
    let comes = tokio::time::timeout(Duration::from_secs(120), cluster.applied(late, 60));
    comes.await.expect("a snapshot is taken, and comes");
    let whole = cluster.map(leader).state.lock().map.clone();
    assert_eq!(cluster.map(late).state.lock().map, whole);
    let leader = cluster.leader().await;
    while !cluster.group(leader).status().await.unwrap().sound {
        tick().await;
    }
}

/// A network that loses what a node asks of the others, and counts what it says.
#[derive(Debug)]
struct Unheard {
    inner: Arc<dyn Transport>,
    heard: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
}

impl Transport for Unheard {
    fn send(&self, to: NodeId, group: GroupId, mut messages: Vec<Message>) {
        self.sent.fetch_add(messages.len(), Relaxed);
        let heard = self.heard.load(Relaxed);
        messages.retain(|message| heard || !matches!(message.body, Body::Mend { .. }));
        self.inner.send(to, group, messages);
    }

    fn fetch(&self, from: NodeId, group: GroupId, position: Position, offset: u64) -> Chunks {
        self.inner.fetch(from, group, position, offset)
    }
}

/// A node that waits for an entry that nobody sends waits quietly, for as long as that takes: it
/// asks now and then, and neither spins nor writes. It goes on as soon as it is heard.
#[tokio::test(start_paused = true)]
async fn waiting_for_the_others_costs_little() {
    let sims: BTreeMap<NodeId, SimVfs> = (1..=3).map(|id| (id, SimVfs::new(id))).collect();
    let disks = sims.iter().map(|(id, sim)| (*id, Arc::new(sim.clone()) as Arc<dyn Vfs>)).collect();
    let (channels, nodes) = <(Channels, BTreeMap<_, _>)>::default();
    let mut cluster = Cluster { channels, disks, nodes, tune: |_| {} };
    for id in 1..=3 {
        cluster.start(id).await;
    }
    for i in 0..60 {
        cluster.put(&format!("key{i}={}", "value".repeat(10))).await;
    }
    let leader = cluster.leader().await;
    let hurt = (1..=3).find(|id| *id != leader).unwrap();
    cluster.applied(hurt, 60).await;
    cluster.kill(hurt).await;
    let Link { transport: inner, inbound } = cluster.channels.join(hurt);
    let (heard, sent) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
    let transport = Unheard { inner, heard: Arc::clone(&heard), sent: Arc::clone(&sent) };
    let link = Link { transport: Arc::new(transport), inbound };
    // It comes back, and hears nothing: it does not know that anything is committed.
    for other in (1..=3).filter(|id| *id != hurt) {
        cluster.channels.cut(other, hurt);
    }
    let (config, map) = (cluster.config(hurt), Map::default());
    let vfs = Arc::clone(&cluster.disks[&hurt]);
    let node = Node::spawn(config, vfs, Path::new(DIR), link, map.clone()).await.unwrap();
    cluster.nodes.insert(hurt, (node, map));
    flip_in_the_middle(&*cluster.disks[&hurt]);
    cluster.channels.heal();
    cluster.put("last=1").await;
    while cluster.group(hurt).status().await.unwrap().sound {
        tick().await;
    }
    cluster.applied(leader, 61).await;
    let (before, wrote) = (sent.load(Relaxed), sims[&hurt].counts());
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        tick().await;
    }
    let said = sent.load(Relaxed) - before;
    // An answer to each heartbeat, and a question to each peer twice in an election timeout.
    assert!((1_000..8_000).contains(&said), "{said} messages in a minute");
    assert_eq!(sims[&hurt].counts(), wrote, "nothing is read or written meanwhile");
    assert_eq!(cluster.map(hurt).state.lock().applied, 30);
    heard.store(true, Relaxed);
    cluster.applied(hurt, 61).await;
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
    let dir = Path::new(DIR);
    let link = Channels::new().join(1);
    let node = Node::spawn(config, vfs, dir, link, Map::default()).await.unwrap();
    disk.fail(drystone_vfs::Fault::new(Op::Sync, Harm::Error).forever());
    while node.propose("a=1").await != Err(Refused::Stopped) {
        tick().await;
    }
    assert_eq!(*heard.lock(), [Fault::Storage]);
}
