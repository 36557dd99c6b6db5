//! The whole member: opens the data, takes its place in the cluster, serves, and comes to a clean
//! end.
//!
//! ```text
//!   open data dir ──► who am I ──► bind ports ──► open store, join the others
//!                                                            │
//!   wait for the host ◄── "ready" ◄── serve clients ◄── publish: a leader has taken our word
//!          │
//!   hand over the leadership ──► stop accepting ──► connections finish ──► close ──► save ──► die
//! ```
//!
//! Nothing needs to be saved for a stop: what was acknowledged is in the log, and a start replays
//! it. It is done for the start, which has then nothing to replay. Nobody should have to wait long
//! for that, nor a supervisor lose its patience and kill: after what the host allows the save is
//! abandoned, as it would be in a crash. What it takes depends on the engine: the trees write what
//! has changed since the last save, at most what a start would replay; memory writes everything it
//! has, and with more than the disk takes in that time a start replays the log as it did before.
//!
//! Everything that can fail on its own does so before the first connection is accepted, with one
//! line that says what and where. Whoever waits for a leader serves no clients yet, as in etcd.
//!
//! What concerns the process and not the member is its [`Host`]'s: the program of this package
//! (`signalled.rs`), or another that has a member inside (`embed.rs`).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, bail};
use drystone_kv::command::{Command, Compact};
use drystone_raft::Role;
use drystone_vfs::{Clock, OsClock};
use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::compactor::Compactor;
use crate::comparison;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::dispatch::{Dispatch, Scope};
use crate::entrance::{self, Entrances};
use crate::error_text;
use crate::leaders;
use crate::listener::Listener;
use crate::log_dir;
use crate::member::Shared;
use crate::migrate;
use crate::patience;
use crate::peers::follow_contact;
use crate::place::{self, Place};
use crate::promoter;
use crate::shutdown::{self, Shutdown};
use crate::space;
use crate::store::{Error, Refusal};
use crate::version;
use crate::worker::Workers;

/// File descriptors kept back for the store's files and the odd pipe, as etcd does.
const FDS_RESERVED: u64 = 150;
/// How often the store is asked whether it could save its state.
const SAVE_REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Threads of the consensus: one drives it, one applies what it agrees on.
const CONSENSUS_THREADS: usize = 2;

/// Whose process the member lives in.
pub(crate) trait Host {
    /// How many files and connections may be open at once, after it has seen to it that this is
    /// enough.
    fn fds(&self) -> u64;

    /// Resolves when the member shall end, with the reason. Called once, on the runtime that polls
    /// it; what it listens to it hears from when this returns, before the future is polled.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    fn end(&mut self) -> io::Result<impl Future<Output = End> + use<Self>>;

    /// The member serves its clients.
    fn serves(&mut self, serving: &Serving<'_>);

    /// How much longer a stop may take for the sake of the next start; `None` is as long as it
    /// takes.
    fn save_max(&self) -> Option<Duration>;
}

/// What can be said of a member that serves its clients.
pub(crate) struct Serving<'a> {
    /// Where clients reach it, with the real ports.
    pub(crate) urls: &'a [String],
}

/// Why the member ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// The process was told to.
    Signal(Signal),
    /// The host stops it.
    Asked,
    /// It is no member any more.
    Removed,
}

