//! A network between machines: each agent in a namespace of its own, with an address of its own.
//!
//! ```text
//!   …0 store, server ── bridge 10.99.0.1 ─┬─ …1 agent 10.99.0.2
//!                                         ├─ …2 agent 10.99.0.3
//!                                         └─ …3 agent 10.99.0.4
//! ```
//!
//! The bridge and its ends of all cables are in the namespace of the store: nothing is in the
//! machine's own, and everything goes with the namespaces.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;

use mason_core::record::{Phase, Reason};
use mason_core::spec::{Concurrency, Constraint, Job, Operator, Strategy, Task};
use mason_core::types::{JobKey, NodeId, RunId};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::agents::replaced;
use crate::stage::{Ledger, Site, beating};
use crate::support::proxy::Proxy;
use crate::support::{Kind, Solo, until};

/// Namespaces, cables and a bridge.
struct Network {
    spaces: Vec<String>,
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
}

/// What of a machine is cut off.
#[derive(Clone, Copy)]
enum Side {
    /// It hears nobody.
    Ears,
    /// Nobody hears it.
    Mouth,
}

impl Network {
    /// So many machines around a first one, into whose namespace this thread moves.
    fn around(name: &str, kind: Kind, machines: usize) -> Network {
        let kind = if kind == Kind::Ours { "o" } else { "e" };
        let name = |at| format!("mason-{name}-{kind}{}-{at}", std::process::id());
        let network = Network { spaces: (0..=machines).map(name).collect() };
        for space in &network.spaces {
            ip(&format!("netns add {space}"));
            ip(&format!("-n {space} link set lo up"));
        }
        let center = &network.spaces[0];
        ip(&format!("-n {center} link add hub type bridge"));
        ip(&format!("-n {center} addr add 10.99.0.1/24 dev hub"));
        ip(&format!("-n {center} link set hub up"));
        for (space, at) in network.spaces[1..].iter().zip(1..) {
            ip(&format!("-n {center} link add c{at} type veth peer name eth netns {space}"));
            ip(&format!("-n {center} link set c{at} master hub up"));
            ip(&format!("-n {space} addr add {}/24 dev eth", address(at)));
            ip(&format!("-n {space} link set eth up"));
        }
        let space = File::open(format!("/run/netns/{center}")).unwrap();
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        network
    }

    /// Pulls a machine's cable, or plugs it in.
    fn cable(&self, machine: usize, way: &str) {
        ip(&format!("-n {} link set c{machine} {way}", self.spaces[0]));
    }

    /// Drops each packet on its way into a machine, or out of it. Its containers' loopbacks stay.
    fn cut(&self, machine: usize, side: Side) {
        let (hook, end) = match side {
            Side::Ears => ("input", "iifname"),
            Side::Mouth => ("output", "oifname"),
        };
        let nft = format!("netns exec {} nft add", self.spaces[machine]);
        ip(&format!("{nft} table ip cut"));
        ip(&format!("{nft} chain ip cut packets {{ type filter hook {hook} priority 0 ; }}"));
        ip(&format!("{nft} rule ip cut packets {end} eth drop"));
    }

    /// Lets all packets through again.
    fn mend(&self, machine: usize) {
        ip(&format!("netns exec {} nft delete table ip cut", self.spaces[machine]));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for space in &self.spaces {
            let _ = Command::new("ip").args(["netns", "del", space]).output();
        }
    }
}

fn address(machine: usize) -> String {
    format!("10.99.0.{}", machine + 1)
}

/// A job whose tasks go to the machines evenly.
fn spread(mut job: Job, count: u32) -> Job {
    job.count = count;
    job.placement.strategy =
        Strategy::Spread { domain: "host".to_owned(), domain_max: 0, skew_max: 0 };
    job
}

/// Where the tasks of a job were tried.
fn places(ledger: &Ledger, job: &JobKey) -> Vec<NodeId> {
    let runs = ledger.runs.values().filter(|(_, task)| task.job == *job);
    runs.map(|(node, _)| node.clone()).collect()
}

/// A store and a server on the first machine, an agent on each of the others, labelled with its
/// `host`; and a strict job of so many tasks, one on each.
///
/// Its fields go in this order, the namespaces after all that is in them.
struct Cluster {
    site: Site,
    strict: JobKey,
    runs: Vec<(RunId, NodeId)>,
    _proxy: Proxy,
    _solo: Solo,
    network: Network,
}

