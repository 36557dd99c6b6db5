//! What is done for one run, from its image to the last trace of it.

use std::sync::Arc;
use std::time::Duration;

use mason_core::agent::Event;
use mason_core::record::{Exit, Reason, RunRecord};
use mason_core::spec::{Stop, Task};
use mason_core::types::{Ms, RunId};
use mason_node::image::store::Image;
use mason_node::runtime::{Error, Launch, Status};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::News;
use super::hands::Tools;
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
    stop: Stop,
    /// Whether its end has been told.
    is_over: bool,
    /// Whether a keeper has it.
    is_kept: bool,
}

impl Hand {
    pub(super) fn new(tools: Arc<Tools>, run: RunId) -> Hand {
        let stop = Stop::default();
        let (launch, image) = (None, None);
        Hand { tools, run, launch, image, stop, is_over: false, is_kept: false }
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
                }
            } else {
                orders.recv().await
            };
            match order {
                None => return,
                Some(Order::Adopt) => {
                    self.is_kept = true;
                    self.tell(Event::Ready(true)).await;
                }
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
            Ok((launch, image)) => {
                self.image = Some(image);
                self.stop = launch.task.stop.clone();
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
            Ok(_) => {
                self.is_kept = true;
                self.tell(Event::Started).await;
                self.tell(Event::Ready(true)).await;
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
        let mut stop = self.stop.clone();
        stop.grace = grace.unwrap_or(stop.grace).min(stop.grace);
        if stop.grace == 0 {
            stop.signal = 9;
        }
        let (runner, run) = (self.tools.runner.clone(), self.run.clone());
        let told = tokio::task::spawn_blocking(move || runner.stop(&run, &stop, Reason::Stopped));
        if let Err(error) = told.await.expect("the runtime's calls do not panic") {
            tracing::warn!(run = %self.run, "cannot be stopped: {}", chain(&error));
        }
    }

    async fn reap(&mut self) {
        loop {
            let (runner, run) = (self.tools.runner.clone(), self.run.clone());
            let reaped = tokio::task::spawn_blocking(move || runner.reap(&run)).await;
            match reaped.expect("the runtime's calls do not panic") {
                Ok(()) | Err(Error::Unknown(_)) => break,
                Err(error) => {
                    tracing::warn!(run = %self.run, "cannot be removed: {}", chain(&error));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        self.image = None;
        self.tell(Event::Reaped).await;
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
) -> Result<(Launch, Image), Refusal> {
    let mut task: Task = resolve::spec(&tools.store, &record.spec).await?;
    if let Some(memory) = record.memory {
        task.request.memory = memory;
        task.limit.memory = task.limit.memory.max(memory);
    }
    let Picture { program, image } = tools.images.fetch(&task.image, task.pull).await?;
    let sight = resolve::Sight { node: &tools.node, run, record, task: &task };
    let env = resolve::env(&tools.store, &sight).await?;
    let files = resolve::files(&tools.store, &sight).await?;
    let hostname = task.hostname.clone().unwrap_or_else(|| resolve::hostname(record));
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
    Ok((launch, image))
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
