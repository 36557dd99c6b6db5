//! Replicas: several members in this process, over a network that can be cut.

mod basics;
mod leases;
mod members;
mod panics;
mod past_bugs;
mod restoring;
mod states;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drystone_kv::command::{Command, Put, RangeRequest};
use drystone_kv::key_range::KeyRange;
use drystone_kv::members::Member;
use drystone_kv::reply::Reply;
use drystone_kv::runtime::{Ask, Asked, Peers, Replica, ReplicaOptions, Told};
use drystone_kv::{EngineKind, Error};
use drystone_raft::runtime::Channels;
use drystone_raft::{NodeId, Role};
use drystone_vfs::{MemVfs, OpenMode, OsClock, Vfs};
use parking_lot::Mutex;

/// Who can be asked, and from where.
#[derive(Default)]
struct Exchange {
    replicas: BTreeMap<NodeId, Replica>,
    /// From whom to whom no question gets through.
    cut: Vec<(NodeId, NodeId)>,
}

/// One member's way to the others.
struct Line {
    from: NodeId,
    exchange: Arc<Mutex<Exchange>>,
}

impl Peers for Line {
    fn ask(&self, peer: NodeId, ask: Ask) -> Asked {
        let exchange = self.exchange.lock();
        let open = !exchange.cut.contains(&(self.from, peer));
        let replica = exchange.replicas.get(&peer).filter(|_| open).cloned();
        Box::pin(async move {
            match replica {
                Some(replica) => Some(replica.serve(ask).await),
                // It is certain that nothing came of it.
                None => Some(Told::NotLeader),
            }
        })
    }
}

/// Members of one group.
struct Party {
    channels: Channels,
    exchange: Arc<Mutex<Exchange>>,
    disks: BTreeMap<NodeId, Arc<dyn Vfs>>,
    founders: Vec<Member>,
    tune: fn(&mut ReplicaOptions),
}

fn member(id: NodeId) -> Member {
    let peer_urls = vec![format!("http://m{id}:2380")];
    Member { id, name: format!("m{id}"), peer_urls, client_urls: Vec::new(), is_learner: false }
}

fn put(key: &str, value: &str) -> Command {
    Command::Put(Put::new(key.to_owned(), value.to_owned()))
}

impl Party {
    /// Members 1 to `count`, started.
    async fn new(count: u64, tune: fn(&mut ReplicaOptions)) -> Party {
        let founders = (1..=count).map(member).collect();
        let party = Party {
            channels: Channels::new(),
            exchange: Arc::default(),
            disks: BTreeMap::new(),
            founders,
            tune,
        };
        let mut party = party;
        for id in 1..=count {
            party.start(id).await;
        }
        party
    }

    async fn start(&mut self, id: NodeId) -> Replica {
        self.start_with(id, self.founders.clone()).await
    }

    async fn start_with(&mut self, id: NodeId, founders: Vec<Member>) -> Replica {
        let returns = self.disks.contains_key(&id);
        let disk = self.disks.entry(id).or_insert_with(|| Arc::new(MemVfs::new())).clone();
        let mut options = ReplicaOptions::new(id, 7, founders);
        (options.heartbeat, options.election) =
            (Duration::from_millis(20), Duration::from_millis(200));
        // Who has a disk already has been here before.
        options.returns = returns;
        (self.tune)(&mut options);
        let peers = Arc::new(Line { from: id, exchange: self.exchange.clone() });
        let (link, clock) = (self.channels.join(id), Arc::new(OsClock::new()));
        let opened = Replica::open(disk, clock, Path::new("data"), link, peers, options).await;
        let replica = opened.expect("a replica opens");
        self.exchange.lock().replicas.insert(id, replica.clone());
        replica
    }

    /// Stops a member as a crash of its process does.
    async fn kill(&self, id: NodeId) {
        self.channels.leave(id);
        let replica = self.exchange.lock().replicas.remove(&id).expect("it is there");
        replica.kill().await;
    }

    fn at(&self, id: NodeId) -> Replica {
        self.exchange.lock().replicas[&id].clone()
    }

    fn ids(&self) -> Vec<NodeId> {
        self.exchange.lock().replicas.keys().copied().collect()
    }

    /// Cuts a member off from all others, both ways.
    fn isolate(&self, id: NodeId) {
        for other in self.ids().into_iter().filter(|other| *other != id) {
            self.channels.cut(id, other);
            self.channels.cut(other, id);
            self.exchange.lock().cut.extend([(id, other), (other, id)]);
        }
    }

    fn heal(&self) {
        self.channels.heal();
        self.exchange.lock().cut.clear();
    }

    /// Who leads, once all who are there agree on one of them.
    async fn leader(&self) -> NodeId {
        loop {
            let ids = self.ids();
            let ranks: Vec<_> = ids.iter().map(|id| self.at(*id).rank()).collect();
            let leaders = ids.iter().zip(&ranks).filter(|(_, rank)| rank.role == Role::Leader);
            let leaders: Vec<_> = leaders.map(|(id, _)| *id).collect();
            if let [leader] = leaders[..]
                && ranks.iter().all(|rank| rank.leader == Some(leader))
            {
                return leader;
            }
            pause().await;
        }
    }

    async fn follower(&self) -> NodeId {
        let leader = self.leader().await;
        self.ids().into_iter().find(|id| *id != leader).expect("it is not alone")
    }

    /// Waits until all members hold the same, and says up to which revision.
    async fn agree(&self) -> u64 {
        loop {
            let hashes = self
                .ids()
                .into_iter()
                .map(|id| self.at(id).hash(None).expect("a sound store has a hash"));
            let hashes: Vec<_> = hashes.map(|hash| (hash.revision, hash.hash)).collect();
            if hashes.windows(2).all(|pair| pair[0] == pair[1]) {
                return hashes[0].0;
            }
            pause().await;
        }
    }
}

/// A put that must come through. On a busy machine a leader may be lost, and with it the answer:
/// then it is put once more.
async fn set(replica: &Replica, key: &str, value: &str) -> u64 {
    loop {
        match replica.propose(put(key, value)).await {
            Ok(Reply::Put(reply)) => return reply.revision,
            Err(Error::LeaderLost) => {}
            other => panic!("{key}={value}: {other:?}"),
        }
    }
}

/// Has a command done that can be done once. If its answer is lost with a leader, it may be found
/// to have been done.
async fn insist(replica: &Replica, command: Command) {
    let mut is_unsure = false;
    loop {
        match replica.propose(command.clone()).await {
            Ok(_) => return,
            Err(Error::Refused(_)) if is_unsure => return,
            Err(Error::LeaderLost) => is_unsure = true,
            Err(error) => panic!("{command:?}: {error}"),
        }
    }
}

/// What this member shows for a key.
fn get(replica: &Replica, key: &str) -> Option<String> {
    let reply = replica.range(&RangeRequest::new(KeyRange::single(key.to_owned())));
    let reply = reply.expect("a sound store can be read");
    reply.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}
