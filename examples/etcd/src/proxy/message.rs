//! Messages of gRPC as they lie on the wire, whole or passing by.
//!
//! ```text
//!   a call's request     [0 | length | message]  ──► read(): one message, bounded
//!   a member's answer    [0 | length | message]* trailers
//!                             ├──► collect(): one message, or the member's status as it is
//!                             └──► Passing: frame by frame, as fast as the client reads
//! ```
//!
//! What passes by is not decoded. Of each message the head is looked at, for its length; and a
//! connection that breaks in the midst becomes the status that gRPC in Go gives it, instead of a
//! stream that is torn off.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use prost::Message;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::error_text;
use crate::grpc_head::Head;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const OK: HeaderValue = HeaderValue::from_static("0");
const ENCODING: &str = "grpc-encoding";
/// Room that is made for a message before any of it is there: its length is only a claim.
const CLAIM_BYTES_MAX: usize = 64 << 10;

/// How large messages may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// From clients, bytes.
    pub(crate) received_max: usize,
    /// To members, bytes.
    pub(crate) sent_max: usize,
    /// From members, bytes.
    pub(crate) answer_max: usize,
}

/// One message with its head.
#[derive(Clone, Debug)]
pub(crate) struct Framed(pub(crate) Bytes);

impl Framed {
    /// `message`, with a head.
    pub(crate) fn of(message: &impl Message) -> Framed {
        let length = message.encoded_len();
        let mut bytes = BytesMut::with_capacity(Head::BYTES + length);
        bytes.put_u8(0);
        bytes
            .put_u32(u32::try_from(length).expect("what was decoded from a message fits into one"));
        message.encode(&mut bytes).expect("there is room for all of it");
        Framed(bytes.freeze())
    }

    /// Without the head.
    pub(crate) fn message(&self) -> Bytes {
        self.0.slice(Head::BYTES..)
    }

    /// What it says.
    pub(crate) fn decode<M: Message + Default>(&self) -> Result<M, Status> {
        M::decode(self.message()).map_err(|error| error_text::malformed(&error))
    }

    /// Whether a member is to be sent it.
    ///
    /// # Errors
    ///
    /// If it is too large.
    pub(crate) fn check(&self, sizes: Sizes) -> Result<(), Status> {
        let (length, max) = (self.0.len() - Head::BYTES, sizes.sent_max);
        if length > max {
            let text = format!("trying to send message larger than max ({length} vs. {max})");
            return Err(Status::resource_exhausted(text));
        }
        Ok(())
    }

    /// A call's good end, with it as the answer.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut trailers = HeaderMap::new();
        trailers.insert(Status::GRPC_STATUS, OK);
        let end = std::future::ready(Some(Ok(trailers)));
        let mut response = Response::new(Body::new(Full::new(self.0).with_trailers(end)));
        response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
        response
    }
}

/// Reads a call's one message.
///
/// # Errors
///
/// If it is too large, compressed, or does not come to its end.
pub(crate) async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    sizes: Sizes,
) -> Result<Framed, Status> {
    if let Some(encoding) = headers.get(ENCODING)
        && encoding != "identity"
    {
        return Err(error_text::unknown_encoding(encoding));
    }
    let mut inbox = Inbox::new(sizes.received_max);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::cancelled(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            inbox.take(&data)?;
        }
        if body.is_end_stream() {
            break;
        }
    }
    inbox.finish()
}

/// Takes a member's one message, if its status is good.
///
/// # Errors
///
/// The member's status; or what is wrong with its answer.
pub(crate) async fn collect(response: Response<Incoming>, max: usize) -> Result<Framed, Status> {
    let (parts, mut body) = response.into_parts();
    if let Some(status) = early_end(parts.status, &parts.headers) {
        return Err(status);
    }
    let (mut inbox, mut trailers) = (Inbox::new(max), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| torn(&error))?;
        match frame.into_data() {
            Ok(data) => inbox.take(&data)?,
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    end(inbox, trailers.as_ref())
}

fn end(inbox: Inbox, trailers: Option<&HeaderMap>) -> Result<Framed, Status> {
    match trailers.and_then(Status::from_header_map) {
        Some(status) if status.code() == Code::Ok => inbox.finish(),
        Some(status) => Err(status),
        None => Err(Status::internal("server closed the stream without sending trailers")),
    }
}

/// The status of an answer that has no message, or is not gRPC.
pub(crate) fn early_end(status: StatusCode, headers: &HeaderMap) -> Option<Status> {
    if status != StatusCode::OK {
        let text = format!("unexpected HTTP status code received from server: {status}");
        return Some(Status::unavailable(text));
    }
    Status::from_header_map(headers)
}

fn torn(error: &hyper::Error) -> Status {
    Status::unavailable(format!("error reading from server: {}", error_text::chain(error)))
}

/// A member's answer for the client, as it comes.
pub(crate) fn pass_on(response: Response<Incoming>, max: usize) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if parts.status != StatusCode::OK {
        let status = early_end(parts.status, &parts.headers);
        return status.expect("it is not OK").into_http();
    }
    parts.extensions.clear();
    let passing = Passing { ahead: None, body, head: Head::default(), left: 0, max, ended: false };
    Response::from_parts(parts, Body::new(passing))
}

/// An answer of one message, in memory if it is small.
pub(crate) enum Kept {
    Whole(Framed),
    /// It is larger, and passes by.
    Large(Response<Body>),
}

