//! The threads that serve connections: one a core, each with a runtime of its own.
//!
//! A runtime of one thread wakes no other thread and locks nothing between tasks; for small calls
//! that is a third of their cost. What must take its time (a scan of everything) goes to a few
//! blocking threads beside it, so that the connections of the core go on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::{OwnedSemaphorePermit, mpsc::UnboundedSender};

use crate::admission::{line, pulse};
use crate::config::Config;
use crate::connection::{DRAIN_TIMEOUT, Plain, Server, Stream};
use crate::dispatch::Dispatch;
use crate::listener::Door;
use crate::relay;
use crate::shutdown::Shutdown;
use crate::tls::Secured;

/// Long reads at once on one worker; each may hold its whole answer in memory.
pub(crate) const BLOCKING_THREADS_MAX: usize = 4;
/// What a worker waits for connections beyond the time that they give themselves.
const JOIN_GRACE: Duration = Duration::from_secs(1);

/// All workers.
pub(crate) struct Workers {
    workers: Vec<Worker>,
}

struct Worker {
    /// Unbounded, but every entry holds a permit, and those are counted.
    inbox: UnboundedSender<Handover>,
    connections: Arc<AtomicUsize>,
}

/// A connection on its way to a worker.
struct Handover {
    stream: Plain,
    door: Door,
    dispatch: Dispatch,
    _permit: OwnedSemaphorePermit,
}

impl Workers {
    /// Starts a worker for each core. They end when `shutdown` fires and their connections are
    /// done.
    pub(crate) fn start(
        config: &Config,
        shutdown: &Shutdown,
    ) -> io::Result<(Workers, Vec<JoinHandle<()>>)> {
        let count = std::thread::available_parallelism()?.get();
        let (mut workers, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count {
            let (inbox, handovers) = mpsc::unbounded_channel();
            let connections = Arc::new(AtomicUsize::new(0));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS_MAX)
                .build()?;
            let server = Server::new(config);
            let serving = serve(server, handovers, connections.clone(), shutdown.clone());
            let thread = std::thread::Builder::new().name(format!("serve-{number}"));
            threads.push(thread.spawn(move || runtime.block_on(serving))?);
            workers.push(Worker { inbox, connections });
        }
        Ok((Workers { workers }, threads))
    }

    /// Gives a connection to the worker that has the fewest.
    pub(crate) fn take(
        &self,
        stream: Plain,
        door: Door,
        dispatch: Dispatch,
        permit: OwnedSemaphorePermit,
    ) {
        let worker = self.workers.iter().min_by_key(|w| w.connections.load(Ordering::Relaxed));
        let worker = worker.expect("there is at least one core");
        worker.connections.fetch_add(1, Ordering::Relaxed);
        let handover = Handover { stream, door, dispatch, _permit: permit };
        if worker.inbox.send(handover).is_err() {
            // The worker is ending, and the connection with it.
            worker.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The life of a worker.
async fn serve(
    server: Server,
    mut handovers: mpsc::UnboundedReceiver<Handover>,
    connections: Arc<AtomicUsize>,
    mut shutdown: Shutdown,
) {
    relay::install();
    pulse::install();
    line::install(BLOCKING_THREADS_MAX);
    // Every connection holds a sender; when all are gone, so are the connections.
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    loop {
        let handover = tokio::select! {
            handover = handovers.recv() => handover,
            () = shutdown.fired() => None,
        };
        let Some(handover) = handover else { break };
        let (server, alive, shutdown) = (server.clone(), alive.clone(), shutdown.clone());
        let connections = connections.clone();
        tokio::spawn(async move {
            let Handover { stream, door, dispatch, _permit } = handover;
            match stream.adopt() {
                Ok(stream) => enter(&server, stream, &door, dispatch, shutdown).await,
                Err(error) => tracing::warn!(%error, "cannot serve a connection"),
            }
            connections.fetch_sub(1, Ordering::Relaxed);
            drop(alive);
        });
    }
    drop(alive);
    let _ = tokio::time::timeout(DRAIN_TIMEOUT + JOIN_GRACE, all_gone.recv()).await;
}

/// Serves a connection, once it has come through the door.
async fn enter(
    server: &Server,
    stream: Stream,
    door: &Door,
    dispatch: Dispatch,
    mut shutdown: Shutdown,
) {
    let entered = tokio::select! {
        entered = door.pass(stream) => entered,
        () = shutdown.fired() => return,
    };
    if let Some(Secured { stream, name }) = entered {
        let secure = matches!(stream, Stream::Tls(_));
        let from = stream.remote().map(|address| address.ip());
        let dispatch = dispatch.on(secure, name, from);
        let counts_pings = dispatch.counts_pings();
        server.serve(stream, dispatch, counts_pings, shutdown).await;
    }
}
