//! What a member keeps about another: 56 bytes, and more only if there is more to say.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::broadcast::Window;
use crate::clock::Micros;
use crate::metadata::Metadata;
use crate::rng::mix;
use crate::types::{Incarnation, NodeId, State};

/// Another member, as it is believed to be.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Incarnation,
    /// What few have: a name, metadata, broadcasts.
    pub(crate) more: Option<Box<More>>,
    /// Its place in the list of members, or of those who are gone.
    pub(crate) seat: u32,
    /// Since when it is gone, in seconds of own time.
    pub(crate) since: u32,
    addr: Addr,
    pub(crate) state: State,
    /// How often the news about it was told; [`UNTOLD`](crate::lane::UNTOLD) if there are none.
    pub(crate) told: u8,
    /// Its zone's number.
    pub(crate) zone: u8,
}

// A thousand members are 56 KB, and ten thousand that each know ten thousand fit a machine.
const _: () = assert!(size_of::<Peer>() == 56);

/// What few have.
#[derive(Debug, Clone, Default)]
pub(crate) struct More {
    pub(crate) name: Box<str>,
    pub(crate) broadcasts: Window,
    pub(crate) metadata: Metadata,
    /// The newest version of its metadata that was heard of.
    pub(crate) newest: u64,
}

/// A socket address without what nobody uses of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Addr {
    ip: [u8; 16],
    port: u16,
}

impl Peer {
    pub(crate) fn new(id: NodeId, addr: SocketAddr) -> Peer {
        Peer {
            id,
            incarnation: Incarnation::default(),
            more: None,
            seat: 0,
            since: 0,
            addr: Addr::new(addr),
            state: State::Alive,
            told: crate::lane::UNTOLD,
            zone: 0,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr.into()
    }

    pub(crate) fn move_to(&mut self, addr: SocketAddr) {
        self.addr = Addr::new(addr);
    }

    pub(crate) fn name(&self) -> &str {
        self.more.as_ref().map_or("", |more| &more.name)
    }

    pub(crate) fn version(&self) -> u64 {
        self.more.as_ref().map_or(0, |more| more.metadata.version)
    }

    pub(crate) fn heard(&self) -> u32 {
        let life = self.incarnation.life;
        self.more.as_ref().map_or(0, |more| more.broadcasts.highest(life))
    }

    pub(crate) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    pub(crate) fn gone_for(&self, now: Micros) -> u64 {
        (now / 1_000_000).saturating_sub(u64::from(self.since))
    }
}

/// What a member adds to the sum of all: two who know the same have the same sum.
pub(crate) fn fingerprint(id: NodeId, incarnation: Incarnation, version: u64) -> u64 {
    let incarnation = u64::from(incarnation.life) << 32 | u64::from(incarnation.count);
    mix(mix(mix(id.0) ^ incarnation).wrapping_add(version))
}

impl Addr {
    fn new(addr: SocketAddr) -> Addr {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Addr { ip: ip.octets(), port: addr.port() }
    }
}

impl From<Addr> for SocketAddr {
    fn from(addr: Addr) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(addr.ip).to_canonical(), addr.port)
    }
}
