//! Where the other members are, and the lines to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use drystone_kv::runtime::{Ask, Asked, Peers, Told};
use drystone_raft::NodeId;
use drystone_raft::runtime::tcp::{PeerMetrics, Tcp};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::dialler::Dialler;
use super::line::Line;
use super::roll::Known;
use crate::tls::ServerTls;

/// Where the other members are.
pub(crate) struct Office {
    me: NodeId,
    tcp: Tcp,
    dialler: Dialler,
    /// Where members come in under TLS.
    door: Option<Arc<ServerTls>>,
    runtime: Handle,
    others: Mutex<BTreeMap<NodeId, Other>>,
}

struct Other {
    urls: Vec<String>,
    line: Line,
}

impl Office {
    /// One that knows nobody yet. Must be called within the runtime that is to carry the lines.
    pub(crate) fn new(
        me: NodeId,
        tcp: Tcp,
        dialler: Dialler,
        door: Option<Arc<ServerTls>>,
    ) -> Arc<Office> {
        let (runtime, others) = (Handle::current(), Mutex::default());
        Arc::new(Office { me, tcp, dialler, door, runtime, others })
    }

    /// Learns who is there. Lines to those who are not any more, or are elsewhere now, are cut.
    pub(crate) fn learn(&self, known: &Known) {
        let _entered = self.runtime.enter();
        if let Some(door) = &self.door {
            door.learn(known.members.values().flatten().filter_map(|url| host_of(url)).collect());
        }
        let mut others = self.others.lock();
        others.retain(|id, _| {
            let stays = known.members.contains_key(id);
            if !stays {
                self.tcp.peer(*id, None);
            }
            stays
        });
        for (id, urls) in known.members.iter().filter(|(id, _)| **id != self.me) {
            if others.get(id).is_some_and(|other| other.urls == *urls) {
                continue;
            }
            self.tcp.peer(*id, urls.iter().cloned());
            let line = Line::new(urls, self.dialler.clone());
            others.insert(*id, Other { urls: urls.clone(), line });
        }
    }

    /// Where the others are, as far as this member knows or once knew.
    pub(crate) fn urls(&self) -> Vec<String> {
        let others = self.others.lock();
        others.values().flat_map(|other| other.urls.iter().cloned()).collect()
    }

    /// Where one of the others is.
    pub(super) fn urls_of(&self, id: NodeId) -> Vec<String> {
        self.others.lock().get(&id).map_or(Vec::new(), |other| other.urls.clone())
    }

    /// How the others are reached.
    pub(crate) fn dialler(&self) -> &Dialler {
        &self.dialler
    }

    /// What was exchanged with each of the others so far.
    pub(crate) fn traffic(&self) -> Vec<PeerMetrics> {
        self.tcp.peer_metrics()
    }
}

/// The host of a peer URL.
fn host_of(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    uri.host().map(str::to_owned)
}

impl Peers for Office {
    fn ask(&self, peer: NodeId, ask: Ask) -> Asked {
        let line = self.others.lock().get(&peer).map(|other| other.line.clone());
        let asked = line.map_or(Err(Told::NotLeader), |line| line.ask(ask));
        Box::pin(async move {
            match asked {
                Ok(told) => told.await.ok(),
                Err(told) => Some(told),
            }
        })
    }
}
