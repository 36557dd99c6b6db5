//! The answer to a range that is too large to be held.
//!
//! gRPC wants the length of a message before the message, and etcd answers a range with one
//! message. So etcd holds all of it, and once more encoded: four clients that read 300 MB each cost
//! it more than two gigabytes. Here the range is read twice at one pinned revision
//! ([`drystone_kv::scan`]): once to add up the length, once to send what is found, a turn at a
//! time, when the client has room for it.
//!
//! ```text
//!   measure ──► up to WHOLE_BYTES_MAX: it was kept, and is sent as usual
//!      │
//!      └─ more: rewind ──► length, header │ turn │ turn │ … │ count, more │ trailers
//!                                         └─ read on a blocking thread, once the last is gone
//! ```
//!
//! Messages of protobuf that stand one behind the other are one message with the fields of all. So
//! each part is encoded as a response of its own.
//!
//! What a client that stops reading holds is its place and the pin, which keeps garbage from being
//! removed. After [`PATIENCE`] without a turn both are taken from it, and its call breaks off.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use drystone_etcd_api::etcdserverpb as pb;
use drystone_kv::engines::AnyEngine;
use drystone_kv::reply::RangeReply;
use drystone_kv::types::KeyValue;
use http_body::{Body, Frame};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::admission::line;
use crate::convert;
use crate::error_text;
use crate::store::Error;
use crate::unary;

/// An answer of no more than this is held, and read once.
const WHOLE_BYTES_MAX: u64 = 4 << 20;
/// What a turn is to bring.
pub(super) const TURN_BYTES: u64 = 256 << 10;
/// What it brings at most in keys, however small they are: the next may be large.
const TURN_KEYS_MAX: u64 = 256;
/// Keys of the first turn, of which nothing is known.
const FIRST_KEYS: u64 = 16;
/// What gRPC lets a message have.
const MESSAGE_BYTES_MAX: u64 = i32::MAX as u64;
/// How long a client may take between two turns.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take and still be one of those that others wait for.
pub(super) const SEATED: Duration = Duration::from_millis(100);

pub(super) type Scan = drystone_kv::Scan<AnyEngine>;

/// How many keys to read at a time, by the size of those before.
#[derive(Debug)]
pub(super) struct Pace {
    keys: u64,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { keys: FIRST_KEYS }
    }

    pub(super) fn keys(&self) -> usize {
        usize::try_from(self.keys).expect("it is small")
    }

    /// A turn brought so many keys in so many bytes. The next may be larger: more keys are asked
    /// for step by step, fewer at once.
    pub(super) fn note(&mut self, keys: usize, bytes: u64) {
        let one = bytes.div_ceil(keys.max(1) as u64).max(1);
        self.keys = (TURN_BYTES / one).clamp(1, TURN_KEYS_MAX.min(2 * self.keys));
    }
}

/// A response with nothing but some keys.
pub(super) fn part(kvs: Vec<KeyValue>) -> pb::RangeResponse {
    let kvs = kvs.into_iter().map(convert::key_value).collect();
    pb::RangeResponse { kvs, ..pb::RangeResponse::default() }
}

/// A range whose length is known.
pub(crate) enum Measured {
    /// It is short, and here it is.
    Whole(RangeReply),
    /// It is not: the scan is at its beginning, and will find keys of so many bytes.
    Large(Box<Scan>, u64),
}

/// Reads a range to its end, and keeps what it finds while that is little.
pub(crate) fn measure(mut scan: Scan) -> Result<Measured, Error> {
    let (mut pace, mut bytes, mut kvs) = (Pace::new(), 0, Vec::new());
    loop {
        let turn = scan.turn(pace.keys())?;
        if turn.is_empty() {
            break;
        }
        let found = turn.len();
        if bytes <= WHOLE_BYTES_MAX {
            // Keys and values are shared with the store where it has them in memory.
            kvs.extend_from_slice(&turn);
        }
        let turn_bytes = part(turn).encoded_len() as u64;
        pace.note(found, turn_bytes);
        bytes += turn_bytes;
        if bytes > WHOLE_BYTES_MAX {
            kvs = Vec::new();
        }
    }
    if bytes > WHOLE_BYTES_MAX {
        scan.rewind();
        return Ok(Measured::Large(Box::new(scan), bytes));
    }
    let (revision, count, more) = (scan.revision(), scan.count(), scan.more());
    Ok(Measured::Whole(RangeReply { revision, kvs, count, more }))
}

/// Where a scan waits between two turns.
pub(super) struct Place<S> {
    scan: Option<S>,
    turns: u64,
    /// It is one of the few long reads that are done at once, for as long as its client takes what
    /// it is given.
    seat: Option<line::Place>,
}

impl<S> Place<S> {
    pub(super) fn new(scan: S, seat: Option<line::Place>) -> Place<S> {
        Place { scan: Some(scan), turns: 0, seat }
    }

    /// There is nothing more to be read.
    pub(super) fn leave(&mut self) {
        self.seat = None;
    }

    /// The scan, unless it was taken from a client that was too slow.
    pub(super) fn take(&mut self) -> Option<S> {
        self.scan.take()
    }

    /// A turn is over.
    pub(super) fn give_back(&mut self, scan: S) {
        self.turns += 1;
        self.scan = Some(scan);
    }
}

/// The body of the answer.
pub(crate) struct Answer {
    stage: Stage,
    place: Arc<Mutex<Place<Box<Scan>>>>,
    pace: Pace,
    /// Bytes of keys that are still to come.
    left: u64,
    tail: Bytes,
}

