//! A network within one process: for tests, for examples, and for groups that share a machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::message::Message;
use crate::runtime::transport::{Chunks, Inbound, Link, Transport};
use crate::store::GroupId;
use crate::types::{NodeId, Position};

/// Most parcels of messages that wait for one node; more are dropped.
const INBOUND_MAX: usize = 4096;

/// Chunks of a snapshot that are under way at once.
const CHUNKS_MAX: usize = 4;

/// A network of channels. Clones are the same network.
#[derive(Debug, Clone, Default)]
pub struct Channels {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    nodes: BTreeMap<NodeId, mpsc::Sender<Inbound>>,
    /// From whom to whom nothing gets through.
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// The way out of one node.
#[derive(Debug)]
struct Way {
    from: NodeId,
    channels: Channels,
}

impl Channels {
    /// A network with nobody in it.
    #[must_use]
    pub fn new() -> Channels {
        Channels::default()
    }

    /// Connects node `id`, in the place of whoever had that name before.
    #[must_use]
    pub fn join(&self, id: NodeId) -> Link {
        let (sender, inbound) = mpsc::channel(INBOUND_MAX);
        self.shared.lock().nodes.insert(id, sender);
        Link { transport: Arc::new(Way { from: id, channels: self.clone() }), inbound }
    }

    /// Disconnects node `id`, and lets everyone know.
    pub fn leave(&self, id: NodeId) {
        let mut shared = self.shared.lock();
        shared.nodes.remove(&id);
        for other in shared.nodes.values() {
            // Whoever is too busy to hear it finds out from the silence.
            let _ = other.try_send(Inbound::Down(id));
        }
    }

    /// Lets nothing through from one node to another.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.shared.lock().cut.insert((from, to));
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.shared.lock().cut.clear();
    }

    fn way(&self, from: NodeId, to: NodeId) -> Option<mpsc::Sender<Inbound>> {
        let shared = self.shared.lock();
        let there = shared.nodes.get(&to)?;
        (!shared.cut.contains(&(from, to))).then(|| there.clone())
    }
}

impl Way {
    fn put(&self, to: NodeId, inbound: Inbound) {
        if let Some(there) = self.channels.way(self.from, to) {
            // A network may lose what it cannot hold.
            let _ = there.try_send(inbound);
        }
    }
}

impl Transport for Way {
    fn send(&self, to: NodeId, group: GroupId, messages: Vec<Message>) {
        self.put(to, Inbound::Messages { from: self.from, group, messages });
    }

    fn send_many(&self, to: NodeId, mail: Vec<(GroupId, Vec<Message>)>) {
        self.put(to, Inbound::Many { from: self.from, mail });
    }

    fn fetch(&self, from: NodeId, group: GroupId, position: Position, offset: u64) -> Chunks {
        let (reply, chunks) = mpsc::channel(CHUNKS_MAX);
        let request = Inbound::Fetch { from: self.from, group, position, offset, reply };
        let there = self.channels.way(self.from, from);
        let refused = match there.map(|there| there.try_send(request)) {
            Some(Ok(())) => None,
            Some(Err(error)) => match error.into_inner() {
                Inbound::Fetch { reply, .. } => Some(reply),
                _ => None,
            },
            None => {
                let (reply, chunks) = mpsc::channel(1);
                let _ = reply.try_send(Err(io::ErrorKind::HostUnreachable.into()));
                return chunks;
            }
        };
        if let Some(reply) = refused {
            let _ = reply.try_send(Err(io::ErrorKind::ResourceBusy.into()));
        }
        chunks
    }
}