/// Serves until the host ends it, or the member is removed.
///
/// # Errors
///
/// If the data cannot be opened, a port cannot be bound, or the storage fails.
pub(crate) fn run(mut config: Config, mut host: impl Host) -> Result<End> {
    let fds = host.fds();
    if let Some(wal_dir) = &mut config.wal_dir {
        *wal_dir = log_dir::resolve(wal_dir)?;
    }
    if config.converts_etcd_data {
        let wal_dir = config.wal_dir.as_deref();
        migrate::at_start(&config.data_dir, wal_dir, config.storage_engine)?;
    }
    let data_dir = DataDir::open(&config.data_dir)?;
    let data_path = data_dir.path().to_path_buf();
    let consensus = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONSENSUS_THREADS)
        .thread_name("consensus")
        .enable_all()
        .build()?;
    entrance::make_certificates(&mut config, &data_dir)?;
    let certificates = entrance::certificates(&config)?;
    let place = consensus.block_on(place::take(&mut config, data_dir))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (trigger, stop) = shutdown::channel();
    let Entrances { clients, browsers, monitors } = runtime.block_on(async {
        // Sockets belong to a runtime.
        entrance::bind(&config, certificates.as_ref())
    })?;
    let urls: Vec<String> = clients.iter().map(Listener::url).collect();
    config.learn_client_urls(&urls);
    let member = Shared::new(&place, config, stop.clone());
    let mut scrub = None;
    let served = runtime.block_on(async {
        let (workers, threads) = Workers::start(&member.config, &stop)?;
        let floor = Floor::new(&member, workers, fds, &stop);
        floor.open(monitors, Scope::Metrics);
        let mut end = std::pin::pin!(wait_for_end(&member, &place, host.end()?));
        let end = tokio::select! {
            end = &mut end => end,
            () = place::publish(&member) => {
                if member.config.comparison.initial {
                    comparison::initial_check(&member).await?;
                }
                let room = space::watch(member.clone(), place.reserves.clone(), stop.clone());
                tokio::spawn(room.await);
                let split = !browsers.is_empty();
                floor.open(clients, if split { Scope::Grpc } else { Scope::Clients });
                floor.open(browsers, Scope::Http);
                keep_house(&member, &stop);
                scrub = comparison::start_scrub(&member, &stop)?;
                announce(&data_path, &member, &urls);
                host.serves(&Serving { urls: &urls });
                end.await
            }
        };
        let end = end?;
        tracing::info!(cause = end.name(), "shutting down");
        if leads(&member) && !member.kv.rank().alone {
            // Nobody shall have to wait for an election because we leave in order.
            relinquish(&consensus, &member).await;
        }
        trigger.fire();
        Ok::<_, anyhow::Error>((end, threads))
    });
    let (end, mut threads) = served?;
    threads.extend(scrub);
    join(threads);
    // Closes the listeners, which removes the socket files.
    drop(runtime);
    match consensus.block_on(member.kv.shutdown()) {
        Ok(()) if !matches!(end, End::Removed) => save(&member, host.save_max()),
        Ok(()) => {}
        Err(error) => {
            tracing::error!(error = error_text::chain(&error), "the store did not close cleanly");
        }
    }
    consensus.shutdown_timeout(Duration::from_secs(1));
    tracing::info!("closed etcd server");
    Ok(end)
}

impl End {
    fn name(self) -> &'static str {
        match self {
            End::Signal(Signal::INT) => "interrupt",
            End::Signal(_) => "terminated",
            End::Asked => "stopped by its host",
            End::Removed => "removed from the cluster",
        }
    }
}

/// Where connections are served.
struct Floor {
    member: Shared,
    workers: Arc<Workers>,
    room: Arc<Semaphore>,
    stop: Shutdown,
}

impl Floor {
    fn new(member: &Shared, workers: Workers, fds: u64, stop: &Shutdown) -> Floor {
        let room = usize::try_from(fds.saturating_sub(FDS_RESERVED).max(1)).unwrap_or(usize::MAX);
        Floor {
            member: member.clone(),
            workers: Arc::new(workers),
            room: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
            stop: stop.clone(),
        }
    }

    fn open(&self, listeners: Vec<Listener>, scope: Scope) {
        for listener in listeners {
            let dispatch = Dispatch::new(self.member.clone(), scope);
            let (workers, room) = (self.workers.clone(), self.room.clone());
            tokio::spawn(listener.serve(workers, dispatch, room, self.stop.clone()));
        }
    }
}

fn keep_house(member: &Shared, stop: &Shutdown) {
    if let Some(retention) = member.config.retention {
        let compactor = Compactor::new(retention);
        tokio::spawn(compact_for_ever(compactor, member.clone(), stop.clone()));
    }
    if member.config.learner_auto_promote {
        tokio::spawn(promoter::promote(member.clone(), stop.clone()));
    }
    tokio::spawn(report_save_errors(member.clone(), stop.clone()));
    tokio::spawn(leaders::follow(member.clone()));
    tokio::spawn(follow_contact(member.clone(), stop.clone()));
    tokio::spawn(comparison::follow(member.clone(), stop.clone()));
}

