//! A server and an agent, with real containers, over each store: from a job's key to its end.

use std::sync::Arc;

use mason::agent::{self, Card, Shelf};
use mason::server::Server;
use mason::store::Store;
use mason_core::keys::Key;
use mason_core::mirror::Mirror;
use mason_core::record::{self, JobRecord, NodeRecord, Phase};
use mason_core::spec::{Job, Resources, Task, Work};
use mason_core::txn::{Compare, Txn};
use mason_core::types::JobKey;
use mason_node::image::pull::PullConfig;
use mason_node::image::store::StoreConfig;
use mason_node::runtime::{Config, Runner};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::{Kind, Solo, until};

on_both! {
    a_job_runs_to_its_end_in_real_containers
    an_agent_that_is_killed_neither_loses_nor_repeats_a_run
}

/// One server and one agent over a store.
struct Mason {
    server: Server,
    desk: JoinHandle<anyhow::Result<()>>,
    folder: TempDir,
    node: String,
}

impl Mason {
    async fn start(store: &Store, name: &str, kind: Kind) -> Mason {
        let (server, desk) = Server::start(store.clone(), "here");
        // Two suites of one name must not share a control group.
        let node = format!("{name}-{}-{}", if kind == Kind::Ours { "o" } else { "e" }, pid());
        Mason { server, desk, folder: TempDir::new().unwrap(), node }
    }

    fn agent(&self, store: &Store) -> JoinHandle<anyhow::Result<()>> {
        let data_dir = self.folder.path().to_owned();
        let runner = Runner::open(Config::new(data_dir.join("m"), &self.node)).unwrap();
        let images = mason_node::image::store::Store::open(StoreConfig::new(data_dir.join("i")));
        let capacity = Resources { cpu: 4_000, memory: 4 << 30, disk: 0, pids: 0 };
        let runtimes = vec!["runc".to_owned()];
        let node = NodeRecord { capacity, tasks_max: 50, runtimes, ..NodeRecord::default() };
        let options = agent::Options {
            node: self.node.as_str().into(),
            data_dir,
            card: Card { node, address: "127.0.0.1:1".to_owned(), gossip: None },
            runner: Arc::new(runner),
            images: Shelf::new(images.unwrap(), PullConfig::default()).unwrap(),
            keyring: None,
            listener: None,
            token: None,
            limits: agent::Limits::default(),
        };
        tokio::spawn(agent::run(store.clone(), options))
    }

    /// Waits until a job is at its end, and looks at everything then.
    async fn ended<T>(&self, key: &JobKey, look: impl Fn(&Mirror) -> T) -> T {
        let done = |mirror: &Mirror| {
            let state = mirror.job(key)?.state.as_ref()?;
            state.value.phase.is_final().then(|| look(mirror))
        };
        until(async || self.server.shared().read(done)).await
    }
}

impl Drop for Mason {
    fn drop(&mut self) {
        self.desk.abort();
    }
}

fn pid() -> u32 {
    std::process::id()
}

async fn make(store: &Store, key: &JobKey, job: Job) {
    let record = JobRecord::new("a-test", Work::Job(job), mason::server::unix_now());
    let path = store.keys().path(&Key::Job(key.clone()));
    let txn = Txn::new().when(Compare::Absent(path.clone())).put(path, record::encode(&record));
    assert!(store.commit(&txn).await.unwrap().succeeded);
}

/// The whole road once: key, leader, bind, claim, image, container, exit code, result, marks.
async fn a_job_runs_to_its_end_in_real_containers(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let mason = Mason::start(&store, "road", kind).await;
    let agent = mason.agent(&store);
    let key = JobKey::new("default", "road");
    let mut job = Job::single(Task::new("tiny", &["sh", "-c", "exit $MASON_INDEX"]));
    (job.count, job.failures_max) = (3, 3);
    make(&store, &key, job).await;
    let (phase, counts, codes) = mason
        .ended(&key, |mirror| {
            let job = mirror.job(&key).unwrap();
            let codes: Vec<_> = job.pasts.values().map(|past| past.value.exit.code).collect();
            (job.state.as_ref().unwrap().value.phase, job.counts, codes)
        })
        .await;
    assert_eq!(phase, Phase::Succeeded);
    assert_eq!((counts.succeeded, counts.failed), (1, 2));
    assert_eq!(codes, [Some(0), Some(1), Some(2)]);
    agent.abort();
}

/// The agent's death is no event in a run's life: the container goes on, and how it ended is told
/// by the next agent.
async fn an_agent_that_is_killed_neither_loses_nor_repeats_a_run(kind: Kind) {
    let solo = Solo::start(kind).await;
    let store = solo.store().await;
    let mason = Mason::start(&store, "kill", kind).await;
    let agent = mason.agent(&store);
    let key = JobKey::new("default", "kill");
    make(&store, &key, Job::single(Task::new("tiny", &["sleep", "3"]))).await;
    let running = |mirror: &Mirror| {
        let node = mirror.node(&mason.node.as_str().into())?;
        let run = node.runs.first()?;
        let seen = mirror.run(run)?.seen.as_ref()?;
        (seen.value.phase == record::RunPhase::Running).then(|| run.clone())
    };
    let run = until(async || mason.server.shared().read(running)).await;
    agent.abort();
    assert!(agent.await.unwrap_err().is_cancelled());
    let agent = mason.agent(&store);
    let past = mason.ended(&key, |mirror| mirror.job(&key).unwrap().pasts[&0].value.clone()).await;
    assert_eq!((past.run, past.attempt, past.exit.code), (run, 1, Some(0)));
    agent.abort();
}
