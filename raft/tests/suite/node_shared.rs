//! States in memory that nodes share with whoever looks at them.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use drystone_raft::runtime::{
    Channels, Error, Node, NodeConfig, Shared, State, StateMachine, Status,
};
use drystone_raft::{Config, Configuration, Index, ReadMode, Role};
use drystone_vfs::{MemVfs, Vfs};

use crate::node_support::{DIR, tick};

/// Adds numbers, and knows how often it was read from a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sum {
    sum: u64,
    loads: u64,
}

impl State for Sum {
    type Reply = u64;

    fn apply(&mut self, _: Index, command: &Bytes) -> u64 {
        self.sum += std::str::from_utf8(command).unwrap().parse::<u64>().unwrap();
        self.sum
    }

    fn save(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.sum.to_le_bytes())?;
        out.write_all(&self.loads.to_le_bytes())
    }

    fn load(from: &mut dyn Read) -> io::Result<Sum> {
        let mut bytes = [0; 16];
        from.read_exact(&mut bytes)?;
        let [sum, loads] =
            [0, 8].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()));
        if from.read(&mut [0])? > 0 {
            return Err(io::Error::other("a sum is sixteen bytes"));
        }
        // It would overflow with the next number: no group has got this far.
        if sum == u64::MAX {
            return Err(io::Error::other("no such sum"));
        }
        Ok(Sum { sum, loads: loads + 1 })
    }
}

/// A snapshot is the state of its moment, and what comes back is the same; what is no state puts
/// nothing in the place of what there is.
#[test]
fn shared_saves_and_loads() {
    let mut machine = Shared::new(Sum::default());
    let handle = machine.clone();
    assert_eq!(machine.apply(Index(1), &Bytes::from_static(b"40")), 40);
    let job = machine.snapshot();
    assert_eq!(machine.apply(Index(2), &Bytes::from_static(b"2")), 42);
    assert_eq!(handle.look().sum, 42, "a clone is the same state");
    let mut saved = Vec::new();
    job(&mut saved).unwrap();
    let mut other = Shared::<Sum>::default();
    let beside = other.clone();
    other.restore(&mut saved.as_slice()).unwrap();
    assert_eq!(*beside.look(), Sum { sum: 40, loads: 1 }, "without what came later");
    let [short, mut long, wrong] = [saved[..9].to_vec(), saved.clone(), vec![0xff; 16]];
    long.push(0);
    for garbage in [vec![], short, long, wrong] {
        assert!(other.restore(&mut garbage.as_slice()).is_err(), "{garbage:?}");
        assert_eq!(*beside.look(), Sum { sum: 40, loads: 1 });
    }
    assert_eq!(handle.look().loads, 0, "another state");
}

async fn start(disk: &Arc<dyn Vfs>, state: &Shared<Sum>) -> Result<Node<Shared<Sum>>, Error> {
    let mut config = NodeConfig::new(1, Configuration::voters([1]));
    config.raft = Config::new(50);
    (config.snapshot_entries, config.kept_entries) = (10, 0);
    // One thread does it all, so that the paused clock waits for the disk.
    config.store.wal = config.store.wal.writer(drystone_wal::Writer::Caller);
    let link = Channels::new().join(1);
    Node::spawn(config, Arc::clone(disk), Path::new(DIR), link, state.clone()).await
}

async fn status_when(node: &Node<Shared<Sum>>, holds: impl Fn(&Status) -> bool) -> Status {
    loop {
        let status = node.status().await.unwrap();
        if holds(&status) {
            return status;
        }
        tick().await;
    }
}

/// The whole way: through a snapshot on the disk and the log behind it, as often as the node
/// starts. A snapshot that is whole and yet no state must keep the node from going on without.
#[tokio::test(start_paused = true)]
async fn shared_comes_back_from_its_snapshot() {
    let disk: Arc<dyn Vfs> = Arc::new(MemVfs::new());
    for round in 1..=3 {
        let state = Shared::new(Sum::default());
        let node = start(&disk, &state).await.unwrap();
        let before = status_when(&node, |status| status.role == Role::Leader).await.base;
        for i in 1..=25 {
            let sum = 25 * (round - 1) + i;
            assert_eq!(node.propose("1").await, Ok(sum), "everything before is there");
        }
        node.read(ReadMode::Index).await.unwrap();
        assert_eq!(*state.look(), Sum { sum: 25 * round, loads: round - 1 });
        status_when(&node, |status| status.base > before).await;
        node.shutdown().await.unwrap();
    }
    let node = start(&disk, &Shared::new(Sum::default())).await.unwrap();
    status_when(&node, |status| status.role == Role::Leader).await;
    let before = node.status().await.unwrap().last;
    node.propose((u64::MAX - 75).to_string()).await.unwrap();
    while node.status().await.unwrap().base <= before {
        node.propose("0").await.unwrap();
    }
    node.shutdown().await.unwrap();
    let refused = start(&disk, &Shared::new(Sum::default())).await;
    assert!(matches!(refused, Err(Error::Machine(_))), "{refused:?}");
}
