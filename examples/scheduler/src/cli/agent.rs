//! `mason agent`: an agent, until it is told to end. Its containers go on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use mason_core::manifest::quantity::{format_bytes, format_cpu, parse_bytes, parse_cpu};
use mason_core::record::NodeRecord;
use mason_core::spec::Resources;
use mason_core::types::{NodeId, check_name};
use mason_node::image::pull::PullConfig;
use mason_node::image::store::{Store as Images, StoreConfig};
use mason_node::runtime::{Class, Config, Network, Runner};

use crate::agent::{self, Card, Shelf};
use crate::api::Token;
use crate::gossip::Role;
use crate::node;
use crate::secrets::Keyring;

use super::exit::Exit;
use super::gossip::GossipArgs;
use super::server::{StoreArgs, listen};
use super::signals::Signals;

/// Run an agent
#[derive(Debug, Args)]
pub(super) struct AgentArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    gossip: GossipArgs,
    /// What the node is called; the machine's name if not given
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Where its runs and images are
    #[arg(long, value_name = "DIR", default_value = "/var/lib/mason")]
    data_dir: PathBuf,
    /// Where it answers
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7801")]
    listen: SocketAddr,
    /// Where servers reach it, if not where it listens: host:port
    #[arg(long, value_name = "ADDRESS")]
    advertise: Option<String>,
    /// What is known of the node: zone=a, rack=r1, …
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// The node can be taken away with a short notice
    #[arg(long)]
    interruptible: bool,
}

/// What tasks may use of a machine, and how.
#[derive(Clone, Debug, Args)]
pub(super) struct MachineArgs {
    /// Cores of the machine, as 4 or 3500m; what it has if not given
    #[arg(long, value_name = "CORES", value_parser = parse_cpu)]
    cpu: Option<u32>,
    /// Memory of the machine, as 8Gi; what it has if not given
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Cores that tasks are not given
    #[arg(long, value_name = "CORES", value_parser = parse_cpu, default_value = "0")]
    reserve_cpu: u32,
    /// Memory that tasks are not given
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, default_value = "256Mi")]
    reserve_memory: u64,
    /// At most so many tasks
    #[arg(long, value_name = "COUNT", default_value_t = 250)]
    tasks_max: u32,
    /// Runtimes, the usual one first: runc, crun, runsc, or a path; those found if not given
    #[arg(long = "runtime", value_name = "NAME", value_delimiter = ',')]
    runtimes: Vec<String>,
    /// Ask another in the place of a registry: docker.io=http://127.0.0.1:5000
    #[arg(long = "registry-mirror", value_name = "REGISTRY=URL", value_parser = pair)]
    mirrors: Vec<(String, String)>,
    /// A registry that may be asked without TLS
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    insecure: Vec<String>,
    /// Use an image of the node where another is asked for that is not there: busybox=tiny
    #[arg(long = "stand-in", value_name = "IMAGE=IMAGE", value_parser = pair)]
    pub(super) stand_ins: Vec<(String, String)>,
    /// A folder of the machine that containers may see
    #[arg(long = "host-path", value_name = "DIR")]
    host_paths: Vec<PathBuf>,
    /// A capability that tasks may ask for besides the usual ones, as NET_RAW
    #[arg(long = "capability", value_name = "NAME")]
    capabilities: Vec<String>,
    /// A file with a key of secrets: whoever is root here can then read every secret sealed with it
    #[arg(long = "secret-key", value_name = "FILE")]
    secret_keys: Vec<PathBuf>,
    /// Which network containers are in
    #[arg(long, value_enum, default_value_t = NetworkArg::Private)]
    network: NetworkArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NetworkArg {
    /// One of its own, with a loopback
    Private,
    /// The machine's: it sees and can take every port
    Host,
}

/// `key=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write as key=value".to_owned()),
    }
}

impl MachineArgs {
    /// The runtimes: those that were asked for, or all that are there.
    fn classes(&self) -> Result<Vec<Class>> {
        let classes = if self.runtimes.is_empty() {
            node::runtimes()
        } else {
            self.runtimes.iter().map(|name| node::runtime(name)).collect()
        };
        classes.map_err(|reason| anyhow!("--runtime: {reason}"))
    }

    /// What tasks may use: a `share`-th of the machine, less what is set aside.
    fn capacity(&self, data_dir: &std::path::Path, share: u32) -> Result<Resources> {
        let has = node::resources(data_dir);
        let cpu = self.cpu.unwrap_or(has.cpu) / share;
        let memory = self.memory.unwrap_or(has.memory) / u64::from(share);
        ensure!(
            self.reserve_cpu < cpu && self.reserve_memory < memory,
            "nothing is left for tasks: the node has {} cores and {} of memory, of which {} and {} \
             are set aside (--reserve-cpu, --reserve-memory)",
            format_cpu(cpu),
            format_bytes(memory),
            format_cpu(self.reserve_cpu),
            format_bytes(self.reserve_memory)
        );
        Ok(Resources {
            cpu: cpu - self.reserve_cpu,
            memory: memory - self.reserve_memory,
            disk: has.disk / u64::from(share),
            pids: has.pids / share,
        })
    }

