//! `mason dev`: a store, a server and agents in one process, to try mason out.
//!
//! ```text
//!   store    our etcd, on threads of its own ◄──┐
//!   server   tasks of the runtime ──────────────┤ by HTTP and gRPC on loopback, as if
//!   agents   a runtime each, in a thread ───────┘ they were far from each other
//! ```
//!
//! At the end everything is taken down in the order in which it depends on each other: agents stop
//! taking things on, containers are killed and removed, then the server goes, then the store, and
//! at last the folder, if nobody has named one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use drystone_etcd::embed::{Member, Options as MemberOptions};
use mason_core::keys::Keys;
use mason_core::record::Reason;
use mason_core::types::NodeId;
use mason_node::runtime::Runner;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::agent;
use crate::api::{self, Api, Token};
use crate::secrets::Keyring;
use crate::server::Server;
use crate::store::Store;

use super::agent::{MachineArgs, Site as NodeSite};
use super::exit::Exit;
use super::out;
use super::signals::Signals;
use super::site::Site;

/// Where it answers, if nobody else does.
const PORT: u16 = 7800;
/// How long what an agent does may take to end.
const AGENT_END: Duration = Duration::from_secs(10);
/// How long a container that is killed may take to be gone.
const KILL_MAX: Duration = Duration::from_secs(10);

/// Run a store, a server and agents in this process
#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// So many nodes, which share this machine
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    agents: u32,
    /// Where everything is, and stays; a folder that is removed at the end if not given
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the server answers
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    machine: MachineArgs,
}

/// An agent in a thread of its own.
struct Node {
    runner: Arc<Runner>,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<Result<()>>,
}

pub(super) async fn run(mut args: DevArgs, token: Option<Token>) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let mut told = Site::take()?;
    let (data_dir, removed) = folder(args.data_dir.as_deref())?;
    if args.machine.stand_ins.iter().all(|(image, _)| image != "busybox") {
        args.machine.stand_ins.push(("busybox".to_owned(), "tiny".to_owned()));
    }
    let token = token.unwrap_or_else(Token::generate);
    let listener = listen(args.listen).await?;
    let url = format!("http://{}", listener.local_addr().context("the server's address")?);
    let member = Member::start(&MemberOptions::new(data_dir.join("store"))).context("the store")?;
    let store_url = member.client_url().to_owned();
    let store = Store::connect(std::slice::from_ref(&store_url), Keys::default()).await?;
    let key = data_dir.join("secret.key");
    if !key.exists() {
        Keyring::create(&key).context("a key for secrets")?;
    }
    let (server, desk) = Server::start(store.clone(), &url);
    let api = Api::new(store, &server, Some(Keyring::open(&[&key])?));
    let answers = tokio::spawn(api::serve(listener, api, Some(token.clone())));
    let mut nodes = Vec::new();
    let mut begun = Ok(());
    for number in 1..=args.agents {
        match begin(&args, number, &data_dir, &store_url, &token) {
            Ok(node) => nodes.push(node),
            Err(error) => {
                begun = Err(error);
                break;
            }
        }
    }
    let ended = match begun {
        Err(error) => Err(error),
        Ok(()) => {
            told.tell(&Site {
                url: url.clone(),
                token: token.expose().to_owned(),
                data_dir: data_dir.clone(),
            })?;
            out::raw(welcome(&args, &url, &store_url, &data_dir, removed.is_some()).as_bytes());
            wait(&mut signals, &nodes, desk, answers).await
        }
    };
    drop(told);
    out::line("mason dev: ends, and takes its containers with it");
    let cleared = tokio::task::spawn_blocking(move || clear(nodes)).await.context("the end")?;
    server.stop().await;
    member.stop().context("the store")?;
    if let Some(folder) = removed {
        folder.close().context("the folder")?;
    }
    ended.and(cleared).map(|()| Exit::DONE)
}

/// Until it is told to end, or something of it breaks.
async fn wait(
    signals: &mut Signals,
    nodes: &[Node],
    desk: tokio::task::JoinHandle<Result<()>>,
    answers: tokio::task::JoinHandle<Result<()>>,
) -> Result<()> {
    let died = async {
        let mut pulse = tokio::time::interval(Duration::from_millis(500));
        while !nodes.iter().any(|node| node.thread.is_finished()) {
            pulse.tick().await;
        }
    };
    tokio::select! {
        _ = signals.next() => Ok(()),
        ended = desk => ended.context("the server")?.context("the server"),
        ended = answers => ended.context("what answers")?.context("what answers"),
        () = died => bail!("an agent has ended by itself"),
    }
}

