//! How a member begins.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;

use super::birth;
use super::datagrams::Datagrams;
use super::driver::{Driver, Parts};
use super::error::{Error, Result};
use super::file::{self, Saver};
use super::handle::{Admission, Membership, Shared};
use super::metrics::Counters;
use super::ports;
use super::request::REQUESTS_MAX;
use super::watch::{EVENTS_MAX, Watch};
use crate::config::Config;
use crate::input::Input;
use crate::keyring::Key;
use crate::node::Node;
use crate::snapshot::Snapshot;
use crate::swim::{Boot, Swim};
use crate::types::NodeId;

/// How long [`Builder::join`] waits, if nothing else is said.
const PATIENCE: Duration = Duration::from_secs(30);

/// A member that is not there yet: see [`Membership::bind`].
#[derive(Debug, Clone)]
#[must_use = "nothing runs until it is started"]
pub struct Builder {
    bind: SocketAddr,
    advertise: Option<SocketAddr>,
    name: String,
    id: Option<NodeId>,
    zone: String,
    config: Config,
    keys: Vec<Key>,
    meta: Vec<(String, Bytes)>,
    seeds: Vec<SocketAddr>,
    snapshot: Option<PathBuf>,
    patience: Duration,
}

impl Builder {
    pub(super) fn new(bind: SocketAddr) -> Builder {
        Builder {
            bind,
            advertise: None,
            name: String::new(),
            id: None,
            zone: String::new(),
            config: Config::default(),
            keys: Vec::new(),
            meta: Vec::new(),
            seeds: Vec::new(),
            snapshot: None,
            patience: PATIENCE,
        }
    }

    /// What people call it. Its id follows from it, unless another is given.
    pub fn name(mut self, name: &str) -> Builder {
        name.clone_into(&mut self.name);
        self
    }

    /// Its id. Without name and id it has that of its snapshot, or one of chance.
    pub fn id(mut self, id: NodeId) -> Builder {
        self.id = Some(id);
        self
    }

    /// What it shares fate and wires with.
    pub fn zone(mut self, zone: &str) -> Builder {
        zone.clone_into(&mut self.zone);
        self
    }

    /// Where the others reach it, if not where it listens. Port 0 is the port where it listens.
    pub fn advertise(mut self, addr: SocketAddr) -> Builder {
        self.advertise = Some(addr);
        self
    }

    /// Every limit and option. [`Config::lan`] if nothing is said.
    pub fn config(mut self, config: Config) -> Builder {
        self.config = config;
        self
    }

    /// The keys; the first seals.
    pub fn keys(mut self, keys: impl IntoIterator<Item = Key>) -> Builder {
        self.keys = keys.into_iter().collect();
        self
    }

    /// Metadata that it has from the beginning.
    pub fn meta(mut self, key: &str, value: impl Into<Bytes>) -> Builder {
        self.meta.push((key.to_owned(), value.into()));
        self
    }

