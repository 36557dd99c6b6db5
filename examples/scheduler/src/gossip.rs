//! Gossip among servers and agents: who has fallen silent, and where servers answer.
//!
//! # Problem
//! The lease in the store says for certain that a node is lost, and takes its time for it: fifteen
//! seconds in which tasks would be sent to a machine that is off. And whoever knows one address of
//! a cluster should find the others.
//!
//! # Idea
//! Servers and agents are members of one [`drystone_membership`] cluster. A server takes the
//! suspicions of that cluster as a reason to place nothing new on a node, and as no more than that:
//! what runs there is not touched before the lease is gone, because gossip can be wrong.
//!
//! ```text
//!   agent ── alive/<node>, with its address of gossip ──► store
//!   server ◄── alive records ── store         server ── join ──► agents
//!   agents, servers ◄── gossip ──► each other
//!   server: suspected, failed ──► no new tasks there     recovered, joined ──► again
//! ```
//!
//! Addresses come from the store, so nobody needs to be told a seed. With a token, all that is said
//! is sealed with a key that follows from it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use drystone_membership::runtime::{Membership, Watch};
use drystone_membership::{Config, Event, Key, NodeId as MemberId};
use mason_core::mirror::Mirror;
use mason_core::types::NodeId;
use sha2::{Digest as _, Sha256};

use crate::server::Server;

/// The label of the cluster: others' gossip is not ours.
const LABEL: &str = "mason";
/// The metadata of a server: where it answers.
const ANSWERS: &str = "mason.api";
/// What the names of nodes begin with; servers' names do not.
const NODE: char = ':';
/// How often the store is looked at for agents to greet.
const GREETINGS: Duration = Duration::from_secs(1);
/// How long who is not reached at once is waited for, before the next try may come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who takes part.
#[derive(Clone, Debug)]
pub enum Role {
    /// An agent, of this node.
    Agent(NodeId),
    /// A server: where it answers.
    Server(String),
}

/// How it takes part.
#[derive(Clone, Debug)]
pub struct Options {
    /// As what.
    pub role: Role,
    /// Where it listens, for datagrams and streams.
    pub bind: SocketAddr,
    /// Where others reach it, if not there.
    pub advertise: Option<SocketAddr>,
    /// Seals what is said.
    pub token: Option<String>,
    /// All on one machine: what is silent is missed sooner.
    pub is_local: bool,
}

/// A member that gossips, until it is dropped.
#[derive(Clone, Debug)]
pub struct Gossip {
    membership: Membership,
}

impl Gossip {
    /// Starts it, alone.
    ///
    /// # Errors
    /// If it cannot listen there, or nobody could reach it.
    pub async fn start(options: &Options) -> Result<(Gossip, Suspicions)> {
        let base = if options.is_local { Config::local() } else { Config::lan() };
        let config = Config { label: LABEL.to_owned(), ..base };
        let mut builder = Membership::bind(options.bind).config(config).patience(PATIENCE);
        builder = match &options.role {
            Role::Agent(node) => builder.name(&format!("{NODE}{node}")),
            Role::Server(url) => {
                let name = format!("server-{:016x}", rand::random::<u64>());
                builder.name(&name).meta(ANSWERS, url.clone())
            }
        };
        if let Some(addr) = options.advertise {
            builder = builder.advertise(addr);
        }
        if let Some(token) = &options.token {
            builder = builder.keys([key_of(token)]);
        }
        let started = builder.start_watched().await;
        let (membership, watch) = started.with_context(|| format!("gossip at {}", options.bind))?;
        let known = BTreeMap::new();
        let suspicions =
            Suspicions { membership: membership.clone(), watch, known, told: BTreeMap::new() };
        Ok((Gossip { membership }, suspicions))
    }

    /// Where others reach it.
    pub fn addr(&self) -> SocketAddr {
        self.membership.addr()
    }

    /// Greets those of these that it does not know. It goes on by itself.
    pub fn meet(&self, addrs: impl IntoIterator<Item = SocketAddr>) {
        let known = self.membership.members();
        let is_known = |addr: &SocketAddr| known.iter().any(|member| member.node.addr == *addr);
        let strangers: Vec<SocketAddr> = addrs.into_iter().filter(|addr| !is_known(addr)).collect();
        if strangers.is_empty() {
            return;
        }
        let membership = self.membership.clone();
        tokio::spawn(async move {
            if let Err(error) = membership.join(strangers).await {
                tracing::debug!(%error, "nobody of them answers yet");
            }
        });
    }

    /// Where servers answer, in order.
    pub fn servers(&self) -> Vec<String> {
        let members = self.membership.members();
        let urls = members.iter().filter_map(|member| {
            let url = self.membership.meta(member.node.id, ANSWERS)?;
            String::from_utf8(url.to_vec()).ok()
        });
        let mut urls: Vec<String> = urls.collect();
        urls.sort();
        urls
    }

    /// Says that it goes.
    pub async fn leave(&self) {
        // Whoever is not told notices.
        let _ = self.membership.leave().await;
    }
}

