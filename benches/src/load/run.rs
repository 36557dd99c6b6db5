//! Starts the threads, waits for them, puts their counts together.

use std::{
    sync::{
        Arc, Mutex,
        atomic::AtomicUsize,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use drystone_etcd_api::client;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
};

use super::{
    Options, Report, Span, Workload,
    connection::{Connection, Target},
    lease::LeaseClient,
    report::Tally,
    schedule::Schedule,
    unary::UnaryClient,
    watch::{Watchers, Writer},
};
use crate::{keys::KeySpace, proc};

/// A run in which nothing was answered for this long is given up.
pub const STALL: Duration = Duration::from_secs(30);

/// How often progress is told and stalls are looked for.
const BEAT: Duration = Duration::from_millis(100);

/// What all threads of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) workload: Workload,
    /// One member or more.
    pub(crate) targets: Vec<Target>,
    pub(crate) keys: KeySpace,
    pub(crate) schedule: Schedule,
    /// Writers of a watch that have not ended.
    pub(crate) writers: AtomicUsize,
    /// How many puts the writers made, once all have ended.
    pub(crate) puts: watch::Sender<Option<u64>>,
}

impl Shared {
    fn new(options: &Options, workload: &Workload) -> Result<Shared> {
        ensure!(!options.endpoint.is_empty(), "no --endpoint to talk to");
        let targets = options.endpoint.iter().map(|endpoint| Target::parse(endpoint));
        Ok(Shared {
            options: options.clone(),
            workload: workload.clone(),
            targets: targets.collect::<Result<_>>()?,
            keys: options.key_space()?,
            schedule: Schedule::new(options.total.get(), options.rate),
            writers: AtomicUsize::new(workload.writers()),
            puts: watch::Sender::new(None),
        })
    }

    /// The member that connection `number` goes to.
    pub(crate) fn target(&self, number: usize) -> &Target {
        &self.targets[number % self.targets.len()]
    }

    /// Events or requests that will be counted if time does not end the run.
    fn expected(&self) -> u64 {
        let (total, clients) = (self.options.total.get(), self.options.clients.get() as u64);
        match self.workload {
            // Every key has a watcher, or some have none and the bar stays short: no matter.
            Workload::Watch { span: Span::One, .. } => {
                total.saturating_mul(clients.div_ceil(self.keys.len()))
            }
            Workload::Watch { .. } => total.saturating_mul(clients),
            _ => total,
        }
    }
}

/// Makes the load and reports on it. `ready` is called when connections, leases and watchers are
/// there, before the first request. `progress` is told ten times a second how many requests (or
/// events) are done, of how many.
///
/// # Errors
/// If the options contradict each other, `ready` fails, the server cannot be reached, or it falls
/// silent for
/// [`STALL`] (threads that still wait for it then end with the process). An error to a single
/// request only counts as one in the report.
pub fn run(
    options: &Options,
    workload: &Workload,
    ready: impl FnOnce() -> Result<()>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report> {
    workload.check(options)?;
    let shared = Arc::new(Shared::new(options, workload)?);
    let expected = shared.expected();

    let threads = start_threads(&shared)?;
    ready()?;
    let (start, cpu) = (Instant::now(), proc::own_cpu_time());
    for go in threads.go {
        go.send(start).map_err(|_| anyhow::anyhow!("a thread ended before it was told to go"))?;
    }
    let (tally, end) =
        collect(&shared, &threads.results, threads.count, start, |done| progress(done, expected))?;
    let cpu = proc::own_cpu_time() - cpu;

    let requests = tally.latencies.count();
    let seconds = (end - start).as_secs_f64();
    let puts = shared.puts.borrow().unwrap_or(0);
    Ok(Report {
        workload: workload.name().to_owned(),
        clients: options.clients.get(),
        connections: options.connections.get(),
        requests,
        errors: tally.errors,
        first_error: tally.first_error,
        seconds,
        per_second: requests as f64 / seconds,
        latency_us: tally.latencies.percentiles(),
        client_cpu_us_per_request: cpu.as_secs_f64() * 1e6
            / (requests + tally.errors).max(1) as f64,
        puts_per_second: puts as f64 / seconds,
    })
}

/// Threads that are ready and wait for the word.
struct Threads {
    count: usize,
    go: Vec<oneshot::Sender<Instant>>,
    results: mpsc::Receiver<Result<(Tally, Instant)>>,
}

fn start_threads(shared: &Arc<Shared>) -> Result<Threads> {
    let count = shared.options.thread_count();
    let (results_tx, results) = mpsc::channel();
    let mut ready = Vec::new();
    for number in 0..count {
        let (ready_tx, ready_rx) = mpsc::channel();
        let (shared, results_tx) = (Arc::clone(shared), results_tx.clone());
        thread::Builder::new().name(format!("load-{number}")).spawn(move || {
            let outcome = thread_main(number, count, &shared, &ready_tx);
            // The receiver is gone if another thread failed first: nobody is left to tell.
            let _gone = results_tx.send(outcome);
        })?;
        ready.push(ready_rx);
    }
    let mut go = Vec::new();
    for ready in ready {
        match ready.recv() {
            Ok(sender) => go.push(sender),
            Err(_) => match results.recv().context("a thread died while it set up")? {
                Err(error) => return Err(error),
                Ok(_) => bail!("a thread ended before it was ready"),
            },
        }
    }
    Ok(Threads { count, go, results })
}

/// Waits for every thread; stops the schedule when the time is up.
fn collect(
    shared: &Shared,
    results: &mpsc::Receiver<Result<(Tally, Instant)>>,
    count: usize,
    start: Instant,
    mut progress: impl FnMut(u64),
) -> Result<(Tally, Instant)> {
    let seconds = shared.options.seconds;
    let (mut tally, mut end) = (Tally::default(), start);
    let (mut done, mut moved) = (0, start);
    let mut left = count;
    while left > 0 {
        match results.recv_timeout(BEAT) {
            Ok(outcome) => {
                let (part, part_end) = outcome?;
                tally.merge(part);
                end = end.max(part_end);
                left -= 1;
            }
            Err(RecvTimeoutError::Disconnected) => bail!("a thread panicked"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if shared.schedule.done() != done {
            (done, moved) = (shared.schedule.done(), Instant::now());
        }
        progress(done);
        if moved.elapsed() > STALL {
            bail!("no answer for {} s after {done} of them", STALL.as_secs());
        }
        if seconds > 0.0 && start.elapsed().as_secs_f64() >= seconds {
            shared.schedule.stop();
        }
    }
    Ok((tally, end))
}

/// One thread: a runtime, its hand of connections and clients, and what they counted.
fn thread_main(
    number: usize,
    count: usize,
    shared: &Arc<Shared>,
    ready: &mpsc::Sender<oneshot::Sender<Instant>>,
) -> Result<(Tally, Instant)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tasks = set_up(number, count, shared).await?;
        let (go_tx, go_rx) = oneshot::channel();
        ready.send(go_tx).context("another thread failed")?;
        let start = go_rx.await.context("another thread failed")?;

        let tally = Arc::new(Mutex::new(Tally::default()));
        let mut running = JoinSet::new();
        for task in tasks {
            let (shared, tally) = (Arc::clone(shared), Arc::clone(&tally));
            running.spawn(async move { task.run(&shared, &tally, start).await });
        }
        while let Some(ended) = running.join_next().await {
            ended.context("a client panicked")??;
        }
        let end = Instant::now();
        drop(running);
        let tally = Arc::into_inner(tally).expect("all tasks that held it have ended");
        Ok((tally.into_inner().expect("a client that panics ends the run above"), end))
    })
}

