//! Calls between nodes: straight ones, and ones over wires that take time and may be cut.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, anyerror::AnyError};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::{Node, Types};
use crate::raft::cluster::Wires;

/// What connects the nodes of a group. Ids begin at 1, places at 0.
pub(super) struct Net {
    pub(super) nodes: Mutex<Vec<Node>>,
    pub(super) calls: AtomicU64,
    /// None if all is well for ever, and nothing takes time.
    pub(super) weather: Option<Weather>,
}

/// What can go wrong.
pub(super) struct Weather {
    /// How long a message takes.
    pub(super) delay: Duration,
    pub(super) wires: Mutex<Wires>,
    pub(super) dead: Mutex<Vec<bool>>,
}

impl Weather {
    /// Whether a message that leaves now will be there.
    async fn carry(&self, from: usize, to: usize) -> bool {
        if !self.delay.is_zero() {
            sleep(self.delay).await;
        }
        self.wires.lock().carry(from, to) && !self.dead.lock()[to]
    }
}

/// Makes the callers of one node.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) net: Arc<Net>,
    pub(super) from: u64,
}

/// Calls one node from another.
pub(super) struct Caller {
    net: Arc<Net>,
    from: u64,
    to: u64,
    node: Node,
}

impl RaftNetworkFactory<Types> for Exchange {
    type Network = Caller;

    async fn new_client(&mut self, target: u64, _node: &()) -> Caller {
        let node = self.net.nodes.lock()[place(target)].clone();
        Caller { net: Arc::clone(&self.net), from: self.from, to: target, node }
    }
}

fn place(id: u64) -> usize {
    usize::try_from(id - 1).expect("ids are small")
}

impl Caller {
    /// Has the other node do something. What is once sent arrives, whatever becomes of the sender;
    /// who never hears of it waits as long as it may.
    async fn call<T, F>(
        &self,
        action: RPCTypes,
        option: &RPCOption,
        serve: impl FnOnce(Node) -> F + Send + 'static,
    ) -> Result<T, RPCError<Types>>
    where
        T: Send + 'static,
        F: Future<Output = Option<T>> + Send + 'static,
    {
        self.net.calls.fetch_add(1, Relaxed);
        let node = self.node.clone();
        let refused = || Unreachable::new(&AnyError::error("the node has stopped")).into();
        if self.net.weather.is_none() {
            return serve(node).await.ok_or_else(refused);
        }
        let (net, from, to) = (Arc::clone(&self.net), place(self.from), place(self.to));
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            let Some(weather) = &net.weather else { return };
            if weather.carry(from, to).await
                && let Some(served) = serve(node).await
                && weather.carry(to, from).await
            {
                // Nobody may wait for it any more.
                let _ = answer.send(served);
            }
        });
        let patience = option.hard_ttl();
        if let Ok(Ok(served)) = tokio::time::timeout(patience, answered).await {
            return Ok(served);
        }
        // An answer that will not come shows only in time.
        sleep(patience).await;
        Err(Timeout { action, id: self.from, target: self.to, timeout: patience }.into())
    }
}

impl RaftNetworkV2<Types> for Caller {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let serve = |node: Node| async move { node.append_entries(rpc).await.ok() };
        self.call(RPCTypes::AppendEntries, &option, serve).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let serve = |node: Node| async move { node.vote(rpc).await.ok() };
        self.call(RPCTypes::Vote, &option, serve).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let serve = |node: Node| async move { node.pre_vote(rpc).await.ok() };
        self.call(RPCTypes::Vote, &option, serve).await
    }

    async fn full_snapshot(
        &mut self,
        _vote: VoteOf<Types>,
        _snapshot: SnapshotOf<Types, ()>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(Unreachable::new(&AnyError::error("this comparison takes no snapshots")).into())
    }
}
