//! What a handle asks of the driver.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::keyring::KeyStep;
use crate::types::NodeId;

/// Requests that wait at most; then callers do.
pub(super) const REQUESTS_MAX: usize = 64;

/// A request and where its answer goes.
#[derive(Debug)]
pub(super) enum Request {
    /// What the core does at once.
    Do(Wish, oneshot::Sender<crate::Result<()>>),
    /// Answered when it has left.
    Leave(oneshot::Sender<()>),
    /// Answered when it has stopped.
    Stop(oneshot::Sender<()>),
}

/// An [`Input`](crate::Input) that owns what it needs.
#[derive(Debug)]
pub(super) enum Wish {
    Join(Vec<SocketAddr>),
    Set(String, Option<Bytes>),
    Broadcast(String, Bytes),
    Condemn(NodeId),
    Keys(KeyStep),
    KeysAnyway(KeyStep),
}
