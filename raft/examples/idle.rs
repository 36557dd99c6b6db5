//! What groups cost that have nothing to do: three nodes with many groups each, all silent.
//!
//! ```text
//! cargo run --release -p drystone-raft --example idle [groups] [seconds]
//! ```
//!
//! Groups are started, elect, and fall silent ([`Config::quiesce_after`]). Then processor time and
//! resident memory are read, while nothing happens but the nodes' signs of life to each other. At
//! the end one command goes through one of the groups, to show that they are alive.

#![expect(clippy::disallowed_methods, reason = "a program at the edge: the clock is its own")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use drystone_raft::runtime::{
    Channels, Group, GroupId, MultiNode, NodeConfig, SnapshotJob, StateMachine,
};
use drystone_raft::{Configuration, Index, Refused};
use drystone_vfs::MemVfs;

/// Nothing.
struct Nothing;

impl StateMachine for Nothing {
    type Reply = ();

    fn apply(&mut self, _: Index, _: &Bytes) {}

    fn snapshot(&mut self) -> SnapshotJob {
        Box::new(|_| Ok(()))
    }

    fn restore(&mut self, _: &mut dyn std::io::Read) -> std::io::Result<()> {
        Ok(())
    }
}

/// A number from this process's status in /proc.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let field = |at: usize| -> u64 {
        fields.split_whitespace().nth(at).and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    Duration::from_millis(10 * (field(11) + field(12)))
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) << 10
}

async fn run(count: u64, seconds: u64) {
    let channels = Channels::new();
    let mut nodes: Vec<MultiNode<Nothing>> = Vec::new();
    for id in 1..=3 {
        let mut config = NodeConfig::new(id, Configuration::voters([1, 2, 3]));
        config.store.wal = config.store.wal.writer(drystone_wal::Writer::Caller);
        // Elections of so many groups at once take a while on two processors.
        config.raft = drystone_raft::Config::new(10_000);
        config.raft.quiesce_after = Some(2_000);
        let (disk, link) = (Arc::new(MemVfs::new()), channels.join(id));
        let node = MultiNode::spawn(config, disk, Path::new("raft"), link);
        nodes.push(node.expect("it starts"));
    }
    let before = resident_bytes();
    let began = Instant::now();
    let mut first: Vec<Group<Nothing>> = Vec::new();
    for group in 0..count {
        for (at, node) in nodes.iter().enumerate() {
            let started = node.start(GroupId(group), Nothing).await.expect("it starts");
            if group % 3 == at as u64 {
                // Leaders in turn, without waiting for a timeout.
                started.campaign().await.expect("it runs");
            }
            if group == 0 {
                first.push(started);
            }
        }
    }
    println!("{count} groups on 3 nodes started in {:.1?}", began.elapsed());
    loop {
        let cpu = processor_time();
        tokio::time::sleep(Duration::from_secs(2)).await;
        if processor_time() - cpu < Duration::from_millis(40) {
            break;
        }
    }
    println!("silent after {:.1?}", began.elapsed());
    let cpu = processor_time();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let used = (processor_time() - cpu).as_secs_f64() / seconds as f64;
    let bytes = resident_bytes().saturating_sub(before) / (3 * count);
    println!(
        "{:.2} % of one processor, {bytes} bytes for each member with log and all",
        used * 100.0
    );
    loop {
        for group in &first {
            match group.propose(Bytes::from_static(b"x")).await {
                Ok(()) => return println!("and a command goes through"),
                Err(Refused::NotLeader(_)) => {}
                Err(why) => panic!("{why}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().ok());
    let count = arguments.next().flatten().unwrap_or(100_000);
    let seconds = arguments.next().flatten().unwrap_or(10);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("threads can be had");
    runtime.block_on(run(count, seconds));
}
