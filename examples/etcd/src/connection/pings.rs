//! How often a client may ping (`--grpc-keepalive-min-time`): the rule of gRPC's server in Go.
//!
//! **The problem.** A ping costs the server as much as a small request and tells it nothing. A
//! client library that is told to ping every second, by ten thousand processes, is a flood.
//!
//! **The idea.** Pings that come too soon after the last one count as strikes, and whoever has
//! more than [`STRIKES_MAX`] is sent away, with a reason that he can read:
//!
//! ```text
//!   a ping ──┬─ DATA or HEADERS were sent since the last one ──► strikes = 0
//!            ├─ no call is open, and the last was less than 2 h ago ──────┐
//!            ├─ a call is open, and the last was less than min-time ago ──┴► one strike
//!            └─ else nothing
//!   3 strikes ──► GOAWAY, ENHANCE_YOUR_CALM, "too_many_pings", and the connection ends
//! ```
//!
//! The first line is for clients that measure the line: they ping when data has come (gRPC's
//! estimate of the bandwidth), as often as data comes.
//!
//! The HTTP/2 library answers pings before anybody sees them. So this reads along: of every frame
//! that passes, in either direction, the nine bytes of its head ([`Frames`]), and no more.

use std::time::{Duration, Instant};

/// Pings that came too soon and are forgiven.
const STRIKES_MAX: u32 = 2;
/// How often a client may ping that has no call open.
const IDLE_PACE: Duration = Duration::from_secs(2 * 3600);
/// How often one may ping that has, where the flag says 0: gRPC's own choice.
pub(super) const PACE_OF_ZERO: Duration = Duration::from_secs(300);

const HEAD_BYTES: usize = 9;
const TYPE_DATA: u8 = 0;
const TYPE_HEADERS: u8 = 1;
const TYPE_RST_STREAM: u8 = 3;
const TYPE_PING: u8 = 6;
const TYPE_GOAWAY: u8 = 7;
const FLAG_ACK: u8 = 1;
const FLAG_END_STREAM: u8 = 1;
/// An error code (RFC 9113 §7).
const ENHANCE_YOUR_CALM: u32 = 0xb;
const REASON: &[u8] = b"too_many_pings";

/// Where in a stream of frames one is (RFC 9113 §4.1).
#[derive(Debug)]
struct Frames {
    /// Bytes of the frame that are still to come, and need no look.
    rest: usize,
    /// A head of which only the first bytes have come.
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
}

/// What the head of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frames {
    /// After so many bytes that are no frame.
    fn after(rest: usize) -> Frames {
        Frames { rest, head: [0; HEAD_BYTES], head_bytes: 0 }
    }

    /// Whether the last byte was the end of a frame.
    fn is_between(&self) -> bool {
        self.rest == 0 && self.head_bytes == 0
    }

    /// The next head that is whole in `bytes` from `at` on; `at` moves behind it, or to the end.
    #[inline]
    fn next(&mut self, bytes: &[u8], at: &mut usize) -> Option<Head> {
        let skipped = self.rest.min(bytes.len() - *at);
        self.rest -= skipped;
        *at += skipped;
        let rest = &bytes[*at..];
        let head = match rest.first_chunk::<HEAD_BYTES>() {
            Some(head) if self.head_bytes == 0 => {
                *at += HEAD_BYTES;
                *head
            }
            _ if rest.is_empty() => return None,
            _ => self.gather(rest, at)?,
        };
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        self.rest = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        Some(Head { kind, flags, stream })
    }

    /// Puts a head together that comes in pieces.
    #[cold]
    fn gather(&mut self, rest: &[u8], at: &mut usize) -> Option<[u8; HEAD_BYTES]> {
        let taken = rest.len().min(HEAD_BYTES - self.head_bytes);
        self.head[self.head_bytes..][..taken].copy_from_slice(&rest[..taken]);
        self.head_bytes += taken;
        *at += taken;
        if self.head_bytes < HEAD_BYTES {
            return None;
        }
        self.head_bytes = 0;
        Some(self.head)
    }
}

