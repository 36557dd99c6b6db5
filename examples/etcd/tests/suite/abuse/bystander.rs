//! Somebody who uses the server properly while others do not, and what the server's process takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use drystone_etcd_api::client::{Config, connect};
use drystone_etcd_api::etcdserverpb::{PutRequest, RangeRequest};

use crate::support::server::Server;

/// A write and a read may take this long while the server is abused, whatever the machine is doing
/// besides. On a quiet one they take a few milliseconds.
pub(super) const PROMPT: Duration = Duration::from_secs(3);
/// After this long, nobody waits any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that writes a key and reads it back, over and over.
pub(super) struct Bystander {
    over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    rounds: JoinHandle<Vec<Duration>>,
}

impl Bystander {
    /// Starts with a connection of its own.
    pub(super) fn watch_over(server: &Server) -> Bystander {
        let (over, url) = (Arc::new(AtomicBool::new(false)), server.client_url());
        let served = Arc::new(AtomicUsize::new(0));
        let (ends, counts) = (over.clone(), served.clone());
        let rounds = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(use_properly(&url, &ends, &counts))
        });
        Bystander { over, served, rounds }
    }

    /// Rounds so far.
    pub(super) fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Ends, and asserts that every round was prompt.
    #[track_caller]
    pub(super) fn was_served_promptly(self) {
        self.over.store(true, Ordering::Relaxed);
        let mut rounds = self.rounds.join().expect("the bystander is served");
        rounds.sort();
        let (slowest, median) = (rounds[rounds.len() - 1], rounds[rounds.len() / 2]);
        let count = rounds.len();
        println!("bystander: {count} rounds, median {median:?}, slowest {slowest:?}");
        assert!(slowest < PROMPT, "a bystander waited for {slowest:?}");
    }
}

async fn use_properly(url: &str, over: &AtomicBool, served: &AtomicUsize) -> Vec<Duration> {
    let client = connect(url, &Config::default()).await;
    let client = client.expect("a server that answers accepts connections");
    let mut rounds = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        let value: bytes::Bytes = rounds.len().to_string().into();
        let put =
            PutRequest { key: "bystander".into(), value: value.clone(), ..Default::default() };
        let put = tokio::time::timeout(PATIENCE, client.kv().put(put)).await;
        put.expect("a put is answered in time").expect("a put is answered");
        let range = RangeRequest { key: "bystander".into(), ..RangeRequest::default() };
        let range = tokio::time::timeout(PATIENCE, client.kv().range(range)).await;
        let found = range.expect("a range is answered in time").expect("a range is answered");
        assert_eq!(found.into_inner().kvs[0].value, value, "what was written is read");
        rounds.push(start.elapsed());
        served.store(rounds.len(), Ordering::Relaxed);
        // One request after another, but not as fast as it goes.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rounds
}

/// What the server's process holds just now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// Memory in RAM, MiB.
    pub(crate) memory_mib: u64,
    /// File descriptors.
    pub(crate) files: usize,
}

/// Looks at the server's process.
pub(crate) fn held(server: &Server) -> Held {
    let process = format!("/proc/{}", server.pid());
    let status = std::fs::read_to_string(format!("{process}/status")).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a process has memory");
    let kib: u64 = kib.trim().parse().expect("it is a number");
    let files = std::fs::read_dir(format!("{process}/fd")).expect("the server runs").count();
    Held { memory_mib: kib / 1024, files }
}

/// Waits until `condition` holds; fails with `what` if it does not in time.
#[track_caller]
pub(super) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