enum Stage {
    Head(Bytes),
    /// Between two turns.
    Idle,
    Turn(JoinHandle<Result<Turn, Error>>),
    Tail,
    Trailers,
    End,
}

/// What a turn brought.
struct Turn {
    scan: Box<Scan>,
    keys: usize,
    bytes: Bytes,
}

impl Answer {
    /// The answer from a scan that will find keys of `bytes`.
    ///
    /// # Errors
    /// As gRPC in Go has it, if a message cannot be so long.
    pub(crate) fn new(
        header: pb::ResponseHeader,
        scan: Box<Scan>,
        bytes: u64,
        seat: Option<line::Place>,
    ) -> Result<Answer, Status> {
        let head = pb::RangeResponse { header: Some(header), ..pb::RangeResponse::default() };
        let (more, count) = (scan.more(), convert::signed(scan.count()));
        let tail = pb::RangeResponse { more, count, ..pb::RangeResponse::default() };
        let length = head.encoded_len() as u64 + bytes + tail.encoded_len() as u64;
        let Some(prefix) = u32::try_from(length).ok().filter(|_| length <= MESSAGE_BYTES_MAX)
        else {
            return Err(error_text::message_too_long(length, MESSAGE_BYTES_MAX));
        };
        let mut first = BytesMut::new();
        first.put_u8(0);
        first.put_u32(prefix);
        head.encode(&mut first).expect("a buffer that grows has room");
        let place = Arc::new(Mutex::new(Place::new(scan, seat)));
        let tail = Bytes::from(tail.encode_to_vec());
        let stage = Stage::Head(first.freeze());
        tokio::spawn(outwait(Arc::downgrade(&place), SEATED, PATIENCE));
        Ok(Answer { stage, place, pace: Pace::new(), left: bytes, tail })
    }

    /// Begins to read what comes next.
    fn read(&self) -> Result<JoinHandle<Result<Turn, Error>>, Status> {
        let scan = self.place.lock().take();
        let mut scan = scan.ok_or_else(error_text::reader_too_slow)?;
        let keys_max = self.pace.keys();
        Ok(tokio::task::spawn_blocking(move || {
            let kvs = scan.turn(keys_max)?;
            let (keys, message) = (kvs.len(), part(kvs));
            Ok(Turn { scan, keys, bytes: message.encode_to_vec().into() })
        }))
    }

    /// Takes what a turn brought.
    fn take(&mut self, turn: Turn) -> Result<Bytes, Status> {
        let Turn { scan, keys, bytes } = turn;
        let length = bytes.len() as u64;
        let left = self.left.checked_sub(length).filter(|_| keys > 0);
        // What is visible at a pinned revision does not change.
        self.left = left.ok_or_else(|| {
            Status::internal("drystone-etcd: a range was read twice and was not the same")
        })?;
        self.pace.note(keys, length);
        if self.left == 0 {
            self.place.lock().leave();
            self.stage = Stage::Tail;
        } else {
            self.stage = Stage::Idle;
            self.place.lock().give_back(scan);
        }
        Ok(bytes)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            match &mut self.stage {
                Stage::Head(first) => {
                    let first = std::mem::take(first);
                    self.stage = Stage::Idle;
                    return Poll::Ready(Some(Ok(Frame::data(first))));
                }
                Stage::Idle => match self.read() {
                    Ok(turn) => self.stage = Stage::Turn(turn),
                    Err(status) => return self.break_off(status),
                },
                Stage::Turn(turn) => {
                    let taken = match ready!(Pin::new(turn).poll(cx)) {
                        Ok(Ok(turn)) => self.take(turn),
                        Ok(Err(error)) => Err(error_text::status(&error)),
                        Err(panic) => Err(Status::internal(format!("drystone-etcd: {panic}"))),
                    };
                    return match taken {
                        Ok(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                        Err(status) => self.break_off(status),
                    };
                }
                Stage::Tail => {
                    self.stage = Stage::Trailers;
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.tail)))));
                }
                Stage::Trailers => {
                    self.stage = Stage::End;
                    return Poll::Ready(Some(Ok(Frame::trailers(unary::trailers()))));
                }
                Stage::End => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::End)
    }
}

impl Answer {
    /// A message that was begun cannot become an error any more: the stream is reset.
    fn break_off(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        tracing::warn!(error = status.message(), "the answer to a large range broke off");
        self.stage = Stage::End;
        Poll::Ready(Some(Err(status)))
    }
}

/// Takes the seat from a client that has taken no turn for a short while, and the scan from one
/// that has taken none for a long one.
pub(super) async fn outwait<S>(place: Weak<Mutex<Place<S>>>, short: Duration, long: Duration) {
    let (mut seen, mut seen_at) = (0, Instant::now());
    let mut pause = short;
    loop {
        tokio::time::sleep(pause).await;
        let Some(place) = place.upgrade() else { return };
        let mut place = place.lock();
        if place.turns != seen {
            (seen, seen_at) = (place.turns, Instant::now());
        } else if place.scan.is_some() {
            // It is not being read, so it is the client that takes its time.
            place.seat = None;
            if seen_at.elapsed() >= long {
                place.scan = None;
                return;
            }
        } else if seen_at.elapsed() >= long {
            return;
        }
        if place.seat.is_none() {
            pause = long;
        }
    }
}

#[cfg(test)]
mod tests;
