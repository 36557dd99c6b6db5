//! State machines that keep themselves: the log is shortened behind what they have made durable,
//! and whole snapshots are written only for followers that the log cannot help.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use drystone_raft::runtime::{
    Channels, Members, Node, NodeConfig, SaveJob, SnapshotJob, StateMachine, Unsaved,
};
use drystone_raft::{Config, Configuration, Index, NodeId, Role};
use drystone_vfs::{Call, MemVfs, TapVfs, Vfs};
use parking_lot::{Condvar, Mutex};

use crate::node_support::{DIR, tick};

/// How often each text was counted, and through which entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Counts {
    applied: u64,
    counts: BTreeMap<String, u64>,
}

/// The disk that a tally keeps itself on.
#[derive(Debug, Default)]
struct Drawer {
    kept: Mutex<Counts>,
    saves: AtomicU64,
    snapshots: AtomicU64,
    restores: AtomicU64,
    full: AtomicBool,
}

/// Counts texts. The reply is how often it has counted this one.
#[derive(Debug, Clone, Default)]
struct Tally {
    now: Arc<Mutex<Counts>>,
    drawer: Arc<Drawer>,
}

impl Tally {
    fn open(drawer: &Arc<Drawer>) -> Tally {
        let now = Arc::new(Mutex::new(drawer.kept.lock().clone()));
        Tally { now, drawer: Arc::clone(drawer) }
    }

    fn count(&self, text: &str) -> u64 {
        self.now.lock().counts.get(text).copied().unwrap_or(0)
    }
}

impl StateMachine for Tally {
    type Reply = u64;

    const KEEPS_ITSELF: bool = true;

    fn apply(&mut self, index: Index, command: &Bytes) -> u64 {
        let mut now = self.now.lock();
        assert!(index.0 > now.applied, "{index:?} is applied again");
        now.applied = index.0;
        let count = now.counts.entry(String::from_utf8_lossy(command).into_owned()).or_default();
        *count += 1;
        *count
    }

    fn snapshot(&mut self) -> SnapshotJob {
        self.drawer.snapshots.fetch_add(1, Ordering::Relaxed);
        let now = self.now.lock().clone();
        Box::new(move |out: &mut dyn Write| {
            writeln!(out, "{}", now.applied)?;
            now.counts.iter().try_for_each(|(text, count)| writeln!(out, "{text}={count}"))
        })
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        self.drawer.restores.fetch_add(1, Ordering::Relaxed);
        let mut text = String::new();
        from.read_to_string(&mut text)?;
        let mut lines = text.lines();
        let applied = lines.next().unwrap().parse().unwrap();
        let pairs = lines.map(|line| line.split_once('=').unwrap());
        let counts = pairs.map(|(text, count)| (text.to_owned(), count.parse().unwrap()));
        let counts = Counts { applied, counts: counts.collect() };
        *self.drawer.kept.lock() = counts.clone();
        *self.now.lock() = counts;
        Ok(())
    }

    fn applied(&self) -> Index {
        Index(self.drawer.kept.lock().applied)
    }

    fn save(&mut self, unsaved: Unsaved) -> Option<SaveJob> {
        if unsaved.entries < 10 && !unsaved.pressed {
            return None;
        }
        let (now, drawer) = (self.now.lock().clone(), Arc::clone(&self.drawer));
        Some(Box::new(move || {
            if drawer.full.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            drawer.saves.fetch_add(1, Ordering::Relaxed);
            *drawer.kept.lock() = now;
            Ok(Index(drawer.kept.lock().applied))
        }))
    }
}

