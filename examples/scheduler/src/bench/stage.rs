//! What most measurements need: a store and a server, each a process, and a client of the store.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use drystone_etcd::embed::{self, Member};
use drystone_etcd_api::client;
use drystone_etcd_api::etcdserverpb::DeleteRangeRequest;
use mason_core::keys::{Key, Keys};
use mason_core::record::{self, JobRecord};
use mason_core::spec::{Job, Work};
use mason_core::txn::{Compare, Txn};
use mason_core::types::JobKey;

use super::process::{Folder, Part};
use crate::server::unix_now;
use crate::store::{Settings, Store};

/// How long a store may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much a store may hold: a million tasks are several million values, and nobody compacts.
const STORE_BYTES_MAX: u64 = 16 << 30;

/// How often something is looked at that nobody tells of.
const POLL: Duration = Duration::from_millis(50);
/// What the node of this machine is called.
pub(super) const NODE: &str = "mason-bench";

/// Where a measurement takes place.
#[derive(Clone, Debug, Args)]
pub(super) struct Site {
    /// `ours`, `etcd` (the program of that name), or the URL of one that runs
    #[arg(long, value_name = "STORE", default_value = "ours")]
    pub(super) store: String,
    /// Where data goes [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

/// A store with nothing of ours in it, and a server. Both end when this is dropped.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) store: Store,
    pub(super) server: Part,
    /// None if it was there before.
    pub(super) store_part: Option<Part>,
    /// The program that this is.
    pub(super) program: OsString,
    pub(super) url: String,
    pub(super) prefix: String,
    /// Last, so that it goes when nobody uses it any more.
    pub(super) folder: Folder,
}

impl Stage {
    pub(super) async fn set(site: &Site) -> Result<Stage> {
        let folder = Folder::make(site.dir.as_deref())?;
        let program = std::env::current_exe().context("the path of this program")?;
        let program = program.into_os_string();
        let prefix = format!("/mason-bench-{:08x}/", rand::random::<u32>());
        let (mut store_part, url) = if site.store.contains("://") {
            (None, site.store.clone())
        } else {
            let (part, url) = start_store(&site.store, &program, &folder)?;
            (Some(part), url)
        };
        let settings = Settings { patience: PATIENCE, ..Settings::default() };
        let keys = Keys::new(&prefix);
        let connected = Store::connect_with(std::slice::from_ref(&url), keys, settings).await;
        if let Some(part) = &mut store_part {
            part.check()?;
        }
        let store = connected.with_context(|| format!("the store at {url}"))?;
        let words = ["server", "--store", &url, "--prefix", &prefix, "--listen", "127.0.0.1:0"];
        let server = Part::start("server", &program, folder.path(), &words, Stdio::null())?;
        Ok(Stage { store, server, store_part, program, url, prefix, folder })
    }

    /// Fails if a part has ended that should not.
    pub(super) fn check(&mut self) -> Result<()> {
        self.server.check()?;
        self.store_part.as_mut().map_or(Ok(()), Part::check)
    }

    /// Where its agent's data is.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    /// Starts an agent of this machine, and waits until it takes part.
    pub(super) async fn agent(&mut self) -> Result<Part> {
        let data = self.data_dir();
        let data = data.to_str().context("the folder's name is no text")?;
        let mut words = vec!["agent", "--store", &self.url, "--prefix", &self.prefix];
        words.extend(["--node", NODE, "--data-dir", data, "--listen", "127.0.0.1:0"]);
        words.extend(["--reserve-cpu", "0", "--reserve-memory", "64Mi"]);
        let folder = self.folder.path();
        let mut agent = Part::start("agent", &self.program, folder, &words, Stdio::null())?;
        let alive = self.store.keys().path(&Key::Alive(NODE.into()));
        self.appears(&alive, &mut agent).await.context("the agent takes no part")?;
        Ok(agent)
    }