impl Cluster {
    async fn start(name: &str, kind: Kind, machines: u8) -> Cluster {
        let network = Network::around(name, kind, machines.into());
        let solo = Solo::start(kind).await;
        let proxy = Proxy::at(&address(0), &solo.url()).await;
        let mut site = Site::open(name, kind, &[solo.url()]).await;
        let token = site.path().join("token");
        std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
        let token = token.display().to_string();
        let hub = format!("{}:7810", address(0));
        let server = ["--listen", "127.0.0.1:0", "--gossip", &hub, "--token-file", &token];
        site.server_with(&[solo.url()], &server, None);
        for machine in 1..=machines.into() {
            let (listen, gossip) =
                (format!("{}:7801", address(machine)), format!("{}:7811", address(machine)));
            let label = format!("host={machine}");
            let mut words = vec!["--listen", &listen, "--gossip", &gossip, "--label", &label];
            words.extend(["--token-file", &token]);
            site.agent_with(&[proxy.url()], &words, Some(&network.spaces[machine]));
        }
        for agent in 0..machines.into() {
            site.alive(agent).await;
        }
        let strict = beating(&site.shared(), 90.0, Concurrency::Strict);
        let strict = site.make("strict", spread(strict, machines.into())).await;
        let mut runs = Vec::new();
        for index in 0..machines.into() {
            runs.push(site.running(&strict, index, None).await);
        }
        Cluster { site, strict, runs, _proxy: proxy, _solo: solo, network }
    }

    /// The run of the strict job on a machine, and its node.
    fn on(&self, machine: usize) -> (RunId, NodeId) {
        let node = &self.site.agents[machine - 1].node;
        self.runs.iter().find(|(_, on)| on == node).expect("they are spread").clone()
    }
}

/// Packets of one direction alone are lost: to the store a machine that hears nobody lives on for a
/// while, and one that nobody hears still gets its news. Either has killed its strict run before
/// the next one lives.
pub(crate) async fn machines_that_are_cut_off_one_way_have_no_strict_run_when_another_starts(
    kind: Kind,
) {
    let cluster = Cluster::start("way", kind, 3).await;
    let (deaf, mute) = (cluster.on(1), cluster.on(2));
    cluster.network.cut(1, Side::Ears);
    cluster.network.cut(2, Side::Mouth);
    for (run, node) in [&deaf, &mute] {
        replaced(&cluster.site, &cluster.strict, (run, node)).await;
    }
    let site = &cluster.site;
    let places_of = site.see(|it| places(it, &cluster.strict));
    let whole = &site.agents[2].node;
    assert_eq!(places_of.iter().filter(|node| *node == whole).count(), 3, "{places_of:?}");
    for machine in [1, 2] {
        cluster.network.mend(machine);
    }
    for (agent, (run, _)) in [(0, &deaf), (1, &mute)] {
        site.gone(agent, run).await;
        let reason = site.result(run).await.exit.reason;
        assert!(matches!(reason, Reason::Fenced | Reason::Lost), "{reason:?}");
        site.alive(agent).await;
    }
    site.beats().check_strict();
    cluster.site.close().await;
}

/// A machine whose cable is pulled gets nothing new within seconds, long before its lease is gone;
/// its strict run is dead before the next one lives; and when it is back it gets work again.
pub(crate) async fn a_machine_that_is_cut_off_gets_nothing_new_and_comes_back(kind: Kind) {
    let cluster = Cluster::start("net", kind, 3).await;
    let (run, cut) = cluster.on(1);
    let Cluster { network, site, strict, .. } = &cluster;
    // Gossip suspects whom it has met.
    site.servers[0].says(&format!("gossips node=\"{cut}\"")).await;
    network.cable(1, "down");
    site.servers[0].says(&format!("gossip node={cut} suspected=true")).await;
    let lives = |it: &Ledger| it.mirror.node(&cut).is_some_and(|node| node.alive.is_some());
    assert!(site.see(lives), "gossip is sooner than the lease");
    let small = spread(Job::single(Task::new("tiny", &["true"])), 6);
    let small = site.make("small", small).await;
    assert_eq!(site.ended(&small).await, Phase::Succeeded);
    let places_of = site.see(|it| places(it, &small));
    assert!(!places_of.contains(&cut), "{places_of:?}");
    assert_eq!(places_of.len(), 6);

    replaced(site, strict, (&run, &cut)).await;
    network.cable(1, "up");
    until(async || site.see(lives).then_some(())).await;
    site.gone(0, &run).await;
    let mut back = Job::single(Task::new("tiny", &["true"]));
    let here = Constraint {
        label: "host".to_owned(),
        operator: Operator::In,
        values: vec!["1".to_owned()],
    };
    back.placement.require = vec![here];
    let back = site.make("back", back).await;
    assert_eq!(site.ended(&back).await, Phase::Succeeded);
    assert_eq!(site.see(|it| places(it, &back)), [cut]);
    site.beats().check_strict();
    cluster.site.close().await;
}
