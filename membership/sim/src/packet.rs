//! What goes over the wire, and how much of it.

use bytes::Bytes;

/// A message between two members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Whether it goes over a connection; a datagram if not.
    pub stream: bool,
    /// Its content.
    pub bytes: Bytes,
}

/// What IPv4 and UDP put before the content of a datagram.
const DATAGRAM_HEAD_BYTES: u64 = 28;

/// What was sent, counted by the harness. Contents only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Datagrams, lost ones too.
    pub datagrams: u64,
    /// Bytes in them.
    pub datagram_bytes: u64,
    /// The longest of them.
    pub datagram_bytes_max: u64,
    /// Messages over connections.
    pub streams: u64,
    /// Bytes in them.
    pub stream_bytes: u64,
}

impl Traffic {
    /// Bytes of either kind, without what the network puts around them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.datagram_bytes + self.stream_bytes
    }

    /// The same with the heads of IPv4 and UDP; a connection's are not counted.
    #[must_use]
    pub fn bytes_on_wire(&self) -> u64 {
        self.bytes() + self.datagrams * DATAGRAM_HEAD_BYTES
    }

    /// What was sent since `before`; the longest datagram stays that of the whole run.
    #[must_use]
    pub fn since(&self, before: &Traffic) -> Traffic {
        Traffic {
            datagrams: self.datagrams - before.datagrams,
            datagram_bytes: self.datagram_bytes - before.datagram_bytes,
            datagram_bytes_max: self.datagram_bytes_max,
            streams: self.streams - before.streams,
            stream_bytes: self.stream_bytes - before.stream_bytes,
        }
    }

    pub(crate) fn add(&mut self, other: &Traffic) {
        self.datagrams += other.datagrams;
        self.datagram_bytes += other.datagram_bytes;
        self.datagram_bytes_max = self.datagram_bytes_max.max(other.datagram_bytes_max);
        self.streams += other.streams;
        self.stream_bytes += other.stream_bytes;
    }

    pub(crate) fn count(&mut self, packet: &Packet) {
        let length = packet.bytes.len() as u64;
        if packet.stream {
            self.streams += 1;
            self.stream_bytes += length;
        } else {
            self.datagrams += 1;
            self.datagram_bytes += length;
            self.datagram_bytes_max = self.datagram_bytes_max.max(length);
        }
    }
}
