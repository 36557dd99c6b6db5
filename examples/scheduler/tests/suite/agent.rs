//! An agent over real containers: what it answers, what it asks, what it keeps to itself.

pub(crate) mod answers;
pub(crate) mod keeps;
pub(crate) mod runs;

use std::sync::Arc;

use mason::agent::{self, Card, Limits, Shelf};
use mason::api::client::Client;
use mason::api::wire::LogEvent;
use mason::secrets::Keyring;
use mason::server::Server;
use mason::store::Store;
use mason_core::keys::Key;
use mason_core::mirror::Mirror;
use mason_core::record::{self, Exit, JobRecord, NodeRecord, RunPhase, SeenRecord};
use mason_core::spec::{Job, Resources, Task, Work};
use mason_core::txn::{Compare, Txn};
use mason_core::types::{JobKey, RunId};
use mason_node::image::pull::PullConfig;
use mason_node::image::store::{Store as Images, StoreConfig};
use mason_node::runtime::{Config, Runner};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::{Kind, Solo, until};

/// A store, a server, and an agent that answers.
pub(super) struct Rig {
    pub(super) store: Store,
    pub(super) server: Server,
    pub(super) client: Client,
    pub(super) node: String,
    pub(super) folder: TempDir,
    desk: JoinHandle<anyhow::Result<()>>,
    agent: Option<JoinHandle<anyhow::Result<()>>>,
    address: String,
    limits: Limits,
    _solo: Solo,
}

impl Rig {
    pub(super) async fn start(name: &str, kind: Kind) -> Rig {
        Rig::start_with(name, kind, Limits::default()).await
    }

    pub(super) async fn start_with(name: &str, kind: Kind, limits: Limits) -> Rig {
        let solo = Solo::start(kind).await;
        let store = solo.store().await;
        let (server, desk) = Server::start(store.clone(), "here");
        let of = if kind == Kind::Ours { "o" } else { "e" };
        let node = format!("{name}-{of}-{}", std::process::id());
        let folder = TempDir::new().unwrap();
        Keyring::create(&folder.path().join("key")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = Client::new(&format!("http://{address}"), None).unwrap();
        let mut rig = Rig {
            store,
            server,
            client,
            node,
            folder,
            desk,
            agent: None,
            address,
            limits,
            _solo: solo,
        };
        rig.start_agent(listener).await;
        rig
    }

    pub(super) fn keyring(&self) -> Keyring {
        Keyring::open(&[self.folder.path().join("key")]).unwrap()
    }

    async fn start_agent(&mut self, listener: TcpListener) {
        let data_dir = self.folder.path().to_owned();
        // What the agent before it left may take a moment to let go.
        let config = Config::new(data_dir.join("m"), &self.node);
        let runner = until(async || Runner::open(config.clone()).ok()).await;
        let images = until(async || Images::open(StoreConfig::new(data_dir.join("i"))).ok()).await;
        let capacity = Resources { cpu: 4_000, memory: 4 << 30, disk: 0, pids: 0 };
        let runtimes = vec!["runc".to_owned()];
        let node = NodeRecord { capacity, tasks_max: 50, runtimes, ..NodeRecord::default() };
        let options = agent::Options {
            node: self.node.as_str().into(),
            data_dir,
            card: Card { node, address: self.address.clone(), gossip: None },
            runner: Arc::new(runner),
            images: Shelf::new(images, PullConfig::default()).unwrap(),
            keyring: Some(self.keyring()),
            listener: Some(listener),
            token: None,
            limits: self.limits,
        };
        self.agent = Some(tokio::spawn(agent::run(self.store.clone(), options)));
    }

    /// The agent is killed, and started again.
    pub(super) async fn restart_agent(&mut self) {
        let agent = self.agent.take().unwrap();
        agent.abort();
        assert!(agent.await.unwrap_err().is_cancelled());
        let listener = until(async || TcpListener::bind(&self.address).await.ok()).await;
        self.start_agent(listener).await;
    }

    /// Writes a job's key, as a server does.
    pub(super) async fn make(&self, name: &str, job: Job) -> JobKey {
        let key = JobKey::new("default", name);
        let record = JobRecord::new("a-test", Work::Job(job), mason::server::unix_now());
        let path = self.store.keys().path(&Key::Job(key.clone()));
        let txn = Txn::new().when(Compare::Absent(path.clone())).put(path, record::encode(&record));
        assert!(self.store.commit(&txn).await.unwrap().succeeded);
        key
    }

    pub(super) async fn script(&self, name: &str, script: &str) -> JobKey {
        self.make(name, Job::single(Task::new("tiny", &["sh", "-c", script]))).await
    }

    /// Waits until the only run is so far.
    pub(super) async fn seen(&self, is_so: impl Fn(&SeenRecord) -> bool) -> RunId {
        let look = |mirror: &Mirror| {
            let node = mirror.node(&self.node.as_str().into())?;
            let run = node.runs.first()?;
            let seen = mirror.run(run)?.seen.as_ref()?;
            is_so(&seen.value).then(|| run.clone())
        };
        until(async || self.server.shared().read(look)).await
    }

    pub(super) async fn running(&self) -> RunId {
        self.seen(|seen| seen.phase == RunPhase::Running).await
    }

    /// Waits for the end of a job's only task: which run it was, and how it ended.
    pub(super) async fn ended(&self, key: &JobKey) -> (RunId, Exit) {
        let look = |mirror: &Mirror| {
            let job = mirror.job(key)?;
            job.state.as_ref()?.value.phase.is_final().then_some(())?;
            let past = &job.pasts.get(&0)?.value;
            Some((past.run.clone(), past.exit.clone()))
        };
        until(async || self.server.shared().read(look)).await
    }

    /// All of a log: its text, and the events that are no output.
    pub(super) async fn log(&self, run: &RunId, query: &str) -> (String, Vec<LogEvent>) {
        use base64::Engine as _;
        let path = format!("/v1/runs/{run}/logs{query}");
        let mut lines = self.client.lines(path).await.unwrap();
        let (mut text, mut others) = (Vec::new(), Vec::new());
        while let Some(event) = lines.next::<LogEvent>().await.unwrap() {
            match event {
                LogEvent::Output { bytes, .. } => {
                    text.extend(base64::engine::general_purpose::STANDARD.decode(bytes).unwrap());
                }
                other => others.push(other),
            }
        }
        (String::from_utf8(text).unwrap(), others)
    }

    /// Ends, and leaves nothing behind.
    pub(super) async fn finish(mut self) {
        let agent = self.agent.take().unwrap();
        assert!(!agent.is_finished(), "the agent ended: {:?}", agent.await);
        agent.abort();
        let _ = agent.await;
        let config = Config::new(self.folder.path().join("m"), &self.node);
        let runner = until(async || Runner::open(config.clone()).ok()).await;
        runner.sweep(&[].into()).unwrap();
        runner.close();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.desk.abort();
        if let Some(agent) = self.agent.take() {
            agent.abort();
        }
    }
}
