//! etcd for programs that speak no gRPC: the same calls as JSON over HTTP, under `/v3/`.
//!
//! etcd has a proxy in front of itself that is generated from its interface, one function a call.
//! Here one piece of code serves every call that has a path, for what it must know of a call (its
//! messages, their fields, who streams) is in the interface's descriptors:
//!
//! ```text
//!   POST /v3/kv/put {"key":"a2V5"}
//!        │ route: path ──► method, message in, message out
//!        ▼
//!   JSON documents ──document──► one ──json──► message ──► gRPC request ──► Dispatch::call_grpc
//!                                                                               │
//!   {"header":{…}}          ◄──answer── JSON ◄──json── message ◄── gRPC answer ◄┘
//!   {"result":{…}} newline …     (a stream)
//! ```
//!
//! Nothing goes over a socket twice, and nothing is known here of what a call does: whatever a
//! service answers to gRPC it answers here.
//!
//! **What a caller is.** The header `Authorization` goes on as metadata, and so does each
//! `Grpc-Metadata-…`. Nothing else of the request does: the name in a client's certificate, above
//! all, is not the caller's name here, as it is not in etcd.
//!
//! **Streams.** The answer begins while the request is still open, and a request may hold several
//! documents, one after the other. A watch goes on when its request has ended.
//!
//! **Bounds.** A document has at most twice the bytes of the largest message and comes within
//! [`DOCUMENT_TIMEOUT`] of its first byte. Of a stream one message at a time is turned into JSON,
//! when the client has room for it, and once for all who are sent the same ([`shared`]). A single
//! answer is held whole, once as a message and once as JSON; large ones are turned on a blocking
//! thread, of which there are few.
//!
//! **Deadlines.** `Grpc-Timeout` says how long the caller waits, as in gRPC.
//!
//! **Left out.** WebSockets.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::{Code, Status};

use self::answer::{Lines, Messages};
use self::document::Documents;
use self::refusal::refusal;
use self::request::MessageBody;
use self::route::Route;
use crate::call::CountedBody;
use crate::deadline;
use crate::dispatch::Dispatch;

mod answer;
mod document;
mod json;
mod refusal;
mod request;
mod route;
mod shared;

/// How long a document may take from its first byte to its last.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// A message above this is turned into JSON where it keeps nobody waiting.
const INLINE_BYTES_MAX: usize = 256 << 10;
/// What a header begins with that is metadata for the call.
const METADATA_PREFIX: &str = "grpc-metadata-";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Whether `path` is one of these.
pub(crate) fn is_for(path: &str) -> bool {
    path.starts_with("/v3/") || path.starts_with("/v3beta/")
}

/// The answer to a request whose path [`is_for`] this.
pub(crate) async fn answer(dispatch: Dispatch, request: Request<Incoming>) -> Response<Body> {
    match serve(&dispatch, request).await {
        Ok(response) => response,
        Err(status) => refusal(&status),
    }
}

async fn serve(dispatch: &Dispatch, request: Request<Incoming>) -> Result<Response<Body>, Status> {
    let route = route::find(request.uri().path()).ok_or_else(|| Status::not_found("Not Found"))?;
    if request.method() != Method::POST {
        return Err(Status::unimplemented("Method Not Allowed"));
    }
    let (head, body) = request.into_parts();
    let timeout = head.headers.get(deadline::HEADER);
    if let Some(timeout) = timeout
        && deadline::parse(timeout).is_err()
    {
        let text = String::from_utf8_lossy(timeout.as_bytes());
        return Err(Status::invalid_argument(format!("invalid grpc-timeout: {text}")));
    }
    let bytes_max = dispatch.message_bytes_max();
    let mut documents = Documents::new(body, &route.input, bytes_max, DOCUMENT_TIMEOUT);
    let first = poll_fn(|cx| documents.poll_next(cx)).await.transpose()?;
    // Who sends nothing asks with a message in which nothing is set.
    let body = match (first, route.client_streams) {
        (first, true) => MessageBody::stream(first, documents),
        (first, false) => MessageBody::single(first.unwrap_or_else(request::empty)),
    };
    let answer = dispatch.call_grpc(call(route, &head.headers, body)).await;
    let Ok(answer) = answer;
    // What is refused at once has its status in the head.
    if let Some(status) = Status::from_header_map(answer.headers())
        && status.code() != Code::Ok
    {
        return Err(status);
    }
    let messages = Messages::new(answer.into_body());
    match route.server_streams {
        true => stream(route, messages).await,
        false => single(route, messages).await,
    }
}

/// The same call in gRPC.
fn call(route: &Route, from: &HeaderMap, body: MessageBody) -> Request<MessageBody> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = route.grpc_path.clone();
    *request.version_mut() = http::Version::HTTP_2;
    let headers = request.headers_mut();
    for (name, value) in from {
        let metadata = name.as_str().strip_prefix(METADATA_PREFIX);
        let metadata = metadata.filter(|name| !is_transports(name));
        if let Some(Ok(name)) = metadata.map(HeaderName::try_from) {
            headers.append(name, value.clone());
        }
    }
    if let Some(timeout) = from.get(deadline::HEADER) {
        headers.insert(deadline::HEADER, timeout.clone());
    }
    if let Some(token) = from.get(header::AUTHORIZATION) {
        headers.insert(header::AUTHORIZATION, token.clone());
    }
    headers.insert(header::CONTENT_TYPE, GRPC);
    request
}

/// Whether a header is about how messages travel, which is nothing for a caller to say.
fn is_transports(name: &str) -> bool {
    matches!(name, "content-type" | "te" | "grpc-encoding" | "grpc-timeout")
}

async fn single(
    route: &Route,
    mut messages: Messages<CountedBody>,
) -> Result<Response<Body>, Status> {
    let message = poll_fn(|cx| messages.poll_next(cx)).await;
    let message = message.unwrap_or_else(|| Err(Status::internal("empty response")))?;
    // What follows is the call's status.
    if let Some(more) = poll_fn(|cx| messages.poll_next(cx)).await {
        more?;
    }
    let json = match message.len() > INLINE_BYTES_MAX {
        false => json::encode(&route.output, message, Vec::new()),
        true => {
            let output = route.output.clone();
            let encoding = move || json::encode(&output, message, Vec::new());
            let encoded = tokio::task::spawn_blocking(encoding).await;
            encoded.map_err(|error| Status::internal(format!("drystone-etcd: {error}")))?
        }
    };
    Ok(json_response(StatusCode::OK, Body::new(Full::new(Bytes::from(json?)))))
}

/// The head of the answer waits for its first message: until then it can still be an error's.
async fn stream(route: &Route, messages: Messages<CountedBody>) -> Result<Response<Body>, Status> {
    let mut lines = Lines::new(messages, route.output.clone());
    poll_fn(|cx| lines.poll_first(cx)).await?;
    Ok(json_response(StatusCode::OK, Body::new(lines)))
}

fn json_response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    if status == StatusCode::OK {
        // etcd's gateway shows the metadata of an answer, of which there is this much.
        headers.insert("grpc-metadata-content-type", GRPC);
    }
    response
}
