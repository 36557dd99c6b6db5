//! A network of TCP connections between the nodes of a cluster.
//!
//! Raft forgives a network that loses, doubles and reorders. It does not forgive one that alters,
//! or that delivers what was never meant for this node: a peer of another cluster, yesterday's
//! bytes played again, half a message. So everything here is about being sure, at small cost.
//!
//! ```text
//!     node 1                                                           node 2
//!     send ──► outbox of 2 ──► dialler ═══ messages, many in a frame ══► listener ──► Inbound
//!     Inbound ◄── listener ◄══ messages ══════════════ dialler ◄── outbox of 1 ◄── send
//!     fetch ──► one more connection ══════ Request ═══════════════════► Inbound::Fetch
//!       ▲                          ◄══════ Chunk … End ════════════════ reply
//! ```
//!
//! Each node dials each of its peers; a connection carries messages one way, from who dialled, and
//! the pongs that show it is alive the other way. Snapshots have connections of their own.
//!
//! `handshake.rs` and `frame.rs` draw every byte.
//!
//! # Promises
//!
//! * What is handed on came whole, in order and unaltered from a connection whose other end knew
//!   this cluster, this node and this connection's challenge; under TLS, from the node it says.
//! * Nobody who sends waits: an outbox has a bound in bytes, and beyond it the oldest messages give
//!   way and are counted. Nobody who reads grows: see [`Limits`].
//! * Bytes of any other kind lead to a connection that is ended, a warning in the log that says
//!   why, and a counter in [`Metrics`] by kind. No panic, and no message that was not sent.
//! * A peer that answers no ping is reported within a third more than [`Limits::patience`].
//! * A connection that is silent, half-open or slow is ended after [`Limits::silence`], one that
//!   does not say who it is after [`Limits::handshake`]; a flood of those pushes out itself alone.
//! * A connection is dialled again for as long as the peer is known, with growing, jittered pauses.
//!
//! # Absent
//!
//! * Without TLS, whoever is on the network and knows the cluster's number can pretend to be a
//!   node, and take the place of its connection.
//! * A message larger than [`Limits::frame_bytes_max`] is dropped, with an error in the log.
//! * Messages to one peer come one after the other: a heartbeat waits behind the entries before it,
//!   though never behind a snapshot.
//! * Warnings are not thinned out: a flood of bad connections is a flood of lines. That is for the
//!   subscriber to limit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use crate::message::Message;
use crate::runtime::transport::{Chunks, Inbound, Link, Transport};
use crate::store::GroupId;
use crate::types::{NodeId, Position};

mod config;
mod metrics;
mod peer_metrics;
mod refusal;

mod shared;

mod dialler;
mod fetch;
mod gate;
mod listener;

mod frame;
mod handshake;
mod outbox;
mod parcels;
mod pipe;

#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod tests;

use dialler::Peer;
use fetch::Request;
use listener::Arrival;
use metrics::add;
use outbox::{Outbox, Parcel};
use shared::Shared;

pub use config::{Limits, TcpConfig};
pub use metrics::Metrics;
pub use peer_metrics::{PeerMetrics, RoundTrips, Transfers};
pub use pipe::{Dial, Dialling, Wire};
pub use refusal::RefusalKind;
#[cfg(feature = "tls")]
pub use tls::Tls;

/// A node's place in a network of TCP connections. Clones are the same place; when the last one is
/// dropped, all connections end.
#[derive(Debug, Clone)]
pub struct Tcp {
    shared: Arc<Shared>,
    address: SocketAddr,
    handle: Handle,
    /// Tasks end when this is gone.
    _closing: Arc<watch::Sender<()>>,
}