/// What runs on a thread once the clock has started.
enum Task {
    Unary(UnaryClient),
    Lease(Box<LeaseClient>),
    Watchers(Box<Watchers>),
    Writer(Writer),
}

impl Task {
    async fn run(self, shared: &Shared, tally: &Mutex<Tally>, start: Instant) -> Result<()> {
        match self {
            Task::Unary(client) => client.run(shared, tally, start).await,
            Task::Lease(client) => return client.run(shared, tally, start).await,
            Task::Watchers(watchers) => return watchers.run(shared, tally, start).await,
            Task::Writer(writer) => return writer.run(shared, start).await,
        }
        Ok(())
    }
}

/// Opens every `count`th connection, beginning with `number`, and makes the clients that use it.
async fn set_up(number: usize, count: usize, shared: &Arc<Shared>) -> Result<Vec<Task>> {
    let (clients, connections) = (shared.options.clients.get(), shared.options.connections.get());
    let config = client::Config::default();
    let mut tasks = Vec::new();
    let mut leases = JoinSet::new();
    for connection_number in (number..connections).step_by(count) {
        let mine = (connection_number..clients).step_by(connections);
        let target = shared.target(connection_number);
        match shared.workload {
            Workload::Put
            | Workload::Range { .. }
            | Workload::TxnMixed { .. }
            | Workload::Mixed { .. } => {
                let connection = Connection::open(target).await?;
                tasks.extend(mine.map(|client| {
                    Task::Unary(UnaryClient::new(client as u64, connection.clone(), shared))
                }));
            }
            Workload::LeaseKeepalive { leases: all } => {
                let stubs = client::connect(target.address(), &config).await?;
                for client in mine {
                    // The first few clients have one more, so that the sum is right.
                    let count = (all + clients - 1 - client) / clients;
                    // At once, for a hundred thousand leases one by one would take a minute.
                    leases.spawn(LeaseClient::open(stubs.lease(), count.max(1)));
                }
            }
            Workload::Watch { span, .. } => {
                let stubs = client::connect(target.address(), &config).await?;
                let watchers = Watchers::open(mine, span, &stubs, shared).await?;
                tasks.extend(watchers.map(|watchers| Task::Watchers(Box::new(watchers))));
            }
        }
    }
    while let Some(opened) = leases.join_next().await {
        tasks.push(Task::Lease(Box::new(opened.context("opening a client panicked")??)));
    }
    for writer in (number..shared.workload.writers()).step_by(count) {
        tasks.push(Task::Writer(Writer::open(writer, shared).await?));
    }
    Ok(tasks)
}
