//! A cluster, and the view of it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mason::store::Store;
use mason_core::keys::Key;
use mason_core::mirror::Mirror;
use mason_core::record::{self, JobRecord, Phase, ResultRecord, RunPhase};
use mason_core::spec::{Job, Work};
use mason_core::txn::{Compare, Txn};
use mason_core::types::{JobKey, NodeId, RunId};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{Beats, Ledger, Role, leaks};
use crate::support::{Kind, connect, until};

/// How long anything may take that no lease is waited for with. Machines that test are busy.
const SOON: Duration = Duration::from_secs(60);

/// An agent and its folder.
pub(crate) struct Agent {
    pub(crate) role: Role,
    pub(crate) node: NodeId,
    pub(crate) data_dir: PathBuf,
}

/// A cluster, and the view of it. Close it.
pub(crate) struct Site {
    pub(crate) store: Store,
    pub(crate) servers: Vec<Role>,
    pub(crate) agents: Vec<Agent>,
    name: String,
    urls: Vec<String>,
    folder: TempDir,
    ledger: Arc<Mutex<Ledger>>,
    follower: JoinHandle<()>,
    is_closed: bool,
}

impl Site {
    /// Over the store at these addresses; nothing runs yet.
    pub(crate) async fn open(name: &str, kind: Kind, urls: &[String]) -> Site {
        let folder = TempDir::new().unwrap();
        let shared = folder.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        let store = connect(urls).await;
        let ledger = Arc::new(Mutex::new(Ledger::new(store.keys().clone())));
        let mut follow = store.follow(store.keys().prefix());
        let hearing = ledger.clone();
        let follower = tokio::spawn(async move {
            loop {
                let feed = follow.next().await.unwrap();
                hearing.lock().hear(feed);
            }
        });
        let name = format!("{name}-{}", if kind == Kind::Ours { "o" } else { "e" });
        let (servers, agents) = (Vec::new(), Vec::new());
        let (urls, is_closed) = (urls.to_vec(), false);
        Site { store, servers, agents, name, urls, folder, ledger, follower, is_closed }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that containers share.
    pub(crate) fn shared(&self) -> PathBuf {
        self.folder.path().join("shared")
    }

    pub(crate) fn beats(&self) -> Beats {
        Beats::read(&self.shared())
    }

    /// Starts another server.
    pub(crate) fn server(&mut self) {
        let urls = self.urls.clone();
        self.server_with(&urls, &["--listen", "127.0.0.1:0"], None);
    }

    /// Starts another server, that asks these members of the store.
    pub(crate) fn server_with(&mut self, urls: &[String], words: &[&str], network: Option<&str>) {
        let number = self.servers.len();
        let name = format!("s{number}");
        let mut all = vec!["server", "--prefix", "/t/", "--name", &name];
        let urls = urls.join(",");
        all.extend(["--store", &urls]);
        all.extend(words);
        let all = all.into_iter().map(str::to_owned).collect();
        let log = self.folder.path().join(format!("s{number}.log"));
        self.servers.push(Role::start(all, network, log));
    }

    /// Starts another agent.
    pub(crate) fn agent(&mut self) {
        let urls = self.urls.clone();
        self.agent_with(&urls, &["--listen", "127.0.0.1:0"], None);
    }

    /// Starts another agent, that asks these members of the store.
    pub(crate) fn agent_with(&mut self, urls: &[String], words: &[&str], network: Option<&str>) {
        let number = self.agents.len();
        let node = format!("{}{number}-{}", self.name, std::process::id());
        let data_dir = self.folder.path().join(format!("a{number}"));
        let (data, shared) = (data_dir.display().to_string(), self.shared().display().to_string());
        let urls = urls.join(",");
        let mut all = vec!["agent", "--prefix", "/t/", "--store", &urls, "--node", &node];
        all.extend(["--data-dir", &data, "--host-path", &shared, "--runtime", "runc"]);
        all.extend(["--cpu", "16", "--memory", "8Gi"]);
        all.extend(words);
        let all = all.into_iter().map(str::to_owned).collect();
        let log = self.folder.path().join(format!("a{number}.log"));
        let role = Role::start(all, network, log);
        self.agents.push(Agent { role, node: node.as_str().into(), data_dir });
    }

    /// Looks at all that the store shows.
    pub(crate) fn see<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        assert!(!self.follower.is_finished(), "the ledger found a fault, see above");
        look(&self.ledger.lock())
    }

    /// Waits until the store shows something.
    pub(crate) async fn wait<T>(&self, what: &str, look: impl Fn(&Ledger) -> Option<T>) -> T {
        within(SOON, what, async || self.see(&look)).await
    }

    /// Makes a job.
    pub(crate) async fn make(&self, name: &str, job: Job) -> JobKey {
        let key = JobKey::new("default", name);
        let record = JobRecord::new(
            format!("{:016x}", rand::random::<u64>()),
            Work::Job(job),
            mason::server::unix_now(),
        );
        let path = self.store.keys().path(&Key::Job(key.clone()));
        let txn = Txn::new().when(Compare::Absent(path.clone())).put(path, record::encode(&record));
        self.surely(&txn).await;
        key
    }

    /// Does it until it is known to be done: to do it twice does no harm.
    async fn surely(&self, txn: &Txn) {
        within(SOON, "the store answers", async || self.store.commit(txn).await.ok().map(drop))
            .await;
    }

