//! A member as its application sees it.

use std::net::SocketAddr;

use crate::error::{Error, Result};
use crate::types::{Incarnation, NodeId, State};

/// The most bytes of a name, and of a zone.
pub const NAME_BYTES_MAX: usize = 64;

/// Who a member is, as it introduces itself. This much goes with the news of every newcomer;
/// all else belongs into its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where the others reach it, by datagrams and by streams.
    pub addr: SocketAddr,
    /// What people call it. May be empty.
    pub name: String,
    /// What it shares fate and wires with: a rack, a zone, a region. May be empty.
    pub zone: String,
}

impl Node {
    /// A member with a name, from which its id follows.
    pub fn named(name: &str, addr: SocketAddr) -> Node {
        Node { id: NodeId::named(name), addr, name: name.to_owned(), zone: String::new() }
    }

    /// A member without a name.
    pub fn new(id: NodeId, addr: SocketAddr) -> Node {
        Node { id, addr, name: String::new(), zone: String::new() }
    }

    /// The same in a zone.
    #[must_use]
    pub fn in_zone(mut self, zone: &str) -> Node {
        zone.clone_into(&mut self.zone);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        for (what, text) in [("a name", &self.name), ("a zone", &self.zone)] {
            if text.len() > NAME_BYTES_MAX {
                let bytes_max = NAME_BYTES_MAX;
                return Err(Error::TooLarge { what, bytes: text.len(), bytes_max });
            }
        }
        if self.addr.ip().is_unspecified() || self.addr.port() == 0 {
            return Err(Error::Config("others need an address and a port to reach us at"));
        }
        Ok(())
    }
}

/// A member, and what is believed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub node: Node,
    /// What is believed of it.
    pub state: State,
    /// The incarnation for which that is believed.
    pub incarnation: Incarnation,
}
