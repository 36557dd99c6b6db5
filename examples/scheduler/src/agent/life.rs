//! That the node lives: a lease, and the key that goes with it.
//!
//! ```text
//!   session ─► read the key ─► put it under the lease, if it is as it was read ─► registered
//!      ▲                                                                             │
//!      └──────────────────────── the lease is gone ◄──────────── renewed, renewed … ─┘
//! ```
//!
//! If the key of an earlier start is still there, its life goes on under the new lease: the key
//! stays, and with it the revision that made it, by which claims know it. The same holds when it is
//! put again because the node has other images than before.

use std::time::Duration;

use anyhow::{Result, ensure};
use mason_core::keys::Key;
use mason_core::protocol::fence;
use mason_core::record::{self, AliveRecord, ImageAt, NodeRecord};
use mason_core::txn::{Compare, Op, Txn};
use mason_core::types::{Ms, NodeId, Revision};
use tokio::sync::{mpsc, watch};

use super::Made;
use crate::server::unix_now;
use crate::store::{Session, Store};

/// How long it waits after a failure to begin anew.
const PAUSE: Duration = Duration::from_millis(500);

/// What an agent tells the store of its node.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// What it is. What operators have set is kept.
    pub node: NodeRecord,
    /// Where the agent answers: `host:port`.
    pub address: String,
    /// Where it gossips, if it does: `host:port`.
    pub gossip: Option<String>,
}

/// News of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulse {
    /// It began, or goes on, at the key that was made then; the lease was asked for at `asked`.
    Registered {
        made: Made,
        asked: Ms,
    },
    Renewed {
        asked: Ms,
    },
    Lost,
}

/// A life that is kept up. It ends by itself when this is dropped.
#[derive(Debug)]
pub(super) struct Life {
    pulses: mpsc::Receiver<Pulse>,
    task: tokio::task::JoinHandle<()>,
}

impl Life {
    pub(super) fn begin(store: Store, node: NodeId, epoch: u64, face: Face) -> Life {
        let (told, pulses) = mpsc::channel(16);
        let mut who = Who { store, node, epoch, face };
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = who.live(&told).await {
                    tracing::warn!(node = %who.node, "cannot register: {error:#}");
                    tokio::time::sleep(PAUSE).await;
                }
                if told.send(Pulse::Lost).await.is_err() {
                    return;
                }
            }
        });
        Life { pulses, task }
    }

    pub(super) async fn next(&mut self) -> Pulse {
        match self.pulses.recv().await {
            Some(pulse) => pulse,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a node shows.
#[derive(Debug)]
pub(super) struct Face {
    pub(super) card: Card,
    /// The images that it has.
    pub(super) images: watch::Receiver<Vec<ImageAt>>,
}

/// Who lives.
struct Who {
    store: Store,
    node: NodeId,
    epoch: u64,
    face: Face,
}

/// The key that says so.
struct Registered {
    made: Made,
    changed: Revision,
}

impl Who {
    /// One lease, from its grant to its end.
    async fn live(&mut self, told: &mpsc::Sender<Pulse>) -> Result<()> {
        let (ttl, every) = (Duration::from_millis(fence::TTL), Duration::from_millis(fence::RENEW));
        let session = Session::open(&self.store, ttl, every).await?;
        let lease = session.lease().id;
        let mut here = self.register(lease).await?;
        let mut pulse = session.pulse();
        let asked = pulse.borrow_and_update().asked;
        let _ = told.send(Pulse::Registered { made: here.made, asked }).await;
        loop {
            tokio::select! {
                changed = pulse.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let now = *pulse.borrow_and_update();
                    if now.lost {
                        return Ok(());
                    }
                    let _ = told.send(Pulse::Renewed { asked: now.asked }).await;
                }
                Ok(()) = self.face.images.changed() => {
                    // Renewals go on meanwhile; who waits for them hears of the last.
                    here.changed = self.show(lease, here.changed).await?;
                }
            }
        }
    }

    fn record(&mut self) -> Vec<u8> {
        let images = self.face.images.borrow_and_update().clone();
        let Card { address, gossip, .. } = self.face.card.clone();
        let (epoch, since) = (self.epoch, unix_now());
        record::encode(&AliveRecord { epoch, address, gossip, since, images })
    }

    async fn register(&mut self, lease: i64) -> Result<Registered> {
        let (store, node, keys) = (self.store.clone(), self.node.clone(), self.store.keys());
        let alive = keys.path(&Key::Alive(node.clone()));
        let of = keys.path(&Key::Node(node.clone()));
        let old = store.get(&alive).await?;
        if let Some(old) = &old {
            let there: AliveRecord = record::decode(&alive, &old.value)?;
            let address = &there.address;
            ensure!(there.epoch <= self.epoch, "node {node} lives at {address}, started later");
        }
        let known = store.get(&of).await?;
        let before = known.as_ref().map(|kv| record::decode(&of, &kv.value)).transpose()?;
        let put = |key: &str, value, lease| Op::Put { key: key.to_owned(), value, lease };
        let txn = Txn {
            when: vec![
                Compare::Changed(alive.clone(), old.as_ref().map_or(0, |kv| kv.changed)),
                Compare::Changed(of.clone(), known.as_ref().map_or(0, |kv| kv.changed)),
            ],
            then: vec![
                put(&alive, self.record(), Some(lease)),
                put(&of, record::encode(&merged(&self.face.card.node, before)), None),
            ],
        };
        let done = store.commit(&txn).await?;
        ensure!(done.succeeded, "somebody else changed node {node} at the same time");
        let made = old.map_or(done.revision, |kv| kv.made);
        Ok(Registered { made, changed: done.revision })
    }

    /// Tells what images there are now, if the key is as it was left.
    async fn show(&mut self, lease: i64, changed: Revision) -> Result<Revision> {
        let key = self.store.keys().path(&Key::Alive(self.node.clone()));
        let when = vec![Compare::Changed(key.clone(), changed)];
        let value = self.record();
        let txn = Txn { when, then: vec![Op::Put { key, value, lease: Some(lease) }] };
        let done = self.store.commit(&txn).await?;
        ensure!(done.succeeded, "somebody else changed that node {} lives", self.node);
        Ok(done.revision)
    }
}

/// What the agent says, with what operators have set: taints, cordons, drains, labels with a `/`.
fn merged(card: &NodeRecord, before: Option<NodeRecord>) -> NodeRecord {
    let mut node = card.clone();
    if let Some(before) = before {
        let theirs = before.labels.into_iter().filter(|(label, _)| label.contains('/'));
        node.labels.extend(theirs);
        node.taints = before.taints;
        node.cordoned = before.cordoned;
        node.drain = before.drain;
        // It is not dead: it speaks.
        node.confirmed_dead = false;
    }
    node
}