    /// Has a job removed, and waits until all of it is gone.
    pub(crate) async fn delete(&self, key: &JobKey) {
        let record = self.see(|it| it.mirror.job(key)?.record.clone());
        let Some(record) = record else { return };
        let path = self.store.keys().path(&Key::Job(key.clone()));
        let gone = JobRecord { deleted: true, ..record.value };
        self.surely(&Txn::new().put(path, record::encode(&gone))).await;
        let what = format!("job {key} is removed");
        self.wait(&what, |it| it.mirror.job(key).is_none().then_some(())).await;
        self.ledger.lock().forget(key);
    }

    /// Whether a job is at its end.
    pub(crate) fn is_over(&self, key: &JobKey) -> bool {
        self.see(|it| {
            let state = it.mirror.job(key).and_then(|job| job.state.as_ref());
            state.is_some_and(|state| state.value.phase.is_final())
        })
    }

    /// Waits for the end of a job; how it is.
    pub(crate) async fn ended(&self, key: &JobKey) -> Phase {
        let phase = |mirror: &Mirror| {
            let state = mirror.job(key)?.state.as_ref()?;
            state.value.phase.is_final().then_some(state.value.phase)
        };
        let what = format!("job {key} is at its end");
        self.wait(&what, |it| phase(&it.mirror)).await
    }

    /// Waits until a task of a job runs, on another node than this one if it is given.
    pub(crate) async fn running(
        &self,
        key: &JobKey,
        index: u32,
        not: Option<&NodeId>,
    ) -> (RunId, NodeId) {
        let what = format!("task {index} of {key} runs");
        let look = |it: &Ledger| {
            let task = key.task(index);
            it.mirror.runs().find_map(|(run, state)| {
                let (node, entry) = state.record.as_ref()?;
                let is_it = entry.value.task == task && Some(node) != not;
                let seen = state.seen.as_ref()?.value.phase == RunPhase::Running;
                (is_it && seen && state.result.is_none()).then(|| (run.clone(), node.clone()))
            })
        };
        self.wait(&what, look).await
    }

    /// How a run ended, when it has.
    pub(crate) async fn result(&self, run: &RunId) -> ResultRecord {
        let what = format!("run {run} has ended");
        self.wait(&what, |it| it.results.get(run).cloned()).await
    }

    /// Waits until nothing of a run is left with an agent but its log.
    pub(crate) async fn gone(&self, number: usize, run: &RunId) {
        let folder = self.agents[number].data_dir.join("m/runs").join(run.as_str());
        let what = format!("run {run} goes");
        within(SOON, &what, async || (!folder.exists()).then_some(())).await;
    }

    /// The agent of a node.
    pub(crate) fn at(&mut self, node: &NodeId) -> &mut Agent {
        self.agents.iter_mut().find(|agent| agent.node == *node).expect("it is one of them")
    }

    /// Waits until a node lives, as the store has it.
    pub(crate) async fn alive(&self, number: usize) {
        let node = self.agents[number].node.clone();
        let what = format!("node {node} lives");
        self.wait(&what, |it| it.mirror.node(&node)?.alive.as_ref().map(drop)).await;
    }

    /// Removes all jobs, ends everything, and looks for what is left.
    pub(crate) async fn close(mut self) {
        self.see(Ledger::check);
        self.beats().check();
        let jobs: Vec<JobKey> = self.see(|it| it.mirror.jobs().map(|it| it.0.clone()).collect());
        for job in &jobs {
            self.delete(job).await;
        }
        self.wait("all runs are gone", |it| it.mirror.runs().next().is_none().then_some(())).await;
        for agent in &self.agents {
            let runs = agent.data_dir.join("m/runs");
            within(SOON, "the agent removes its runs", async || {
                std::fs::read_dir(&runs).unwrap().next().is_none().then_some(())
            })
            .await;
        }
        for role in self.agents.iter_mut().map(|it| &mut it.role).chain(&mut self.servers) {
            role.end().await;
        }
        for agent in &self.agents {
            let left = || leaks::left(agent.node.as_str(), &agent.data_dir);
            // A process that was told to end is there for a moment still.
            let gone = until(async || left().is_empty().then_some(()));
            let gone = tokio::time::timeout(Duration::from_secs(10), gone).await;
            assert!(gone.is_ok(), "left of {}:\n{}", agent.node, left().join("\n"));
            // Only the scene of the full disk has one.
            let _ = rustix::mount::unmount(&agent.data_dir, rustix::mount::UnmountFlags::DETACH);
        }
        self.is_closed = true;
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.follower.abort();
        if self.is_closed {
            return;
        }
        let roles = self.agents.iter().map(|it| &it.role).chain(&self.servers);
        for role in roles {
            let log = role.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(30)..].join("\n");
            let text = format!("--- {}\n{tail}\n", role.path().display());
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        let ledger = self.ledger.lock();
        let mirror = &ledger.mirror;
        for (key, job) in mirror.jobs() {
            let state = job.state.as_ref().map(|it| it.value.phase);
            let text = format!("job {key}: {state:?} {:?} {:?}\n", job.tasks, job.pasts);
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        for (id, run) in mirror.runs() {
            let _ = std::io::stderr().write_all(format!("run {id}: {run:?}\n").as_bytes());
        }
        for Agent { role, node, data_dir } in std::mem::take(&mut self.agents) {
            drop(role);
            leaks::remove(node.as_str(), &data_dir);
        }
    }
}

/// Waits until something holds, so long at most.
async fn within<T>(span: Duration, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    match tokio::time::timeout(span, until(look)).await {
        Ok(found) => found,
        Err(_) => panic!("waited {span:?} in vain: {what}"),
    }
}
