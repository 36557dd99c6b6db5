//! Old clients name the server by a URL where HTTP/2 wants `host:port`.
//!
//! **The problem.** etcdctl 3.4, given `--endpoints=http://127.0.0.1:2379`, sends the whole URL as
//! `:authority` with its maintenance calls; others send the path of a Unix socket. Go's server does
//! not look at the field. Ours refuses such a call before we see it, as RFC 9113 §8.3.1 asks.
//!
//! **The idea.** The field means nothing here, so it may as well say something valid. [`Mender`]
//! sits between the socket and the HTTP/2 library and reads along until the first request. If its
//! authority is fine, as with every current client, the mender steps aside for good. If not, it
//! mends the field in every request of the connection:
//!
//! ```text
//!   HEADERS  83 86 45 97… 41 90 9d29aee3…              :authority = http://127.0.0.1:2379
//!                         │  └ string: Huffman bit, length, bytes
//!                         └ literal, to be indexed, name number 1
//!        ──► 83 86 45 97… 41 15 687474702d2d2d3132…    :authority = http---127.0.0.1:2379
//! ```
//!
//! Both peers keep a table of the fields they have seen, bounded by the fields' lengths (RFC 7541
//! §4.1). The mended text is as long as the other, so the two tables stay in step.
//!
//! **Left out.** Header blocks that continue in a second frame, or are larger than a frame is by
//! default, are passed on as they are.

use std::ops::Range;

use bytes::{Buf, BytesMut};
use http::uri::Authority;

/// How a frame begins: length (3 bytes), type, flags, stream (4 bytes); RFC 9113 §4.1.
const FRAME_HEAD_BYTES: usize = 9;
/// Frames are no larger unless we allow it, which we do not.
const FRAME_BYTES_MAX: usize = 16_384;
const TYPE_HEADERS: u8 = 1;
const FLAG_END_HEADERS: u8 = 0x4;
const FLAG_PADDED: u8 = 0x8;
const FLAG_PRIORITY: u8 = 0x20;
const PRIORITY_BYTES: usize = 5;
/// `:authority`'s number in the table of fields that every connection begins with.
const AUTHORITY: usize = 1;

/// Mends the `:authority` of requests on their way in, where it needs it.
#[derive(Debug)]
pub(super) struct Mender {
    mode: Mode,
    /// Read from the peer and not yet looked at.
    raw: BytesMut,
    /// Of a frame that needs no look, bytes that are still to come.
    frame_rest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// No request has come yet.
    Looking,
    /// The first request needed mending, so the others will.
    Mending,
    /// Nothing to do.
    Aside,
}

impl Mender {
    /// For a connection whose preface has been read.
    pub(super) fn new() -> Mender {
        Mender { mode: Mode::Looking, raw: BytesMut::new(), frame_rest: 0 }
    }

    /// Whether bytes may go around the mender from now on.
    pub(super) fn is_aside(&self) -> bool {
        self.mode == Mode::Aside && self.raw.is_empty()
    }

    /// Takes bytes from the peer; what can go on is appended to `out`.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut BytesMut) {
        self.raw.extend_from_slice(bytes);
        while self.step(out) {}
    }

    /// Passes on a frame, or as much of it as is there; whether there may be more to do.
    fn step(&mut self, out: &mut BytesMut) -> bool {
        if self.mode == Mode::Aside {
            self.frame_rest = self.raw.len();
        }
        let rest = self.frame_rest.min(self.raw.len());
        out.extend_from_slice(&self.raw[..rest]);
        self.raw.advance(rest);
        self.frame_rest -= rest;
        if self.frame_rest > 0 || self.raw.len() < FRAME_HEAD_BYTES {
            return false;
        }
        let length = usize::from(self.raw[0]) << 16
            | usize::from(self.raw[1]) << 8
            | usize::from(self.raw[2]);
        let (kind, flags) = (self.raw[3], self.raw[4]);
        let frame_bytes = FRAME_HEAD_BYTES + length;
        if kind != TYPE_HEADERS {
            self.frame_rest = frame_bytes;
            return true;
        }
        if length > FRAME_BYTES_MAX || flags & FLAG_END_HEADERS == 0 {
            self.mode = Mode::Aside;
            return true;
        }
        if self.raw.len() < frame_bytes {
            return false;
        }
        let frame = self.raw.split_to(frame_bytes);
        match mended(&frame) {
            Some(mended) => {
                self.mode = Mode::Mending;
                out.extend_from_slice(&mended);
            }
            None => {
                if self.mode == Mode::Looking {
                    self.mode = Mode::Aside;
                }
                out.extend_from_slice(&frame);
            }
        }
        true
    }
}

