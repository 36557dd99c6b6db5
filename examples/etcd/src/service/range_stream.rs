//! A range in parts, as etcd 3.7 has it: merged, they are the answer of `Range`.
//!
//! ```text
//!   header │ keys │ keys │ … │ count, more │ trailers
//!            └ a turn, read on a blocking thread when the client has room for it
//! ```
//!
//! Unlike the single message of [`super::large`], parts need no length in advance: the range is
//! read once, at one pinned revision. A range with a filter on revisions is read whole first, as
//! `Range` does it, and only its sending is in parts. Another order than the keys' own would need
//! everything before the first part, and is refused, as etcd refuses it.
//!
//! What a client that stops reading holds, [`super::large`] says and bounds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use drystone_etcd_api::etcdserverpb as pb;
use drystone_kv::Caller;
use drystone_kv::command::{RangeRequest, SortBy, SortOrder};
use drystone_kv::types::KeyValue;
use http::HeaderMap;
use http_body::{Body, Frame};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::task::JoinHandle;
use tonic::Status;

use super::large::{PATIENCE, Pace, SEATED, Scan, TURN_BYTES, outwait, part};
use crate::admission::line;
use crate::convert::{self, signed};
use crate::error_text::{self, Invalid};
use crate::grpc_head::Head;
use crate::member::Shared;
use crate::store::Error;
use crate::unary::{self, Reply};

impl Shared {
    /// Begins to answer a range in parts.
    pub(super) async fn range_stream(
        &self,
        caller: &Caller,
        request: pb::RangeRequest,
    ) -> Result<Reply, Status> {
        let serializable = request.serializable;
        let request = convert::range(request)?;
        let own = |by, order| by == SortBy::Key && order == SortOrder::Ascend;
        if request.sort.is_some_and(|sort| !own(sort.by, sort.order)) {
            return Err(Invalid::SortOption.into());
        }
        let permitted = self.before_range(caller, &request, serializable).await?;
        let (source, seat) = self.read_seated(move |member| source(member, &request)).await?;
        self.still(permitted)?;
        let (source, revision) = source.map_err(|error| self.failed(&error))?;
        Ok(Reply::Parts(Box::new(Parts::new(self.header(revision), source, Some(seat)))))
    }
}

/// Where the keys come from, and the revision that they are read at.
fn source(member: &crate::member::Member, request: &RangeRequest) -> Result<(Source, u64), Error> {
    if request.is_native() && !request.count_only {
        let scan = member.kv.scan(request)?;
        let revision = scan.revision();
        return Ok((Source::Scan(Box::new(scan)), revision));
    }
    let reply = member.kv.range(request)?;
    let revision = reply.revision;
    Ok((
        Source::Read { kvs: reply.kvs.into_iter(), count: reply.count, more: reply.more },
        revision,
    ))
}

enum Source {
    /// They are read as they are sent.
    Scan(Box<Scan>),
    /// They were read.
    Read { kvs: std::vec::IntoIter<KeyValue>, count: u64, more: bool },
}

impl Source {
    /// The next keys; none are the end.
    fn turn(&mut self, keys_max: usize) -> Result<Vec<KeyValue>, Error> {
        match self {
            Source::Scan(scan) => scan.turn(keys_max),
            Source::Read { kvs, .. } => {
                let (mut turn, mut bytes) = (Vec::new(), 0);
                while turn.len() < keys_max && bytes < TURN_BYTES {
                    let Some(kv) = kvs.next() else { break };
                    bytes += (kv.key.len() + kv.value.len()) as u64;
                    turn.push(kv);
                }
                Ok(turn)
            }
        }
    }

    fn tail(&self) -> pb::RangeResponse {
        let (count, more) = match self {
            Source::Scan(scan) => (scan.count(), scan.more()),
            Source::Read { count, more, .. } => (*count, *more),
        };
        pb::RangeResponse { count: signed(count), more, ..pb::RangeResponse::default() }
    }
}

