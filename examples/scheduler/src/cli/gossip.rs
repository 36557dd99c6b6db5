//! `--gossip`: how servers and agents take part in the gossip among them.

use std::net::SocketAddr;

use clap::Args;

use crate::api::Token;
use crate::gossip::{self, Gossip, Role, Suspicions};
use crate::server::Server;

/// Where it gossips: who has fallen silent is known sooner.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct GossipArgs {
    /// Where it gossips; at any port beside where it listens if not given
    #[arg(long = "gossip", value_name = "ADDRESS")]
    bind: Option<SocketAddr>,
    /// Where others reach that, if not there
    #[arg(long = "gossip-advertise", value_name = "ADDRESS")]
    advertise: Option<SocketAddr>,
    /// Do not gossip: a node that is off is then noticed by its lease alone
    #[arg(long)]
    no_gossip: bool,
}

impl GossipArgs {
    /// Begins to gossip. Without it all goes on, only later.
    pub(super) async fn start(
        &self,
        role: Role,
        listens: SocketAddr,
        token: Option<&Token>,
    ) -> Option<(Gossip, Suspicions)> {
        if self.no_gossip {
            return None;
        }
        let bind = self.bind.unwrap_or_else(|| SocketAddr::new(listens.ip(), 0));
        let options = gossip::Options {
            role,
            bind,
            advertise: self.advertise,
            token: token.map(|token| token.expose().to_owned()),
            is_local: bind.ip().is_loopback(),
        };
        let started = Gossip::start(&options).await;
        started.inspect_err(|error| tracing::warn!("does not gossip: {error:#}")).ok()
    }
}

/// Hears gossip, if there is any, for ever.
pub(super) async fn inform(server: &Server, gossip: Option<(Gossip, Suspicions)>) {
    if let Some((gossip, suspicions)) = gossip {
        gossip::inform(server, &gossip, suspicions).await;
    }
    std::future::pending().await
}
