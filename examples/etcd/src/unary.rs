//! Calls with one message each way, for the services that are called most; and one whose answer has
//! more.
//!
//! gRPC puts little around a message: five bytes before it (is it compressed, how long is it), and
//! a status in the trailers after the answer (gRPC over HTTP/2, "Requests" and "Responses"):
//!
//! ```text
//!   request   HEADERS  DATA [0 | length | message]  END_STREAM
//!   answer    HEADERS  DATA [0 | length | message]  HEADERS grpc-status: 0, END_STREAM
//!   refusal   HEADERS grpc-status, grpc-message, END_STREAM
//! ```
//!
//! tonic does this for every shape of call, with a buffer of 8 KiB for each direction and three
//! allocated futures. Here a message is copied once into as many bytes as it has, and the call is
//! one future; a put costs an eighth less of the whole server's time
//! (`docs/decisions/0014-unary-calls-without-a-framework.md`). Streams stay tonic's.
//!
//! What is wrong with a request is said in the words of gRPC in Go.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::future::poll_fn;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use prost::Message;
use tonic::{Code, Status};

use crate::admission::Held;
use crate::call::{Call, CountedBody, RequestBody};
use crate::error_text;
use crate::grpc_head::Head;
use crate::service::{large, range_stream};

/// Room that is made for a message before any of it is there: its length is only a claim.
const CLAIM_BYTES_MAX: usize = 64 << 10;
/// How a message is compressed, if it is.
const ENCODING: &str = "grpc-encoding";

/// What a call answers with.
pub(crate) enum Reply {
    /// A message, whole, with its head.
    Whole(Bytes),
    /// A range that is read while it is sent.
    Large(Box<large::Answer>),
    /// The same in messages, of which each is sent when it is there.
    Parts(Box<range_stream::Parts>),
}

impl Reply {
    /// An answer of one message.
    pub(crate) fn message(message: &impl Message) -> Reply {
        let length = message.encoded_len();
        let mut bytes = BytesMut::with_capacity(Head::BYTES + length);
        bytes.put_u8(0);
        match u32::try_from(length) {
            Ok(length) => bytes.put_u32(length),
            // Larger ranges are refused before they are read; nothing else grows so large.
            Err(_) => panic!("a message of {length} bytes"),
        }
        message.encode(&mut bytes).expect("there is room for all of it");
        Reply::Whole(bytes.freeze())
    }
}

/// Serves a call: reads the message, hands it to `serve`, and answers with what that says.
pub(crate) async fn serve<B: RequestBody, M, F>(
    request: Request<B>,
    mut call: Call,
    bytes_max: usize,
    serve: impl FnOnce(M) -> F,
) -> Response<CountedBody>
where
    M: Message + Default,
    F: Future<Output = Result<Reply, Status>>,
{
    let reply = match read(request, &call, bytes_max).await {
        // What is large has its room until it is answered.
        Ok((bytes, _held)) => {
            call.received(bytes.len());
            match M::decode(bytes) {
                Ok(message) => serve(message).await,
                Err(error) => Err(error_text::malformed(&error)),
            }
        }
        Err(status) => Err(status),
    };
    match reply.and_then(|reply| Answer::new(reply, &call)) {
        Ok(answer) => {
            if call.is_unary() {
                call.end(Code::Ok);
            }
            let mut response = Response::new(CountedBody::new(answer, call));
            response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
            response
        }
        Err(status) => refuse(&status, call),
    }
}

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

fn refuse(status: &Status, mut call: Call) -> Response<CountedBody> {
    call.end(status.code());
    status.clone().into_http().map(CountedBody::plain)
}