/// Lets a server hear what gossip suspects, and greets every agent that the store knows of; until
/// either ends.
pub async fn inform(server: &Server, gossip: &Gossip, mut suspicions: Suspicions) {
    let mut pulse = tokio::time::interval(GREETINGS);
    loop {
        tokio::select! {
            news = suspicions.next() => match news {
                Some((node, suspected)) => {
                    tracing::info!(%node, suspected, "gossip");
                    server.suspect(node, suspected).await;
                }
                None => return,
            },
            _ = pulse.tick() => gossip.meet(server.shared().read(addrs_of)),
        }
    }
}

/// Where living agents gossip. What is no address is nobody's that we can reach.
fn addrs_of(mirror: &Mirror) -> Vec<SocketAddr> {
    let alive = mirror.nodes().filter_map(|(_, node)| node.alive.as_ref());
    alive.filter_map(|alive| alive.value.gossip.as_ref()?.parse().ok()).collect()
}

/// All that is said is sealed under a key that follows from the token.
fn key_of(token: &str) -> Key {
    let mut hash = Sha256::new();
    hash.update(b"mason gossip\0");
    hash.update(token.as_bytes());
    Key::new(hash.finalize().into())
}

/// Which nodes are suspected, one change after another.
#[derive(Debug)]
pub struct Suspicions {
    membership: Membership,
    watch: Watch,
    /// Nodes by their number in the cluster: who has failed has no name any more.
    known: BTreeMap<MemberId, NodeId>,
    /// What was told last, and still is to be, if not the same.
    told: BTreeMap<NodeId, bool>,
}

impl Suspicions {
    /// The next node that is suspected now, or not any more; none when the member has stopped.
    pub async fn next(&mut self) -> Option<(NodeId, bool)> {
        loop {
            let news = match self.watch.next().await? {
                Ok(event) => self.hear(event),
                // Too much happened at once: what is now is told again.
                Err(lagged) => {
                    tracing::warn!(%lagged, "gossip");
                    self.look_around();
                    None
                }
            };
            if let Some(news) = news {
                return Some(news);
            }
        }
    }

    fn hear(&mut self, event: Event) -> Option<(NodeId, bool)> {
        let (id, suspected) = match event {
            Event::Joined(node) | Event::Restarted(node) => {
                let name = node.name.strip_prefix(NODE)?;
                tracing::info!(node = name, "gossips");
                self.known.insert(node.id, name.into());
                (node.id, false)
            }
            Event::Recovered { id, .. } => (id, false),
            Event::Suspected { id, .. }
            | Event::Unreachable(id)
            | Event::Failed(id)
            | Event::Left(id) => (id, true),
            _ => return None,
        };
        let node = self.known.get(&id)?.clone();
        let before = self.told.insert(node.clone(), suspected).unwrap_or(false);
        (before != suspected).then_some((node, suspected))
    }

    /// Learns names that were missed. A verdict that was missed comes again with the next event of
    /// that node; until then its lease speaks for it.
    fn look_around(&mut self) {
        for member in self.membership.members() {
            if let Some(name) = member.node.name.strip_prefix(NODE) {
                self.known.insert(member.node.id, name.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(role: Role, token: Option<&str>) -> Options {
        let bind = SocketAddr::from(([127, 0, 0, 1], 0));
        Options { role, bind, advertise: None, token: token.map(str::to_owned), is_local: true }
    }

    async fn agent(name: &str) -> Gossip {
        let role = Role::Agent(name.into());
        Gossip::start(&options(role, Some("t"))).await.unwrap().0
    }

    async fn server(url: &str) -> (Gossip, Suspicions) {
        Gossip::start(&options(Role::Server(url.to_owned()), Some("t"))).await.unwrap()
    }

    /// A machine that is off gets nothing new within seconds, and again when it is back.
    #[tokio::test]
    async fn a_silent_node_is_suspected_until_it_is_back() {
        let (here, mut suspicions) = server("http://here").await;
        let (a, b) = (agent("n1").await, agent("n2").await);
        here.meet([a.addr(), b.addr()]);
        while here.membership.members().len() < 3 {
            tokio::task::yield_now().await;
        }
        drop(a);
        assert_eq!(suspicions.next().await, Some(("n1".into(), true)));
        let again = agent("n1").await;
        again.meet([b.addr()]);
        assert_eq!(suspicions.next().await, Some(("n1".into(), false)));
    }

    /// Whoever reaches one of a cluster finds its servers.
    #[tokio::test]
    async fn servers_are_found_by_all() {
        let (here, _) = server("http://here").await;
        let (there, _) = server("http://there").await;
        let node = agent("n1").await;
        here.meet([node.addr()]);
        there.meet([node.addr()]);
        while node.servers().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(node.servers(), ["http://here", "http://there"]);
    }

    /// A stranger on the network must not make a healthy node look dead.
    #[tokio::test]
    async fn who_has_another_token_is_not_let_in() {
        let (here, _) = server("http://here").await;
        let role = Role::Agent("evil".into());
        let (evil, _) = Gossip::start(&options(role, Some("other"))).await.unwrap();
        let refused = evil.membership.join([here.addr()]).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(here.membership.members().len(), 1);
    }
}