    /// Takes over a folder of this machine as a node. Nothing of it is in the store yet.
    pub(super) fn open(&self, site: Site<'_>) -> Result<agent::Options> {
        let group = site.node;
        self.open_as(site, group)
    }

    /// The same, with another name for its control groups.
    pub(super) fn open_as(&self, site: Site<'_>, group: &str) -> Result<agent::Options> {
        if !rustix::process::geteuid().is_root() {
            bail!("an agent starts containers, and must be root: try sudo");
        }
        let Site { node, data_dir, address, labels, share, interruptible } = site;
        check_name(node).context("--node")?;
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("make {}", data_dir.display()))?;
        let mut config = Config::new(data_dir.join("m"), group);
        config.classes = self.classes()?;
        config.host_paths.clone_from(&self.host_paths);
        config.capabilities.extend(self.capabilities.iter().cloned());
        config.network = match self.network {
            NetworkArg::Private => Network::Private,
            NetworkArg::Host => Network::Host,
        };
        let runtimes = config.classes.iter().map(|class| class.name.clone()).collect();
        let capacity = self.capacity(data_dir, share)?;
        let runner = Runner::open(config).context("the runtime")?;
        let images = Images::open(StoreConfig::new(data_dir.join("images"))).context("images")?;
        let pull = PullConfig {
            mirrors: self.mirrors.iter().cloned().collect(),
            insecure: self.insecure.iter().cloned().collect(),
            ..PullConfig::default()
        };
        let keyring = match &self.secret_keys[..] {
            [] => None,
            files => Some(Keyring::open(files).context("--secret-key")?),
        };
        let mut shelf = Shelf::new(images, pull).context("images")?;
        for (wanted, instead) in &self.stand_ins {
            shelf = shelf.stand_in(wanted, instead).context("--stand-in")?;
        }
        let boot_id = mason_shim::state::boot().context("the id of this start of the machine")?;
        let record = NodeRecord {
            capacity,
            tasks_max: self.tasks_max,
            labels: labelled(labels),
            interruptible,
            runtimes,
            boot_id,
            ..NodeRecord::default()
        };
        Ok(agent::Options {
            node: NodeId::from(node),
            data_dir: data_dir.to_owned(),
            card: Card { node: record, address, gossip: None },
            runner: Arc::new(runner),
            images: shelf,
            keyring,
            listener: None,
            token: None,
            limits: agent::Limits::default(),
        })
    }
}

/// What makes a folder of a machine a node.
pub(super) struct Site<'a> {
    /// What it is called.
    pub(super) node: &'a str,
    /// Where its runs and images are.
    pub(super) data_dir: &'a std::path::Path,
    /// Where servers reach it.
    pub(super) address: String,
    /// What is known of it.
    pub(super) labels: &'a [(String, String)],
    /// So many nodes share the machine.
    pub(super) share: u32,
    /// It can be taken away with a short notice.
    pub(super) interruptible: bool,
}

fn labelled(given: &[(String, String)]) -> BTreeMap<String, String> {
    let found = [("arch", node::architecture()), ("os", "linux")];
    let mut labels: BTreeMap<String, String> =
        found.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    labels.extend(given.iter().cloned());
    labels
}

/// Runs until it is told to end.
pub(super) async fn run(args: AgentArgs, token: Option<Token>) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let Some(node) = args.node.clone().or_else(node::hostname) else {
        bail!("this machine's name cannot be a node's: give one by --node");
    };
    let listener = listen(args.listen, token.as_ref()).await?;
    let address = listener.local_addr().context("the address that was bound")?;
    let site = Site {
        node: &node,
        data_dir: &args.data_dir,
        address: args.advertise.clone().unwrap_or_else(|| address.to_string()),
        labels: &args.labels,
        share: 1,
        interruptible: args.interruptible,
    };
    let mut options = args.machine.open(site)?;
    options.listener = Some(listener);
    options.token.clone_from(&token);
    let store = tokio::select! {
        store = args.store.connect() => store?,
        signal = signals.next() => {
            tracing::info!(signal, "ends; it has not reached the store");
            options.runner.close();
            return Ok(Exit::DONE);
        }
    };
    let capacity = options.card.node.capacity;
    tracing::info!(
        %address, node, cpu = format_cpu(capacity.cpu), memory = format_bytes(capacity.memory),
        runtimes = options.card.node.runtimes.join(","), version = env!("CARGO_PKG_VERSION"),
        "takes part"
    );
    let role = Role::Agent(node.as_str().into());
    let at = (args.listen, args.advertise.as_deref());
    let gossip = args.gossip.start(role, at, token.as_ref()).await?.map(|(gossip, _)| gossip);
    options.card.gossip = gossip.as_ref().map(|gossip| gossip.addr().to_string());
    let runner = options.runner.clone();
    tokio::select! {
        ended = agent::run(store, options) => {
            ended.context("the agent broke")?;
            bail!("the agent has ended by itself")
        }
        signal = signals.next() => tracing::info!(signal, "ends; its containers go on"),
    }
    if let Some(gossip) = gossip {
        gossip.leave().await;
    }
    runner.close();
    Ok(Exit::DONE)
}
