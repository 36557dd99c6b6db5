//! A server: copies the store, stands for the office of leader, and decides while it holds it.
//!
//! Everything that is decided, is decided by [`mason_core::leader`]; here is the dull loop around
//! it, which hears from the store and does what it is told.
//!
//! ```text
//!   store ── changes ──────► ┌────────┐ ── copy ──► whoever reads: Shared
//!   office ─ won, lost ────► │  loop  │
//!   flights ─ how they ended ►│        │ ── transactions ──► store
//!   gossip ─ suspicions ───► └────────┘
//! ```
//!
//! All servers are alike: each copies the store and answers reads, one of them leads.

pub mod chronicle;
mod office;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use mason_core::keys::Key;
use mason_core::leader::{Config, FlightId, Leader, Order, Outcome};
use mason_core::mirror::{Change, Mirror};
use mason_core::types::{NodeId, Revision, UnixMs};
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot, watch};

use crate::store::{self, Feed, KeyValue, Store, StoreError};
use chronicle::{Before, Chronicle};
use office::{Bench, Word};

/// Outcomes that wait to be heard at most: more than there can be flights.
const OUTCOMES_MAX: usize = 256;
/// Suspicions that wait to be heard at most.
const SUSPICIONS_MAX: usize = 1024;
/// How long nothing is decided at most: clocks are set, and a deadline may be nearer than it was.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// What the store holds, as this server knows it; shared with all who read.
#[derive(Clone, Debug)]
pub struct Shared {
    mirror: Arc<RwLock<Mirror>>,
    revision: watch::Receiver<Revision>,
    chronicle: Arc<Chronicle>,
    suspects: Arc<RwLock<BTreeSet<NodeId>>>,
}

impl Shared {
    /// Looks at the copy. It stands still meanwhile: be brief.
    pub fn read<T>(&self, look: impl FnOnce(&Mirror) -> T) -> T {
        look(&self.mirror.read())
    }

    /// Resolves when the copy is at that revision, or later.
    ///
    /// # Errors
    /// If the server has stopped.
    pub async fn at(&self, revision: Revision) -> Result<Revision> {
        let mut seen = self.revision.clone();
        let at = seen.wait_for(|at| *at >= revision).await.context("the server has stopped")?;
        Ok(*at)
    }

    /// Changes with every revision that the copy comes to; 0 until it has begun.
    pub fn revision(&self) -> watch::Receiver<Revision> {
        self.revision.clone()
    }

    /// What has happened lately.
    pub fn chronicle(&self) -> &Chronicle {
        &self.chronicle
    }

    /// The nodes that gossip suspects.
    pub fn suspects(&self) -> BTreeSet<NodeId> {
        self.suspects.read().clone()
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    shared: Shared,
    suspicions: mpsc::Sender<(NodeId, bool)>,
    leads: watch::Receiver<bool>,
    stop: mpsc::Sender<oneshot::Sender<()>>,
}

impl Server {
    /// Starts a server over a store. `name` is what it tells the other servers of itself: where it
    /// answers. It runs until it is dropped, as a task of the runtime around it; the handle ends
    /// with an error when the store refuses it.
    pub fn start(store: Store, name: &str) -> (Server, tokio::task::JoinHandle<Result<()>>) {
        let mirror = Arc::new(RwLock::new(Mirror::new(store.keys().clone())));
        let (told, revision) = watch::channel(0);
        let (leading, leads) = watch::channel(false);
        let (suspicions, heard) = mpsc::channel(SUSPICIONS_MAX);
        let (stop, stops) = mpsc::channel(1);
        let (chronicle, suspects) = (Arc::<Chronicle>::default(), Arc::default());
        let shared = Shared { mirror: mirror.clone(), revision, chronicle, suspects };
        let desk = Desk {
            bench: Bench::sit(store.clone(), name),
            store,
            mirror,
            shared: shared.clone(),
            told,
            leading,
            office: None,
            leader: None,
            terms: 0,
        };
        let task = tokio::spawn(desk.run(heard, stops));
        (Server { shared, suspicions, leads, stop }, task)
    }

    /// The copy of the store.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether it leads.
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.leads.clone()
    }

    /// Ends it in good order: the office, if it has it, is given up at once, so that another server
    /// leads within moments. Nothing happens if it has ended already.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        let _ = self.stop.send(done).await;
        // An error is that it has ended.
        let _ = stopped.await;
    }

    /// Gossip suspects a node, or does not any more.
    pub async fn suspect(&self, node: NodeId, suspected: bool) {
        // A server that has stopped suspects nobody.
        let _ = self.suspicions.send((node, suspected)).await;
    }
}

/// How a transaction of a term ended.
type Ending = (u64, FlightId, Result<store::Committed, StoreError>);

struct Desk {
    store: Store,
    mirror: Arc<RwLock<Mirror>>,
    shared: Shared,
    told: watch::Sender<Revision>,
    leading: watch::Sender<bool>,
    bench: Bench,
    /// Won, and waiting for the copy to be as new as it.
    office: Option<mason_core::protocol::Office>,
    leader: Option<Leader>,
    /// Counts its leaders, so that nobody hears of another's transactions.
    terms: u64,
}

