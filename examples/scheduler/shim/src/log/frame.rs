//! One piece of output.
//!
//! ```text
//!   0      4          8       12       13   16        24
//!   | mark | checksum | bytes | stream | 0  | time ms | payload, so many bytes |
//! ```
//!
//! Little-endian. The checksum (CRC-32) covers everything after itself and, in front of that, the
//! segment's salt and the frame's offset. A reader that lost its way looks for the next mark; since
//! the container knows neither salt nor offset, it cannot print something that passes for a frame.

/// Where the bytes of a frame come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// The container's stdout.
    Stdout,
    /// Its stderr.
    Stderr,
    /// A note of ours: text for people about the log or the run.
    Note,
    /// Nothing follows.
    End,
}

impl Stream {
    fn byte(self) -> u8 {
        match self {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
            Stream::Note => 3,
            Stream::End => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<Stream> {
        [Stream::Stdout, Stream::Stderr, Stream::Note, Stream::End]
            .into_iter()
            .find(|stream| stream.byte() == byte)
    }
}

/// What begins a frame.
pub const MARK: [u8; 4] = *b"\xf5mL1";
/// Bytes in front of the payload.
pub const HEAD_BYTES: usize = 24;
/// Longest payload.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;

/// A frame, as it lies in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// From where.
    pub stream: Stream,
    /// When it was read, in milliseconds since 1970.
    pub time: u64,
    /// What.
    pub payload: &'a [u8],
}

/// What lies at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A frame, and how many bytes it takes.
    Frame(Frame<'a>, usize),
    /// The beginning of one, maybe: so many bytes are needed to tell.
    Short(usize),
    /// No frame.
    Damaged,
}

/// The bytes in front of a payload.
pub fn head(salt: u64, offset: u64, frame: &Frame<'_>) -> [u8; HEAD_BYTES] {
    assert!(frame.payload.len() <= PAYLOAD_BYTES_MAX, "a frame holds what a pipe gives at once");
    let bytes = u32::try_from(frame.payload.len()).expect("PAYLOAD_BYTES_MAX is small");
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&MARK);
    head[8..12].copy_from_slice(&bytes.to_le_bytes());
    head[12] = frame.stream.byte();
    head[16..24].copy_from_slice(&frame.time.to_le_bytes());
    let checksum = checksum(salt, offset, &head[8..], frame.payload);
    head[4..8].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// Looks at what lies at `offset`.
pub fn find(salt: u64, offset: u64, bytes: &[u8]) -> Found<'_> {
    let mark = bytes.len().min(MARK.len());
    if bytes[..mark] != MARK[..mark] {
        return Found::Damaged;
    }
    if bytes.len() < HEAD_BYTES {
        return Found::Short(HEAD_BYTES);
    }
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let len = word(8) as usize;
    let Some(stream) = Stream::from_byte(bytes[12]) else { return Found::Damaged };
    if len > PAYLOAD_BYTES_MAX || bytes[13..16] != [0; 3] {
        return Found::Damaged;
    }
    let whole = HEAD_BYTES + len;
    if bytes.len() < whole {
        return Found::Short(whole);
    }
    let payload = &bytes[HEAD_BYTES..whole];
    if checksum(salt, offset, &bytes[8..HEAD_BYTES], payload) != word(4) {
        return Found::Damaged;
    }
    let time = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
    Found::Frame(Frame { stream, time, payload }, whole)
}

fn checksum(salt: u64, offset: u64, head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every flipped bit is seen, and a frame in another place is none.
    #[test]
    fn a_frame_reads_back_only_where_and_as_it_was_written() {
        let frame = Frame { stream: Stream::Stderr, time: 77, payload: b"hello\n" };
        let mut bytes = head(1, 2, &frame).to_vec();
        bytes.extend(frame.payload);
        assert_eq!(find(1, 2, &bytes), Found::Frame(frame, bytes.len()));
        assert_eq!(find(1, 3, &bytes), Found::Damaged);
        assert_eq!(find(2, 2, &bytes), Found::Damaged);
        for cut in 0..bytes.len() {
            assert!(matches!(find(1, 2, &bytes[..cut]), Found::Short(_)), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(find(1, 2, &bad), Found::Frame(..)), "bit {bit}");
        }
    }
}