/// Counts the pings of one connection.
///
/// * `open` is sorted, and no stream in it is above `newest`.
/// * From a client that was dismissed, nothing behind its last ping counts.
#[derive(Debug)]
pub(super) struct Pings {
    min_time: Duration,
    inbound: Frames,
    outbound: Frames,
    /// Streams whose call has no end yet.
    open: Vec<u32>,
    newest: u32,
    last: Option<Instant>,
    strikes: u32,
    /// DATA or HEADERS were sent since the last ping.
    answered: bool,
    dismissed: bool,
}

impl Pings {
    /// For a connection that begins with so many bytes that are no frame.
    pub(super) fn new(min_time: Duration, preface_bytes: usize) -> Pings {
        Pings {
            min_time,
            inbound: Frames::after(preface_bytes),
            outbound: Frames::after(0),
            open: Vec::new(),
            newest: 0,
            last: None,
            strikes: 0,
            answered: false,
            dismissed: false,
        }
    }

    /// Whether the client has pinged too often, and all of its last ping has been received.
    pub(super) fn has_had_enough(&self) -> bool {
        self.dismissed && self.inbound.rest == 0
    }

    /// Whether the last byte that was sent was the end of a frame.
    pub(super) fn is_between_frames(&self) -> bool {
        self.outbound.is_between()
    }

