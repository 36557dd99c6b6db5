//! `mason dev`: all of it in one process, until Ctrl-C.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use drystone_etcd::embed::{Member, Options};
use mason_core::keys::Keys;
use mason_core::manifest::quantity::{format_bytes, format_cpu};
use mason_core::spec::Resources;
use mason_node::image::reference::Reference;
use mason_node::runtime::Runner;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::agent;
use crate::api::{self, Api, Token};
use crate::dev::{self, Beacon, Place};
use crate::gossip::Role;
use crate::secrets::Keyring;
use crate::server::Server;
use crate::store::Store;

use super::agent::{MachineArgs, Site};
use super::exit::Exit;
use super::server::{GossipArgs, inform};
use super::signals::Signals;

/// Agents of one machine at most.
const AGENTS_MAX: u32 = 16;
/// How long agents may take to let go of what they are doing.
const LET_GO_MAX: Duration = Duration::from_secs(30);

/// Run all of it in this process
#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// How many agents share the machine
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(AGENTS_MAX)))]
    agents: u32,
    /// Where all of it is; removed at the end
    #[arg(long, value_name = "DIR", default_value = "/var/lib/mason-dev")]
    data_dir: PathBuf,
    /// Where it answers
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7800")]
    listen: SocketAddr,
    /// What nodes are called: this, and a number
    #[arg(long, value_name = "NAME", default_value = "n")]
    node: String,
    /// Leave containers and data: the next `mason dev --keep` goes on with them
    #[arg(long)]
    keep: bool,
    /// A name that the built-in image answers to until a real one is there
    #[arg(long, value_name = "IMAGE", default_values_t = ["busybox".to_owned()])]
    builtin_as: Vec<String>,
    #[command(flatten)]
    machine: MachineArgs,
}

/// What runs, in the order in which it is stopped.
struct World {
    agents: JoinSet<Result<()>>,
    runners: Vec<Arc<Runner>>,
    roles: JoinSet<Result<()>>,
    member: Member,
}

/// Runs until it is told to end, and leaves nothing behind.
pub(super) async fn run(args: DevArgs, token: Option<Token>) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    // Before anything is made: what is missing is said first.
    args.machine.check()?;
    if !args.listen.ip().is_loopback() {
        bail!("--listen {}: a dev is for this machine alone", args.listen);
    }
    let place = Place::take()?;
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener
        .with_context(|| format!("listen on {}: another by --listen 127.0.0.1:0", args.listen))?;
    let token = token.unwrap_or_else(Token::generate);
    if !args.keep {
        dev::clear(&args.data_dir)?;
    }
    let data_dir = make(&args)?;
    let url = format!("http://{}", listener.local_addr().context("the address")?);
    let started = start(&args, &data_dir, listener, &token).await;
    let ended = match started {
        Ok(mut world) => {
            let lit = place.light(&Beacon {
                url: url.clone(),
                token: token.expose().to_owned(),
                pid: std::process::id(),
                data_dir: data_dir.clone(),
            });
            let ended = match lit {
                Ok(()) => {
                    greet(&args, &url, place.file());
                    wait(&mut world, &mut signals).await
                }
                Err(error) => Err(error),
            };
            ended.and(stop(world, args.keep).await)
        }
        Err(error) => Err(error),
    };
    if !args.keep {
        dev::clear(&data_dir)?;
        eprintln!("mason: nothing is left of it");
    }
    ended.map(|()| Exit::DONE)
}

/// Makes the folder, with the names of its nodes in it.
fn make(args: &DevArgs) -> Result<PathBuf> {
    let dir = &args.data_dir;
    std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let dir = dir.canonicalize().with_context(|| dir.display().to_string())?;
    let nodes: String = names(args).map(|name| name + "\n").collect();
    std::fs::write(dir.join(dev::MARK), nodes).with_context(|| dir.display().to_string())?;
    Ok(dir)
}

fn names(args: &DevArgs) -> impl Iterator<Item = String> {
    (1..=args.agents).map(|number| format!("{}{number}", args.node))
}

async fn start(
    args: &DevArgs,
    data_dir: &Path,
    listener: TcpListener,
    token: &Token,
) -> Result<World> {
    let options = Options::new(data_dir.join("store"));
    let member = tokio::task::spawn_blocking(move || Member::start(&options)).await?;
    let member = member.context("the store")?;
    let store = Store::connect(&[member.client_url().to_owned()], Keys::default()).await?;
    let key = data_dir.join("key");
    if !key.exists() {
        Keyring::create(&key)?;
    }
    let mut world =
        World { agents: JoinSet::new(), runners: Vec::new(), roles: JoinSet::new(), member };
    let began = begin(args, data_dir, (listener, token, &store), &key, &mut world).await;
    match began {
        Ok(()) => Ok(world),
        Err(error) => {
            stop(world, args.keep).await?;
            Err(error)
        }
    }
}

