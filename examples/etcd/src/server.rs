//! The whole member: opens the data, serves, and comes to a clean end.
//!
//! ```text
//!   open data dir ──► open store ──► bind ports ──► workers ──► "ready" ──► wait for a signal
//!                                                                                │
//!   die by the signal ◄── close store ◄── connections finish ◄── stop accepting ◄┘
//! ```
//!
//! Everything that can fail does so before the first connection is accepted, with one line that
//! says what and where.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use drystone_kv::command::{Command, Compact};
use drystone_vfs::{Clock, OsClock, OsVfs};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::compactor::Compactor;
use crate::config::{Config, ListenAddress};
use crate::data_dir::DataDir;
use crate::dispatch::{Dispatch, Scope};
use crate::error_text;
use crate::listener::Listener;
use crate::member::Shared;
use crate::notify;
use crate::shutdown::{self, Shutdown};
use crate::store::{Error, Kv, Limits, Options, Refusal};
use crate::version;
use crate::worker::Workers;

/// File descriptors kept back for the store's files and the odd pipe, as etcd does.
const FDS_RESERVED: u64 = 150;
/// How often the store is asked whether it could write its state out.
const PERSIST_REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Serves until a signal comes; returns which.
///
/// # Errors
///
/// If the data cannot be opened, or a port cannot be bound.
pub(crate) fn run(config: &Config) -> Result<Signal> {
    let fds = raise_fd_limit();
    let mut data_dir = DataDir::open(&config.data_dir, config.existing)?;
    let identity = data_dir.identity(config.identity);
    let kv = open_store(config, &data_dir, identity.member.0)?;
    data_dir.keep_identity(identity)?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (trigger, stop) = shutdown::channel();
    let member = Shared::new(kv, identity, config.clone(), stop.clone());
    let signal = runtime.block_on(async {
        let clients = bind_all(&config.listen_client)?;
        let monitors = bind_all(&config.listen_metrics)?;
        let (workers, threads) = Workers::start(config, &stop)?;
        let workers = Arc::new(workers);
        let urls: Vec<String> = clients.iter().map(Listener::url).collect();
        let room = usize::try_from(fds.saturating_sub(FDS_RESERVED).max(1)).unwrap_or(usize::MAX);
        let room = Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS)));
        let scoped = |listeners: Vec<Listener>, scope| {
            listeners.into_iter().map(move |listener| (listener, scope))
        };
        let listeners = scoped(clients, Scope::Clients).chain(scoped(monitors, Scope::Metrics));
        for (listener, scope) in listeners {
            let dispatch = Dispatch::new(member.clone(), scope);
            tokio::spawn(listener.serve(workers.clone(), dispatch, room.clone(), stop.clone()));
        }
        if let Some(retention) = config.retention {
            let compactor = Compactor::new(retention);
            tokio::spawn(compact_for_ever(compactor, member.clone(), stop.clone()));
        }
        tokio::spawn(report_persist_errors(member.clone(), stop.clone()));
        let signals = wait_for_signal()?;
        announce(config, &data_dir, &member, &urls);
        let signal = tokio::select! {
            signal = signals => signal,
            error = member.kv.failed() => {
                // What the disk holds now, only a restart can tell: end, as etcd does.
                bail!("storage failed: {}", error_text::chain(&error));
            }
        };
        let name = if signal == Signal::INT { "interrupt" } else { "terminated" };
        tracing::info!(signal = name, "received signal; shutting down");
        trigger.fire();
        Ok::<_, anyhow::Error>((signal, threads))
    });
    let (signal, threads) = signal?;
    join(threads);
    // Closes the listeners, which removes the socket files.
    drop(runtime);
    member.kv.shutdown();
    tracing::info!("closed etcd server");
    Ok(signal)
}

fn open_store(config: &Config, data_dir: &DataDir, member: u64) -> Result<Kv> {
    let limits =
        Limits { txn_ops_max: config.max_txn_ops, command_bytes_max: config.max_request_bytes };
    let (engine, quota_bytes) = (config.storage_engine, config.quota_bytes);
    let mut options = Options { engine, limits, quota_bytes, member, ..Options::default() };
    // The queue must fit the largest command.
    options.proposals_bytes_max = options.proposals_bytes_max.max(config.max_request_bytes);
    let (vfs, clock) = (Arc::new(OsVfs::new()), Arc::new(OsClock::new()));
    let clock: Arc<dyn Clock> = clock;
    Kv::open(vfs, clock, &data_dir.store(), options).map_err(|error| {
        let text = error_text::chain(&error);
        match error {
            Error::WrongEngine { found, .. } => {
                anyhow!("cannot open the data: {text}; start with --storage-engine={found}")
            }
            _ => anyhow!("cannot open the data: {text}"),
        }
    })
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
fn announce(config: &Config, data_dir: &DataDir, member: &Shared, urls: &[String]) {
    let dir = data_dir.path().display();
    let serving = urls.join(", ");
    let (own, like) = (version::OWN, version::SERVER);
    // Nobody may be reading; that is no reason not to serve.
    let _ = io::Write::write_fmt(
        &mut io::stdout(),
        format_args!(
            "drystone-etcd {own} (speaks etcd {like}) serves {serving} with its data in {dir}\n"
        ),
    );
    tracing::info!(
        name = config.name,
        member_id = %member.identity.member,
        cluster_id = %member.identity.cluster,
        advertise_client_urls = config.client_urls.join(","),
        revision = member.kv.revision(),
        "published local member to cluster through raft"
    );
    tracing::warn!(
        peer_urls = config.peer_urls.join(","),
        "one member: nothing listens on the peer URLs"
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

async fn compact_for_ever(mut compactor: Compactor, member: Shared, mut stop: Shutdown) {
    let clock = OsClock::new();
    loop {
        if let Some(revision) = compactor.tick(clock.monotonic(), member.kv.revision()) {
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

/// The store goes on when it cannot write its state out, and its journal grows: somebody has to
/// know.
async fn report_persist_errors(member: Shared, mut stop: Shutdown) {
    let mut last = None;
    loop {
        let error = member.kv.persist_error().map(|error| error_text::chain(&error));
        if let Some(error) = error.as_ref().filter(|_| error != last) {
            tracing::error!(error, "cannot persist the store; the journal grows until it succeeds");
        }
        last = error;
        tokio::select! {
            () = tokio::time::sleep(PERSIST_REPORT_INTERVAL) => {}
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
