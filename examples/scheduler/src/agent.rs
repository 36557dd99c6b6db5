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
//! | part | does |
//! |---|---|
//! | `hand` | all that is done for one run: image, start, stop, end |
//! | `resolve` | what its spec names: variables, config maps, secrets |
//! | `probes` | whether it is well |
//! | [`http`](mod@http) | logs, commands in containers, images: for servers and people |
//! | `upkeep` | once a minute: sweeps what nobody knows, collects images and old logs |
//! | `life` | that the node lives, and what images it has |
//! | `journal`, `memo` | what the next agent must know |
//!
//! # What fails
//! A disk that is full makes runs wait (the journal) or fail by name (their folders), and loses
//! output of those that run, which their logs say; the agent lives, and goes on when there is room.
//! What the store refuses is asked again after a pause that grows.
//!
//! An interruption of the node is told to the store (`mason node interrupt`), not to the agent.

mod hand;
mod hands;
pub mod http;
mod journal;
mod known;
mod life;
mod memo;
mod probes;
mod resolve;
mod shelf;
mod upkeep;

pub use life::Card;
pub use shelf::Shelf;
pub use upkeep::{Limits, SWEEP};

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mason_core::agent::{Agent, Effect, Event, Found, Keeper, Note, Now};
use mason_core::keys::Key;
use mason_core::leader::Outcome;
use mason_core::mirror::Change;
use mason_core::types::{NodeId, Revision, RunId};
use mason_node::runtime::{Runner, Status};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::api::Token;
use crate::secrets::Keyring;
use crate::server::unix_now;
use crate::store::{self, Committed, Feed, Store, StoreError, now};
use hands::{Hands, QUESTIONS_MAX, Tools};
use journal::Journal;
use known::Known;
use life::{Face, Life, Pulse};
use memo::Memos;
use upkeep::Upkeep;

/// News from hands that wait to be heard at most; who has more waits.
const NEWS_MAX: usize = 1024;
/// How long nothing is decided at most.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// How long it waits to say again what the store refused; twice as long each time.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_secs(5);

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
    /// Unseals secrets. Without one, a task that needs a secret is refused by name. Who has the key
    /// can read every secret that is sealed with it, whichever node its tasks run on.
    pub keyring: Option<Keyring>,
    /// Where it answers ([`http`](mod@http)). Without one, nobody can ask it for logs.
    pub listener: Option<TcpListener>,
    /// What who asks must know: `Authorization: Bearer …`. Needed if it listens on more than
    /// loopback.
    pub token: Option<Token>,
    /// How much it keeps.
    pub limits: Limits,
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
    let Options { node, data_dir, card, runner, images, keyring, listener, token, limits } =
        options;
    std::fs::create_dir_all(&data_dir).with_context(|| data_dir.display().to_string())?;
    let Start { agent, journal, adopted, epoch } =
        take_up(&store, &node, (&data_dir, &runner)).await?;
    let memos = Memos::open(&data_dir, &adopted).context("what was noted of runs")?;
    let (told, mut news) = mpsc::channel(NEWS_MAX);
    let known = Arc::new(Known::default());
    let tools = Arc::new(Tools {
        store: store.clone(),
        node: node.clone(),
        runner: runner.clone(),
        images,
        keyring,
        known: known.clone(),
        memos,
        questions: Semaphore::new(QUESTIONS_MAX),
        images_changed: Notify::new(),
        told: told.clone(),
    });
    let hands = Hands::new(tools.clone());
    adopted.iter().for_each(|run| known.found(run));
    adopted.iter().for_each(|run| hands.adopt(run));
    // All that goes on beside the loop ends with it.
    let mut beside = JoinSet::new();
    let (noted, notes) = mpsc::unbounded_channel();
    beside.spawn(journal.work(notes, told.clone()));
    let shown = upkeep::worth_telling(tools.images.store().list().unwrap_or_default());
    let (images, images_told) = watch::channel(shown);
    // What the store does not bind here is known when the list is there, and not before.
    let mut upkeep = Some(Upkeep { tools: tools.clone(), limits, images });
    if let Some(listener) = listener {
        let desk = http::Desk::open(tools, limits, &data_dir)?;
        beside.spawn(http::serve(listener, desk, token)?);
    }
    let face = Face { card, images: images_told };
    let mut life = Life::begin(store.clone(), node.clone(), epoch, face);
    let mut feed = store.follow(&store.keys().runs_of(&node));
    let pauses = BTreeMap::new();
    let mut desk =
        Desk { agent, store, noted, runner, hands, known, pauses, told, is_listed: false };
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
        desk.decide();
        if desk.is_listed
            && let Some(upkeep) = upkeep.take()
        {
            beside.spawn(upkeep.work());
        }
    }
}

