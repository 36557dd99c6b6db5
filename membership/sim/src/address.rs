//! Where the members of a simulated cluster live, for protocols that put addresses into packets.

use std::net::{Ipv4Addr, SocketAddrV4};

use drystone_sim::NodeId;

/// The port on which all listen.
const PORT: u16 = 7946;

/// The first address: `10.0.0.0`.
const NET: u32 = 10 << 24;

/// Where a member listens: node 1 on `10.0.0.1:7946`, node 258 on `10.0.1.2:7946`.
///
/// # Panics
///
/// If there are more nodes than addresses, some sixteen million.
#[must_use]
pub fn address_of(node: NodeId) -> SocketAddrV4 {
    assert!(node.0 < 1 << 24, "there are 2^24 addresses");
    SocketAddrV4::new(Ipv4Addr::from_bits(NET + node.0), PORT)
}

/// Who listens there; node 0, which does not exist, if nobody does.
#[must_use]
pub fn node_of(address: SocketAddrV4) -> NodeId {
    let host = address.ip().to_bits().wrapping_sub(NET);
    NodeId(if address.port() == PORT && host < 1 << 24 { host } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    // A member that answers to the wrong address is two members.
    #[test]
    fn address_names_its_node() {
        for node in [1, 255, 256, 10_000] {
            assert_eq!(node_of(address_of(NodeId(node))), NodeId(node));
        }
        assert_eq!(address_of(NodeId(258)).to_string(), "10.0.1.2:7946");
        let foreign = [(Ipv4Addr::LOCALHOST, PORT), (Ipv4Addr::new(10, 0, 0, 1), 80)];
        for (ip, port) in foreign {
            assert_eq!(node_of(SocketAddrV4::new(ip, port)), NodeId(0));
        }
    }
}
