//! What a member saves, so that it finds the others again after all have been down.
//!
//! ```text
//!     "drystone-members" 16, version 1, check 8, id 8, life 4, count varint,
//!     then for each member    id 8, address 7 or 19
//!     check: XXH3 of all behind it
//! ```
//!
//! It names addresses, and nothing that is believed: that is learned from the first who answers.

use std::net::SocketAddr;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::types::NodeId;
use crate::wire::{Put, Reader};

const MAGIC: &[u8; 16] = b"drystone-members";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 16 + 1 + 8;

/// Who was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose it is.
    pub id: NodeId,
    /// The life in which it was taken.
    pub life: u32,
    /// The others, and where they were.
    pub peers: Vec<(NodeId, SocketAddr)>,
}

impl Snapshot {
    /// A life that is higher than the one in which it was taken, and `at_least` so high.
    pub fn next_life(&self, at_least: u32) -> u32 {
        self.life.saturating_add(1).max(at_least)
    }

    /// The addresses, to be joined.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.peers.iter().map(|(_, addr)| *addr).collect()
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = [&MAGIC[..], &[VERSION], &[0; 8]].concat();
        out.put_id(self.id);
        out.put_u32(self.life);
        out.put_varint(self.peers.len() as u64);
        for (id, addr) in &self.peers {
            out.put_id(*id);
            out.put_addr(*addr);
        }
        let check = xxh3_64(&out[HEAD_BYTES..]);
        out[17..HEAD_BYTES].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// Reads it, or says what is wrong with it and where.
    pub fn decode(bytes: &[u8]) -> Result<Snapshot> {
        let wrong = |offset, what| Err(Error::Snapshot { offset, what });
        if bytes.len() < HEAD_BYTES {
            return wrong(bytes.len(), "the bytes end early");
        }
        if bytes[..16] != MAGIC[..] {
            return wrong(0, "something else");
        }
        if bytes[16] != VERSION {
            return wrong(16, "of a version that we do not know");
        }
        if bytes[17..HEAD_BYTES] != xxh3_64(&bytes[HEAD_BYTES..]).to_le_bytes() {
            return wrong(17, "damaged");
        }
        let read = |reader: &mut Reader<'_>| {
            let (id, life) = (reader.id()?, reader.u32()?);
            let count = reader.count(15)?;
            let peers: Result<Vec<_>> =
                (0..count).map(|_| Ok((reader.id()?, reader.addr()?))).collect();
            reader.end()?;
            Ok(Snapshot { id, life, peers: peers? })
        };
        read(&mut Reader::new(&bytes[HEAD_BYTES..], HEAD_BYTES)).map_err(|error| match error {
            Error::Packet { offset, what } => Error::Snapshot { offset, what },
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A file that was cut short by a crash must not be taken for a cluster that was smaller.
    #[test]
    fn a_snapshot_comes_back_whole_or_is_refused() {
        let addr = |text: &str| text.parse().unwrap();
        let peers = vec![(NodeId(2), addr("10.0.0.2:7946")), (NodeId(3), addr("[fe80::1]:7946"))];
        let snapshot = Snapshot { id: NodeId(1), life: 9, peers };
        let bytes = snapshot.encode();
        assert_eq!(Snapshot::decode(&bytes), Ok(snapshot.clone()));
        assert_eq!((snapshot.next_life(4), snapshot.next_life(40)), (10, 40));
        for short in 0..bytes.len() {
            assert!(Snapshot::decode(&bytes[..short]).is_err());
        }
        for place in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1;
            assert!(Snapshot::decode(&bytes).is_err(), "byte {place}");
        }
    }
}
