//! Numbers and texts as bytes, and back from bytes of which nothing is believed.
//!
//! Numbers that may be large have a fixed width, little-endian; those that are nearly always small
//! are *varints*: seven bits a byte, the low ones first, the top bit set on all but the last.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::error::{Error, Result};
use crate::types::NodeId;

const SHORT: &str = "the bytes end early";

/// Appends to a packet.
pub(crate) trait Put {
    fn put_u32(&mut self, number: u32);
    fn put_u64(&mut self, number: u64);
    fn put_varint(&mut self, number: u64);
    fn put_id(&mut self, id: NodeId);
    fn put_addr(&mut self, addr: SocketAddr);
    fn put_slice(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    fn put_u32(&mut self, number: u32) {
        self.extend_from_slice(&number.to_le_bytes());
    }

    fn put_u64(&mut self, number: u64) {
        self.extend_from_slice(&number.to_le_bytes());
    }

    fn put_varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.push(number as u8);
    }

    fn put_id(&mut self, id: NodeId) {
        self.put_u64(id.0);
    }

    /// 4 or 6 for the kind of address, its bytes, the port.
    fn put_addr(&mut self, addr: SocketAddr) {
        match addr.ip().to_canonical() {
            IpAddr::V4(ip) => {
                self.push(4);
                self.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.push(6);
                self.extend_from_slice(&ip.octets());
            }
        }
        self.extend_from_slice(&addr.port().to_le_bytes());
    }

    /// A length and the bytes.
    fn put_slice(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }
}

/// How many bytes a varint has.
pub(crate) fn varint_bytes(number: u64) -> usize {
    (70 - (number | 1).leading_zeros() as usize) / 7
}

/// A place in bytes, and what can be read from there on.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// Never behind the end.
    at: usize,
    /// Where these bytes begin in the packet.
    base: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which begin at `base` of their packet.
    pub(crate) fn new(bytes: &'a [u8], base: usize) -> Reader<'a> {
        Reader { bytes, at: 0, base }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Where it is in the packet.
    pub(crate) fn offset(&self) -> usize {
        self.base + self.at
    }

    pub(crate) fn wrong<T>(&self, what: &'static str) -> Result<T> {
        Err(Error::Packet { offset: self.offset(), what })
    }

    pub(crate) fn end(&self) -> Result<()> {
        if self.left() == 0 { Ok(()) } else { self.wrong("bytes to spare") }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        if count > self.left() {
            return self.wrong(SHORT);
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn id(&mut self) -> Result<NodeId> {
        Ok(NodeId(self.u64()?))
    }

    pub(crate) fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return self.wrong("a number of more than 64 bits");
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        self.wrong("a number of more than 64 bits")
    }

    /// A number that `max` bounds.
    pub(crate) fn number(&mut self, max: u64, what: &'static str) -> Result<u64> {
        let mut ahead = self.clone();
        let number = ahead.varint()?;
        if number > max {
            return self.wrong(what);
        }
        *self = ahead;
        Ok(number)
    }

    /// A number of things of `bytes_min` bytes at least: there are no more than can be here.
    pub(crate) fn count(&mut self, bytes_min: usize) -> Result<usize> {
        let count = self.number(u64::MAX, SHORT)?;
        if count > (self.left() / bytes_min) as u64 {
            return self.wrong("a count of more than there is");
        }
        Ok(count as usize)
    }

    pub(crate) fn addr(&mut self) -> Result<SocketAddr> {
        let ip = match self.byte()? {
            4 => IpAddr::V4(Ipv4Addr::from(self.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)),
            _ => return self.wrong("an address of an unknown kind"),
        };
        let port = u16::from_le_bytes(self.array()?);
        if port == 0 || ip.is_unspecified() {
            return self.wrong("an address that is nobody's");
        }
        Ok(SocketAddr::new(ip, port))
    }

    pub(crate) fn slice(&mut self, bytes_max: usize, what: &'static str) -> Result<&'a [u8]> {
        let count = self.number(bytes_max as u64, what)?;
        self.take(count as usize)
    }

    pub(crate) fn text(&mut self, bytes_max: usize, what: &'static str) -> Result<&'a str> {
        let place = self.clone();
        let bytes = self.slice(bytes_max, what)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(_) => place.wrong("a text that is not UTF-8"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The ends of each width are where shifts go wrong.
    #[test]
    fn numbers_come_back_as_they_were() {
        for shift in 0..64 {
            for number in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                bytes.put_varint(number);
                assert_eq!(bytes.len(), varint_bytes(number));
                let mut reader = Reader::new(&bytes, 0);
                assert_eq!(reader.varint(), Ok(number));
                assert_eq!(reader.end(), Ok(()));
            }
        }
    }

    // Whoever looks for the fault in a capture needs the place.
    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let wrong = |offset, what| Error::Packet { offset, what };
        let read = |bytes: &[u8]| Reader::new(bytes, 20).varint().unwrap_err();
        assert_eq!(read(&[0x80]), wrong(21, SHORT));
        assert_eq!(read(&[0xff; 11]), wrong(30, "a number of more than 64 bits"));
        let addr = |bytes: &[u8]| Reader::new(bytes, 0).addr().unwrap_err();
        assert_eq!(addr(&[5]), wrong(1, "an address of an unknown kind"));
        assert_eq!(addr(&[4, 10, 0, 0, 1, 0, 0]), wrong(7, "an address that is nobody's"));
        assert_eq!(addr(&[4, 10, 0]), wrong(1, SHORT));
        let text = Reader::new(&[2, 0xc3, 0x28], 7).text(9, "long").unwrap_err();
        assert_eq!(text, wrong(7, "a text that is not UTF-8"));
        let long = Reader::new(&[10, 0], 7).text(9, "long").unwrap_err();
        assert_eq!(long, wrong(7, "long"));
    }

    // A peer that wrote an address as IPv4 in IPv6 must not become another member by it.
    #[test]
    fn addresses_are_written_in_one_way() {
        let bytes = |text: &str| {
            let mut bytes = Vec::new();
            bytes.put_addr(text.parse().unwrap());
            assert_eq!(Reader::new(&bytes, 0).addr().unwrap().port(), 80);
            bytes
        };
        assert_eq!(bytes("[::ffff:10.0.0.1]:80"), bytes("10.0.0.1:80"));
        assert_eq!((bytes("10.0.0.1:80").len(), bytes("[fe80::1]:80").len()), (7, 19));
    }
}