/// Stands before a disk. While it is shut, syncs wait.
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Puts one before a node's disk. It is open until it is shut, or a call is made that shuts it.
    fn before(trio: &mut Trio, id: NodeId, shuts: fn(&Call<'_>) -> bool) -> Arc<Gate> {
        let gate = Arc::new(Gate { shut: Mutex::new(false), opened: Condvar::new() });
        let tapped = Arc::clone(&gate);
        let tap = move |call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>| {
            if matches!(call, Call::SyncData { .. }) {
                let mut shut = tapped.shut.lock();
                tapped.opened.wait_while(&mut shut, |shut| *shut);
            }
            if shuts(&call) {
                tapped.shut();
            }
            go()
        };
        let (disk, drawer) = trio.disks.remove(&id).expect("it has one");
        let tapped: Arc<dyn Vfs> = Arc::new(TapVfs::sharing(disk, Arc::new(tap)));
        trio.disks.insert(id, (tapped, drawer));
        gate
    }

    fn shut(&self) {
        *self.shut.lock() = true;
    }

    fn is_shut(&self) -> bool {
        *self.shut.lock()
    }

    fn open(&self) {
        *self.shut.lock() = false;
        self.opened.notify_all();
    }
}

/// Three nodes in one process.
struct Trio {
    channels: Channels,
    tune: fn(&mut NodeConfig),
    disks: BTreeMap<NodeId, (Arc<dyn Vfs>, Arc<Drawer>)>,
    nodes: BTreeMap<NodeId, (Node<Tally>, Tally)>,
}

impl Trio {
    async fn new(tune: fn(&mut NodeConfig)) -> Trio {
        let disk = |id| (id, (Arc::new(MemVfs::new()) as Arc<dyn Vfs>, Arc::default()));
        let disks = (1..=3).map(disk).collect();
        let mut trio = Trio { channels: Channels::new(), tune, disks, nodes: BTreeMap::new() };
        for id in 1..=3 {
            trio.start(id).await;
        }
        trio
    }

    async fn start(&mut self, id: NodeId) {
        let mut config = NodeConfig::new(id, Configuration::voters([1, 2, 3]));
        config.raft = Config::new(200);
        (config.snapshot_entries, config.kept_entries) = (10, 5);
        (self.tune)(&mut config);
        let (disk, drawer) = &self.disks[&id];
        let (tally, link) = (Tally::open(drawer), self.channels.join(id));
        let (disk, dir) = (Arc::clone(disk), Path::new(DIR));
        let node = Node::spawn(config, disk, dir, link, tally.clone()).await.unwrap();
        self.nodes.insert(id, (node, tally));
    }

    async fn kill(&mut self, id: NodeId) {
        self.channels.leave(id);
        self.nodes.remove(&id).unwrap().0.kill().await;
    }

    fn members(&self) -> Members<Tally> {
        self.nodes.values().map(|(node, _)| node.group().clone()).collect()
    }

    async fn add(&self, text: impl Into<Bytes>) -> u64 {
        self.members().propose(text.into()).await.unwrap()
    }

    /// Waits until a node has counted a text so often.
    async fn counted(&self, id: NodeId, text: &str, count: u64) {
        while self.nodes[&id].1.count(text) < count {
            tick().await;
        }
    }

    async fn base(&self, id: NodeId) -> u64 {
        self.nodes[&id].0.status().await.unwrap().base.index.0
    }

    fn snapshots(&self) -> u64 {
        self.disks.values().map(|(_, drawer)| drawer.snapshots.load(Ordering::Relaxed)).sum()
    }
}

/// Whoever keeps itself pays for its state once: the log is shortened, a restart goes on from what
/// was kept, and nobody ever writes a whole snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_is_shortened_behind_what_the_machine_keeps() {
    let mut trio = Trio::new(|_| {}).await;
    let mut count = 0;
    while trio.base(1).await < 60 || trio.base(2).await < 60 || trio.base(3).await < 60 {
        count += 1;
        assert_eq!(trio.add("a").await, count);
    }
    for id in 1..=3 {
        trio.counted(id, "a", count).await;
        trio.kill(id).await;
    }
    for id in 1..=3 {
        let kept = trio.disks[&id].1.kept.lock().counts["a"];
        trio.start(id).await;
        assert!(trio.nodes[&id].1.count("a") >= kept, "it begins with what it kept");
    }
    assert_eq!(trio.add("a").await, count + 1, "each command counts once");
    for id in 1..=3 {
        trio.counted(id, "a", count + 1).await;
        assert_eq!(trio.disks[&id].1.restores.load(Ordering::Relaxed), 0);
    }
    assert_eq!(trio.snapshots(), 0);
}

