//! What comes in from the network, to the shard that it is for; and which nodes are gone.
//!
//! A thousand groups that have fallen silent send nothing, so a dead leader is missed by none of
//! them. Instead each node sends every other an empty parcel now and then, one for all groups; who
//! sends none for as long as an election takes is reported to all shards as down
//! ([`Input::Unreachable`](crate::Input::Unreachable)).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, MissedTickBehavior};

use crate::message::Message;
use crate::runtime::transport::{Inbound, Link, Transport};
use crate::store::GroupId;
use crate::types::NodeId;

/// The nodes that this one's groups have members on.
pub(crate) type Peers = Arc<Mutex<BTreeSet<NodeId>>>;

pub(crate) struct Router {
    pub(crate) shards: Vec<mpsc::Sender<Inbound>>,
    pub(crate) peers: Peers,
    /// How long a node may be silent.
    pub(crate) patience: Duration,
}

/// The shard that a group is in.
pub(crate) fn shard_of(group: GroupId, shards: usize) -> usize {
    // Fewer than 2^32 shards.
    (group.0 % shards as u64) as usize
}

impl Router {
    /// Works until the network or a shard is gone.
    pub(crate) async fn run(self, link: Link) {
        let Link { transport, mut inbound } = link;
        let mut beacons = tokio::time::interval(self.patience / 4);
        beacons.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard: BTreeMap<NodeId, Instant> = BTreeMap::new();
        loop {
            tokio::select! {
                next = inbound.recv() => {
                    let Some(next) = next else { return };
                    if let Some(from) = sender(&next) {
                        heard.insert(from, Instant::now());
                    }
                    if self.forward(next).await.is_err() {
                        return;
                    }
                }
                _ = beacons.tick() => {
                    let gone = self.beat(&*transport, &mut heard);
                    for id in gone {
                        if self.forward(Inbound::Down(id)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Sends every peer a sign of life. Returns those who have sent none for too long, once.
    fn beat(
        &self,
        transport: &dyn Transport,
        heard: &mut BTreeMap<NodeId, Instant>,
    ) -> Vec<NodeId> {
        for id in self.peers.lock().iter() {
            transport.send_many(*id, Vec::new());
        }
        let late = |at: &Instant| at.elapsed() > self.patience;
        let gone: Vec<NodeId> =
            heard.iter().filter(|(_, at)| late(at)).map(|(id, _)| *id).collect();
        for id in &gone {
            heard.remove(id);
        }
        gone
    }

    async fn forward(&self, next: Inbound) -> Result<(), mpsc::error::SendError<Inbound>> {
        let count = self.shards.len();
        match next {
            Inbound::Down(id) => {
                for shard in &self.shards {
                    shard.send(Inbound::Down(id)).await?;
                }
                Ok(())
            }
            Inbound::Many { from, mail } => {
                let mut split: Vec<Vec<(GroupId, Vec<Message>)>> = vec![Vec::new(); count];
                for (group, messages) in mail {
                    split[shard_of(group, count)].push((group, messages));
                }
                for (shard, mail) in self.shards.iter().zip(split) {
                    if !mail.is_empty() {
                        shard.send(Inbound::Many { from, mail }).await?;
                    }
                }
                Ok(())
            }
            Inbound::Messages { group, .. } | Inbound::Fetch { group, .. } => {
                self.shards[shard_of(group, count)].send(next).await
            }
        }
    }
}

fn sender(inbound: &Inbound) -> Option<NodeId> {
    match inbound {
        Inbound::Messages { from, .. } | Inbound::Many { from, .. } => Some(*from),
        Inbound::Fetch { from, .. } => Some(*from),
        Inbound::Down(_) => None,
    }
}
