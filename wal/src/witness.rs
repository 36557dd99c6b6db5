//! Whether a sound frame at or behind the place where a walk stopped testifies that what should
//! stand there was durable.
//!
//! See [`scan`](crate::scan) for what such a frame proves. Here is how it is found: every head that
//! could testify is tried at its checksum, at 8-byte steps, up to the segment's end.
//!
//! **The problem.** What is searched may be a record that was torn, and a record holds what a
//! stranger sent. One that is full of heads which look right, each with a length that reaches to
//! the end, would cost a checksum over the rest for every 16 bytes: days, for a large record. To
//! give up after a while would be to refuse a sound log, or to lose a promised one.
//!
//! **The idea.** Checksums are linear, so the one of a stretch follows from those of two prefixes.
//! One running checksum `P` passes over the bytes once; when it has come to a head, the value that
//! it must have at the frame's end is known, and is waited for there:
//!
//! ```text
//!     frame at a, L bytes:   crc = shift(C ^ P(a + 8), L - 8) ^ P(a + L)
//!
//!     P ──────►│head a│────────────────│head b│──────────────┤end a├───────┤end b├────
//!               └ wants P(end a) = ..   └ wants P(end b) = .. └ does it?    └ does it?
//! ```
//!
//! where `C` covers the seed and the length field, and `shift(c, n)` is the checksum `c` after `n`
//! more zero bytes. So the work is one pass, however many heads there are; to bound the memory, at
//! most [`WAITING_MAX`] ends are waited for, and the heads beyond have their turn in another pass.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use crc32fast::Hasher;

use crate::crc::shift;
use crate::format::{ALIGN_BYTES, FRAME_HEAD_BYTES, FrameHead};
use crate::scan::Stop;
use crate::types::Lsn;
use crate::window::{WINDOW_BYTES, Window};

/// Ends waited for in one pass; 16 bytes each.
const WAITING_MAX: usize = 1 << 20;

/// Whether there is a witness for `stop`, there or behind.
pub(crate) fn is_there(window: &mut Window, seed: u32, stop: Stop) -> io::Result<bool> {
    find(window, seed, stop, WAITING_MAX)
}

fn find(window: &mut Window, seed: u32, stop: Stop, waiting_max: usize) -> io::Result<bool> {
    let room = window.end().saturating_sub(stop.offset) / FRAME_HEAD_BYTES as u64;
    // From the stop itself on: the frame there may be sound, and a later one in the wrong place.
    let mut from = stop.offset.next_multiple_of(ALIGN_BYTES);
    loop {
        let pass = Pass {
            seed,
            lost: stop.lsn,
            room,
            waiting: BinaryHeap::new(),
            waiting_max,
            running: Hasher::new(),
            hashed: from,
            deferred: None,
        };
        match pass.run(window, from)? {
            Outcome::Found => return Ok(true),
            Outcome::Nothing => return Ok(false),
            Outcome::Again(at) => from = at,
        }
    }
}

enum Outcome {
    Found,
    Nothing,
    /// Heads from here on have not been tried.
    Again(u64),
}

/// One pass over the bytes.
struct Pass {
    seed: u32,
    lost: Lsn,
    room: u64,
    /// Where frames end, and what the running checksum must be there; nearest first.
    waiting: BinaryHeap<Reverse<(u64, u32)>>,
    waiting_max: usize,
    /// The checksum up to byte `hashed` from wherever it was begun; meaningless while nobody waits.
    running: Hasher,
    hashed: u64,
    deferred: Option<u64>,
}

impl Pass {
    fn run(mut self, window: &mut Window, from: u64) -> io::Result<Outcome> {
        let mut at = from;
        loop {
            let end = window.end();
            let bytes = window.bytes(at, WINDOW_BYTES)?;
            // Heads that begin in the last bytes of a window are whole in the next.
            let heads = bytes.len().saturating_sub(FRAME_HEAD_BYTES - 1);
            let next = heads.next_multiple_of(ALIGN_BYTES as usize);
            let last = bytes.len() < WINDOW_BYTES;
            if self.pass_over(bytes, at, heads, if last { bytes.len() } else { next }, end) {
                return Ok(Outcome::Found);
            }
            if self.waiting.is_empty() || last {
                if let Some(at) = self.deferred {
                    return Ok(Outcome::Again(at));
                }
                if last {
                    return Ok(Outcome::Nothing);
                }
            }
            at += next as u64;
        }
    }

