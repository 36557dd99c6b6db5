//! Scenario-free: clients, kills, cuts and hand-overs by chance, and one question: does the group
//! look like a single copy?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drystone_raft::runtime::Group;
use drystone_raft::{NodeId, ReadMode, Refused};
use drystone_sim::history::{History, Outcome};
use drystone_sim::linear::register::{Op, Register, Ret};
use drystone_sim::linear::{Model, Verdict, check, expect};
use parking_lot::Mutex;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::node_support::{Cluster, Map};

type Registers = Register<u64, u64>;
type Ops = History<<Registers as Model>::Op, <Registers as Model>::Ret>;
type Doors = Arc<Mutex<BTreeMap<NodeId, (Group<Map>, Map)>>>;

fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    u64::from(random.next_u32()) % bound
}

async fn pause(random: &mut ChaCha8Rng, most: u64) {
    let wait = Duration::from_millis(1 + below(random, most));
    tokio::time::timeout(wait, std::future::pending::<()>()).await.unwrap_err();
}

/// Reads and writes, at any node, and notes what it was told.
async fn client(id: u64, seed: u64, stale: bool, doors: Doors, history: Arc<Mutex<Ops>>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ id << 32);
    for i in 0..60 {
        let key = below(&mut random, 3);
        let node = 1 + below(&mut random, 3);
        let Some((group, map)) = doors.lock().get(&node).cloned() else {
            pause(&mut random, 30).await;
            continue;
        };
        if below(&mut random, 2) == 0 {
            let value = id * 1000 + i;
            let op = history.lock().invoke(id, Op::Write(key, value));
            match group.propose(format!("{key}={value}")).await {
                Ok(_) => history.lock().returned(op, Ret::Written),
                // Nobody knows.
                Err(Refused::Unknown) => {}
                Err(_) => history.lock().failed(op),
            }
        } else {
            let mode = match below(&mut random, 4) {
                _ if stale => ReadMode::Stale,
                0 => ReadMode::Log,
                _ => ReadMode::Index,
            };
            let op = history.lock().invoke(id, Op::Read(key));
            match group.read(mode).await {
                Ok(_) => {
                    let value = map.state.lock().map.get(&key.to_string()).cloned();
                    let value = value.map(|value| value.parse().unwrap());
                    history.lock().returned(op, Ret::Value(value));
                }
                Err(_) => history.lock().failed(op),
            }
        }
        pause(&mut random, 20).await;
    }
}

fn often(config: &mut drystone_raft::runtime::NodeConfig) {
    config.raft = drystone_raft::Config::new(100);
    (config.snapshot_entries, config.kept_entries, config.kept_entries_max) = (20, 5, 40);
}

/// Does something to the group.
async fn trouble(cluster: &mut Cluster, doors: &Doors, random: &mut ChaCha8Rng) {
    let victim = 1 + below(random, 3);
    match below(random, 5) {
        0 => {
            doors.lock().remove(&victim);
            cluster.kill(victim).await;
            pause(random, 300).await;
            cluster.start(victim).await;
            open_door(cluster, doors, victim);
        }
        1 => {
            doors.lock().remove(&victim);
            let (node, _) = cluster.nodes.remove(&victim).unwrap();
            node.shutdown().await.unwrap();
            cluster.channels.leave(victim);
            cluster.start(victim).await;
            open_door(cluster, doors, victim);
        }
        2 => {
            for other in (1..=3).filter(|id| *id != victim) {
                cluster.channels.cut(victim, other);
                cluster.channels.cut(other, victim);
            }
            pause(random, 400).await;
            cluster.channels.heal();
        }
        3 => {
            // One way only.
            cluster.channels.cut(victim, 1 + victim % 3);
            pause(random, 400).await;
            cluster.channels.heal();
        }
        _ => {
            let _ = cluster.group(victim).transfer(None).await;
        }
    }
}

fn open_door(cluster: &Cluster, doors: &Doors, id: NodeId) {
    doors.lock().insert(id, (cluster.group(id).clone(), cluster.map(id).clone()));
}

/// Everything that one seed stands for.
async fn run(seed: u64, stale: bool) -> Ops {
    let mut cluster = Cluster::new(&[1, 2, 3], often).await;
    let doors = Doors::default();
    (1..=3).for_each(|id| open_door(&cluster, &doors, id));
    let history: Arc<Mutex<Ops>> = Arc::default();
    let start =
        |id| tokio::spawn(client(id, seed, stale, Arc::clone(&doors), Arc::clone(&history)));
    let clients: Vec<_> = (1..=5).map(start).collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    while clients.iter().any(|client| !client.is_finished()) {
        pause(&mut random, 200).await;
        trouble(&mut cluster, &doors, &mut random).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    let history = history.lock();
    history.clone()
}

/// The promise that all others are for. Every call comes back, too, or this would not end.
#[tokio::test(start_paused = true)]
async fn group_looks_like_a_single_copy() {
    let seeds = if std::env::var_os("SLOW").is_some() { 300 } else { 15 };
    for seed in 0..seeds {
        println!("seed {seed}: all that chance decides here comes from it");
        let history = run(seed, false).await;
        let known = |outcome: &Outcome<_>| matches!(outcome, Outcome::Returned { .. });
        let returned = history.operations().iter().filter(|op| known(&op.outcome)).count();
        println!("{returned} of {} returned", history.operations().len());
        assert!(returned > 30, "something works between the troubles");
        expect::<Registers>(&history);
    }
}

/// The test above has teeth: reads that ask nobody are caught.
#[tokio::test(start_paused = true)]
async fn stale_reads_are_caught() {
    for seed in 0..15 {
        if matches!(check::<Registers>(&run(seed, true).await), Verdict::Violation(_)) {
            return;
        }
    }
    panic!("fifteen runs of stale reads, and none was noticed");
}