async fn begin(
    args: &DevArgs,
    data_dir: &Path,
    (listener, token, store): (TcpListener, &Token, &Store),
    key: &Path,
    world: &mut World,
) -> Result<()> {
    let address = listener.local_addr().context("the address")?;
    let url = format!("http://{address}");
    let (server, desk) = Server::start(store.clone(), &url);
    world.roles.spawn(async move { desk.await.context("the server broke")? });
    let api = Api::new(store.clone(), &server, Some(Keyring::open(&[key])?));
    world.roles.spawn(api::serve(listener, api, Some(token.clone())));
    let gossip = GossipArgs::default().start(Role::Server(url), address, Some(token)).await;
    world.roles.spawn(async move {
        inform(&server, gossip).await;
        Ok(())
    });
    for name in names(args) {
        let listener = TcpListener::bind((address.ip(), 0)).await.context("an agent's port")?;
        let address = listener.local_addr().context("an agent's port")?;
        let dir = data_dir.join(&name);
        let site = Site {
            node: &name,
            data_dir: &dir,
            address: address.to_string(),
            labels: &[],
            share: args.agents,
            interruptible: false,
        };
        let mut options = args.machine.open(site)?;
        answer_to(&options, &args.builtin_as)?;
        options.keyring = Some(Keyring::open(&[key])?);
        options.listener = Some(listener);
        options.token = Some(token.clone());
        world.runners.push(options.runner.clone());
        let role = Role::Agent(options.node.clone());
        let gossip = GossipArgs::default().start(role, address, Some(token)).await;
        options.card.gossip = gossip.as_ref().map(|(gossip, _)| gossip.addr().to_string());
        let store = store.clone();
        world.agents.spawn(async move {
            let ended = agent::run(store, options).await;
            drop(gossip);
            ended.with_context(|| format!("agent {name}"))
        });
    }
    Ok(())
}

/// Gives the built-in image further names.
fn answer_to(options: &agent::Options, names: &[String]) -> Result<()> {
    for name in names.iter().filter(|name| !name.is_empty()) {
        let name: Reference = name.parse().with_context(|| format!("--builtin-as {name}"))?;
        mason_node::image::builtin::answer_to(options.images.store(), &name)
            .with_context(|| format!("--builtin-as {name}"))?;
    }
    Ok(())
}

/// Says where it answers, and what to try.
fn greet(args: &DevArgs, url: &str, beacon: &Path) {
    let Resources { cpu, memory, .. } = crate::node::resources(&args.data_dir);
    let nodes: Vec<String> = names(args).collect();
    println!("mason dev answers at {url}; the token is in {}", beacon.display());
    println!(
        "  {} of {} cores and {} of memory; all of it is in {}",
        nodes.join(", "),
        format_cpu(cpu),
        format_bytes(memory),
        args.data_dir.display()
    );
    if !args.builtin_as.is_empty() {
        println!(
            "  {}: mason's own small image, until you pull or import a real one",
            args.builtin_as.join(", ")
        );
    }
    println!("Try, in another terminal:");
    let own = std::env::current_exe().unwrap_or_default();
    if crate::node::program("mason")
        .is_none_or(|found| found.canonicalize().ok() != Some(own.clone()))
    {
        println!("  alias mason={}", own.display());
    }
    println!("  mason run --image busybox -- echo hi");
    println!("  mason apply -f FILE    mason get all    mason logs -f NAME    mason explain NAME");
    println!(
        "Ctrl-C ends it, {}.",
        match args.keep {
            true => "and leaves containers and data",
            false => "with all its containers and data",
        }
    );
}

async fn wait(world: &mut World, signals: &mut Signals) -> Result<()> {
    tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "ends");
            Ok(())
        }
        Some(ended) = world.agents.join_next() => {
            ended.context("an agent broke")??;
            Err(anyhow!("an agent has ended by itself"))
        }
        Some(ended) = world.roles.join_next() => {
            ended.context("a role broke")??;
            Err(anyhow!("the server has ended by itself"))
        }
    }
}

/// Stops everything: agents first, so that nothing new begins.
async fn stop(mut world: World, keep: bool) -> Result<()> {
    world.agents.shutdown().await;
    let mut pulse = tokio::time::interval(Duration::from_millis(20));
    let runners = std::mem::take(&mut world.runners);
    let settled = tokio::time::timeout(LET_GO_MAX, async {
        while runners.iter().any(|runner| Arc::strong_count(runner) > 1) {
            pulse.tick().await;
        }
    });
    let is_free = settled.await.is_ok();
    if !is_free {
        tracing::warn!("an agent does not let go of what it does");
    }
    if !keep {
        eprintln!("mason: stops what runs");
        let all =
            tokio::task::spawn_blocking(move || runners.into_iter().try_for_each(dev::settle));
        all.await.context("the end of the containers")??;
    }
    world.roles.shutdown().await;
    let member = world.member;
    tokio::task::spawn_blocking(move || member.stop()).await?.context("the store")
}
