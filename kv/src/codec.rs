//! Small building blocks for bytes that last: varints, byte strings, flags.
//!
//! Encoding appends to a `Vec<u8>` and cannot fail. Decoding takes a shared [`Bytes`] and cuts
//! byte strings out of it without copying; whatever the input, it returns a [`Malformed`] or a
//! value, allocates nothing that the input's length does not pay for, and never panics.
//!
//! ```text
//! varint   7 bits a byte, low bits first, high bit set on all but the last byte; at most 10 bytes
//! zigzag   (n << 1) ^ (n >> 63) as a varint: small negatives stay small
//! bytes    varint length, then the bytes
//! option   1 byte: 0 none, 1 some; then the value
//! ```

use bytes::{Buf, Bytes};

/// What a decoder disliked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`put_varint`] appends.
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// A signed number as an unsigned one whose size follows its distance from zero.
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Appends a zigzag varint.
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a truth value as one byte.
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// Appends a presence byte, and what is present.
pub fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    put_bool(out, value.is_some());
    if let Some(value) = value {
        put(out, value);
    }
}

/// Reads what the functions above wrote, front to back.
#[derive(Debug)]
pub struct Decoder {
    rest: Bytes,
}

impl Decoder {
    /// A decoder at the front of `bytes`.
    pub fn new(bytes: Bytes) -> Decoder {
        Decoder { rest: bytes }
    }

    /// Demands that nothing is left.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("trailing bytes")) }
    }

    /// All that is left.
    pub fn rest(self) -> Bytes {
        self.rest
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.rest.first().ok_or(Malformed("cut short"))?;
        self.rest.advance(1);
        Ok(byte)
    }

    /// A truth value; anything but 0 and 1 is malformed.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("not a truth value")),
        }
    }

    /// A varint. An encoding longer than needed is malformed, so that equal values have equal
    /// bytes.
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed("varint overflows 64 bits"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                let padded = byte == 0 && shift > 0;
                return if padded { Err(Malformed("varint is padded")) } else { Ok(value) };
            }
        }
        Err(Malformed("varint is too long"))
    }

    /// A zigzag varint.
    pub fn zigzag(&mut self) -> Result<i64, Malformed> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A count of things that take at least one byte each: never more than the bytes left, so that
    /// a hostile count cannot reserve memory.
    pub fn count(&mut self) -> Result<usize, Malformed> {
        let count = self.varint()?;
        if count > self.rest.len() as u64 {
            return Err(Malformed("count exceeds the input"));
        }
        Ok(count as usize)
    }

    /// A byte string, sharing the input's memory.
    pub fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let len = self.varint()?;
        if len > self.rest.len() as u64 {
            return Err(Malformed("length exceeds the input"));
        }
        Ok(self.rest.split_to(len as usize))
    }

    /// A presence byte, and what is present.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Decoder) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(bytes: &[u8]) -> Decoder {
        Decoder::new(Bytes::copy_from_slice(bytes))
    }

    // The extremes are where shifts go wrong.
    #[test]
    fn numbers_survive_the_round_trip() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(decoder(&out).varint(), Ok(value));
            assert_eq!(out.len(), varint_len(value));
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            put_zigzag(&mut out, value);
            assert_eq!(decoder(&out).zigzag(), Ok(value));
        }
    }

    // One value must have one encoding, or equal commands could hash differently.
    #[test]
    fn padded_and_overlong_varints_are_refused() {
        assert_eq!(decoder(&[0x80, 0x00]).varint(), Err(Malformed("varint is padded")));
        assert_eq!(decoder(&[0xff; 11]).varint(), Err(Malformed("varint overflows 64 bits")));
        assert_eq!(decoder(&[0x80]).varint(), Err(Malformed("cut short")));
    }

    // A length field is the first thing that rots; it must cost nothing.
    #[test]
    fn hostile_lengths_and_counts_reserve_nothing() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        assert_eq!(decoder(&out).bytes(), Err(Malformed("length exceeds the input")));
        assert_eq!(decoder(&out).count(), Err(Malformed("count exceeds the input")));
    }
}
