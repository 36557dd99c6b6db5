//! An agent: runs on a node what the store binds to it.
//!
//! Everything that is decided, is decided by [`mason_core::agent`]; here is the dull loop around
//! it.
//!
//! ```text
//!   store ── runs of this node ──► ┌────────┐ ── claims, reports, results ──► store
//!   life ─── lease: renewed, lost ►│  loop  │ ── notes ──► journal (a log, synced)
//!   journal ─ noted ─────────────► │        │ ── prepare, start, stop, reap ──► one hand a run
//!   hands ── how runs do ────────► └────────┘                                     │
//!                                                          images, runtime, probes ◄┘
//! ```
//!
//! When the agent is killed, keepers and containers go on; the next start reads the journal, asks
//! the keepers, and takes them up again.
//!
//! Not there yet: secrets and probes of tasks, logs and `exec` over the network, the sweep of what
//! no run owns. A task that needs a secret is refused by name; one with a probe counts as ready
//! when it runs.

mod hand;
mod hands;
mod journal;
mod life;
mod resolve;
mod shelf;

pub use life::Card;
pub use shelf::Shelf;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mason_core::agent::{Agent, Effect, Event, Found, Keeper, Note, Now};
use mason_core::keys::Key;
use mason_core::leader::Outcome;
use mason_core::mirror::Change;
use mason_core::types::{NodeId, Revision, RunId};
use mason_node::runtime::{Runner, Status};
use tokio::sync::mpsc;

use crate::server::unix_now;
use crate::store::{self, Committed, Feed, Store, StoreError, now};
use hands::Hands;
use journal::Journal;
use life::{Life, Pulse};

/// News from hands that wait to be heard at most; who has more waits.
const NEWS_MAX: usize = 1024;
/// How long nothing is decided at most.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// What an agent needs.
pub struct Options {
    /// Which node it is.
    pub node: NodeId,
    /// Where its journal is.
    pub data_dir: PathBuf,
    /// What it tells the store of the node.
    pub card: Card,
    /// What containers are run by.
    pub runner: Arc<Runner>,
    /// Where images come from.
    pub images: Shelf,
}

/// What the loop hears of.
enum News {
    Noted(Note),
    Ended(RunId, Result<Committed, StoreError>),
    Of(RunId, Event),
}

/// Runs an agent until the store refuses it, or its journal does.
///
/// # Errors
/// Says which.
pub async fn run(store: Store, options: Options) -> Result<()> {
    let Options { node, data_dir, card, runner, images } = options;
    let (journal, notes) = Journal::open(&data_dir.join("journal")).context("the journal")?;
    let epoch = journal::next_epoch(&data_dir).context("the count of starts")?;
    let boot = mason_shim::state::boot().context("the id of this start of the machine")?;
    let mut agent = Agent::new(store.keys().clone(), node.clone(), epoch, &boot);
    let (told, mut news) = mpsc::channel(NEWS_MAX);
    let claimed = claimed(&store, &node).await.context("runs that were claimed")?;
    let found = find(&runner).context("runs on this node")?;
    let adopted: Vec<RunId> = found.iter().map(|it| it.run.clone()).collect();
    agent.recover(&notes, found, (&claimed, runner.deadline()), clocks());
    let hands = Hands::new(store.clone(), node.clone(), runner.clone(), images, told.clone());
    adopted.iter().for_each(|run| hands.adopt(run));
    let mut life = Life::begin(store.clone(), node.clone(), epoch, card);
    let mut feed = store.follow(&store.keys().runs_of(&node));
    let mut desk = Desk { agent, store, journal, runner, hands, told, is_listed: false };
    loop {
        let idle = desk.idle();
        tokio::select! {
            feed = feed.next() => desk.hear(feed.context("the runs of this node")?),
            pulse = life.next() => desk.hear_life(pulse),
            Some(news) = news.recv() => desk.hear_news(news),
            () = tokio::time::sleep(idle) => {}
        }
        // A burst is heard as one.
        while let Ok(more) = news.try_recv() {
            desk.hear_news(more);
        }
        desk.decide()?;
    }
}

fn clocks() -> Now {
    Now { wall: unix_now(), mono: now() }
}

