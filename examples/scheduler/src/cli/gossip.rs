//! Where a server or an agent gossips, and that it does.
//!
//! Gossip makes things faster and decides nothing, so one that cannot begin at its usual place is
//! gone without, and said so; one that was asked for by a flag must begin.

use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::{Result, bail};
use clap::Args;

use crate::api::Token;
use crate::gossip::{Gossip, Options, Role, Suspicions};

/// The usual port is so many after the one where it answers: the next ones may be those of other
/// servers and agents of this machine.
const PORTS_AFTER: u16 = 10;

/// Where it gossips.
#[derive(Clone, Debug, Args)]
pub(super) struct GossipArgs {
    /// Where it gossips, or off; ten ports after --listen if not given
    #[arg(long, value_name = "ADDRESS")]
    gossip: Option<Place>,
    /// Where the gossip of others reaches it, if not there
    #[arg(long, value_name = "ADDRESS")]
    gossip_advertise: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Off,
    At(SocketAddr),
}

impl FromStr for Place {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Place, Self::Err> {
        if text == "off" { Ok(Place::Off) } else { text.parse().map(Place::At) }
    }
}

impl GossipArgs {
    /// Begins, if it shall. `answers` is where the process answers, `advertised` is where it says
    /// that others reach that.
    pub(super) async fn start(
        &self,
        role: Role,
        (answers, advertised): (SocketAddr, Option<&str>),
        token: Option<&Token>,
    ) -> Result<Option<(Gossip, Suspicions)>> {
        let bind = match self.gossip {
            Some(Place::Off) => return Ok(None),
            Some(Place::At(bind)) => bind,
            None => SocketAddr::new(answers.ip(), usual_port(answers.port())),
        };
        if !bind.ip().is_loopback() && token.is_none() {
            bail!(
                "--gossip {bind} is open to others: give a token by --token-file, or turn it off \
                 by --gossip off"
            );
        }
        let elsewhere = advertised.and_then(|text| text.parse::<SocketAddr>().ok());
        let elsewhere = elsewhere.filter(|_| bind.port() != 0);
        let options = Options {
            role,
            bind,
            advertise: self
                .gossip_advertise
                .or(elsewhere.map(|addr| SocketAddr::new(addr.ip(), bind.port()))),
            token: token.map(|token| token.expose().to_owned()),
            is_local: bind.ip().is_loopback(),
        };
        match Gossip::start(&options).await {
            Ok(begun) => Ok(Some(begun)),
            Err(error) if self.gossip.is_none() => {
                tracing::warn!("goes without gossip (see --gossip): {error:#}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// One that the machine chose stays one that it chooses.
fn usual_port(answers: u16) -> u16 {
    match answers {
        0 => 0,
        port => port.checked_add(PORTS_AFTER).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server and an agent of one machine, with their usual ports, are not in each other's way.
    #[test]
    fn usual_ports_do_not_meet() {
        let ports = [7800, 7801].map(usual_port);
        assert_eq!(ports, [7810, 7811]);
        assert_eq!((usual_port(0), usual_port(u16::MAX)), (0, 0));
        assert_eq!("off".parse(), Ok(Place::Off));
        assert!("of".parse::<Place>().is_err());
    }
}