/// A HEADERS frame with a valid authority instead of an invalid one; `None` if it has no such.
fn mended(frame: &[u8]) -> Option<Vec<u8>> {
    let block = header_block(frame)?;
    let value = authority_value(frame, block)?;
    let mut string = Cursor { bytes: &frame[..value.end], at: value.start };
    let text = string.string()?;
    let valid = valid_authority(&text)?;
    let mut out = Vec::with_capacity(frame.len() + valid.len());
    out.extend_from_slice(&frame[..value.start]);
    push_integer(&mut out, 7, valid.len());
    out.extend_from_slice(&valid);
    out.extend_from_slice(&frame[value.end..]);
    let length = out.len() - FRAME_HEAD_BYTES;
    if length > FRAME_BYTES_MAX {
        return None;
    }
    let length = u32::try_from(length).expect("a frame's length has 24 bits").to_be_bytes();
    out[..3].copy_from_slice(&length[1..]);
    Some(out)
}

/// As long as `text`, and an authority; `None` if `text` is one already, or cannot be made one.
fn valid_authority(text: &[u8]) -> Option<Vec<u8>> {
    if Authority::try_from(text).is_ok() {
        return None;
    }
    let colon = text.iter().rposition(|&byte| byte == b':');
    let mend = |(at, &byte): (usize, &u8)| match byte {
        b':' if Some(at) == colon => b':',
        byte if byte.is_ascii_alphanumeric() || byte == b'.' => byte,
        _ => b'-',
    };
    let mended: Vec<u8> = text.iter().enumerate().map(mend).collect();
    Authority::try_from(&mended[..]).is_ok().then_some(mended)
}

/// Where in a HEADERS frame the header block stands (RFC 9113 §6.2).
fn header_block(frame: &[u8]) -> Option<Range<usize>> {
    let flags = frame[4];
    let (mut start, mut end) = (FRAME_HEAD_BYTES, frame.len());
    if flags & FLAG_PADDED != 0 {
        end = end.checked_sub(usize::from(*frame.get(start)?))?;
        start += 1;
    }
    if flags & FLAG_PRIORITY != 0 {
        start += PRIORITY_BYTES;
    }
    (start <= end).then_some(start..end)
}

/// Where in a header block the value of `:authority` is spelled out (RFC 7541 §6).
fn authority_value(frame: &[u8], block: Range<usize>) -> Option<Range<usize>> {
    let mut block = Cursor { bytes: &frame[..block.end], at: block.start };
    while let Some(&first) = block.bytes.get(block.at) {
        let prefix_bits = match first {
            0x80.. => 7,
            0x40..0x80 => 6,
            0x20..0x40 => 5,
            0x00..0x20 => 4,
        };
        let number = block.integer(prefix_bits)?;
        if matches!(first, 0x80.. | 0x20..0x40) {
            // A field from the table, or a new size of the table: nothing is spelled out.
            continue;
        }
        if number == 0 {
            block.skip_string()?;
        }
        let start = block.at;
        block.skip_string()?;
        if number == AUTHORITY {
            return Some(start..block.at);
        }
    }
    None
}

