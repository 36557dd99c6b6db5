//! Many groups on one node: few tasks, one log, one sync for all.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::Vfs;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::boot::Boot;
use crate::configuration::Configuration;
use crate::raft::Raft;
use crate::runtime::applier::Applier;
use crate::runtime::config::NodeConfig;
use crate::runtime::error::{Error, Result};
use crate::runtime::group::Group;
use crate::runtime::inbox::{Inbox, inbox};
use crate::runtime::machine::StateMachine;
use crate::runtime::router::{Peers, Router, shard_of};
use crate::runtime::shard::{EVENTS_MAX, Ears, Parts, Request, Shard};
use crate::runtime::transport::{Inbound, Link, Transport};
use crate::store::{GroupId, Store};
use crate::types::Index;

/// Parcels that wait for a shard.
const PARCELS_MAX: usize = 1024;

/// A node that is a member of many groups.
#[derive(Debug)]
pub struct MultiNode<M: StateMachine> {
    config: Arc<NodeConfig>,
    store: Arc<Store>,
    shards: Vec<Inbox<Request<M>>>,
    origin: Instant,
    /// Shards and appliers.
    tasks: Vec<JoinHandle<()>>,
    router: Option<JoinHandle<()>>,
    running: Mutex<HashSet<GroupId>>,
}

/// How its tasks are laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Whether one task stands between the network and the shards.
    pub(crate) router: bool,
    /// Timers ring at multiples of this many ticks.
    pub(crate) grid: u64,
}

