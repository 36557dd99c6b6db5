//! How many messages the TCP transport carries, for each second of processor time.
//!
//! Two nodes in this process, over loopback, two worker threads for both; one says, the other
//! takes. The sender keeps no more than a window of messages under way, so that none is dropped.
//! Both ends are in the figure, and the kernel's share of them; a bare copy of the bytes through
//! loopback is measured beside it.
//!
//! ```text
//! cargo run --release -p drystone-raft --example network [seconds]
//! ```

#![expect(clippy::disallowed_methods, reason = "a program at the edge: the clock is its own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use drystone_raft::runtime::tcp::{Tcp, TcpConfig};
use drystone_raft::runtime::{GroupId, Inbound, Transport};
use drystone_raft::{Body, Entry, Index, Message, Payload, Position, Term};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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

fn heartbeat() -> Message {
    let body = Body::Heartbeat { commit: Index(100_000), round: 70_000, quiesce: false };
    Message { from: 1, to: 2, generation: 0, term: Term(9), body }
}

fn append(count: u64, bytes: usize) -> Message {
    let payload = Bytes::from(vec![7; bytes]);
    let entry = |at| {
        let payload = Payload::Data(payload.clone());
        Entry { term: Term(9), index: Index(100_001 + at), payload }
    };
    let prev = Position::new(Term(9), Index(100_000));
    let entries = (0..count).map(entry).collect();
    let body = Body::Append { prev, commit: Index(100_000), round: 70_000, entries };
    Message { from: 1, to: 2, generation: 0, term: Term(9), body }
}

/// What is said in one call, how many messages that is, and how many may be under way.
struct Load {
    name: &'static str,
    mail: Vec<(GroupId, Vec<Message>)>,
    window: u64,
}

async fn run(load: Load, seconds: u64) -> std::io::Result<()> {
    let (one, _inbound) = Tcp::bind("127.0.0.1:0", TcpConfig::new(7, 1)).await?;
    let (two, mut inbound) = Tcp::bind("127.0.0.1:0", TcpConfig::new(7, 2)).await?;
    one.peer(2, Some(two.local_addr().to_string()));
    let (taken, news) = (Arc::new(AtomicU64::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (count, bell) = (Arc::clone(&taken), Arc::clone(&news));
    let taker = tokio::spawn(async move {
        while let Some(next) = inbound.recv().await {
            let messages = match next {
                Inbound::Messages { messages, .. } => messages.len(),
                Inbound::Many { mail, .. } => mail.iter().map(|(_, all)| all.len()).sum(),
                _ => 0,
            };
            count.fetch_add(messages as u64, Ordering::Relaxed);
            bell.notify_one();
        }
    });
    while one.metrics().dialled == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let each: u64 = load.mail.iter().map(|(_, messages)| messages.len() as u64).sum();
    let (cpu, began, mut said) = (processor_time(), Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(seconds) {
        while said - taken.load(Ordering::Relaxed) < load.window {
            one.send_many(2, load.mail.clone());
            said += each;
        }
        news.notified().await;
    }
    let (cpu, wall) = ((processor_time() - cpu).as_secs_f64(), began.elapsed().as_secs_f64());
    let (taken, metrics) = (taken.load(Ordering::Relaxed) as f64, one.metrics());
    println!(
        "{:<34} {:>9.0}/s {:>9.0}/CPU s {:>7.1} MB/CPU s {:>6.0} a frame, {} dropped",
        load.name,
        taken / wall,
        taken / cpu,
        metrics.bytes_sent as f64 / cpu / 1e6,
        metrics.messages_sent as f64 / metrics.frames_sent as f64,
        metrics.dropped_full + metrics.dropped_unreachable + metrics.dropped_large,
    );
    taker.abort();
    Ok(())
}

/// What the kernel takes for the bytes alone, in pieces of this size.
async fn bare(bytes: usize, seconds: u64) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut one = TcpStream::connect(listener.local_addr()?).await?;
    let (mut two, _) = listener.accept().await?;
    one.set_nodelay(true)?;
    let taker = tokio::spawn(async move {
        let mut buffer = vec![0; 256 << 10];
        while two.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    });
    let (piece, mut written) = (vec![7; bytes], 0_u64);
    let (cpu, began) = (processor_time(), Instant::now());
    while began.elapsed() < Duration::from_secs(seconds) {
        one.write_all(&piece).await?;
        written += bytes as u64;
    }
    let cpu = (processor_time() - cpu).as_secs_f64();
    let name = format!("bare loopback, writes of {bytes} B");
    println!(
        "{name:<34} {:>9.0}/s {:>9.0}/CPU s {:>7.1} MB/CPU s",
        written as f64 / bytes as f64 / began.elapsed().as_secs_f64(),
        written as f64 / bytes as f64 / cpu,
        written as f64 / cpu / 1e6,
    );
    taker.abort();
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> std::io::Result<()> {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let one = |message| vec![(GroupId(1), vec![message])];
    let beats = (0..1_000).map(|group| (GroupId(group), vec![heartbeat()])).collect();
    let loads = [
        Load { name: "heartbeats, one at a time", mail: one(heartbeat()), window: 1 },
        Load { name: "heartbeats, 256 under way", mail: one(heartbeat()), window: 256 },
        Load { name: "heartbeats of 1000 groups at once", mail: beats, window: 4_000 },
        Load { name: "1 entry of 16 B, 256 under way", mail: one(append(1, 16)), window: 256 },
        Load { name: "64 entries of 16 B, 64 under way", mail: one(append(64, 16)), window: 64 },
        Load { name: "16 entries of 4 KiB, 16 under way", mail: one(append(16, 4096)), window: 16 },
    ];
    for load in loads {
        run(load, seconds).await?;
    }
    bare(64, seconds).await?;
    bare(256 << 10, seconds).await
}