/// The message of a call, which must be its only one.
async fn read<B: RequestBody>(
    request: Request<B>,
    call: &Call,
    bytes_max: usize,
) -> Result<(Bytes, Held), Status> {
    if let Some(encoding) = request.headers().get(ENCODING)
        && encoding != "identity"
    {
        return Err(error_text::unknown_encoding(encoding));
    }
    let mut body = request.into_body();
    let (mut inbox, mut held) = (Inbox::default(), None);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        // The client broke off; nobody hears this.
        let frame = frame.map_err(|error| Status::cancelled(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            inbox.take(data, bytes_max)?;
        }
        if held.is_none() && inbox.head.is_whole() {
            held = Some(call.hold_request(inbox.length)?);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok((inbox.finish()?, held.unwrap_or_default()))
}

/// What has come of a message.
#[derive(Debug, Default)]
struct Inbox {
    head: Head,
    /// How long the message says it is, once its head is there.
    length: usize,
    message: BytesMut,
}

impl Inbox {
    fn take(&mut self, mut data: Bytes, bytes_max: usize) -> Result<(), Status> {
        if !self.head.is_whole() {
            if !self.head.fill(&mut data) {
                return Ok(());
            }
            self.begin(bytes_max)?;
        }
        if data.len() > self.length - self.message.len() {
            return Err(error_text::second_message());
        }
        self.message.extend_from_slice(&data);
        Ok(())
    }

    /// The head is complete.
    fn begin(&mut self, bytes_max: usize) -> Result<(), Status> {
        if self.head.flag() != 0 {
            return Err(error_text::payload_format(self.head.flag()));
        }
        self.length = usize::try_from(self.head.length()).expect("usize has 32 bits");
        if self.length > bytes_max {
            return Err(error_text::received_too_large(self.length, bytes_max));
        }
        self.message.reserve(self.length.min(CLAIM_BYTES_MAX));
        Ok(())
    }

    fn finish(self) -> Result<Bytes, Status> {
        if !self.head.is_whole() || self.message.len() < self.length {
            return Err(error_text::cut_short());
        }
        Ok(self.message.freeze())
    }
}

/// The body of an answer.
pub(crate) enum Answer {
    /// A message of which nothing was sent yet.
    Whole(Bytes, Held),
    /// It is on its way; its trailers are not. The connection asks for them when it has sent it.
    Sent { _held: Held },
    /// Everything was.
    Ended,
    /// A large range.
    Large(Box<large::Answer>),
    /// A range in parts.
    Parts(Box<range_stream::Parts>),
}

impl Answer {
    /// The answer to `call`, if there is room for it.
    fn new(reply: Reply, call: &Call) -> Result<Answer, Status> {
        Ok(match reply {
            Reply::Whole(message) => {
                let held = call.hold_answer(message.len())?;
                Answer::Whole(message, held)
            }
            Reply::Large(answer) => Answer::Large(answer),
            Reply::Parts(parts) => Answer::Parts(parts),
        })
    }
}

/// What follows the message of a call that succeeded.
pub(crate) fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut *self {
            Answer::Whole(message, held) => {
                let (message, held) = (std::mem::take(message), std::mem::take(held));
                *self = Answer::Sent { _held: held };
                Poll::Ready(Some(Ok(Frame::data(message))))
            }
            Answer::Sent { .. } => {
                *self = Answer::Ended;
                Poll::Ready(Some(Ok(Frame::trailers(trailers()))))
            }
            Answer::Ended => Poll::Ready(None),
            Answer::Large(answer) => Pin::new(&mut **answer).poll_frame(cx),
            Answer::Parts(parts) => Pin::new(&mut **parts).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Whole(..) | Answer::Sent { .. } => false,
            Answer::Ended => true,
            Answer::Large(answer) => answer.is_end_stream(),
            Answer::Parts(parts) => parts.is_end_stream(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with its head.
    fn framed(message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(message);
        bytes
    }

    fn read(parts: impl IntoIterator<Item = Vec<u8>>) -> Result<Bytes, Status> {
        let mut inbox = Inbox::default();
        for part in parts {
            inbox.take(part.into(), 100)?;
        }
        inbox.finish()
    }

    // The network cuts bytes wherever it likes.
    #[test]
    fn message_is_read_however_its_bytes_are_cut() {
        for length in [0, 1, 100] {
            let message = vec![7; length];
            let bytes = framed(&message);
            for cut in 1..=bytes.len() {
                let parts = bytes.chunks(cut).map(<[u8]>::to_vec);
                assert_eq!(read(parts).unwrap(), message, "{length} bytes cut every {cut}");
            }
        }
    }

    #[test]
    fn message_that_is_cut_short_is_refused() {
        let bytes = framed(b"abc");
        for end in 0..bytes.len() {
            let status = read([bytes[..end].to_vec()]).unwrap_err();
            assert_eq!(status.code(), Code::Internal, "{end} bytes");
        }
    }

    #[test]
    fn message_with_another_behind_it_is_refused() {
        let bytes = [framed(b"abc"), framed(b"")].concat();
        for cut in 1..=bytes.len() {
            let status = read(bytes.chunks(cut).map(<[u8]>::to_vec)).unwrap_err();
            assert_eq!(status.code(), Code::Internal, "cut every {cut} bytes");
        }
    }

    // Whoever claims two gigabytes must not be given room for them.
    #[test]
    fn claim_of_a_length_is_checked_before_anything_is_kept() {
        let status = read([vec![0, 0, 0, 0, 101]]).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "grpc: received message larger than max (101 vs. 100)");
        let status = read([vec![1, 0, 0, 0, 1, 0]]).unwrap_err();
        assert_eq!(status.code(), Code::Internal);
    }
}
