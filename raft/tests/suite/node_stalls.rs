//! Disks that take their time: who waits for one still hears and answers the others.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use drystone_raft::{Config, ReadMode, Refused, Role};
use drystone_vfs::{Call, MemVfs, TapVfs, Vfs};
use parking_lot::{Condvar, Mutex};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::node_support::{Cluster, tick};

/// An election timeout, in milliseconds: long for one machine, whatever else it does.
const ELECTION: u64 = 1000;
/// Commands, and the bytes of each: together several times what a log takes in at once, and less
/// than a leader sends without being answered.
const COMMANDS: usize = 120;
const COMMAND_BYTES: usize = 100_000;

/// Stands before some disks. While it is shut, syncs wait.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn before(self: &Arc<Gate>, disk: MemVfs) -> Arc<dyn Vfs> {
        let gate = Arc::clone(self);
        Arc::new(TapVfs::over(
            disk,
            move |call: Call<'_>, go: &mut dyn FnMut() -> io::Result<()>| {
                if matches!(call, Call::SyncData { .. }) {
                    let mut shut = gate.shut.lock();
                    gate.opened.wait_while(&mut shut, |shut| *shut);
                }
                go()
            },
        ))
    }

    fn set(&self, shut: bool) {
        *self.shut.lock() = shut;
        self.opened.notify_all();
    }
}

/// Three nodes whose logs have threads of their own, behind a gate each.
async fn gated() -> (Cluster, [Arc<Gate>; 3]) {
    let mut cluster = Cluster::of(&[1, 2, 3], |config| {
        config.raft = Config::new(ELECTION);
        config.store.wal = config.store.wal.clone().writer(drystone_wal::Writer::Thread);
    });
    let gates = [1, 2, 3].map(|id| {
        let gate = Arc::new(Gate::default());
        cluster.disks.insert(id, gate.before(MemVfs::new()));
        gate
    });
    for id in 1..=3 {
        cluster.start(id).await;
    }
    (cluster, gates)
}

/// What becomes of a command.
type Proposal = JoinHandle<Result<u64, Refused>>;

/// The disks behind some gates hang while much is to be written to them, for longer than an
/// election takes. The leader stays meanwhile, and everybody answers it.
async fn hang(cluster: &Cluster, gates: &[&Arc<Gate>]) -> Vec<Proposal> {
    let leader = cluster.leader().await;
    let group = cluster.group(leader);
    let term = group.status().await.unwrap().hard.term;
    gates.iter().for_each(|gate| gate.set(true));
    let value = "v".repeat(COMMAND_BYTES);
    let proposals = (0..COMMANDS)
        .map(|number| {
            let (group, command) = (group.clone(), format!("key{number}={value}"));
            tokio::spawn(async move { group.propose(command).await })
        })
        .collect();
    let hangs = Instant::now();
    while hangs.elapsed() < Duration::from_millis(3 * ELECTION) {
        let read = group.read(ReadMode::Index).await;
        read.expect("a quorum confirms the leader, whatever it is writing");
        tick().await;
    }
    let status = group.status().await.unwrap();
    assert_eq!((status.role, status.hard.term), (Role::Leader, term));
    gates.iter().for_each(|gate| gate.set(false));
    proposals
}

/// A follower that waits for its disk used to take in nothing more once the log's buffers were
/// full: it heard no heartbeat, and the leader was left without a quorum.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn followers_answer_while_their_disks_hang() {
    let (cluster, gates) = gated().await;
    let leader = cluster.leader().await;
    let others: Vec<_> =
        gates.iter().zip(1..).filter(|(_, id)| *id != leader).map(|(gate, _)| gate).collect();
    for proposal in hang(&cluster, &others).await {
        proposal.await.unwrap().expect("it is done once the disks answer");
    }
    for id in 1..=3 {
        cluster.applied(id, COMMANDS as u64).await;
    }
}

/// Members of one machine share its disk. The leader would be followed by one that is no better
/// off, and all that is under way would be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_that_all_share_costs_no_leader() {
    let (cluster, gates) = gated().await;
    // Those whose disks answer first may go on without it then.
    for proposal in hang(&cluster, &gates.each_ref()).await {
        assert!(matches!(proposal.await.unwrap(), Ok(_) | Err(Refused::Unknown)));
    }
}