impl Desk {
    async fn run(
        mut self,
        mut suspicions: mpsc::Receiver<(NodeId, bool)>,
        mut stops: mpsc::Receiver<oneshot::Sender<()>>,
    ) -> Result<()> {
        let mut feed = self.store.follow(self.store.keys().prefix());
        let (ended, mut endings) = mpsc::channel::<Ending>(OUTCOMES_MAX);
        loop {
            let idle = self.idle();
            tokio::select! {
                news = feed.next() => self.hear(news.context("the copy of the store")?),
                word = self.bench.next() => self.hear_office(word),
                Some(ending) = endings.recv() => self.hear_ending(ending),
                Some(done) = stops.recv() => {
                    // What is under way may still be done; when the office is gone, it is not.
                    self.leader = None;
                    self.bench.leave().await;
                    let _ = done.send(());
                    return Ok(());
                }
                Some((node, suspected)) = suspicions.recv() => self.suspect(node, suspected),
                () = tokio::time::sleep(idle) => {}
            }
            self.take_office();
            self.decide(&ended);
        }
    }

    fn idle(&self) -> Duration {
        let wake = self.leader.as_ref().and_then(Leader::wake_at);
        let wait = wake.map(|at| Duration::from_millis(at.saturating_sub(unix_now())));
        wait.map_or(IDLE_MAX, |wait| wait.clamp(Duration::from_millis(1), IDLE_MAX))
    }

    fn suspect(&mut self, node: NodeId, suspected: bool) {
        if let Some(leader) = &mut self.leader {
            leader.suspect(&node, suspected);
        }
        let mut suspects = self.shared.suspects.write();
        match suspected {
            true => drop(suspects.insert(node)),
            false => drop(suspects.remove(&node)),
        }
    }

    fn hear(&mut self, news: Feed) {
        let mut mirror = self.mirror.write();
        match news {
            Feed::Reset(revision, all) => {
                let all: Vec<Change> = all.into_iter().map(change_of).collect();
                mirror.reset(revision, &all);
                self.shared.chronicle.reset(&mirror, unix_now());
                // What it knew is of before the gap.
                self.leader = None;
                self.bench.resign();
            }
            Feed::Batch(revision, changes) => {
                let changes = changes.into_iter().map(|change| match change {
                    store::Change::Put(kv) => change_of(kv),
                    store::Change::Delete { key, at } => {
                        Change { path: key, value: None, made: 0, changed: at }
                    }
                });
                let chronicle = &self.shared.chronicle;
                let keys: Vec<_> =
                    changes.filter_map(|change| take_in(&mut mirror, chronicle, &change)).collect();
                mirror.advance(revision);
                chronicle.tell(&mirror);
                if let Some(leader) = &mut self.leader {
                    keys.iter().for_each(|key| leader.heard(&mirror, key));
                }
            }
        }
        let revision = mirror.revision();
        drop(mirror);
        self.told.send_replace(revision);
    }

    fn hear_office(&mut self, word: Word) {
        match word {
            Word::Won(office) => self.office = Some(office),
            Word::Lost => {
                self.office = None;
                self.leader = None;
            }
        }
    }

    /// An office is held once: what was sent under it may still arrive.
    fn take_office(&mut self) {
        let mirror = self.mirror.read();
        let ready = |office: &mut mason_core::protocol::Office| office.made <= mirror.revision();
        if let Some(office) = self.office.take_if(ready) {
            tracing::info!(key = office.key, "leads");
            self.terms += 1;
            let term = rand::random();
            let mut leader = Leader::take_over(Config::default(), office, term, &mirror);
            self.shared.suspects.read().iter().for_each(|node| leader.suspect(node, true));
            self.leader = Some(leader);
        }
        self.leading.send_if_modified(|leads| {
            let now = self.leader.is_some();
            std::mem::replace(leads, now) != now
        });
    }

    fn hear_ending(&mut self, (term, flight, ending): Ending) {
        let Some(leader) = self.leader.as_mut().filter(|_| term == self.terms) else { return };
        let mirror = self.mirror.read();
        let outcome = match ending {
            Ok(done) if done.succeeded => Outcome::Done(done.revision),
            Ok(done) => Outcome::Refused(done.revision),
            // It was not done: looked at again after a pause.
            Err(error @ StoreError::Unavailable { .. }) => {
                tracing::warn!(%error, "the store does not answer");
                Outcome::Refused(Revision::MAX)
            }
            Err(error) => {
                tracing::warn!(%error, "resigns: what was sent may be done later");
                drop(mirror);
                self.leader = None;
                self.bench.resign();
                return;
            }
        };
        leader.outcome(flight, outcome, &mirror, unix_now());
    }

    fn decide(&mut self, ended: &mpsc::Sender<Ending>) {
        let Some(leader) = &mut self.leader else { return };
        let orders = leader.step(&self.mirror.read(), unix_now());
        for Order { flight, txn } in orders {
            let (store, ended, term) = (self.store.clone(), ended.clone(), self.terms);
            tokio::spawn(async move {
                let ending = store.commit(&txn).await;
                // Nobody listens any more: the server has stopped.
                let _ = ended.send((term, flight, ending)).await;
            });
        }
    }
}

/// Takes a change into the copy, and what it means into the chronicle.
fn take_in(mirror: &mut Mirror, chronicle: &Chronicle, change: &Change) -> Option<Key> {
    let before = mirror.keys().parse(&change.path).map(|key| Before::of(mirror, &key));
    let key = mirror.apply(change)?;
    chronicle.note(mirror, &key, before.unwrap_or(Before::Nothing), change.changed);
    Some(key)
}

/// As the copy takes it.
pub(crate) fn change_of(kv: KeyValue) -> Change {
    let KeyValue { key, value, made, changed, .. } = kv;
    Change { path: key, value: Some(value.to_vec()), made, changed }
}

/// What people call the time.
pub fn unix_now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs::try_from(since.as_millis()).unwrap_or(UnixMs::MAX)
}