type Place = super::large::Place<Source>;

/// What a turn brought: a message, or the last one.
struct Turn {
    source: Option<Source>,
    keys: usize,
    message: Bytes,
}

/// The body of the answer.
pub(crate) struct Parts {
    stage: Stage,
    place: Arc<Mutex<Place>>,
    pace: Pace,
}

enum Stage {
    Head(Bytes),
    /// Between two turns.
    Idle,
    Turn(JoinHandle<Result<Turn, Error>>),
    Trailers(HeaderMap),
    End,
}

impl Parts {
    fn new(header: pb::ResponseHeader, source: Source, seat: Option<line::Place>) -> Parts {
        let head = pb::RangeResponse { header: Some(header), ..pb::RangeResponse::default() };
        let place = Arc::new(Mutex::new(Place::new(source, seat)));
        tokio::spawn(outwait(Arc::downgrade(&place), SEATED, PATIENCE));
        Parts { stage: Stage::Head(framed(head)), place, pace: Pace::new() }
    }

    /// Begins to read what comes next.
    fn read(&self) -> Result<JoinHandle<Result<Turn, Error>>, Status> {
        let source = self.place.lock().take();
        let mut source = source.ok_or_else(error_text::reader_too_slow)?;
        let keys_max = self.pace.keys();
        Ok(tokio::task::spawn_blocking(move || {
            let kvs = source.turn(keys_max)?;
            if kvs.is_empty() {
                return Ok(Turn { message: framed(source.tail()), keys: 0, source: None });
            }
            let (keys, message) = (kvs.len(), framed(part(kvs)));
            Ok(Turn { source: Some(source), keys, message })
        }))
    }

    /// Takes what a turn brought.
    fn take(&mut self, turn: Turn) -> Bytes {
        match turn.source {
            Some(source) => {
                self.pace.note(turn.keys, turn.message.len() as u64);
                self.place.lock().give_back(source);
                self.stage = Stage::Idle;
            }
            None => {
                self.place.lock().leave();
                self.stage = Stage::Trailers(unary::trailers());
            }
        }
        turn.message
    }

    /// Between two messages an error can be told.
    fn fail(&mut self, status: &Status) {
        let mut trailers = HeaderMap::new();
        self.stage = match status.add_header(&mut trailers) {
            Ok(()) => Stage::Trailers(trailers),
            Err(_) => Stage::End,
        };
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            match &mut self.stage {
                Stage::Head(head) => {
                    let head = std::mem::take(head);
                    self.stage = Stage::Idle;
                    return Poll::Ready(Some(Ok(Frame::data(head))));
                }
                Stage::Idle => match self.read() {
                    Ok(turn) => self.stage = Stage::Turn(turn),
                    Err(status) => self.fail(&status),
                },
                Stage::Turn(turn) => match ready!(Pin::new(turn).poll(cx)) {
                    Ok(Ok(turn)) => return Poll::Ready(Some(Ok(Frame::data(self.take(turn))))),
                    Ok(Err(error)) => self.fail(&error_text::status(&error)),
                    Err(panic) => self.fail(&Status::internal(format!("drystone-etcd: {panic}"))),
                },
                Stage::Trailers(trailers) => {
                    let trailers = std::mem::take(trailers);
                    self.stage = Stage::End;
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Stage::End => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::End)
    }
}

/// A part as a message with its head.
fn framed(part: pb::RangeResponse) -> Bytes {
    let message = pb::RangeStreamResponse { range_response: Some(part) };
    let length = message.encoded_len();
    let claim = u32::try_from(length).expect("a part has a few keys, each far below 4 GiB");
    let mut framed = BytesMut::with_capacity(Head::BYTES + length);
    framed.put_u8(0);
    framed.put_u32(claim);
    message.encode(&mut framed).expect("there is room for all of it");
    framed.freeze()
}