/// What an agent starts from.
struct Start {
    agent: Agent,
    journal: Journal,
    adopted: BTreeSet<RunId>,
    epoch: u64,
}

/// Takes up what an earlier start left.
async fn take_up(
    store: &Store,
    node: &NodeId,
    (data_dir, runner): (&Path, &Runner),
) -> Result<Start> {
    let (journal, notes) = Journal::open(&data_dir.join("journal")).context("the journal")?;
    let epoch = journal::next_epoch(data_dir).context("the count of starts")?;
    let boot = mason_shim::state::boot().context("the id of this start of the machine")?;
    let mut agent = Agent::new(store.keys().clone(), node.clone(), epoch, &boot);
    let claimed = claimed(store, node).await.context("runs that were claimed")?;
    let found = find(runner).context("runs on this node")?;
    let adopted = found.iter().map(|it| it.run.clone()).collect();
    agent.recover(&notes, found, (&claimed, runner.deadline()), clocks());
    Ok(Start { agent, journal, adopted, epoch })
}

/// How long to wait after so many refusals in a row: not all at once, when all were refused at
/// once.
fn pause(refusals: u32) -> Duration {
    let pause = PAUSE_MIN.saturating_mul(1 << refusals.min(16)).min(PAUSE_MAX);
    pause.mul_f64(rand::random_range(0.5..1.0))
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
    noted: mpsc::UnboundedSender<Note>,
    runner: Arc<Runner>,
    hands: Hands,
    known: Arc<Known>,
    /// How often in a row the store refused what was said of a run.
    pauses: BTreeMap<RunId, u32>,
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
                all.iter().for_each(|change| self.know(change));
                self.agent.reset(&all);
                self.is_listed = true;
            }
            Feed::Batch(_, changes) => {
                for change in changes {
                    let change = match change {
                        store::Change::Put(kv) => crate::server::change_of(kv),
                        store::Change::Delete { key, at } => {
                            Change { path: key, value: None, made: 0, changed: at }
                        }
                    };
                    self.know(&change);
                    self.agent.heard(&change);
                }
            }
        }
    }

    /// Before the agent can do anything about a run, the sweep must know it.
    fn know(&self, change: &Change) {
        if let (Some(Key::Run(_, run)), Some(_)) =
            (self.store.keys().parse(&change.path), &change.value)
        {
            self.known.bound(&run, change.made);
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
                if ended.as_ref().is_ok_and(|done| done.succeeded) {
                    self.pauses.remove(&run);
                } else {
                    *self.pauses.entry(run.clone()).or_default() += 1;
                }
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

    fn decide(&mut self) {
        if !self.is_listed {
            return;
        }
        for effect in self.agent.step(clocks()) {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Journal(note) => {
                if let Note::Gone { run } = &note {
                    self.pauses.remove(run);
                }
                // Nobody takes notes any more: the agent is about to end.
                let _ = self.noted.send(note);
            }
            Effect::Commit(run, txn) => {
                let (store, told) = (self.store.clone(), self.told.clone());
                let pause = pause(self.pauses.get(&run).copied().unwrap_or(0));
                tokio::spawn(async move {
                    let ended = store.commit(&txn).await;
                    // The agent would say it again at once; as long as it does not hear how this
                    // ended, it does not.
                    if !ended.as_ref().is_ok_and(|done| done.succeeded) {
                        tokio::time::sleep(pause).await;
                    }
                    let _ = told.send(News::Ended(run, ended)).await;
                });
            }
            Effect::Prepare(run, record) => self.hands.prepare(&run, *record),
            Effect::Start(run, _) => self.hands.start(&run),
            Effect::Stop(run, grace) => self.hands.stop(&run, grace),
            Effect::Kill(run) => self.hands.stop(&run, Some(0)),
            Effect::Reap(run) => self.hands.reap(&run),
            Effect::Fence(deadline) => {
                if let Err(error) = self.runner.renew(deadline) {
                    // The old one stands: strict runs are killed when it passes, which is safe.
                    tracing::error!("the fence cannot be moved: {}", hand::chain(&error));
                }
            }
        }
    }
}

/// The store's revision of something that was made.
type Made = Revision;

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that refuses everything must not be asked a thousand times a second.
    #[test]
    fn pauses_grow_up_to_a_limit() {
        for (refusals, most) in [(0, 20), (1, 40), (5, 640), (8, 5_000), (u32::MAX, 5_000)] {
            let (pause, most) = (pause(refusals), Duration::from_millis(most));
            assert!(most / 2 <= pause && pause <= most, "{refusals}: {pause:?}");
        }
    }
}
