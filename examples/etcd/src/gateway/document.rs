//! JSON documents out of a body, one after the other, as they come.
//!
//! A stream's documents stand one behind the other, with or without white space between, and each
//! is to be acted on when it is whole, whatever has come of the next. So where one ends is found
//! here, by counting braces outside of strings; whether it is JSON, [`super::json`] says.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost_reflect::MessageDescriptor;
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::json;
use crate::call::RequestBody;

/// Base64 takes four bytes for three, and names take some.
const DOCUMENT_BYTES_PER_MESSAGE_BYTE: usize = 2;

/// The documents of a body, as messages with their heads.
pub(super) struct Documents<B> {
    /// Gone once it has ended.
    body: Option<B>,
    input: MessageDescriptor,
    bytes_max: usize,
    /// How long a document may take from its first byte to its last.
    patience: Duration,
    buf: BytesMut,
    end: End,
    /// Runs while a document is under way, and before the first.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<B: RequestBody> Documents<B> {
    /// Those of `body`, which are to be messages of no more than `message_bytes_max`, and to come
    /// in time.
    pub(super) fn new(
        body: B,
        input: &MessageDescriptor,
        message_bytes_max: usize,
        patience: Duration,
    ) -> Documents<B> {
        Documents {
            body: Some(body),
            input: input.clone(),
            bytes_max: message_bytes_max.saturating_mul(DOCUMENT_BYTES_PER_MESSAGE_BYTE),
            patience,
            buf: BytesMut::new(),
            end: End::default(),
            deadline: Some(Box::pin(sleep(patience))),
        }
    }

    /// The next message; `None` where the body ends between two documents.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            match self.end.find(&self.buf) {
                Err(byte) => {
                    let why = format!("a message does not begin with {:?}", char::from(byte));
                    return self.fail(json::malformed(&why));
                }
                Ok(Some(end)) => {
                    let document = self.buf.split_to(end);
                    self.end = End::default();
                    self.deadline = None;
                    return Poll::Ready(Some(json::decode(&self.input, &document)));
                }
                Ok(None) => {}
            }
            if self.buf.len() > self.bytes_max {
                return self.fail(too_long(self.bytes_max));
            }
            let Some(body) = &mut self.body else {
                return match self.end.began() {
                    true => self.fail(json::malformed(&"unexpected EOF")),
                    false => Poll::Ready(None),
                };
            };
            if body.size_hint().lower() > self.bytes_max as u64 {
                return self.fail(too_long(self.bytes_max));
            }
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(self.poll_deadline(cx));
                    return self.fail(too_slow());
                }
            };
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.take(&data);
                    }
                }
                // The client broke off; nobody hears this.
                Some(Err(error)) => return self.fail(Status::cancelled(error.to_string())),
                None => self.body = None,
            }
        }
    }

    fn take(&mut self, data: &[u8]) {
        let space = data.iter().take_while(|byte| is_space(**byte)).count();
        // White space between documents is nothing to keep.
        let space = if self.end.began() { 0 } else { space };
        self.buf.extend_from_slice(&data[space..]);
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A stream may be silent between two documents for as long as it likes.
        if self.deadline.is_none() && !self.end.began() {
            return Poll::Pending;
        }
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
        deadline.as_mut().poll(cx)
    }

    /// Nothing more is read.
    fn fail(&mut self, status: Status) -> Poll<Option<Result<Bytes, Status>>> {
        self.body = None;
        self.buf = BytesMut::new();
        self.end = End::default();
        self.deadline = None;
        Poll::Ready(Some(Err(status)))
    }
}

fn too_long(bytes_max: usize) -> Status {
    Status::resource_exhausted(format!(
        "drystone-etcd: a document is longer than {bytes_max} bytes"
    ))
}