    /// Waits until the server stands for its office.
    pub(super) async fn server_leads(&mut self) -> Result<()> {
        let candidates = self.store.keys().candidates();
        let mut pulse = tokio::time::interval(POLL);
        let began = Instant::now();
        while self.store.read_all(&candidates).await?.1.is_empty() {
            ensure!(began.elapsed() < PATIENCE, "the server does not lead");
            self.check()?;
            pulse.tick().await;
        }
        Ok(())
    }

    async fn appears(&mut self, key: &str, part: &mut Part) -> Result<()> {
        let mut pulse = tokio::time::interval(POLL);
        let began = Instant::now();
        while self.store.get(key).await?.is_none() {
            ensure!(began.elapsed() < PATIENCE, "it takes more than {PATIENCE:?}");
            self.check()?;
            part.check()?;
            pulse.tick().await;
        }
        Ok(())
    }

    /// Makes a job.
    pub(super) async fn submit(&self, name: &str, job: Job) -> Result<JobKey> {
        let key = JobKey::new("bench", name);
        let record =
            JobRecord::new(format!("{:032x}", rand::random::<u128>()), Work::Job(job), unix_now());
        let path = self.store.keys().path(&Key::Job(key.clone()));
        let txn = Txn::new().when(Compare::Absent(path.clone())).put(path, record::encode(&record));
        let done = self.store.commit(&txn).await.context("submit a job")?;
        ensure!(done.succeeded, "job {key} is there already");
        Ok(key)
    }

    /// Ends everything; a store that was there before is left as it was.
    pub(super) async fn strike(self) -> Result<()> {
        let Stage { server, store_part, url, prefix, .. } = self;
        drop(server);
        if store_part.is_none() {
            let mut end = prefix.clone().into_bytes();
            *end.last_mut().expect("it ends with a slash") += 1;
            let all = DeleteRangeRequest {
                key: prefix.into_bytes().into(),
                range_end: end.into(),
                ..DeleteRangeRequest::default()
            };
            let client = client::connect(&url, &client::Config::default()).await;
            let client = client.context("the store, to clean up")?;
            client.kv().delete_range(all).await.context("clean up the store")?;
        }
        Ok(())
    }
}

/// A store of ours, as `mason dev` has one inside.
#[derive(Debug, Args)]
pub(super) struct StoreOptions {
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long)]
    listen: SocketAddr,
}

/// Runs a store until it is killed.
pub(super) fn serve_store(options: &StoreOptions) -> Result<bool> {
    let mut member = embed::Options::new(&options.data_dir);
    member.client = options.listen;
    member.flags = vec!["--quota-backend-bytes".to_owned(), STORE_BYTES_MAX.to_string()];
    let _member = Member::start(&member).context("the store")?;
    loop {
        std::thread::park();
    }
}

fn start_store(name: &str, program: &OsString, folder: &Folder) -> Result<(Part, String)> {
    let data = folder.path().join("store");
    let data = data.to_str().context("the folder's name is no text")?;
    let (client, peer) = (free_port()?, free_port()?);
    let (client, peer) = (format!("127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let url = format!("http://{client}");
    let (cluster, quota) = (format!("default={peer}"), STORE_BYTES_MAX.to_string());
    let part = match name {
        "ours" => {
            let words = ["bench", "store", "--data-dir", data, "--listen", &client];
            Part::start("store", program, folder.path(), &words, Stdio::null())?
        }
        "etcd" => {
            let mut words = vec!["--data-dir", data, "--quota-backend-bytes", &quota];
            words.extend(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
            words.extend(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
            words.extend(["--initial-cluster", &cluster, "--log-level", "error"]);
            Part::start("store", "etcd".as_ref(), folder.path(), &words, Stdio::null())?
        }
        _ => bail!("--store {name}: say ours, etcd, or a URL"),
    };
    Ok((part, url))
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a port for the store")?;
    Ok(listener.local_addr().context("the port for the store")?.port())
}