impl Tcp {
    /// Listens at `address`; port 0 takes a free one. What comes in is in the receiver, which must
    /// be emptied steadily: peers wait for it.
    ///
    /// # Errors
    /// If the address cannot be listened at.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn bind(
        address: impl ToSocketAddrs,
        config: TcpConfig,
    ) -> io::Result<(Tcp, mpsc::Receiver<Inbound>)> {
        let listener = TcpListener::bind(address).await?;
        let (tcp, inbound) = Tcp::behind(listener.local_addr()?, config);
        tcp.handle.spawn(listener::run(Arc::clone(&tcp.shared), listener));
        Ok((tcp, inbound))
    }

    /// What a connection from another such place begins with.
    pub const GREETING: [u8; 8] = handshake::MAGIC;

    /// A place behind somebody else's listener at `address`, which serves others as well: it hands
    /// over what begins with [`Tcp::GREETING`], by [`Tcp::take`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn behind(address: SocketAddr, config: TcpConfig) -> (Tcp, mpsc::Receiver<Inbound>) {
        let (inbox, inbound) = mpsc::channel(config.limits.inbound_frames());
        let (closing, closed) = watch::channel(());
        let shared = Arc::new(Shared {
            config,
            counters: metrics::Counters::default(),
            peers: RwLock::default(),
            gate: Mutex::default(),
            inbox,
            closing: closed,
        });
        let handle = Handle::current();
        (Tcp { shared, address, handle, _closing: Arc::new(closing) }, inbound)
    }

    /// Takes a connection that came from `address`, nothing of which has been read.
    pub fn take(&self, socket: TcpStream, address: SocketAddr) {
        let _entered = self.handle.enter();
        listener::welcome(&self.shared, Arrival::Socket(socket), address);
    }

    /// Takes a connection that came from `address` and that the caller has secured; what it begins
    /// with is still to be read from it.
    pub fn take_wire(&self, wire: Box<dyn Wire>, address: SocketAddr) {
        let _entered = self.handle.enter();
        listener::welcome(&self.shared, Arrival::Wire(wire), address);
    }

    /// The two ends together, as a node takes them.
    #[must_use]
    pub fn link(&self, inbound: mpsc::Receiver<Inbound>) -> Link {
        Link { transport: Arc::new(self.clone()), inbound }
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Learns where a peer is, and keeps a connection to it from now on. Each address is
    /// `host:port`, or what the caller's own [`Dial`] takes; with several, the one that answered
    /// last is tried first, and then the others in turn. With none, forgets the peer.
    pub fn peer(&self, id: NodeId, addresses: impl IntoIterator<Item = String>) {
        let addresses: Vec<String> = addresses.into_iter().collect();
        let mut peers = self.shared.peers.write();
        let same = |peer: &Arc<Peer>| peer.addresses == addresses;
        if peers.get(&id).is_some_and(same) || id == self.shared.config.node {
            return;
        }
        let mut counters = Arc::default();
        if let Some(before) = peers.remove(&id) {
            before.gone.notify_one();
            // Whoever has moved is still the same.
            counters = Arc::clone(&before.counters);
        }
        if !addresses.is_empty() {
            let outbox = Outbox::new(self.shared.config.limits.outbound_bytes_max);
            let peer = Arc::new(Peer::new(id, addresses, outbox, counters));
            peers.insert(id, Arc::clone(&peer));
            self.handle.spawn(dialler::run(Arc::clone(&self.shared), peer));
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.shared.counters.read()
    }

    /// What was exchanged with each peer that is known, in the order of their names.
    #[must_use]
    pub fn peer_metrics(&self) -> Vec<PeerMetrics> {
        let peers = self.shared.peers.read();
        peers.values().map(|peer| peer.counters.read(peer.id)).collect()
    }

    fn put(&self, to: NodeId, parcels: impl Iterator<Item = Parcel>) {
        let peer = self.shared.peers.read().get(&to).cloned();
        let counters = &self.shared.counters;
        match peer {
            Some(peer) => {
                let dropped = peer.outbox.put(parcels);
                add(&counters.dropped_full, dropped);
                add(&peer.counters.dropped, dropped);
            }
            None => {
                let messages = parcels.map(|parcel| parcel.messages.len()).sum();
                add(&counters.dropped_unreachable, messages);
            }
        }
    }
}

impl Transport for Tcp {
    fn send(&self, to: NodeId, group: GroupId, messages: Vec<Message>) {
        self.put(to, std::iter::once(Parcel::new(group, messages)));
    }

    fn send_many(&self, to: NodeId, mail: Vec<(GroupId, Vec<Message>)>) {
        self.put(to, mail.into_iter().map(|(group, messages)| Parcel::new(group, messages)));
    }

    fn notices_silence(&self) -> bool {
        true
    }

    fn fetch(&self, from: NodeId, group: GroupId, position: Position, offset: u64) -> Chunks {
        let (sender, chunks) = mpsc::channel(fetch::CHUNKS_MAX);
        let request = Request { group, position, offset };
        self.handle.spawn(fetch::run(Arc::clone(&self.shared), from, request, sender));
        chunks
    }
}