impl<M: StateMachine> MultiNode<M> {
    /// Opens the store in `dir` and starts the node, with no group running yet: see
    /// [`MultiNode::start`].
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Core`].
    pub fn spawn(
        config: NodeConfig,
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        link: Link,
    ) -> Result<MultiNode<M>> {
        let grid = (config.raft.heartbeat / 2).max(1);
        MultiNode::lay_out(config, vfs, dir, link, Layout { router: true, grid })
    }

    pub(crate) fn lay_out(
        config: NodeConfig,
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        link: Link,
        layout: Layout,
    ) -> Result<MultiNode<M>> {
        config.raft.validate()?;
        let store = Arc::new(Store::open(vfs, dir, config.store.clone())?);
        let config = Arc::new(config);
        let origin = Instant::now();
        let peers: Peers = Arc::default();
        let mut node = MultiNode {
            config: Arc::clone(&config),
            store,
            shards: Vec::new(),
            origin,
            tasks: Vec::new(),
            router: None,
            running: Mutex::default(),
        };
        let transport = Arc::clone(&link.transport);
        if !layout.router {
            node.shard(transport, &peers, link.inbound, layout.grid);
            return Ok(node);
        }
        let mut inboxes = Vec::new();
        for _ in 0..config.shards.max(1) {
            let (inbox, inbound) = mpsc::channel(PARCELS_MAX);
            inboxes.push(inbox);
            node.shard(Arc::clone(&transport), &peers, inbound, layout.grid);
        }
        let patience = config.tick * u32::try_from(config.raft.election).unwrap_or(u32::MAX);
        let router = Router { shards: inboxes, peers, patience };
        node.router = Some(tokio::spawn(router.run(link)));
        Ok(node)
    }

    fn shard(
        &mut self,
        transport: Arc<dyn Transport>,
        peers: &Peers,
        inbound: mpsc::Receiver<Inbound>,
        grid: u64,
    ) {
        let (config, store) = (Arc::clone(&self.config), Arc::clone(&self.store));
        let (requests_in, requests) = inbox(config.requests_max);
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        let (rounds, rounds_out) = mpsc::channel(config.rounds_max.max(1));
        let applier = Applier::new(Arc::clone(&config), Arc::clone(&store), events_in.clone());
        let (peers, origin) = (Arc::clone(peers), self.origin);
        let parts = Parts { config, store, transport, peers, events: events_in, origin, grid };
        let ears = Ears { requests, inbound, events, rounds };
        self.tasks.push(tokio::spawn(applier.run(rounds_out)));
        self.tasks.push(tokio::spawn(Shard::new(parts).run(ears)));
        self.shards.push(requests_in);
    }

    /// The groups that are on the disk.
    pub fn groups(&self) -> Vec<GroupId> {
        self.store.groups()
    }

    /// The store beneath, to look at.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Starts a group with the members of the configuration, or with what is on the disk of it.
    /// Blocks while its snapshot is read.
    ///
    /// # Errors
    /// [`Error::Running`]; [`Error::Store`]; [`Error::Machine`]; [`Error::Stopped`].
    pub async fn start(&self, group: GroupId, machine: M) -> Result<Group<M>> {
        self.start_with(group, self.config.members.clone(), machine).await
    }

    /// The same, with these members.
    ///
    /// # Errors
    /// Those of [`MultiNode::start`].
    pub async fn start_with(
        &self,
        group: GroupId,
        members: Configuration,
        mut machine: M,
    ) -> Result<Group<M>> {
        if !self.running.lock().insert(group) {
            return Err(Error::Running(group));
        }
        match self.store.create(group, members) {
            Ok(()) | Err(crate::store::Error::GroupExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let (boot, applied) = self.restore(group, &mut machine)?;
        let seed = self.store.life() ^ group.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let now = self.origin.elapsed().as_nanos() / self.config.tick.as_nanos().max(1);
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let raft = Raft::restore(self.config.id, self.config.raft.clone(), boot, now, seed)?;
        let requests = &self.shards[shard_of(group, self.shards.len())];
        let (answer, slot) = oneshot::channel();
        let raft = Box::new(raft);
        let sent =
            requests.put_in_time(Request::Add { group, raft, machine, applied, answer }).await;
        sent.map_err(|_| Error::Stopped)?;
        let place = slot.await.map_err(|_| Error::Stopped)?;
        Ok(Group::new(group, place, requests.clone()))
    }

    /// What a group begins with, its state machine restored.
    fn restore(&self, group: GroupId, machine: &mut M) -> Result<(Boot, Index)> {
        let kept = machine.applied();
        let mut failed = None;
        let restored = self.store.restore(self.config.id, group, kept, |read| {
            machine.restore(read).inspect_err(|e| failed = Some(e.kind()))
        });
        match (restored, failed) {
            // The machine refused, and not because of the snapshot.
            (Err(crate::store::Error::Io { source, .. }), Some(kind)) if kind == source.kind() => {
                Err(Error::Machine(source))
            }
            (restored, _) => Ok(restored?),
        }
    }

    /// Hands over what this node leads, answers everyone, and closes the store.
    ///
    /// # Errors
    /// [`Error::Store`] if what was not durable could not be made so.
    pub async fn shutdown(mut self) -> Result<()> {
        let mut stops = Vec::new();
        for shard in std::mem::take(&mut self.shards) {
            let (answer, stopped) = oneshot::channel();
            // A shard that is gone has stopped.
            if shard.put_in_time(Request::Stop { answer }).await.is_ok() {
                stops.push(stopped);
            }
        }
        for stopped in stops {
            let _ = stopped.await;
        }
        self.join().await;
        Ok(self.store.close()?)
    }

    /// Stops at once, and answers nobody. What was handed to the log is written all the same.
    pub async fn kill(mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.join().await;
        // Nobody is left to hear of a failure, and the log recovers from it.
        drop(self.store.close());
    }

    /// Waits for the tasks to end.
    async fn join(&mut self) {
        if let Some(router) = self.router.take() {
            router.abort();
        }
        // An applier ends when its shard is gone and all that was committed is applied.
        for task in std::mem::take(&mut self.tasks) {
            let _ = task.await;
        }
    }
}

impl<M: StateMachine> Drop for MultiNode<M> {
    fn drop(&mut self) {
        for task in self.tasks.iter().chain(&self.router) {
            task.abort();
        }
    }
}
