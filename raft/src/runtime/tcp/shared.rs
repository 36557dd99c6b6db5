//! What all tasks of a transport know.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, watch};

use crate::runtime::tcp::config::TcpConfig;
use crate::runtime::tcp::dialer::Peer;
use crate::runtime::tcp::gate::Gate;
use crate::runtime::tcp::metrics::Counters;
use crate::runtime::transport::Inbound;
use crate::types::NodeId;

/// What all tasks of a transport know.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: TcpConfig,
    pub(super) counters: Counters,
    pub(super) peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    pub(super) gate: Mutex<Gate>,
    pub(super) inbox: mpsc::Sender<Inbound>,
    pub(super) closing: watch::Receiver<()>,
}

impl Shared {
    /// Until the transport ends: every handle to it is dropped.
    pub(super) async fn closed(&self) {
        let mut closing = self.closing.clone();
        while closing.changed().await.is_ok() {}
    }

    pub(super) fn knows(&self, node: NodeId) -> bool {
        self.peers.read().contains_key(&node)
    }
}
