//! What is done for one run, from its image to the last trace of it.

use std::sync::Arc;
use std::time::Duration;

use mason_core::agent::Event;
use mason_core::record::{Exit, Reason, RunRecord};
use mason_core::spec::{Stop, Task};
use mason_core::types::{Ms, RunId};
use mason_node::image::store::Image;
use mason_node::runtime::{Error, Launch, Running, Status};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::News;
use super::hands::Tools;
use super::memo::Memo;
use super::probes::{self, Asked};
use super::resolve;
use super::shelf::{Picture, Refusal};
use crate::server::unix_now;

/// How long it waits to try again what the machine refused.
const PAUSE: Duration = Duration::from_millis(500);

/// What a hand is told.
#[derive(Debug)]
pub(super) enum Order {
    /// It runs already.
    Adopt,
    Prepare(Box<RunRecord>),
    Start,
    Stop(Option<Ms>),
    Reap,
}

/// What is done for one run.
pub(super) struct Hand {
    tools: Arc<Tools>,
    run: RunId,
    /// Ready to be started.
    launch: Option<Box<Launch>>,
    /// Keeps its layers in the store.
    image: Option<Image>,
    /// What keeping it takes.
    memo: Option<Memo>,
    /// Asks whether it is well.
    probes: Option<JoinHandle<()>>,
    /// A word that its keeper has not heard yet.
    unheard: Option<Stop>,
    /// Whether its end has been told.
    is_over: bool,
    /// Whether a keeper has it.
    is_kept: bool,
}

impl Hand {
    pub(super) fn new(tools: Arc<Tools>, run: RunId) -> Hand {
        let (launch, image, memo, probes, unheard) = (None, None, None, None, None);
        let (is_over, is_kept) = (false, false);
        Hand { tools, run, launch, image, memo, probes, unheard, is_over, is_kept }
    }