/// Waits for the host, the end of the storage, or the removal of the member.
fn wait_for_end(
    member: &Shared,
    place: &Place,
    host: impl Future<Output = End>,
) -> impl Future<Output = Result<End>> {
    let (member, place) = (member.clone(), place.clone());
    async move {
        tokio::select! {
            end = host => Ok(end),
            error = member.kv.failed() => {
                // What the disk holds now, only a restart can tell: end, as etcd does.
                bail!("storage failed: {}", error_text::chain(&error));
            }
            () = place::removal(&member, &place) => {
                tracing::error!(
                    "the member has been permanently removed from the cluster; its data directory \
                     is of no use any more"
                );
                Ok(End::Removed)
            }
        }
    }
}

/// Saves the store for the next start, if that is soon done. The log is closed: nothing follows.
fn save(member: &Shared, limit: Option<Duration>) {
    let replica = member.kv.clone();
    let saved = match limit {
        Some(limit) => patience::within(limit, move || replica.save()),
        None => Ok(Some(replica.save())),
    };
    let error = match saved {
        Ok(Some(Ok(applied))) => return tracing::info!(applied, "saved the store"),
        Ok(None) => format!("it is not done after {limit:?}"),
        Ok(Some(Err(error))) => error_text::chain(&error),
        Err(error) => error.to_string(),
    };
    tracing::warn!(error, "did not save the store; the next start replays the log");
}

/// Hands the leadership to another member, if there is one that can take it.
async fn relinquish(consensus: &Runtime, member: &Shared) {
    let replica = member.kv.clone();
    let handed = consensus.spawn(async move { replica.hand_over().await });
    match handed.await {
        Ok(Ok(())) => tracing::info!("handed over the leadership"),
        Ok(Err(error)) => {
            tracing::warn!(error = error_text::chain(&error), "could not hand over the leadership");
        }
        Err(error) => tracing::warn!(%error, "could not hand over the leadership"),
    }
}

/// Tells tools, in the log.
fn announce(data_dir: &Path, member: &Shared, urls: &[String]) {
    let dir = data_dir.display();
    let serving = urls.join(", ");
    for url in urls {
        let (scheme, address) = url.split_once("://").unwrap_or(("", url));
        let traffic = match scheme.ends_with('s') {
            true => "serving client traffic securely",
            false => "serving client traffic insecurely; this is strongly discouraged!",
        };
        tracing::info!(address, "{traffic}");
    }
    let cluster_version = version::MINOR;
    tracing::info!(cluster_version, "enabled capabilities for version");
    let engine = member.kv.engine_kind().name();
    let ready = "ready to serve client requests";
    let program = format!("drystone-etcd {}", version::OWN);
    tracing::info!(address = serving, data_dir = %dir, storage_engine = engine, program, "{ready}");
}

/// etcd's rule: of several members the leader compacts.
fn leads(member: &Shared) -> bool {
    member.kv.rank().role == Role::Leader
}

async fn compact_for_ever(mut compactor: Compactor, member: Shared, mut stop: Shutdown) {
    let clock = OsClock::new();
    loop {
        if let Some(revision) =
            compactor.tick(clock.monotonic(), member.kv.revision()).filter(|_| leads(&member))
        {
            match member.kv.propose(Command::Compact(Compact { revision })).await {
                Ok(_) => tracing::info!(revision, "completed auto compaction"),
                // Somebody else has compacted further.
                Err(Error::Refused(Refusal::Compacted { .. })) => {}
                Err(error) => {
                    let error = error_text::chain(&error);
                    tracing::warn!(revision, error, "failed auto compaction");
                }
            }
        }
        let step: Duration = compactor.step();
        tokio::select! {
            () = tokio::time::sleep(step) => {}
            () = stop.fired() => return,
        }
    }
}

/// The store goes on when it cannot save its state, and its log grows: somebody has to know.
async fn report_save_errors(member: Shared, mut stop: Shutdown) {
    let mut last = None;
    loop {
        let error = member.kv.save_error().map(|error| error_text::chain(&error));
        if let Some(error) = error.as_ref().filter(|_| error != last) {
            tracing::error!(error, "cannot save the store; the log grows until it succeeds");
        }
        last = error;
        tokio::select! {
            () = tokio::time::sleep(SAVE_REPORT_INTERVAL) => {}
            () = stop.fired() => return,
        }
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a worker has panicked");
        }
    }
}