    /// Tries the heads that begin in the first `heads` bytes, and the ends that lie within `reach`
    /// bytes, of `bytes`, which stand at `at`. True once a frame has passed.
    fn pass_over(&mut self, bytes: &[u8], at: u64, heads: usize, reach: usize, end: u64) -> bool {
        let mut i = 0;
        loop {
            let due = self.waiting.peek().map_or(usize::MAX, |Reverse((end, _))| {
                usize::try_from(end - at).unwrap_or(usize::MAX)
            });
            let until = if self.deferred.is_some() { 0 } else { heads.min(due) };
            let head = (i..until).step_by(ALIGN_BYTES as usize).find_map(|i| {
                could_testify(&bytes[i..], self.lost, self.room).map(|head| (i, head))
            });
            if let Some((place, head)) = head {
                if head.bytes() <= end - (at + place as u64) {
                    self.admit(bytes, at, place, &head);
                }
                i = place + ALIGN_BYTES as usize;
            } else if due <= reach {
                self.advance(bytes, at, due);
                let crc = self.running.clone().finalize();
                while let Some(&Reverse((end, wanted))) = self.waiting.peek() {
                    if end != at + due as u64 {
                        break;
                    }
                    if wanted == crc {
                        return true;
                    }
                    self.waiting.pop();
                }
                i = i.max(due);
            } else {
                self.advance(bytes, at, reach.min(bytes.len()));
                return false;
            }
        }
    }

    /// Takes the running checksum on to `bytes[place]`.
    fn advance(&mut self, bytes: &[u8], at: u64, place: usize) {
        let to = at + place as u64;
        if self.waiting.is_empty() {
            self.running = Hasher::new();
        } else if self.hashed < to {
            self.running.update(&bytes[(self.hashed - at) as usize..place]);
        }
        self.hashed = to;
    }

    /// Waits for the end of the frame whose head stands at `bytes[place]`, which is `at + place`.
    fn admit(&mut self, bytes: &[u8], at: u64, place: usize, head: &FrameHead) {
        if self.waiting.len() == self.waiting_max {
            self.deferred = Some(at + place as u64);
            return;
        }
        self.advance(bytes, at, place);
        let mut before = self.running.clone();
        before.update(&bytes[place..place + 8]);
        let mut covered = Hasher::new_with_initial(self.seed);
        covered.update(&bytes[place..place + 4]);
        let both = before.finalize() ^ covered.finalize();
        let wanted = head.crc ^ shift(both, head.bytes() - 8);
        self.waiting.push(Reverse((at + place as u64 + head.bytes(), wanted)));
    }
}

/// The head in `bytes`, if a sound frame with that head, behind a stop at record `lost`, would
/// prove that what stood at the stop had been durable. At most `room` frames fit behind the stop.
fn could_testify(bytes: &[u8], lost: Lsn, room: u64) -> Option<FrameHead> {
    // Most of what is looked at is zeros.
    if bytes[8..12] == [0; 4] {
        return None;
    }
    let head = FrameHead::decode(bytes).ok()?;
    let lsn = head.lsn_from(lost.previous());
    if lsn.0 > lost.0 + room {
        return None;
    }
    let watermark = lsn.0.checked_sub(u64::from(head.behind))?;
    // A frame that opens its write proves all that stands before it, even where no record is lost:
    // what is damaged at the stop is then a mark.
    let opens = u64::from(head.behind) == u64::from(head.kind.is_record());
    (watermark >= lost.0 || (opens && watermark + 1 == lost.0)).then_some(head)
}

#[cfg(test)]
mod tests;
