//! The whole member: opens the data, takes its place in the cluster, serves, and comes to a clean
//! end.
//!
//! ```text
//!   open data dir ──► who am I ──► bind ports ──► open store, join the others
//!                                                            │
//!   wait for a signal ◄── "ready" ◄── serve clients ◄── publish: a leader has taken our word
//!          │
//!   hand over the leadership ──► stop accepting ──► connections finish ──► close ──► save ──► die
//! ```
//!
//! Nothing needs to be saved for a stop: what was acknowledged is in the log, and a start replays
//! it. It is done for the start, which has then nothing to replay. Nobody should have to wait long
//! for that, nor a supervisor lose its patience and kill: after [`SAVE_MAX`] the save is abandoned,
//! as it would be in a crash. What it takes depends on the engine: the trees write what has changed
//! since the last save, at most what a start would replay; memory writes everything it has, and
//! with more than the disk takes in that time a start replays the log as it did before.
//!
//! Everything that can fail on its own does so before the first connection is accepted, with one
//! line that says what and where. Whoever waits for a leader serves no clients yet, as in etcd.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use drystone_kv::command::{Command, Compact};
use drystone_raft::Role;
use drystone_vfs::{Clock, OsClock};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::compactor::Compactor;
use crate::config::{Config, ListenAddress};
use crate::data_dir::DataDir;
use crate::dispatch::{Dispatch, Scope};
use crate::error_text;
use crate::leaders;
use crate::listener::Listener;
use crate::member::Shared;
use crate::notify;
use crate::patience;
use crate::peers::follow_contact;
use crate::place::{self, Place};
use crate::shutdown::{self, Shutdown};
use crate::store::{Error, Refusal};
use crate::version;
use crate::worker::Workers;

/// File descriptors kept back for the store's files and the odd pipe, as etcd does.
const FDS_RESERVED: u64 = 150;
/// How often the store is asked whether it could save its state.
const SAVE_REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// How much longer a stop may take for the sake of the next start.
const SAVE_MAX: Duration = Duration::from_secs(1);

/// Threads of the consensus: one drives it, one applies what it agrees on.
const CONSENSUS_THREADS: usize = 2;

/// Serves until a signal comes, or the member is removed; returns the signal.
///
/// # Errors
///
/// If the data cannot be opened, or a port cannot be bound.
pub(crate) fn run(config: &Config) -> Result<Option<Signal>> {
    let fds = raise_fd_limit();
    let data_dir = DataDir::open(&config.data_dir)?;
    let data_path = data_dir.path().to_path_buf();
    let consensus = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONSENSUS_THREADS)
        .thread_name("consensus")
        .enable_all()
        .build()?;
    let place = consensus.block_on(place::take(config, data_dir))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (trigger, stop) = shutdown::channel();
    let member = Shared::new(&place, config.clone(), stop.clone());
    let served = runtime.block_on(async {
        let clients = bind_all(&config.listen_client)?;
        let monitors = bind_all(&config.listen_metrics)?;
        let (workers, threads) = Workers::start(config, &stop)?;
        let urls: Vec<String> = clients.iter().map(Listener::url).collect();
        let room = usize::try_from(fds.saturating_sub(FDS_RESERVED).max(1)).unwrap_or(usize::MAX);
        let floor = Floor {
            member: member.clone(),
            workers: Arc::new(workers),
            room: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
            stop: stop.clone(),
        };
        floor.open(monitors, Scope::Metrics);
        let mut end = std::pin::pin!(wait_for_end(&member, &place)?);
        let end = tokio::select! {
            end = &mut end => end,
            () = place::publish(&member) => {
                floor.open(clients, Scope::Clients);
                keep_house(&member, &stop);
                announce(&data_path, &member, &urls);
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
    let (end, threads) = served?;
    join(threads);
    // Closes the listeners, which removes the socket files.
    drop(runtime);
    match consensus.block_on(member.kv.shutdown()) {
        Ok(()) if matches!(end, End::Signal(_)) => save(&member),
        Ok(()) => {}
        Err(error) => {
            tracing::error!(error = error_text::chain(&error), "the store did not close cleanly");
        }
    }
    consensus.shutdown_timeout(Duration::from_secs(1));
    tracing::info!("closed etcd server");
    Ok(end.signal())
}

/// Why the member ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Signal(Signal),
    Removed,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            End::Signal(Signal::INT) => "interrupt",
            End::Signal(_) => "terminated",
            End::Removed => "removed from the cluster",
        }
    }

    fn signal(self) -> Option<Signal> {
        match self {
            End::Signal(signal) => Some(signal),
            End::Removed => None,
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
    tokio::spawn(report_save_errors(member.clone(), stop.clone()));
    tokio::spawn(leaders::follow(member.clone()));
    tokio::spawn(follow_contact(member.clone(), stop.clone()));
}

/// Waits for a signal, the end of the storage, or the removal of the member. The handlers stand
/// when this returns, before the future is polled.
fn wait_for_end(
    member: &Shared,
    place: &Place,
) -> io::Result<impl Future<Output = Result<End>> + use<>> {
    let signals = wait_for_signal()?;
    let (member, place) = (member.clone(), place.clone());
    Ok(async move {
        tokio::select! {
            signal = signals => Ok(End::Signal(signal)),
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
    })
}

/// Saves the store for the next start, if that is soon done. The log is closed: nothing follows.
fn save(member: &Shared) {
    let replica = member.kv.clone();
    let error = match patience::within(SAVE_MAX, move || replica.save()) {
        Ok(Some(Ok(applied))) => return tracing::info!(applied, "saved the store"),
        Ok(None) => format!("it is not done after {SAVE_MAX:?}"),
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

fn bind_all(addresses: &[ListenAddress]) -> Result<Vec<Listener>> {
    let bind = |address: &ListenAddress| {
        Listener::bind(address).with_context(|| match address {
            ListenAddress::Tcp(address) => format!("listen tcp {address}"),
            ListenAddress::Unix(path) => format!("listen unix {}", path.display()),
        })
    };
    addresses.iter().map(bind).collect()
}

/// Tells people on standard output, tools in the log, and systemd where it is.
fn announce(data_dir: &std::path::Path, member: &Shared, urls: &[String]) {
    let dir = data_dir.display();
    let serving = urls.join(", ");
    let (own, like) = (version::OWN, version::SERVER);
    // Nobody may be reading; that is no reason not to serve.
    let _ = io::Write::write_fmt(
        &mut io::stdout(),
        format_args!(
            "drystone-etcd {own} (speaks etcd {like}) serves {serving} with its data in {dir}\n"
        ),
    );
    for url in urls {
        let traffic = "serving client traffic insecurely; this is strongly discouraged!";
        tracing::info!(address = address_of(url), "{traffic}");
    }
    let engine = member.kv.engine_kind().name();
    let ready = "ready to serve client requests";
    tracing::info!(address = serving, data_dir = %dir, storage_engine = engine, "{ready}");
    notify::ready();
}

fn address_of(url: &str) -> &str {
    url.strip_prefix("http://").unwrap_or(url)
}

/// Waits for SIGTERM or SIGINT; the handlers stand when this returns, before the future is polled.
fn wait_for_signal() -> io::Result<impl Future<Output = Signal>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Signal::TERM,
            _ = interrupt.recv() => Signal::INT,
        }
    })
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

/// Raises the limit on file descriptors as far as we may; returns where it stands.
fn raise_fd_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit on open files");
            limit.current
        }
    };
    // No limit at all is written as none.
    now.unwrap_or(u64::MAX)
}
