//! Calls to whichever endpoint answers.
//!
//! ```text
//!   call ──► the endpoint in use ──► answered
//!                  │ not done, or may be done twice
//!                  ▼
//!            the next endpoint ──► … ──► all failed: pause, twice as long each round
//! ```
//!
//! All callers share which endpoint is in use: one of them finds out that it failed, and the others
//! need not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use drystone_etcd_api::client::{self, Client};
use drystone_etcd_api::etcdserverpb::ResponseHeader;
use tonic::{Request, Response, Status};

use super::answer::{Fate, fate};
use super::error::StoreError;
use super::settings::Settings;

/// The endpoints of one store.
#[derive(Debug)]
pub(crate) struct Calls {
    endpoints: Vec<Endpoint>,
    /// Counts up with each failure; which of the endpoints is in use, by its remainder.
    turn: AtomicUsize,
    /// Which cluster it is; 0 until one has answered.
    cluster: AtomicU64,
    settings: Settings,
}

#[derive(Debug)]
struct Endpoint {
    url: String,
    client: Client,
}

/// An endpoint that is about to be asked.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// Its connection.
    pub(crate) client: Client,
    /// Its name.
    pub(crate) url: String,
    turn: usize,
}

/// How a call may be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// What it does, for errors.
    pub(crate) what: &'static str,
    /// Whether it may be done twice.
    pub(crate) repeatable: bool,
    /// How long one attempt may take.
    pub(crate) max: Duration,
}

/// Pauses, each twice as long as the last, with a random half.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    max: Duration,
}

impl Pauses {
    /// Waits for the next of them.
    pub(crate) async fn pause(&mut self) {
        let sure = self.next / 2;
        tokio::time::sleep(sure + sure.mul_f64(rand::random::<f64>())).await;
        self.next = (self.next * 2).min(self.max);
    }
}

impl Calls {
    /// Nobody is asked yet.
    pub(crate) fn new(urls: &[String], settings: Settings) -> Result<Calls, StoreError> {
        let config = client::Config {
            connect_timeout: settings.connect_max,
            keepalive_interval: settings.ping_interval,
            keepalive_timeout: settings.ping_max,
            ..client::Config::default()
        };
        let open = |url: &String| match client::connect_lazy(url, &config) {
            Ok(client) => Ok(Endpoint { url: url.clone(), client }),
            Err(source) => {
                Err(StoreError::BadEndpoint { endpoint: url.clone(), source: Arc::new(source) })
            }
        };
        let endpoints = urls.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(StoreError::NoEndpoint);
        }
        // Not everybody starts with the first.
        let turn = AtomicUsize::new(rand::random_range(0..endpoints.len()));
        Ok(Calls { endpoints, turn, cluster: AtomicU64::new(0), settings })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many endpoints there are.
    pub(crate) fn count(&self) -> usize {
        self.endpoints.len()
    }

    /// The endpoint in use.
    pub(crate) fn choose(&self) -> Chosen {
        let turn = self.turn.load(Ordering::Relaxed);
        let Endpoint { url, client } = &self.endpoints[turn % self.endpoints.len()];
        Chosen { client: client.clone(), url: url.clone(), turn }
    }

    /// Moves on from an endpoint that failed, unless somebody else has.
    pub(crate) fn leave(&self, chosen: &Chosen) {
        let (turn, next) = (chosen.turn, chosen.turn.wrapping_add(1));
        // Whoever was faster has moved on from the same failure.
        let _ = self.turn.compare_exchange(turn, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Pauses for between rounds.
    pub(crate) fn pauses(&self) -> Pauses {
        Pauses { next: self.settings.pause_min, max: self.settings.pause_max }
    }

    /// A read: it may be made again.
    pub(crate) fn repeatable(&self, what: &'static str) -> Manner {
        Manner { what, repeatable: true, max: self.settings.call_max }
    }

    /// Makes a call. `ask` may be called several times, if the manner allows.
    pub(crate) async fn call<T, F>(
        &self,
        manner: Manner,
        ask: impl Fn(Client) -> F,
    ) -> Result<(T, Chosen), StoreError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let (began, mut pauses, mut failures) = (Instant::now(), self.pauses(), 0_usize);
        loop {
            let chosen = self.choose();
            let asked = tokio::time::timeout(manner.max, ask(chosen.client.clone())).await;
            let status = match asked {
                Ok(Ok(response)) => return Ok((response.into_inner(), chosen)),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("no answer in {:?}", manner.max)),
            };
            let (endpoint, what) = (chosen.url.clone(), manner.what);
            match fate(&status) {
                Fate::Refused => {
                    return Err(StoreError::Refused { endpoint, what, source: Arc::new(status) });
                }
                Fate::Unknown if !manner.repeatable => {
                    self.leave(&chosen);
                    return Err(StoreError::Unknown { endpoint, what, source: Arc::new(status) });
                }
                Fate::Unknown | Fate::NotDone => self.leave(&chosen),
            }
            let waited = began.elapsed();
            if waited >= self.settings.patience {
                let source = Arc::new(status);
                return Err(StoreError::Unavailable { endpoint, waited, source });
            }
            failures += 1;
            if failures.is_multiple_of(self.endpoints.len()) {
                pauses.pause().await;
            }
        }
    }

    /// The revision of an answer, which must come from the cluster that the first came from: the
    /// revisions of another mean nothing here.
    pub(crate) fn revision(
        &self,
        header: Option<&ResponseHeader>,
        chosen: &Chosen,
    ) -> Result<i64, StoreError> {
        let endpoint = || chosen.url.clone();
        let Some(header) = header else {
            return Err(StoreError::BadAnswer { endpoint: endpoint(), what: "a header" });
        };
        let (found, relaxed) = (header.cluster_id, Ordering::Relaxed);
        let known = self.cluster.compare_exchange(0, found, relaxed, relaxed);
        match known {
            Ok(_) => Ok(header.revision),
            Err(expected) if expected == found => Ok(header.revision),
            Err(expected) => {
                Err(StoreError::OtherCluster { endpoint: endpoint(), found, expected })
            }
        }
    }
}

/// A request that ends if the member that got it has no leader, and so hears of nothing.
pub(crate) fn led<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let yes = tonic::metadata::MetadataValue::from_static("true");
    request.metadata_mut().insert("hasleader", yes);
    request
}
