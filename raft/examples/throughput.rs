//! How many commands a group of three commits and applies, for each second of processor time.
//!
//! Three nodes in this process, joined by channels, each with its log on a disk in memory; clients
//! that each wait for an answer before they ask again; two worker threads for everything.
//!
//! ```text
//! cargo run --release -p drystone-raft --example throughput [seconds [clients…]]
//! ```

#![expect(clippy::disallowed_methods, reason = "a program at the edge: the clock is its own")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use drystone_raft::runtime::{Channels, Group, Node, NodeConfig, SnapshotJob, StateMachine};
use drystone_raft::{Configuration, Index, Role};
use drystone_vfs::MemVfs;

/// Sums what it is told.
#[derive(Debug, Default)]
struct Sum(u64);

impl StateMachine for Sum {
    type Reply = u64;

    fn apply(&mut self, _: Index, command: &Bytes) -> u64 {
        self.0 = self.0.wrapping_add(u64::from(command[0]));
        self.0
    }

    fn snapshot(&mut self) -> SnapshotJob {
        let sum = self.0;
        Box::new(move |out| out.write_all(&sum.to_le_bytes()))
    }

    fn restore(&mut self, from: &mut dyn std::io::Read) -> std::io::Result<()> {
        let mut sum = [0; 8];
        from.read_exact(&mut sum)?;
        self.0 = u64::from_le_bytes(sum);
        Ok(())
    }
}

/// Processor time that this process has used.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let field = |at: usize| -> u64 {
        fields.split_whitespace().nth(at).and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    // A tick is a hundredth of a second on every Linux that this runs on.
    Duration::from_millis(10 * (field(11) + field(12)))
}

async fn start(id: u64, channels: &Channels) -> Node<Sum> {
    let mut config = NodeConfig::new(id, Configuration::voters([1, 2, 3]));
    // No thread of its own; and segments that are filled with zeros ahead, for the sake of a disk,
    // are small, for there is none.
    let wal = config.store.wal.writer(drystone_wal::Writer::Caller);
    config.store.wal = wal.segment_bytes(1 << 20);
    let (disk, link) = (Arc::new(MemVfs::new()), channels.join(id));
    Node::spawn(config, disk, Path::new("raft"), link, Sum::default()).await.expect("it starts")
}

async fn leader(nodes: &[Node<Sum>]) -> Group<Sum> {
    loop {
        for node in nodes {
            let status = node.status().await.expect("it runs");
            if status.role == Role::Leader && status.commit == status.last.index {
                return node.group().clone();
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn measure(clients: usize, seconds: u64) {
    let channels = Channels::new();
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(start(id, &channels).await);
    }
    let leader = leader(&nodes).await;
    let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let command = Bytes::from_static(b"sixteen bytes...");
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let (leader, count, stop) = (leader.clone(), Arc::clone(&count), Arc::clone(&stop));
        let command = command.clone();
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                leader.propose(command.clone()).await.expect("the leader stays");
                count.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (before, cpu, began) = (count.load(Ordering::Relaxed), processor_time(), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let done = (count.load(Ordering::Relaxed) - before) as f64;
    let (cpu, wall) = (processor_time() - cpu, began.elapsed());
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("a client ends");
    }
    println!(
        "{clients:5} clients: {:9.0} puts/s, {:9.0} puts per CPU-second ({:.2} cores)",
        done / wall.as_secs_f64(),
        done / cpu.as_secs_f64(),
        cpu.as_secs_f64() / wall.as_secs_f64(),
    );
    for node in nodes {
        node.kill().await;
    }
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse::<usize>().ok());
    let seconds = numbers.next().unwrap_or(5) as u64;
    let clients: Vec<usize> = numbers.collect();
    let clients = if clients.is_empty() { vec![64, 256, 4096] } else { clients };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("threads can be had");
    runtime.block_on(async {
        for clients in clients {
            measure(clients, seconds).await;
        }
    });
}