    /// Takes note of bytes from the client; how many of them count. Less than all are those up to
    /// the end of the ping that was too much.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        if self.dismissed {
            // The rest of the ping that was too much.
            let rest = self.inbound.rest.min(bytes.len());
            self.inbound.rest -= rest;
            return rest;
        }
        while let Some(head) = self.inbound.next(bytes, &mut at) {
            match head.kind {
                // What follows on a stream that is known are trailers.
                TYPE_HEADERS if head.stream > self.newest => {
                    self.newest = head.stream;
                    self.open.push(head.stream);
                }
                TYPE_RST_STREAM => self.close(head.stream),
                TYPE_PING if head.flags & FLAG_ACK == 0 && self.is_too_much(Instant::now()) => {
                    self.dismissed = true;
                    return at + self.receive(&bytes[at..]);
                }
                _ => {}
            }
        }
        bytes.len()
    }

    /// Takes note of bytes to the client.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while let Some(head) = self.outbound.next(bytes, &mut at) {
            match head.kind {
                TYPE_DATA | TYPE_HEADERS => {
                    self.answered = true;
                    if head.flags & FLAG_END_STREAM != 0 {
                        self.close(head.stream);
                    }
                }
                TYPE_RST_STREAM => self.close(head.stream),
                _ => {}
            }
        }
    }

    /// The frame that says why the connection ends.
    pub(super) fn goaway(&self) -> Vec<u8> {
        let length = u32::try_from(8 + REASON.len()).expect("the reason is short").to_be_bytes();
        let newest = self.newest.to_be_bytes();
        let head = [length[1], length[2], length[3], TYPE_GOAWAY, 0, 0, 0, 0, 0];
        [&head[..], &newest, &ENHANCE_YOUR_CALM.to_be_bytes(), REASON].concat()
    }

    fn close(&mut self, stream: u32) {
        // Most calls are among the newest: little has to move up.
        if let Ok(place) = self.open.binary_search(&stream) {
            self.open.remove(place);
        }
    }

    /// Counts a ping; whether that was one too many.
    fn is_too_much(&mut self, now: Instant) -> bool {
        let last = self.last.replace(now);
        if std::mem::take(&mut self.answered) {
            self.strikes = 0;
            return false;
        }
        let pace = if self.open.is_empty() { IDLE_PACE } else { self.min_time };
        if last.is_some_and(|last| now.duration_since(last) < pace) {
            self.strikes += 1;
        }
        self.strikes > STRIKES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Duration = Duration::from_secs(5);

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        [&head[..], payload].concat()
    }

    fn ping() -> Vec<u8> {
        frame(TYPE_PING, 0, 0, &[7; 8])
    }

    // Nothing may depend on how the bytes come: what is counted is the same in any pieces.
    #[test]
    fn fourth_ping_at_once_is_the_last_that_is_read() {
        let input = [vec![0; 24], frame(4, 0, 0, &[]), ping().repeat(6)].concat();
        let expected = 24 + 9 + 4 * 17;
        for step in 1..=input.len() {
            let mut pings = Pings::new(PACE, 24);
            let counted: usize = input.chunks(step).map(|piece| pings.receive(piece)).sum();
            assert_eq!((counted, pings.has_had_enough()), (expected, true), "in pieces of {step}");
        }
    }

    // A client that measures the line pings as often as it is answered.
    #[test]
    fn pings_behind_an_answer_are_free() {
        let mut pings = Pings::new(PACE, 0);
        for stream in 0..20 {
            let stream = 2 * stream + 1;
            pings.receive(&frame(TYPE_HEADERS, 5, stream, &[0; 20]));
            assert_eq!(pings.open, [stream]);
            pings.send(&frame(TYPE_HEADERS, 4, stream, &[0; 9]));
            pings.send(&frame(TYPE_HEADERS, 5, stream, &[0; 9]));
            assert_eq!(pings.open, [0; 0], "the call has its end");
            pings.receive(&ping());
        }
        // What is no answer forgives nothing.
        for _ in 0..3 {
            assert!(!pings.has_had_enough());
            pings.send(&[ping(), frame(8, 0, 0, &[0; 4]), frame(4, 1, 0, &[])].concat());
            pings.receive(&ping());
        }
        assert!(pings.has_had_enough());
    }

    /// Pings so many times, so far apart; whether that is too much.
    fn dismissed(open: bool, apart: Duration, count: u32) -> bool {
        let mut pings = Pings::new(PACE, 0);
        if open {
            pings.receive(&frame(TYPE_HEADERS, 4, 1, &[]));
        }
        let start = Instant::now();
        (0..count).any(|number| pings.is_too_much(start + apart * number))
    }

    // What a client may do depends on whether it waits for something.
    #[test]
    fn pace_is_the_flags_with_a_call_and_two_hours_without() {
        let (slow, fast) = (PACE, PACE.saturating_sub(Duration::from_millis(1)));
        assert!(!dismissed(true, slow, 100));
        assert!(!dismissed(true, fast, 3) && dismissed(true, fast, 4));
        assert!(!dismissed(false, IDLE_PACE, 100));
        assert!(!dismissed(false, slow, 3) && dismissed(false, slow, 4));
    }

    // Calls end in many ways, some of them twice.
    #[test]
    fn streams_are_open_until_their_end() {
        let mut pings = Pings::new(PACE, 0);
        for stream in [1, 3, 5, 7] {
            pings.receive(&frame(TYPE_HEADERS, 4, stream, &[]));
        }
        pings.receive(&frame(TYPE_HEADERS, 5, 3, &[]));
        pings.send(&frame(TYPE_DATA, FLAG_END_STREAM, 3, &[1]));
        pings.receive(&frame(TYPE_RST_STREAM, 0, 3, &[0; 4]));
        pings.receive(&frame(TYPE_RST_STREAM, 0, 7, &[0; 4]));
        pings.send(&frame(TYPE_RST_STREAM, 0, 5, &[0; 4]));
        pings.send(&frame(TYPE_DATA, 0, 1, &[0; 100]));
        assert_eq!((&pings.open[..], pings.newest), (&[1][..], 7));
        // And an answer to a ping is no ping.
        pings.receive(&frame(TYPE_PING, FLAG_ACK, 0, &[0; 8]).repeat(50));
        assert!(!pings.has_had_enough());
    }

    // The very bytes that gRPC's server in Go sends.
    #[test]
    fn reason_is_told_in_the_words_that_clients_know() {
        let mut pings = Pings::new(PACE, 0);
        pings.receive(&frame(TYPE_HEADERS, 4, 1, &[]));
        let expected = b"\0\0\x16\x07\0\0\0\0\0\0\0\0\x01\0\0\0\x0btoo_many_pings";
        assert_eq!(pings.goaway(), expected);
    }
}
