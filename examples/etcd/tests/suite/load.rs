//! More to do than can be done, and clients that wait only so long.
//!
//! | room | asks |
//! |---|---|
//! | [`deadlines`] | whether a call ends on the server when its client waits no longer |
//! | [`users`] | whether one user's flood is refused, and felt by nobody else |
//! | [`flood`] | whether leases and leaders stand while everything else is refused |
//! | [`members`] | whether three members do what they can, and refuse what matters least |
//!
//! What decides is tried with a simulated clock, where it is: `src/admission`, `src/user_limits`.

mod deadlines;
mod flood;
mod members;
mod users;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;
use tonic::{Code, Status};

/// What is told to whoever is refused.
const REFUSED: (Code, &str) = (Code::ResourceExhausted, "etcdserver: too many requests");

/// A refusal's code and words.
fn words(status: &Status) -> (Code, &str) {
    (status.code(), status.message())
}

/// A gRPC call by hand, by a client that says how long it waits and then waits for longer: what is
/// told is the server's word. `Ok` is the bytes that came.
async fn call(
    address: &str,
    path: &str,
    timeout: &str,
    message: &impl Message,
) -> Result<Bytes, Status> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let io = TokioIo::new(stream);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
    let (mut sender, connection) = handshake.expect("it speaks HTTP/2");
    let connection = tokio::spawn(connection);
    let mut body = vec![0];
    body.extend(u32::try_from(message.encoded_len()).expect("it is short").to_be_bytes());
    message.encode(&mut body).expect("a vector has room");
    let request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(Full::new(Bytes::from(body)));
    let answer = sender.send_request(request.expect("it is a request")).await.expect("an answer");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("the answer has an end");
    let none = HeaderMap::new();
    let status = Status::from_header_map(&head.headers)
        .or_else(|| Status::from_header_map(body.trailers().unwrap_or(&none)));
    connection.abort();
    let status = status.expect("an answer has a status");
    if status.code() == Code::Ok { Ok(body.to_bytes()) } else { Err(status) }
}
