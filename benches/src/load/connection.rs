//! One HTTP/2 connection, and gRPC calls over it at the least cost.
//!
//! # Problem
//! The generated stubs queue a request for a task that keeps the connection, and send its headers,
//! its message and its end in a packet each. The client then costs more than the server it
//! measures, and the server pays for packets that no other client sends it: etcd's own sends one.
//!
//! # Idea
//! A unary call is a few bytes of frame around a message. The call is handed to `h2` whole, before
//! its task runs, so that all of it leaves in one system call:
//!
//! ```text
//!   HEADERS  :path /etcdserverpb.KV/Put, content-type application/grpc, te trailers
//!   DATA     compressed (1 byte, 0) | length (4 bytes, big endian) | message      END_STREAM
//! ```
//!
//! The answer is headers, the same frame around a message, and trailers with the `grpc-status`.
//! Calls that stream use the generated stubs: their connection is set up once, and not per request.

use std::future::poll_fn;

use anyhow::{Context as _, Result};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use http::{
    Method, Request, Uri, Version,
    header::{CONTENT_TYPE, HeaderValue, TE},
    uri::{Authority, Scheme},
};
use prost::Message;
use tokio::net::TcpStream;
use tonic::Status;

/// Bytes that may be under way to one call: big answers should not wait for window updates.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Bytes that may be under way on a connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Compression flag and length in front of every gRPC message.
const PREFIX_BYTES: usize = 5;

/// The calls that are made without stubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Put,
    Range,
    Txn,
}

/// Where the server is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    authority: Authority,
    put: Uri,
    range: Uri,
    txn: Uri,
}

impl Target {
    /// From `host:port` or `http://host:port`.
    ///
    /// # Errors
    /// If it is neither.
    pub(crate) fn parse(endpoint: &str) -> Result<Target> {
        let address = endpoint.strip_prefix("http://").unwrap_or(endpoint).trim_end_matches('/');
        let wrong = || format!("{endpoint} is not host:port");
        let authority: Authority = address.parse().with_context(wrong)?;
        authority.port_u16().with_context(wrong)?;
        let uri = |path| {
            let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority.clone());
            uri.path_and_query(path).build().with_context(wrong)
        };
        Ok(Target {
            put: uri("/etcdserverpb.KV/Put")?,
            range: uri("/etcdserverpb.KV/Range")?,
            txn: uri("/etcdserverpb.KV/Txn")?,
            authority,
        })
    }

    /// As `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.authority.as_str()
    }

    fn uri(&self, call: Call) -> &Uri {
        match call {
            Call::Put => &self.put,
            Call::Range => &self.range,
            Call::Txn => &self.txn,
        }
    }
}

/// An open connection; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    target: Target,
}

impl Connection {
    /// Connects, and leaves the work on the socket to a task of the current runtime.
    ///
    /// # Errors
    /// If nobody accepts, or what accepts does not speak HTTP/2.
    pub(crate) async fn open(target: &Target) -> Result<Connection> {
        let socket = TcpStream::connect(target.address())
            .await
            .with_context(|| format!("connecting to {}", target.authority))?;
        socket.set_nodelay(true)?;
        let (requests, connection) = client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .enable_push(false)
            .handshake(socket)
            .await?;
        // An error of the connection reaches every request on it, so it need not be kept here.
        tokio::spawn(async { drop(connection.await) });
        Ok(Connection { requests, target: target.clone() })
    }

    /// Makes one call and waits for the whole answer.
    pub(crate) async fn unary<B: Message + Default>(
        &mut self,
        call: Call,
        message: &impl Message,
    ) -> Result<B, Status> {
        let body = frame(message);
        poll_fn(|cx| self.requests.poll_ready(cx)).await.map_err(broken)?;
        let (answer, mut sender) =
            self.requests.send_request(self.head(call), false).map_err(broken)?;
        sender.send_data(body, true).map_err(broken)?;

        let (head, mut body) = answer.await.map_err(broken)?.into_parts();
        let mut answer = Bytes::new();
        while let Some(part) = body.data().await {
            let part = part.map_err(broken)?;
            body.flow_control().release_capacity(part.len()).map_err(broken)?;
            answer = join(answer, part);
        }
        // An error without a message comes in the headers, with no trailers behind them.
        let trailers = body.trailers().await.map_err(broken)?.unwrap_or(head.headers);
        let status = Status::from_header_map(&trailers).ok_or_else(|| {
            Status::unknown(format!("an answer without status, HTTP {}", head.status))
        })?;
        if status.code() != tonic::Code::Ok {
            return Err(status);
        }
        unframe(answer)
    }

    fn head(&self, call: Call) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        request.uri_mut().clone_from(self.target.uri(call));
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        request
    }
}

fn broken(error: h2::Error) -> Status {
    Status::from_error(Box::new(error))
}

/// The message with its prefix.
fn frame(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + len);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(len).expect("a request of this load is far below 4 GiB"));
    message.encode(&mut framed).expect("its length has been reserved");
    framed.freeze()
}

/// The one message in the body of a good answer.
fn unframe<B: Message + Default>(mut body: Bytes) -> Result<B, Status> {
    let bad = |what: &str| Status::internal(format!("{what} in the answer"));
    if body.len() < PREFIX_BYTES {
        return Err(bad("no message"));
    }
    let compressed = body.get_u8();
    let len = body.get_u32();
    if compressed != 0 || usize::try_from(len) != Ok(body.len()) {
        return Err(bad("a message of another length or kind"));
    }
    B::decode(body).map_err(|error| bad(&error.to_string()))
}

/// Most answers come in one part and need no copy.
fn join(front: Bytes, part: Bytes) -> Bytes {
    if front.is_empty() {
        return part;
    }
    // The buffer is ours alone from the second part on, and is taken back without a copy.
    let mut whole = BytesMut::from(front);
    whole.extend_from_slice(&part);
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use drystone_etcd_api::etcdserverpb::PutRequest;

    use super::*;

    /// The two spellings people have in their shell history.
    #[test]
    fn endpoints_parse_with_and_without_scheme() {
        for endpoint in ["127.0.0.1:2379", "http://127.0.0.1:2379", "http://127.0.0.1:2379/"] {
            let target = Target::parse(endpoint).unwrap();
            assert_eq!(target.address(), "127.0.0.1:2379");
            assert_eq!(target.uri(Call::Put), "http://127.0.0.1:2379/etcdserverpb.KV/Put");
        }
        for endpoint in ["not a host", "127.0.0.1", "https://127.0.0.1:2379", ""] {
            assert!(Target::parse(endpoint).is_err(), "{endpoint}");
        }
    }

    /// gRPC's frame is the only thing here that a library usually writes.
    #[test]
    fn a_message_survives_its_frame_however_it_is_cut() {
        let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
        let framed = frame(&put);
        assert_eq!(framed, &b"\0\0\0\0\x06\x0a\x01k\x12\x01v"[..]);
        for cut in 0..=framed.len() {
            let joined = join(framed.slice(..cut), framed.slice(cut..));
            assert_eq!(unframe::<PutRequest>(joined).unwrap(), put, "cut at {cut}");
        }
    }

    /// A server may answer anything; the load must count that as an error and go on.
    #[test]
    fn bodies_that_hold_no_message_are_errors() {
        for body in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x01", b"\x01\0\0\0\0", b"\0\0\0\0\x01\xff"] {
            assert!(unframe::<PutRequest>(Bytes::copy_from_slice(body)).is_err(), "{body:?}");
        }
    }
}