/// Runs that the store has as claimed by this node.
async fn claimed(store: &Store, node: &NodeId) -> Result<Vec<RunId>, StoreError> {
    let keys = store.keys();
    let (_, all) = store.read_all(&keys.seen_of(node)).await?;
    let runs = all.iter().filter_map(|kv| match keys.parse(&kv.key) {
        Some(Key::Seen(_, run)) => Some(run),
        _ => None,
    });
    Ok(runs.collect())
}

/// What lies on this node of earlier starts.
fn find(runner: &Runner) -> Result<Vec<Found>> {
    let found = runner.list()?.into_iter().map(|(run, status)| {
        let keeper = match status {
            Status::Starting | Status::Running(_) => Keeper::Answers,
            Status::Ended(ended) => Keeper::Left(ended.exit),
        };
        Found { run, keeper }
    });
    Ok(found.collect())
}

struct Desk {
    agent: Agent,
    store: Store,
    journal: Journal,
    runner: Arc<Runner>,
    hands: Hands,
    told: mpsc::Sender<hands::Told>,
    /// It has the list of its runs. Before, all that it adopted would look like strangers.
    is_listed: bool,
}

impl Desk {
    fn idle(&self) -> Duration {
        let wait = self.agent.wake_at().map(|at| Duration::from_millis(at.saturating_sub(now())));
        wait.map_or(IDLE_MAX, |wait| wait.clamp(Duration::from_millis(5), IDLE_MAX))
    }

    fn hear(&mut self, feed: Feed) {
        match feed {
            Feed::Reset(_, all) => {
                let all: Vec<Change> = all.into_iter().map(crate::server::change_of).collect();
                self.agent.reset(&all);
                self.is_listed = true;
            }
            Feed::Batch(_, changes) => {
                for change in changes {
                    self.agent.heard(&match change {
                        store::Change::Put(kv) => crate::server::change_of(kv),
                        store::Change::Delete { key, at } => {
                            Change { path: key, value: None, made: 0, changed: at }
                        }
                    });
                }
            }
        }
    }

    fn hear_life(&mut self, pulse: Pulse) {
        match pulse {
            Pulse::Registered { made, asked } => self.agent.registered(made, asked),
            Pulse::Renewed { asked } => self.agent.renewed(asked),
            Pulse::Lost => self.agent.lease_lost(),
        }
    }

    fn hear_news(&mut self, news: hands::Told) {
        match news {
            News::Noted(note) => self.agent.journaled(&note),
            News::Of(run, event) => self.agent.event(&run, event, clocks()),
            News::Ended(run, ended) => {
                let outcome = match ended {
                    Ok(done) if done.succeeded => Some(Outcome::Done(done.revision)),
                    Ok(done) => Some(Outcome::Refused(done.revision)),
                    Err(error) => {
                        tracing::warn!(%run, %error, "will be said again");
                        None
                    }
                };
                self.agent.outcome(&run, outcome);
            }
        }
    }

    fn decide(&mut self) -> Result<()> {
        if !self.is_listed {
            return Ok(());
        }
        for effect in self.agent.step(clocks()) {
            self.perform(effect)?;
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::Journal(note) => {
                let noted = self.journal.note(&note).context("the journal")?;
                let told = self.told.clone();
                tokio::spawn(async move {
                    if noted.await {
                        let _ = told.send(News::Noted(note)).await;
                    }
                });
            }
            Effect::Commit(run, txn) => {
                let (store, told) = (self.store.clone(), self.told.clone());
                tokio::spawn(async move {
                    let ended = store.commit(&txn).await;
                    let _ = told.send(News::Ended(run, ended)).await;
                });
            }
            Effect::Prepare(run, record) => self.hands.prepare(&run, *record),
            Effect::Start(run, _) => self.hands.start(&run),
            Effect::Stop(run, grace) => self.hands.stop(&run, grace),
            Effect::Kill(run) => self.hands.stop(&run, Some(0)),
            Effect::Reap(run) => self.hands.reap(&run),
            Effect::Fence(deadline) => self.runner.renew(deadline).context("the fence")?,
        }
        Ok(())
    }
}

/// The store's revision of something that was made.
type Made = Revision;