/// Whoever is saved whenever it stops may never be saved by its size: its log is shortened all the
/// same, and does not grow from life to life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_is_shortened_behind_what_earlier_lives_kept() {
    let mut trio = Trio::new(|config| config.snapshot_entries = 1_000_000).await;
    let mut count = 0;
    for _ in 0..20 {
        for _ in 0..5 {
            count += 1;
            assert_eq!(trio.add("a").await, count);
        }
        for id in 1..=3 {
            trio.counted(id, "a", count).await;
        }
        for id in 1..=3 {
            let (_, tally) = &trio.nodes[&id];
            *trio.disks[&id].1.kept.lock() = tally.now.lock().clone();
            trio.kill(id).await;
        }
        for id in 1..=3 {
            trio.start(id).await;
        }
    }
    // The last start tells the log when it is first given something to apply.
    trio.add("b").await;
    for id in 1..=3 {
        while trio.base(id).await < 50 {
            tick().await;
        }
        assert_eq!(trio.disks[&id].1.saves.load(Ordering::Relaxed), 0);
    }
    assert_eq!(trio.snapshots(), 0);
}

/// The log may begin exactly behind what the state machine keeps: there is nothing to restore then,
/// and no snapshot to be missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_that_begins_where_the_machine_ends_is_whole() {
    let mut trio =
        Trio::new(|config| (config.kept_entries, config.kept_entries_max) = (0, 0)).await;
    let mut count = 0;
    loop {
        count += 1;
        trio.add("a").await;
        for id in 1..=3 {
            trio.counted(id, "a", count).await;
        }
        tick().await;
        let kept = |id| trio.disks[&id].1.kept.lock().applied;
        if trio.base(1).await == kept(1) && kept(1) > 0 {
            break;
        }
    }
    trio.kill(1).await;
    trio.start(1).await;
    let status = trio.nodes[&1].0.status().await.unwrap();
    assert!(status.sound, "nothing is missing");
    trio.counted(1, "a", count).await;
    assert_eq!((trio.add("a").await, trio.snapshots()), (count + 1, 0));
}

/// Who is behind what the logs still hold is sent a snapshot that is taken for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_follower_is_sent_a_snapshot_that_nobody_had_taken() {
    let mut trio = Trio::new(|config| config.kept_entries_max = 20).await;
    trio.add("a").await;
    let away = trio.nodes.iter().find(|(_, (node, _))| node.rank().role != Role::Leader);
    let away = *away.unwrap().0;
    trio.kill(away).await;
    let others: Vec<_> = trio.nodes.keys().copied().collect();
    let mut count = 1;
    while trio.base(others[0]).await < 60 || trio.base(others[1]).await < 60 {
        count += 1;
        assert_eq!(trio.add("a").await, count);
    }
    assert_eq!(trio.snapshots(), 0);
    trio.start(away).await;
    trio.counted(away, "a", count).await;
    assert!(trio.snapshots() > 0, "it cannot have come from the log");
    assert_eq!(trio.disks[&away].1.restores.load(Ordering::Relaxed), 1);
    // It stands on what it restored, and has kept that itself.
    trio.kill(away).await;
    trio.start(away).await;
    trio.add("b").await;
    trio.counted(away, "b", 1).await;
    assert_eq!(trio.nodes[&away].1.count("a"), count);
    assert_eq!(trio.disks[&away].1.restores.load(Ordering::Relaxed), 1);
}

/// A log is kept for a follower that may come back, but no more of it than so many bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_is_kept_for_a_follower_up_to_a_bound_in_bytes() {
    let mut trio = Trio::new(|config| config.kept_bytes_max = 8 << 20).await;
    trio.add("a").await;
    let leader = trio.nodes.iter().find(|(_, (node, _))| node.rank().role == Role::Leader);
    let leader = *leader.unwrap().0;
    let away = if leader == 1 { 2 } else { 1 };
    trio.kill(away).await;
    let large = Bytes::from("v".repeat(256 << 10));
    for _ in 0..4 * 6 {
        trio.add(large.clone()).await;
    }
    assert!(trio.base(leader).await < 10, "it is kept for who may come back");
    for _ in 0..4 * 20 {
        trio.add(large.clone()).await;
    }
    for _ in 0..200 {
        tick().await;
        if trio.base(leader).await > 50 {
            return;
        }
        trio.add("b").await;
    }
    panic!("26 MiB of log are kept, and 8 were to be");
}