impl Kept {
    /// Takes a member's one message if it has at most `small` bytes.
    ///
    /// # Errors
    ///
    /// As for [`collect`].
    pub(crate) async fn of(
        response: Response<Incoming>,
        small: usize,
        max: usize,
    ) -> Result<Kept, Status> {
        let (parts, mut body) = response.into_parts();
        if let Some(status) = early_end(parts.status, &parts.headers) {
            return Err(status);
        }
        let (mut inbox, mut trailers) = (Inbox::new(max), None);
        while let Some(frame) = body.frame().await {
            match frame.map_err(|error| torn(&error))?.into_data() {
                Ok(data) => inbox.take(&data)?,
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
            if inbox.length.is_some_and(|length| length > small) {
                let ahead = Some(inbox.bytes.freeze());
                let head = Head::default();
                let passing = Passing { ahead, body, head, left: 0, max, ended: false };
                let mut response = Response::new(Body::new(passing));
                response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
                return Ok(Kept::Large(response));
            }
        }
        end(inbox, trailers.as_ref()).map(Kept::Whole)
    }
}

/// A member's answer of many messages, each of them changed on its way.
pub(crate) fn translate<M: Message + Default + 'static>(
    response: Response<Incoming>,
    max: usize,
    change: impl Fn(&mut M) + Send + 'static,
) -> Response<Body> {
    let (mut parts, body) = pass_on(response, max).into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let state = (body, BytesMut::new(), change);
    let frames = futures_util::stream::unfold(state, |(mut body, mut bytes, change)| async move {
        loop {
            if let Some(message) = split_message(&mut bytes) {
                let changed = M::decode(message).map(|mut message| {
                    change(&mut message);
                    Frame::data(Framed::of(&message).0)
                });
                let changed = changed.map_err(|error| error_text::malformed(&error));
                return Some((changed, (body, bytes, change)));
            }
            match body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => bytes.extend_from_slice(&data),
                    Err(frame) => return Some((Ok(frame), (body, bytes, change))),
                },
                Err(status) => return Some((Err(status), (body, bytes, change))),
            }
        }
    });
    Response::from_parts(parts, Body::new(StreamBody::new(frames)))
}

/// Takes the first message off, if it is whole.
fn split_message(bytes: &mut BytesMut) -> Option<Bytes> {
    let mut head = Head::default();
    if bytes.len() < Head::BYTES || !head.fill(&mut &bytes[..]) {
        return None;
    }
    let length = Head::BYTES + usize::try_from(head.length()).ok()?;
    (bytes.len() >= length).then(|| bytes.split_to(length).freeze().slice(Head::BYTES..))
}

/// What has come of one message.
struct Inbox {
    max: usize,
    bytes: BytesMut,
    /// Of head and message, once the head is there.
    length: Option<usize>,
}

impl Inbox {
    fn new(max: usize) -> Inbox {
        Inbox { max, bytes: BytesMut::new(), length: None }
    }

    fn take(&mut self, data: &Bytes) -> Result<(), Status> {
        self.bytes.extend_from_slice(data);
        if self.length.is_none() && self.bytes.len() >= Head::BYTES {
            let mut head = Head::default();
            head.fill(&mut &self.bytes[..]);
            if head.flag() != 0 {
                return Err(error_text::payload_format(head.flag()));
            }
            let length = usize::try_from(head.length()).expect("usize has 32 bits");
            if length > self.max {
                return Err(error_text::received_too_large(length, self.max));
            }
            self.length = Some(Head::BYTES + length);
            self.bytes.reserve(length.min(CLAIM_BYTES_MAX));
        }
        match self.length {
            Some(length) if self.bytes.len() > length => Err(error_text::second_message()),
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<Framed, Status> {
        match self.length {
            Some(length) if self.bytes.len() == length => Ok(Framed(self.bytes.freeze())),
            _ => Err(error_text::cut_short()),
        }
    }
}

/// The body of an answer on its way to the client.
struct Passing {
    /// What has been read already.
    ahead: Option<Bytes>,
    body: Incoming,
    /// The head of the message under way.
    head: Head,
    /// Bytes of it that are still to come.
    left: usize,
    max: usize,
    ended: bool,
}

impl Passing {
    /// Follows where messages begin.
    fn look(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            if self.head.is_whole() {
                let part = self.left.min(data.len());
                data.advance(part);
                self.left -= part;
            } else if self.head.fill(&mut data) {
                self.left = usize::try_from(self.head.length()).expect("usize has 32 bits");
                if self.left > self.max {
                    return Err(error_text::received_too_large(self.left, self.max));
                }
            }
            if self.head.is_whole() && self.left == 0 {
                self.head = Head::default();
            }
        }
        Ok(())
    }

    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.ended = true;
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("14"));
        }
        Frame::trailers(trailers)
    }
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match self.ahead.take() {
            Some(ahead) => Some(Ok(Frame::data(ahead))),
            None => ready!(Pin::new(&mut self.body).poll_frame(cx)),
        };
        let frame = match next {
            None => return Poll::Ready(None),
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let status = torn(&error);
                return Poll::Ready(Some(Ok(self.end(&status))));
            }
        };
        let looked = frame.data_ref().map(|data| self.look(data));
        Poll::Ready(Some(Ok(match looked {
            Some(Err(status)) => self.end(&status),
            _ => frame,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.ahead.is_none() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