/// The folder of everything, and what removes it at the end.
fn folder(named: Option<&Path>) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    match named {
        Some(path) => {
            let made = std::fs::create_dir_all(path).and_then(|()| path.canonicalize());
            Ok((made.with_context(|| format!("--data-dir {}", path.display()))?, None))
        }
        None => {
            let folder = tempfile::Builder::new().prefix("mason-dev-").tempdir();
            let folder = folder.context("make a folder for everything")?;
            Ok((folder.path().to_owned(), Some(folder)))
        }
    }
}

async fn listen(asked: Option<SocketAddr>) -> Result<TcpListener> {
    if let Some(address) = asked {
        let bound = TcpListener::bind(address).await;
        return bound.with_context(|| format!("--listen {address}"));
    }
    let at = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    match at(PORT).await {
        Ok(listener) => Ok(listener),
        Err(_) => at(0).await.context("listen on loopback"),
    }
}

/// Starts an agent; returns when it has its folder, and its thread runs.
fn begin(
    args: &DevArgs,
    number: u32,
    data_dir: &Path,
    store_url: &str,
    token: &Token,
) -> Result<Node> {
    let node = format!("dev-{number}");
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("an agent")?;
    listener.set_nonblocking(true).context("an agent")?;
    // Control groups are the machine's: two that try mason out must not share theirs.
    let group = format!("{node}-{}", std::process::id());
    let site = NodeSite {
        node: &node,
        data_dir: &data_dir.join(&node),
        address: listener.local_addr().context("an agent")?.to_string(),
        labels: &[],
        share: args.agents,
        interruptible: false,
    };
    let mut options = args.machine.open_as(site, &group)?;
    options.keyring = Some(Keyring::open(&[data_dir.join("secret.key")])?);
    options.token = Some(token.clone());
    let runner = options.runner.clone();
    let (stop, stopped) = oneshot::channel();
    let url = store_url.to_owned();
    let work = move || live(options, listener, url, stopped);
    let name = NodeId::from(node.as_str()).to_string();
    let thread = thread::Builder::new().name(name).spawn(work).context("an agent's thread")?;
    Ok(Node { runner, stop, thread })
}

/// The life of an agent in its thread.
fn live(
    mut options: agent::Options,
    listener: std::net::TcpListener,
    store_url: String,
    stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        options.listener = Some(TcpListener::from_std(listener)?);
        let store = Store::connect(&[store_url], Keys::default()).await?;
        tokio::select! {
            ended = agent::run(store, options) => ended,
            _ = stopped => Ok(()),
        }
    });
    runtime.shutdown_timeout(AGENT_END);
    ended
}

/// Stops agents, and removes whatever they ran.
fn clear(nodes: Vec<Node>) -> Result<()> {
    let mut ended = Ok(());
    let mut runners = Vec::new();
    for Node { runner, stop, thread } in nodes {
        // It has ended by itself, or does now.
        let _ = stop.send(());
        let joined = thread.join().unwrap_or_else(|_| bail!("an agent panicked"));
        ended = ended.and(joined);
        runners.push(runner);
    }
    for runner in runners {
        ended = ended.and(empty(&runner));
        if let Some(runner) = Arc::into_inner(runner) {
            runner.close();
        }
    }
    ended
}

fn empty(runner: &Runner) -> Result<()> {
    let runs = runner.list().context("what still runs")?;
    for (run, _) in &runs {
        // One that is over already minds nothing.
        let _ = runner.kill(run, Reason::Stopped);
    }
    for (run, _) in &runs {
        runner.wait(run, KILL_MAX).with_context(|| format!("wait for run {run}"))?;
        runner.reap(run).with_context(|| format!("remove run {run}"))?;
    }
    Ok(())
}

fn welcome(args: &DevArgs, url: &str, store: &str, data: &Path, is_removed: bool) -> String {
    let nodes = if args.agents == 1 { "one node" } else { "nodes" };
    let count = if args.agents == 1 { String::new() } else { format!("{} ", args.agents) };
    let stays = if is_removed { "removed at the end" } else { "stays" };
    format!(
        "mason dev: {count}{nodes}, a server and a store in this process; Ctrl-C ends it all

  server   {url}  (other commands of this user find it)
  store    {store}  (etcd v3: ETCDCTL_API=3 etcdctl --endpoints {store} get --prefix /mason/)
  data     {}  ({stays})
  images   busybox is a small stand-in of mason's own, until `mason image pull busybox`

try next
  mason run --image busybox -- echo hi
  mason node list
  mason run --image busybox --name nap --detach -- sleep 60
  mason status nap; mason explain nap; mason exec nap -- id; mason delete nap
  mason apply -f your.yaml     (mason's own, Kubernetes' Deployment, Job, …, Argo's Workflow)
",
        data.display()
    )
}