    /// Where to look for the cluster, in the background.
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = SocketAddr>) -> Builder {
        self.seeds.extend(seeds);
        self
    }

    /// A file that remembers who is there. If it exists, those in it are seeds.
    pub fn snapshot(mut self, path: impl Into<PathBuf>) -> Builder {
        self.snapshot = Some(path.into());
        self
    }

    /// How long [`join`](Builder::join) waits: 30 seconds if nothing is said.
    pub fn patience(mut self, patience: Duration) -> Builder {
        self.patience = patience;
        self
    }

    /// Starts it. It is the first of its cluster, or looks for it in the background.
    ///
    /// # Errors
    /// If the configuration breaks a rule, the port cannot be had, nobody could reach us, or the
    /// snapshot is unusable.
    pub async fn start(self) -> Result<Membership> {
        Ok(self.start_watched().await?.0)
    }

    /// Starts it, with a watch that misses nothing.
    ///
    /// # Errors
    /// As [`start`](Builder::start).
    pub async fn start_watched(self) -> Result<(Membership, Watch)> {
        self.config.validate()?;
        let saved = match &self.snapshot {
            Some(path) => file::read(path).await?,
            None => None,
        };
        let seed = birth::seed()?;
        let id = self.identity(saved.as_ref())?;
        let (listener, socket) = ports::bind(self.bind).await?;
        let refused = |source| Error::Bind { protocol: "udp", addr: self.bind, source };
        let local = socket.local_addr().map_err(refused)?;
        let counters = Arc::new(Counters::default());
        let datagrams = Datagrams::new(socket, Arc::clone(&counters)).map_err(refused)?;
        let mut effects = Vec::new();
        let swim = self.core(id, seed, local, saved, &mut effects)?;
        let saver = self.snapshot.map(|path| Saver::new(path, Arc::clone(&counters)));
        let (requests, asked) = mpsc::channel(REQUESTS_MAX);
        let (events, first) = broadcast::channel(EVENTS_MAX);
        let (admission, admitted) = watch::channel(Admission::Waiting);
        let shared = Arc::new(Shared {
            swim: Mutex::new(swim),
            counters,
            local,
            events: events.downgrade(),
            admission: admitted,
            patience: self.patience,
        });
        let driver = Driver::new(Parts {
            shared: Arc::clone(&shared),
            began: Instant::now(),
            listener,
            datagrams,
            requests: asked,
            events,
            admission,
            saver,
            effects,
        });
        tokio::spawn(driver.run());
        Ok((Membership { shared, requests }, Watch::new(Some(first))))
    }

    /// Starts it, and waits until one of these has let it in. If none does, it is stopped again.
    ///
    /// # Errors
    /// As [`start`](Builder::start) and [`Membership::join`].
    pub async fn join(self, seeds: impl IntoIterator<Item = SocketAddr>) -> Result<Membership> {
        let membership = self.start().await?;
        membership.join(seeds).await?;
        Ok(membership)
    }

    fn identity(&self, saved: Option<&Snapshot>) -> Result<NodeId> {
        let named = (!self.name.is_empty()).then(|| NodeId::named(&self.name));
        let me = match self.id.or(named).or(saved.map(|saved| saved.id)) {
            Some(id) => id,
            // Not the seed, which must stay unknown.
            None => NodeId(birth::seed()?),
        };
        match (saved, &self.snapshot) {
            (Some(saved), Some(path)) if saved.id != me => {
                Err(Error::Foreign { path: path.clone(), of: saved.id, me })
            }
            _ => Ok(me),
        }
    }

    /// The core, with what is wanted before it runs.
    fn core(
        &self,
        id: NodeId,
        seed: u64,
        local: SocketAddr,
        saved: Option<Snapshot>,
        effects: &mut Vec<crate::Effect>,
    ) -> Result<Swim> {
        let mut addr = self.advertise.unwrap_or(local);
        if addr.port() == 0 {
            addr.set_port(local.port());
        }
        if addr.ip().is_unspecified() {
            return Err(Error::NoAddress(addr));
        }
        let node = Node { id, addr, name: self.name.clone(), zone: self.zone.clone() };
        let life = birth::life();
        let life = saved.as_ref().map_or(life, |saved| saved.next_life(life));
        let boot = Boot { keys: self.keys.clone(), ..Boot::new(node, life, seed) };
        let now = Duration::ZERO;
        let mut swim = Swim::new(boot, self.config.clone(), now)?;
        for (key, value) in &self.meta {
            swim.handle(now, Input::Set { key, value: Some(value.clone()) }, effects)?;
        }
        let known = saved.map(|saved| saved.addrs()).unwrap_or_default();
        let seeds: Vec<SocketAddr> = self.seeds.iter().copied().chain(known).collect();
        if !seeds.is_empty() {
            swim.handle(now, Input::Join(seeds), effects)?;
        }
        Ok(swim)
    }
}