/// Reads a header block; everything is `None` where it is cut short.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    /// An integer whose first byte shares its upper bits with something else (RFC 7541 §5.1).
    fn integer(&mut self, prefix_bits: u32) -> Option<usize> {
        let max = (1_usize << prefix_bits) - 1;
        let first = usize::from(self.byte()?) & max;
        if first < max {
            return Some(first);
        }
        let (mut value, mut shift) = (first, 0);
        // Four more bytes are far beyond anything that fits a frame.
        while shift <= 21 {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
            shift += 7;
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// Whether a string is in Huffman's code, and its bytes (RFC 7541 §5.2).
    fn raw_string(&mut self) -> Option<(bool, &[u8])> {
        let huffman = self.bytes.get(self.at)? & 0x80 != 0;
        let length = self.integer(7)?;
        let start = self.at;
        self.at = start.checked_add(length)?;
        Some((huffman, self.bytes.get(start..self.at)?))
    }

    fn skip_string(&mut self) -> Option<()> {
        self.raw_string().map(drop)
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        let (huffman, bytes) = self.raw_string()?;
        if huffman { decode_huffman(bytes) } else { Some(bytes.to_vec()) }
    }
}

fn push_integer(out: &mut Vec<u8>, prefix_bits: u32, value: usize) {
    let max = (1_usize << prefix_bits) - 1;
    let low = |value: usize| u8::try_from(value).expect("at most eight bits are left");
    if value < max {
        out.push(low(value));
        return;
    }
    out.push(low(max));
    let mut rest = value - max;
    while rest >= 0x80 {
        out.push(low(rest & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(low(rest));
}

/// Huffman's code of RFC 7541 appendix B, as far as readable characters need it. The code is
/// canonical: codes of one length follow each other in the order of their characters, and the first
/// of a length is the last of the length before, plus one, with zeros appended. So the lengths say
/// all.
const HUFFMAN: [(u32, &[u8]); 10] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
];

/// The text of a string in Huffman's code; `None` if it holds a character beyond the table.
fn decode_huffman(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(bytes.len() * 2);
    let (mut code, mut code_bits) = (0_u32, 0);
    for &byte in bytes {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            code_bits += 1;
            if let Some(character) = huffman_character(code, code_bits) {
                text.push(character);
                (code, code_bits) = (0, 0);
            }
            if code_bits > 15 {
                return None;
            }
        }
    }
    // The last byte is filled up with ones, seven at most.
    (code_bits < 8 && code == (1 << code_bits) - 1).then_some(text)
}

fn huffman_character(code: u32, code_bits: u32) -> Option<u8> {
    let (mut first, mut first_bits) = (0_u32, 5);
    for (bits, characters) in HUFFMAN {
        first <<= bits - first_bits;
        first_bits = bits;
        if bits == code_bits {
            let place = usize::try_from(code.checked_sub(first)?).ok()?;
            return characters.get(place).copied();
        }
        first += u32::try_from(characters.len()).expect("a length has few characters");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header block of `etcdctl 3.4.23 --endpoints=http://127.0.0.1:23791 endpoint status`, up
    /// to its authority, and the field after it.
    const OLD: &str = "8386459760a924882d9dcb6571afa066a925a87510ac6e48d36a3f41909d29aee30c044eae05\
        c0b86e09975f0f5f8b1d75d0620d263d4c4d6564";
    /// The same from a client of today.
    const NEW: &str = "8386c1049060a924882d9dcb6571af9b8b1b4754c5c0bf41890820b8f38f3ddf7f5f8b1d75d0\
        620d263d4c4d6564";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        frame.extend_from_slice(payload);
        frame
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte =
            |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    /// Feeds `bytes` in pieces of `step`; what comes out, and whether the mender stepped aside.
    fn pass(bytes: &[u8], step: usize) -> (Vec<u8>, bool) {
        let (mut mender, mut out) = (Mender::new(), BytesMut::new());
        for piece in bytes.chunks(step) {
            mender.take(piece, &mut out);
        }
        (out.to_vec(), mender.is_aside())
    }

    // The very bytes that a released etcdctl sends; without mending, `endpoint status` fails.
    #[test]
    fn url_as_authority_is_mended_to_the_same_length() {
        let settings = frame(4, 0, &[]);
        let old = frame(TYPE_HEADERS, FLAG_END_HEADERS, &hex(OLD));
        let data = frame(0, 1, &[0; 5]);
        let input = [&settings[..], &old, &data, &old].concat();
        let (expected, aside) = pass(&input, input.len());
        assert!(!aside, "requests to come need mending as well");
        let text = b"http---127.0.0.1:23791";
        let places = expected.windows(text.len()).filter(|window| window == text).count();
        assert_eq!(places, 2);
        assert_eq!(text.len(), "http://127.0.0.1:23791".len());
        let added = expected.len() - input.len();
        assert_eq!(added, 2 * (text.len() - 16), "the coded text took 16 bytes");
        for step in 1..40 {
            assert_eq!(pass(&input, step).0, expected, "in pieces of {step}");
        }
    }

    // Nobody else may pay for it, or be changed by it.
    #[test]
    fn current_clients_pass_untouched() {
        let settings = frame(4, 0, &[]);
        let new = frame(TYPE_HEADERS, FLAG_END_HEADERS, &hex(NEW));
        let input = [&settings[..], &new, &frame(0, 1, &[7; 3000])].concat();
        for step in [1, 7, 100, input.len()] {
            assert_eq!(pass(&input, step), (input.clone(), true));
        }
    }

    // The bytes come from anybody: nothing may panic, and nothing may be held back for ever.
    #[test]
    fn garbage_goes_on_as_it_is() {
        for flags in [0, FLAG_END_HEADERS, FLAG_END_HEADERS | FLAG_PADDED | FLAG_PRIORITY] {
            for payload in [&[][..], &[0xff; 40], &[0x41, 0xff, 0xff], &[0x41, 0x85, 0xff]] {
                let input = frame(TYPE_HEADERS, flags, payload);
                assert_eq!(pass(&input, input.len()).0, input);
            }
        }
        for cut in 0..hex(OLD).len() {
            let input = frame(TYPE_HEADERS, FLAG_END_HEADERS, &hex(OLD)[..cut]);
            assert!(pass(&input, input.len()).0.len() >= input.len());
        }
    }

    // A table typed in by hand is checked by a text that was coded by somebody else.
    #[test]
    fn huffman_code_is_read() {
        // RFC 7541 §C.4.1 and §C.6.1.
        assert_eq!(decode_huffman(&hex("f1e3c2e5f23a6ba0ab90f4ff")).unwrap(), b"www.example.com");
        let url = decode_huffman(&hex("9d29ad171863c78f0b97c8e9ae82ae43d3")).unwrap();
        assert_eq!(url, b"https://www.example.com");
        assert_eq!(
            decode_huffman(&hex("d07abe941054d444a8200595040b8166e082a62d1bff")).unwrap(),
            b"Mon, 21 Oct 2013 20:13:21 GMT"
        );
    }

    // The numbers of HPACK may take more than one byte.
    #[test]
    fn integers_survive_a_round_trip() {
        for value in [0, 30, 126, 127, 128, 300, 1337, 16_383] {
            let mut bytes = Vec::new();
            push_integer(&mut bytes, 7, value);
            assert_eq!(Cursor { bytes: &bytes, at: 0 }.integer(7), Some(value));
        }
    }
}