fn too_slow() -> Status {
    Status::deadline_exceeded("drystone-etcd: a document took too long to come")
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// How far the end of a document was looked for.
#[derive(Debug, Default)]
struct End {
    /// Bytes that were looked at.
    at: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl End {
    fn began(&self) -> bool {
        self.depth > 0
    }

    /// Where the document ends that `buf` begins with, if that is there already.
    ///
    /// # Errors
    /// The byte that it begins with, if that is not `{`.
    fn find(&mut self, buf: &[u8]) -> Result<Option<usize>, u8> {
        while let Some(&byte) = buf.get(self.at) {
            self.at += 1;
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                byte if is_space(byte) && self.depth == 0 => {}
                b'{' | b'[' if self.depth > 0 || byte == b'{' => self.depth += 1,
                _ if self.depth == 0 => return Err(byte),
                b'"' => self.in_string = true,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(self.at));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use drystone_etcd_api::FILE_DESCRIPTOR_SET;
    use http_body::Frame;
    use prost_reflect::DescriptorPool;
    use tonic::Code;

    use super::*;

    /// A body of one piece, after which nothing ever comes.
    struct Stalled(Option<Bytes>);

    impl http_body::Body for Stalled {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.take().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(piece)))))
        }
    }

    /// What is read of a body that stalls after `piece`, until a message is bad, or long after it
    /// should be there.
    async fn read_stalled(piece: &str) -> (usize, Option<Code>) {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let input = pool.get_message_by_name("etcdserverpb.WatchRequest").unwrap();
        let body = Stalled(Some(Bytes::copy_from_slice(piece.as_bytes())));
        let mut documents = Documents::new(body, &input, 100, Duration::from_millis(1));
        let mut count = 0;
        let long = Duration::from_millis(50);
        loop {
            let next = std::future::poll_fn(|cx| documents.poll_next(cx));
            match tokio::time::timeout(long, next).await {
                Ok(Some(Ok(_))) => count += 1,
                Ok(Some(Err(status))) => return (count, Some(status.code())),
                Ok(None) | Err(_) => return (count, None),
            }
        }
    }

    // A client that sends a byte now and then would keep a connection and its memory for ever; one
    // that has nothing to ask must not be sent away.
    #[tokio::test]
    async fn documents_come_in_time_and_silence_between_them_is_no_fault() {
        let late = Some(Code::DeadlineExceeded);
        assert_eq!(read_stalled("").await, (0, late), "nothing at all");
        assert_eq!(read_stalled("  ").await, (0, late), "hardly anything");
        assert_eq!(read_stalled("{").await, (0, late), "not even one");
        assert_eq!(read_stalled("{}").await, (1, None), "it may ask later");
        assert_eq!(read_stalled("{} {}\n ").await, (2, None));
        assert_eq!(read_stalled("{}{\"create").await, (1, late), "begun and not ended");
    }

    #[tokio::test]
    async fn long_documents_are_not_kept() {
        let long = format!(r#"{{}}{{"a":"{:0>300}"#, 7);
        assert_eq!(read_stalled(&long).await, (1, Some(Code::ResourceExhausted)));
    }

    /// The documents in `text`, given in pieces of `step` bytes.
    fn split(text: &str, step: usize) -> Result<Vec<String>, u8> {
        let (mut buf, mut end, mut found) = (Vec::new(), End::default(), Vec::new());
        for piece in text.as_bytes().chunks(step) {
            buf.extend_from_slice(piece);
            while let Some(at) = end.find(&buf)? {
                let document: Vec<u8> = buf.drain(..at).collect();
                found.push(String::from_utf8(document).unwrap());
                end = End::default();
            }
        }
        Ok(found)
    }

    // A brace in a string is no brace, and neither is a quote behind a backslash the string's end.
    #[test]
    fn documents_end_where_they_end_however_they_are_cut() {
        let text = r#" {"a":"}\"}\\"}{"b":[{"c":"{"},[]]}
            {} {"not":"whole"#;
        for step in 1..text.len() {
            let found = split(text, step).unwrap();
            assert_eq!(found.len(), 3, "in pieces of {step}: {found:?}");
            assert_eq!(found[0], r#" {"a":"}\"}\\"}"#);
            assert_eq!(found[1], r#"{"b":[{"c":"{"},[]]}"#);
            assert_eq!(found[2].trim(), "{}");
        }
    }

    // Whoever sends something else altogether hears of it at its first byte.
    #[test]
    fn messages_begin_with_a_brace() {
        assert_eq!(split("  7", 1), Err(b'7'));
        assert_eq!(split("{}[]", 9), Err(b'['));
        assert_eq!(split("}", 1), Err(b'}'));
        assert_eq!(split("\u{0}", 1), Err(0));
    }
}
