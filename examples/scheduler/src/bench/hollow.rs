//! Hollow nodes: thousands of them in one process, with all of an agent but hands.
//!
//! # Idea
//! An agent is a value ([`mason_core::agent`]) that is told what happens and says what to do. Here
//! is one for each node, and what they say to do with containers is answered at once: it is
//! prepared, it runs. All else is real: each run is claimed under the node's own life, and
//! reported, by the transactions that a real agent sends, one by one.
//!
//! # In what they differ from real nodes
//! * One watch over all runs serves all of them; each real agent watches its own runs. The store
//!   matches one watcher to an event instead of finding one among thousands.
//! * They share a lease for each [`NODES_PER_LEASE`], and a connection. Five thousand agents renew
//!   1,700 leases a second; these renew a handful.
//! * No journal: a note counts as synced when it is made. A real agent syncs a file before a claim.
//! * No images, containers, probes or logs: nothing runs.
//!
//! `--mute` nodes do not even answer: what is bound to them stays as it is. So binding can be
//! measured by itself.

mod fleet;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use futures_util::{FutureExt as _, future};
use mason_core::keys::{Key, Keys};
use mason_core::protocol::fence;
use mason_core::record::{self, AliveRecord, NodeRecord};
use mason_core::spec::Resources;
use mason_core::txn::{Op, Txn};
use mason_core::types::NodeId;
use serde::{Deserialize, Serialize};

use crate::server::unix_now;
use crate::store::{Committed, Session, Store, now};
use fleet::{Fleet, Said};

/// Nodes that share a lease.
const NODES_PER_LEASE: usize = 1_000;
/// Nodes that one transaction registers.
const NODES_PER_TXN: usize = 60;
/// Transactions under way at most.
const FLIGHTS_MAX: usize = 256;
/// How often it says how far it is.
const TELL: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct Options {
    #[arg(long)]
    store: String,
    #[arg(long)]
    prefix: String,
    #[arg(long)]
    nodes: usize,
    #[arg(long)]
    mute: bool,
    #[arg(long)]
    end: bool,
}

/// How far hollow nodes are: a line on standard output now and then.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// All nodes are registered.
    pub(super) ready: bool,
    /// Runs that were heard of.
    pub(super) bound: u64,
    /// When the first was heard of, by [`now`].
    pub(super) first_at: u64,
    /// When the last was.
    pub(super) last_at: u64,
    /// Runs that were started.
    pub(super) started: u64,
    /// Words to the store that are not acknowledged yet.
    pub(super) unsaid: u64,
    /// Words that the store refused, or that were lost.
    pub(super) refused: u64,
}

/// What a hollow node is called.
pub(super) fn name(node: usize) -> NodeId {
    format!("h{node:05}").into()
}

/// Runs until it is killed.
pub(super) async fn run(options: &Options) -> Result<()> {
    let keys = Keys::new(&options.prefix);
    let store = Store::connect(std::slice::from_ref(&options.store), keys).await;
    let store = store.context("the store of hollow nodes")?;
    let mut fleet = Fleet::new(store.keys(), options.nodes, options.mute, options.end);
    let mut sessions = Vec::new();
    for first in (0..options.nodes).step_by(NODES_PER_LEASE) {
        let nodes = first..options.nodes.min(first + NODES_PER_LEASE);
        let ttl = Duration::from_millis(fence::TTL);
        let session = Session::open(&store, ttl, Duration::from_millis(fence::RENEW)).await?;
        for some in nodes.clone().collect::<Vec<_>>().chunks(NODES_PER_TXN) {
            let (asked, txn) = (now(), register(&store, some, session.lease().id));
            let made = store.commit(&txn).await.context("register hollow nodes")?.revision;
            some.iter().for_each(|node| fleet.registered(*node, made, asked));
        }
        sessions.push((nodes, session.pulse(), session));
    }
    let mut feed = store.follow(&format!("{}run/", options.prefix));
    let mut flights = FuturesUnordered::new();
    let mut tell = tokio::time::interval(TELL);
    let mut count = 0_u64;
    loop {
        while flights.len() < FLIGHTS_MAX
            && let Some(said) = fleet.next()
        {
            flights.push(send(&store, said));
        }
        let landed = async {
            if flights.is_empty() {
                future::pending::<()>().await;
            }
            flights.next().await
        };
        tokio::select! {
            news = feed.next() => fleet.hear(news.context("the runs of hollow nodes")?),
            Some((said, ended)) = landed => fleet.landed(&said, ended),
            _ = tell.tick() => {
                for (nodes, pulse, _) in &mut sessions {
                    if pulse.has_changed()? {
                        let pulse = *pulse.borrow_and_update();
                        anyhow::ensure!(!pulse.lost, "the lease of hollow nodes is gone");
                        fleet.renewed(nodes.clone(), pulse.asked);
                    }
                }
                let mut progress = fleet.progress();
                progress.unsaid += flights.len() as u64;
                say(&progress)?;
                count += 1;
            }
        }
        // A burst is heard as one.
        while let Some(Some((said, ended))) = flights.next().now_or_never() {
            fleet.landed(&said, ended);
        }
        fleet.step(count.is_multiple_of(10));
    }
}

async fn send(store: &Store, said: Said) -> (Said, Option<Committed>) {
    let ended = store.commit(&said.txn).await;
    (said, ended.ok())
}

fn say(progress: &Progress) -> Result<()> {
    let mut line = serde_json::to_vec(progress).context("numbers")?;
    line.push(b'\n');
    let mut out = std::io::stdout();
    out.write_all(&line).and_then(|()| out.flush()).context("nobody listens")
}

/// The nodes' keys: what they are, and that they live.
fn register(store: &Store, nodes: &[usize], lease: i64) -> Txn {
    let capacity = Resources { cpu: 256_000, memory: 1 << 40, disk: 1 << 44, pids: 0 };
    let mut txn = Txn::new();
    for &node in nodes {
        let zone = ("zone".to_owned(), format!("z{}", node % 3));
        let rack = ("rack".to_owned(), format!("r{}", node / 40));
        let record = NodeRecord {
            capacity,
            tasks_max: 1_000,
            labels: [zone, rack].into(),
            runtimes: vec!["runc".to_owned()],
            ..NodeRecord::default()
        };
        let alive = AliveRecord {
            epoch: 1,
            address: "127.0.0.1:9".to_owned(),
            gossip: None,
            since: unix_now(),
            images: Vec::new(),
        };
        let path = |key| store.keys().path(&key);
        let key = path(Key::Alive(name(node)));
        txn.then.push(Op::Put { key, value: record::encode(&alive), lease: Some(lease) });
        txn = txn.put(path(Key::Node(name(node))), record::encode(&record));
    }
    txn
}
