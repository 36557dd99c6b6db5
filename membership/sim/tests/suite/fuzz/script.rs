//! What a fuzzer works on: bytes of which choices are made.
//!
//! Any bytes are a script. Ids and addresses are mostly of the few that know each other, numbers
//! mostly small or as large as can be, for among all there are nothing would ever meet.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use drystone_membership::NodeId;

/// So many ids and addresses are often chosen. The first is that of the member that is tested.
pub(crate) const POOL: u8 = 24;

/// Bytes, and a place in them.
#[derive(Debug, Clone)]
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Script<'a> {
        Script(input)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, bound: u8) -> Option<u8> {
        Some(self.byte()? % bound)
    }

    /// Yes, one time in so many.
    pub(crate) fn once_in(&mut self, times: u8) -> Option<bool> {
        // The last byte, so that zeros, which fuzzers love, mean no.
        Some(self.below(times)? == times - 1)
    }

    pub(crate) fn short(&mut self) -> Option<usize> {
        let (low, high) = (self.byte()?, self.byte()?);
        Some(usize::from(low) | usize::from(high) << 8)
    }

    /// Some bytes as they are: so many, or as many as there are.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = match usize::from(self.byte()?) {
            few @ 0..240 => few / 4,
            many => (many - 239) * 250,
        };
        let count = count.min(self.0.len());
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn number(&mut self) -> Option<u32> {
        let byte = self.byte()?;
        let small = u32::from(byte >> 3);
        Some(match byte % 8 {
            0..5 => small,
            5 => u32::MAX - small,
            6 => 1 << small,
            _ => (self.short()? | self.short()? << 16) as u32,
        })
    }

    pub(crate) fn large(&mut self) -> Option<u64> {
        let byte = self.byte()?;
        let small = u64::from(byte >> 3);
        Some(match byte % 8 {
            0..4 => small,
            4 => u64::MAX - small,
            5 => (1 << 62) - small,
            6 => 1 << (2 * small),
            _ => u64::from(self.number()?) << 32 | u64::from(self.number()?),
        })
    }

    pub(crate) fn id(&mut self) -> Option<NodeId> {
        let byte = self.byte()?;
        Some(match byte {
            // Much of what is worth hearing is about the one who hears it.
            0..32 => NodeId(1),
            32..240 => NodeId(u64::from(byte % POOL) + 1),
            _ => NodeId(self.large()?),
        })
    }

    pub(crate) fn addr(&mut self) -> Option<SocketAddr> {
        let byte = self.byte()?;
        Some(match byte {
            0..200 => addr_of(byte % POOL + 1),
            200..220 => SocketAddr::from((Ipv4Addr::new(10, 0, byte, 0), 1)),
            220..240 => SocketAddr::from((Ipv6Addr::from_bits(u128::from(byte) << 100), 7946)),
            // Nobody's.
            _ => SocketAddr::from((Ipv4Addr::UNSPECIFIED, u16::from(byte % 2))),
        })
    }
}

/// Where the member with this id is.
pub(crate) fn addr_of(id: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, id), 7946))
}