    pub(super) async fn work(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let order = if self.is_kept && !self.is_over {
                tokio::select! {
                    order = orders.recv() => order,
                    () = self.wait_for_end() => {
                        self.tell_end().await;
                        continue;
                    }
                    () = tokio::time::sleep(PAUSE), if self.unheard.is_some() => {
                        self.say_stop().await;
                        continue;
                    }
                }
            } else {
                orders.recv().await
            };
            match order {
                None => return,
                Some(Order::Adopt) => self.adopt().await,
                Some(Order::Prepare(record)) => self.prepare(&record, &mut orders).await,
                Some(Order::Start) => self.start().await,
                Some(Order::Stop(grace)) => self.stop(grace).await,
                Some(Order::Reap) => {
                    self.reap().await;
                    return;
                }
            }
        }
    }

    async fn tell(&self, event: Event) {
        // The agent has stopped: its next start finds out.
        let _ = self.tools.told.send(News::Of(self.run.clone(), event)).await;
    }

    async fn over(&mut self, exit: Exit) {
        self.stop_probes();
        if !std::mem::replace(&mut self.is_over, true) {
            self.tell(Event::Ended(exit)).await;
        }
    }

    /// Gets everything ready, unless it is told to stop meanwhile.
    async fn prepare(&mut self, record: &RunRecord, orders: &mut mpsc::Receiver<Order>) {
        let tools = self.tools.clone();
        let made = tokio::select! {
            made = make_ready(&tools, &self.run, record) => made,
            order = stopped(orders) => {
                if order {
                    self.over(unstarted(Reason::Exited, String::new())).await;
                }
                return;
            }
        };
        match made {
            Ok((launch, image, memo)) => {
                self.image = Some(image);
                self.memo = Some(memo);
                self.launch = Some(Box::new(launch));
                self.tell(Event::Prepared).await;
            }
            Err(Refusal { reason, message }) => self.over(unstarted(reason, message)).await,
        }
    }

    async fn start(&mut self) {
        let Some(launch) = self.launch.take() else { return };
        let runner = self.tools.runner.clone();
        let started = tokio::task::spawn_blocking(move || runner.start(&launch)).await;
        match started.expect("the runtime's calls do not panic") {
            Ok(running) => {
                self.is_kept = true;
                self.tell(Event::Started).await;
                if !running.notes.is_empty() {
                    // What its spec asks for and this node does not do, for people.
                    self.tell(Event::Waits(running.notes.join("; "))).await;
                }
                self.start_probes(running);
            }
            Err(error) => {
                // If a keeper wrote down how it failed, that says more.
                let exit = match self.look().await {
                    Ok(Status::Ended(ended)) => ended.exit,
                    _ => unstarted(Reason::Start, chain(&error)),
                };
                self.over(exit).await;
            }
        }
    }

    /// Takes up what an earlier agent started.
    async fn adopt(&mut self) {
        self.is_kept = true;
        self.memo = self.tools.memos.read(&self.run);
        if let Some(memo) = &self.memo {
            // Or the image is collected under its container.
            self.image = self.tools.images.hold(&memo.image).await;
        }
        match (self.look().await, &self.memo) {
            (Ok(Status::Running(running)), Some(_)) => self.start_probes(running),
            (Ok(Status::Running(_)), None) => {
                tracing::warn!(run = %self.run, "nothing is noted of it: it is not probed");
                self.tell(Event::Ready(true)).await;
            }
            // Its end is told by the wait for it.
            _ => {}
        }
    }

    fn start_probes(&mut self, running: Running) {
        let Some(memo) = self.memo.clone() else { return };
        let (tools, run) = (self.tools.clone(), self.run.clone());
        self.stop_probes();
        self.probes = Some(tokio::spawn(probes::watch(Asked { tools, run, running, memo })));
    }

    fn stop_probes(&mut self) {
        if let Some(probes) = self.probes.take() {
            probes.abort();
        }
    }

    async fn look(&self) -> Result<Status, Error> {
        let (runner, run) = (self.tools.runner.clone(), self.run.clone());
        let looked = tokio::task::spawn_blocking(move || runner.look(&run)).await;
        looked.expect("the runtime's calls do not panic")
    }

    /// Resolves when its keeper is gone.
    #[expect(
        deprecated,
        reason = "what is unsound with a descriptor that lies is not with an OwnedFd"
    )]
    async fn wait_for_end(&self) {
        match self.tools.runner.handle(&self.run) {
            Ok(Some(handle)) => match AsyncFd::new(handle) {
                Ok(handle) => drop(handle.readable().await),
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Ok(None) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }

    async fn tell_end(&mut self) {
        match self.look().await {
            Ok(Status::Ended(ended)) => self.over(ended.exit).await,
            // It is not over: its keeper was slow to answer.
            Ok(_) => tokio::time::sleep(PAUSE).await,
            Err(Error::Unknown(_)) => {
                let message = "nothing is left of it".to_owned();
                self.over(unstarted(Reason::Unknown, message)).await;
            }
            Err(error) => {
                tracing::warn!(run = %self.run, "cannot be looked at: {}", chain(&error));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn stop(&mut self, grace: Option<Ms>) {
        if !self.is_kept {
            self.over(unstarted(Reason::Exited, String::new())).await;
            return;
        }
        self.stop_probes();
        let mut stop = self.memo.as_ref().map(|memo| memo.stop.clone()).unwrap_or_default();
        stop.grace = grace.unwrap_or(stop.grace).min(stop.grace);
        if stop.grace == 0 {
            stop.signal = 9;
        }
        self.unheard = Some(stop);
        self.say_stop().await;
    }

    /// Tells its keeper. One that does not answer is told again.
    async fn say_stop(&mut self) {
        let Some(stop) = self.unheard.clone() else { return };
        let (runner, run) = (self.tools.runner.clone(), self.run.clone());
        let told = tokio::task::spawn_blocking(move || runner.stop(&run, &stop, Reason::Stopped));
        match told.await.expect("the runtime's calls do not panic") {
            Ok(()) | Err(Error::Unknown(_)) => self.unheard = None,
            Err(error) => {
                tracing::warn!(run = %self.run, "cannot be stopped: {}", chain(&error));
            }
        }
    }

    async fn reap(&mut self) {
        self.stop_probes();
        let word = self.memo.as_ref().map(Memo::word).unwrap_or_default();
        loop {
            let (runner, run, word) = (self.tools.runner.clone(), self.run.clone(), word.clone());
            let reap = move || {
                // Only what is over may be moved; reaping asks the same.
                if let Status::Ended(_) = runner.look(&run)?
                    && let Err(error) = runner.keep_log(&run, &word)
                {
                    tracing::warn!(%run, "its log is lost: {}", chain(&error));
                }
                runner.reap(&run)
            };
            let reaped = tokio::task::spawn_blocking(reap).await;
            match reaped.expect("the runtime's calls do not panic") {
                Ok(()) | Err(Error::Unknown(_)) => break,
                Err(error) => {
                    tracing::warn!(run = %self.run, "cannot be removed: {}", chain(&error));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        self.image = None;
        self.tools.memos.remove(&self.run);
        self.tools.known.gone(&self.run);
        self.tell(Event::Reaped).await;
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.stop_probes();
    }
}

/// Whether it is told to stop, while it gets ready. Nothing else can come then but the end of all.
async fn stopped(orders: &mut mpsc::Receiver<Order>) -> bool {
    loop {
        match orders.recv().await {
            Some(Order::Stop(_)) => return true,
            Some(_) => {}
            None => return false,
        }
    }
}

/// All that a start needs, and the image, which stays in the store as long as that is held.
async fn make_ready(
    tools: &Tools,
    run: &RunId,
    record: &RunRecord,
) -> Result<(Launch, Image, Memo), Refusal> {
    let mut task: Task = resolve::spec(&tools.store, &record.spec).await?;
    if let Some(memory) = record.memory {
        task.request.memory = memory;
        if task.limit.memory > 0 {
            task.limit.memory = task.limit.memory.max(memory);
        }
    }
    let Picture { program, image } = tools.images.fetch(&task.image, task.pull).await?;
    tools.images_changed.notify_one();
    let fence = tools.known.made(run);
    let sight = resolve::Sight { node: &tools.node, run, record, task: &task, fence };
    let source = resolve::Source { store: &tools.store, keyring: tools.keyring.as_ref() };
    let env = resolve::env(source, &sight).await?;
    let files = resolve::files(source, &sight).await?;
    env.expand_words(&mut task)?;
    let env = env.variables;
    let hostname = task.hostname.clone().unwrap_or_else(|| resolve::hostname(record));
    let memo = Memo::of(record, &task, image.digest.to_string());
    tools.memos.write(run, &memo).map_err(|error| Refusal {
        reason: Reason::Start,
        message: format!("what the next agent must know of it cannot be written down: {error}"),
    })?;
    let launch = Launch {
        run: run.clone(),
        image: program,
        layers: image.layers.clone(),
        env,
        hostname,
        files,
        concurrency: record.concurrency,
        rewrites: Vec::new(),
        task,
    };
    Ok((launch, image, memo))
}

/// How something ended that never ran.
fn unstarted(reason: Reason, message: String) -> Exit {
    Exit::without_code(reason, message, unix_now())
}

/// An error with all that caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}
