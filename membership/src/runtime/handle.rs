//! The handle on a running member.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::builder::Builder;
use super::driver::Core;
use super::error::{Error, Result};
use super::metrics::{Counters, Metrics};
use super::request::{Request, Wish};
use super::watch::Watch;
use crate::effect::Event;
use crate::keyring::KeyStep;
use crate::node::{Member, Node};
use crate::swim::Swim;
use crate::types::{NodeId, State};

/// A running member of a cluster. Clones are the same member; when the last is dropped, it stops
/// without a word, and the others find out. To go in peace, [`leave`](Membership::leave).
///
/// What looks (`members`, `meta`, …) answers from what is known now. What asks is `async`, and says
/// when the member has done it, not when the others have heard.
#[derive(Debug, Clone)]
pub struct Membership {
    pub(super) shared: Arc<Shared>,
    pub(super) requests: mpsc::Sender<Request>,
}

/// What handles and the driver have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) swim: Core,
    pub(super) counters: Arc<Counters>,
    /// Where the sockets are bound.
    pub(super) local: SocketAddr,
    /// Gone with the driver, so that watchers see the end.
    pub(super) events: broadcast::WeakSender<Event>,
    pub(super) admission: watch::Receiver<Admission>,
    pub(super) patience: Duration,
}

/// Whether somebody has let us in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Waiting,
    /// Our name belongs to another.
    Taken(SocketAddr),
    In,
}

impl Admission {
    /// What an event says about it.
    pub(super) fn from(event: &Event, me: NodeId) -> Option<Admission> {
        match event {
            Event::Admitted { .. } => Some(Admission::In),
            Event::Conflict { id, owner, .. } if *id == me => Some(Admission::Taken(*owner)),
            _ => None,
        }
    }
}

impl Membership {
    /// Begins to describe a member that will listen here, by UDP and TCP. Port 0 takes a free one.
    pub fn bind(addr: SocketAddr) -> Builder {
        Builder::new(addr)
    }

    /// Who we are.
    #[must_use]
    pub fn me(&self) -> Node {
        self.look(|swim| swim.me().clone())
    }

    /// Our id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.look(|swim| swim.me().id)
    }

    /// Where the others reach us.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.look(|swim| swim.me().addr)
    }

    /// Where we listen.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    /// All members, ourselves among them if we are one, by id. Suspects are members.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let mut members = self.look(|swim| {
            let (node, state) = (swim.me().clone(), State::Alive);
            let me = Member { node, state, incarnation: swim.incarnation() };
            swim.others().chain(swim.is_member().then_some(me)).collect::<Vec<_>>()
        });
        members.sort_unstable_by_key(|member| member.node.id);
        members
    }

    /// What is believed of somebody else, member or not; none if nothing is known.
    #[must_use]
    pub fn of(&self, id: NodeId) -> Option<Member> {
        self.look(|swim| swim.of(id))
    }

    /// A value of somebody's metadata, or of ours.
    #[must_use]
    pub fn meta(&self, id: NodeId, key: &str) -> Option<Bytes> {
        self.look(|swim| swim.metadata(id, key).cloned())
    }

    /// Somebody's metadata, or ours, by key. What the core keeps there for itself begins with `_`.
    #[must_use]
    pub fn meta_all(&self, id: NodeId) -> Vec<(String, Bytes)> {
        let own = |(key, value): (&str, &Bytes)| (key.to_owned(), value.clone());
        self.look(|swim| swim.metadata_all(id).map(own).collect())
    }

    /// Looks at the core. Keep it short: the member waits meanwhile. And do not call the handle
    /// from within, which would wait forever.
    pub fn look<T>(&self, look: impl FnOnce(&Swim) -> T) -> T {
        look(&self.shared.swim.lock())
    }

    /// Events from now on.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(self.shared.events.upgrade().map(|events| events.subscribe()))
    }

    /// What the sockets and the file have seen.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.shared.counters.read()
    }

    /// Finds the cluster by one of these, and waits until somebody has let us in, if nobody has
    /// before. The member goes on trying, whatever comes of this.
    ///
    /// # Errors
    /// [`NotAdmitted`](Error::NotAdmitted) or [`NameTaken`](Error::NameTaken) when
    /// [patience](Builder::patience) ends.
    pub async fn join(&self, seeds: impl IntoIterator<Item = SocketAddr>) -> Result<()> {
        let seeds: Vec<SocketAddr> = seeds.into_iter().collect();
        self.ask(Wish::Join(seeds.clone())).await?;
        let mut admission = self.shared.admission.clone();
        let after = self.shared.patience;
        match timeout(after, admission.wait_for(|it| *it == Admission::In)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(_)) => return Err(Error::Stopped),
            Err(_) => {}
        }
        match *admission.borrow() {
            Admission::Taken(owner) => Err(Error::NameTaken { owner }),
            _ => Err(Error::NotAdmitted { seeds, after }),
        }
    }

    /// Sets a key of our metadata, or removes it.
    ///
    /// # Errors
    /// If it is too large, or we are no member any more.
    pub async fn set_meta(&self, key: &str, value: Option<Bytes>) -> Result<()> {
        self.ask(Wish::Set(key.to_owned(), value)).await
    }

    /// Tells all members something once: [`Event::Broadcast`].
    ///
    /// # Errors
    /// If it is longer than [`Swim::broadcast_bytes_max`], or we are no member any more.
    pub async fn broadcast(&self, topic: &str, payload: impl Into<Bytes>) -> Result<()> {
        self.ask(Wish::Broadcast(topic.to_owned(), payload.into())).await
    }

    /// Declares a member failed. One that lives can defend itself.
    ///
    /// # Errors
    /// If this is no member.
    pub async fn condemn(&self, id: NodeId) -> Result<()> {
        self.ask(Wish::Condemn(id)).await
    }

    /// Takes the next step of a rotation of keys, for the whole cluster.
    ///
    /// # Errors
    /// If the step makes no sense, or would lock members out, who are named.
    pub async fn keys(&self, step: KeyStep) -> Result<()> {
        self.ask(Wish::Keys(step)).await
    }

    /// The same, though some members are not known to keep up.
    ///
    /// # Errors
    /// If the step makes no sense.
    pub async fn keys_anyway(&self, step: KeyStep) -> Result<()> {
        self.ask(Wish::KeysAnyway(step)).await
    }

    /// Tells all that we leave, and waits until enough of them have heard, or
    /// [`leave_timeout`](crate::Config::leave_timeout) has passed. The member stops then, and every
    /// handle with it: what looks sees how it was, what asks is [`Stopped`](Error::Stopped).
    ///
    /// # Errors
    /// If it has stopped before.
    pub async fn leave(&self) -> Result<()> {
        let (answer, left) = oneshot::channel();
        self.requests.send(Request::Leave(answer)).await.map_err(|_| Error::Stopped)?;
        left.await.map_err(|_| Error::Stopped)
    }

    /// Stops it without a word, and waits until its sockets are closed and its snapshot is saved.
    /// For a restart at the same address: who is back soon was never away.
    ///
    /// # Errors
    /// If it has stopped before.
    pub async fn stop(&self) -> Result<()> {
        let (answer, stopped) = oneshot::channel();
        self.requests.send(Request::Stop(answer)).await.map_err(|_| Error::Stopped)?;
        stopped.await.map_err(|_| Error::Stopped)
    }

    async fn ask(&self, wish: Wish) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Do(wish, answer)).await.map_err(|_| Error::Stopped)?;
        Ok(answered.await.map_err(|_| Error::Stopped)??)
    }
}