/// A state machine that cannot save itself keeps the log long; nothing is lost by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaves_the_log_that_could_not_be_saved() {
    let mut trio =
        Trio::new(|config| (config.kept_entries, config.kept_entries_max) = (0, 0)).await;
    for (_, drawer) in trio.disks.values() {
        drawer.full.store(true, Ordering::Relaxed);
    }
    for count in 1..=100 {
        assert_eq!(trio.add("a").await, count);
    }
    for id in 1..=3 {
        assert_eq!(trio.base(id).await, 0);
        trio.kill(id).await;
    }
    for id in 1..=3 {
        trio.disks[&id].1.full.store(false, Ordering::Relaxed);
        trio.start(id).await;
    }
    let mut count = 100;
    while trio.base(1).await < 100 {
        count += 1;
        assert_eq!(trio.add("a").await, count);
    }
}

/// A follower whose disk is slow hears that an entry is committed before it has it on disk itself.
/// If its state machine kept the effect then, and the log lost the entry, an older one in its place
/// would be taken for what was applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machine_is_not_ahead_of_its_log() {
    let mut trio = Trio::new(|_| {}).await;
    trio.add("a").await;
    let slow = trio.nodes.iter().find(|(_, (node, _))| node.rank().role != Role::Leader);
    let slow = *slow.expect("two follow").0;
    trio.counted(slow, "a", 1).await;
    trio.kill(slow).await;
    let gate = Gate::before(&mut trio, slow, |_| false);
    trio.start(slow).await;
    trio.add("b").await;
    trio.counted(slow, "b", 1).await;
    gate.shut();
    for count in 1..=20 {
        assert_eq!(trio.add("c").await, count, "the others are a quorum");
    }
    for _ in 0..40 {
        tick().await;
    }
    let counted = trio.nodes[&slow].1.count("c");
    // A test that fails has to come to its end, too.
    gate.open();
    assert_eq!(counted, 0, "it has none of them on disk");
    trio.counted(slow, "c", 20).await;
}

/// The same of a snapshot: the write that puts it in the log's place may still be on its way to the
/// disk. If the state machine kept the snapshot then, and the log lost the write, what the log had
/// before, up to the last entry that another leader never committed, would be taken for what is in
/// the snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machine_is_not_restored_ahead_of_its_log() {
    let mut trio = Trio::new(|config| config.kept_entries_max = 20).await;
    trio.add("a").await;
    let slow = trio.nodes.iter().find(|(_, (node, _))| node.rank().role != Role::Leader);
    let slow = *slow.expect("two follow").0;
    trio.kill(slow).await;
    let others: Vec<_> = trio.nodes.keys().copied().collect();
    let mut count = 1;
    while trio.base(others[0]).await < 60 || trio.base(others[1]).await < 60 {
        count += 1;
        assert_eq!(trio.add("a").await, count);
    }
    // The whole snapshot has come when its file is given its name.
    let has_come = |call: &Call<'_>| {
        let Call::Rename { to, .. } = call else { return false };
        to.to_string_lossy().contains("snapshots")
    };
    let gate = Gate::before(&mut trio, slow, has_come);
    trio.start(slow).await;
    while !gate.is_shut() {
        tick().await;
    }
    for _ in 0..40 {
        tick().await;
    }
    let drawer = Arc::clone(&trio.disks[&slow].1);
    let restores = drawer.restores.load(Ordering::Relaxed);
    gate.open();
    assert_eq!(restores, 0, "its log still begins at the first");
    trio.counted(slow, "a", count).await;
    assert_eq!(drawer.restores.load(Ordering::Relaxed), 1);
}
