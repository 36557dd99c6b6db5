//! Reads numbers and slices from bytes of which nothing is believed.

use bytes::Bytes;

use crate::error::Error;
use crate::types::{Index, NodeId, Position, Term};
use crate::wire::POSITION_END;

const SHORT: &str = "the bytes end early";

/// A place in bytes, and what can be read from there on.
///
/// * `at` is never behind the end.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a Bytes) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What is wrong with something that began `back` bytes before here.
    pub(crate) fn wrong(&self, back: usize, what: &'static str) -> Error {
        Error::Message { offset: self.at - back, what }
    }

    /// There must be nothing left.
    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.left() == 0 { Ok(()) } else { Err(self.wrong(0, "bytes to spare")) }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        let byte = *self.bytes.get(self.at).ok_or(self.wrong(0, SHORT))?;
        self.at += 1;
        Ok(byte)
    }

    /// A number of seven bits a byte, not one byte longer than it must be.
    pub(crate) fn number(&mut self) -> Result<u64, Error> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let (mut number, mut shift) = (u64::from(first & 0x7f), 7);
        loop {
            let byte = self.byte()?;
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return Err(self.wrong(1, "a number of more than 64 bits"));
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let longer = byte == 0;
                return if longer {
                    Err(self.wrong(1, "a number longer than it need be"))
                } else {
                    Ok(number)
                };
            }
            shift += 7;
        }
    }

    /// A number of things that take `bytes_min` bytes each, so that there can be no more of them
    /// than there is room for.
    pub(crate) fn count(&mut self, bytes_min: usize) -> Result<usize, Error> {
        let from = self.at;
        let count = self.number()?;
        if count > (self.left() / bytes_min) as u64 {
            return Err(self.wrong(self.at - from, "more of them than there are bytes for"));
        }
        Ok(count as usize)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Error> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.wrong(1, "neither yes nor no")),
        }
    }

    pub(crate) fn node(&mut self) -> Result<NodeId, Error> {
        match self.number()? {
            0 => Err(self.wrong(1, "a node is never 0")),
            id => Ok(id),
        }
    }

    pub(crate) fn term(&mut self) -> Result<Term, Error> {
        Ok(Term(self.below_end()?))
    }

    pub(crate) fn index(&mut self) -> Result<Index, Error> {
        Ok(Index(self.below_end()?))
    }

    pub(crate) fn position(&mut self) -> Result<Position, Error> {
        Ok(Position { term: self.term()?, index: self.index()? })
    }

    fn below_end(&mut self) -> Result<u64, Error> {
        let from = self.at;
        let number = self.number()?;
        if number >= POSITION_END {
            return Err(self.wrong(self.at - from, "a term or an index that cannot be"));
        }
        Ok(number)
    }

    pub(crate) fn word(&mut self) -> Result<u32, Error> {
        let found = self.bytes[self.at..].first_chunk::<4>().ok_or(self.wrong(0, SHORT))?;
        self.at += 4;
        Ok(u32::from_le_bytes(*found))
    }

    /// The next `count` bytes, which stay where they are.
    pub(crate) fn slice(&mut self, count: usize) -> Result<Bytes, Error> {
        if count > self.left() {
            return Err(self.wrong(0, SHORT));
        }
        let from = self.at;
        self.at += count;
        Ok(self.bytes.slice(from..self.at))
    }
}
