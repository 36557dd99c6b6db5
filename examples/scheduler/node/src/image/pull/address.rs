//! Where a registry may send us: not into the network that we happen to stand in.
//!
//! A registry answers with addresses: of blobs, of the server that gives tokens. A hostile one
//! names the cloud's metadata service, or the database next door, and has the node ask there. So an
//! address from a registry must be public, or of the same kind as the registry's own: who runs a
//! registry on loopback may redirect to loopback. The connection goes to the very address that was
//! checked, so a name that resolves differently a moment later gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of network an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    Public,
    Loopback,
    Private,
    LinkLocal,
    /// A cloud's metadata service, a group, or no address of a machine at all.
    Never,
}

impl Zone {
    pub(super) fn of(address: IpAddr) -> Zone {
        match address {
            IpAddr::V4(address) => Zone::of_v4(address),
            IpAddr::V6(address) => Zone::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Zone {
        match address.octets() {
            // The metadata services of AWS, GCP, Azure and others, and of Alibaba.
            [169, 254, 169, 254] | [100, 100, 100, 200] => Zone::Never,
            [127, ..] | [0, ..] => Zone::Loopback,
            [169, 254, ..] => Zone::LinkLocal,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Zone::Private,
            [192, 0, 0, _] | [198, 18..=19, ..] => Zone::Private,
            [224..=255, ..] => Zone::Never,
            _ => Zone::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Zone {
        let parts = address.segments();
        let embedded = || {
            let [.., high, low] = parts;
            Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
        };
        match parts {
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Zone::Loopback,
            // Mapped, and translated (RFC 6052): the network behind sees the address inside.
            [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Zone::of_v4(embedded()),
            [0, 0, 0, 0, 0, 0, ..] | [0x2002, ..] => Zone::Never,
            [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Zone::Never,
            [0xfe80..=0xfebf, ..] => Zone::LinkLocal,
            [0xfc00..=0xfdff, ..] => Zone::Private,
            [0xff00..=0xffff, ..] => Zone::Never,
            _ => Zone::Public,
        }
    }

    /// Whether a registry in this zone may send us to an address in that one.
    pub(super) fn may_send_to(self, other: Zone) -> bool {
        other == Zone::Public || (other == self && other != Zone::Never)
    }
}

#[cfg(test)]
mod tests {
    use super::Zone;

    /// Each way to write an inner address that is forgotten is a way in.
    #[test]
    fn every_disguise_of_an_inner_address_is_seen_through() {
        for (text, zone) in [
            ("8.8.8.8", Zone::Public),
            ("127.9.9.9", Zone::Loopback),
            ("0.0.0.0", Zone::Loopback),
            ("10.1.2.3", Zone::Private),
            ("172.31.0.1", Zone::Private),
            ("172.32.0.1", Zone::Public),
            ("100.64.0.1", Zone::Private),
            ("169.254.1.1", Zone::LinkLocal),
            ("169.254.169.254", Zone::Never),
            ("100.100.100.200", Zone::Never),
            ("224.0.0.1", Zone::Never),
            ("::1", Zone::Loopback),
            ("::", Zone::Loopback),
            ("::ffff:127.0.0.1", Zone::Loopback),
            ("::ffff:169.254.169.254", Zone::Never),
            ("64:ff9b::a9fe:a9fe", Zone::Never),
            ("64:ff9b::808:808", Zone::Public),
            ("fd00:ec2::254", Zone::Never),
            ("fd12::1", Zone::Private),
            ("fe80::1", Zone::LinkLocal),
            ("2002:7f00:1::", Zone::Never),
            ("2606:4700::1", Zone::Public),
        ] {
            assert_eq!(Zone::of(text.parse().unwrap()), zone, "{text}");
        }
        assert!(Zone::Loopback.may_send_to(Zone::Loopback));
        assert!(!Zone::Public.may_send_to(Zone::Loopback));
        assert!(!Zone::Never.may_send_to(Zone::Never));
    }
}
