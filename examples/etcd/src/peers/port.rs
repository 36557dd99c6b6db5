//! The port that other members connect to.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drystone_raft::runtime::tcp::Tcp;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::codegen::Service as _;

use super::desk::Desk;
use super::pb::peer_server::PeerServer;
use crate::version;

/// How long a connection may take to say what it wants.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to rest when the system has no more file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long to wait for the rest of a greeting that came in pieces.
const PIECE_PAUSE: Duration = Duration::from_millis(5);

/// A port that other members connect to.
pub(crate) struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Binds to `address`.
    ///
    /// # Errors
    ///
    /// If it cannot be had.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Port> {
        let listener = crate::listener::bind_tcp(address)?;
        let address = listener.local_addr()?;
        Ok(Port { listener, address })
    }

    /// Where it is, with the real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands connections to those they are for, for ever.
    pub(crate) async fn serve(self, tcp: Tcp, desk: Arc<Desk>) {
        let service = PeerServer::new(desk.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let (tcp, desk, service) = (tcp.clone(), desk.clone(), service.clone());
                    tokio::spawn(async move { welcome(stream, from, tcp, desk, service).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections of members");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

async fn welcome(
    stream: TcpStream,
    from: SocketAddr,
    tcp: Tcp,
    desk: Arc<Desk>,
    service: PeerServer<Arc<Desk>>,
) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match timeout(GREETING_TIMEOUT, is_consensus(&stream)).await {
        Ok(Ok(true)) => tcp.take(stream, from),
        Ok(Ok(false)) => serve_http(stream, desk, service).await,
        // Whoever says nothing, or went away.
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Whether a connection begins as those of the consensus do. Nothing is read.
async fn is_consensus(stream: &TcpStream) -> io::Result<bool> {
    let mut head = [0; Tcp::GREETING.len()];
    loop {
        let count = stream.peek(&mut head).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if head[..count] != Tcp::GREETING[..count] {
            return Ok(false);
        }
        if count == head.len() {
            return Ok(true);
        }
        sleep(PIECE_PAUSE).await;
    }
}

async fn serve_http(stream: TcpStream, desk: Arc<Desk>, service: PeerServer<Arc<Desk>>) {
    let answering = service_fn(move |request: Request<Incoming>| {
        let (desk, mut service) = (desk.clone(), service.clone());
        async move {
            let content_type = request.headers().get(header::CONTENT_TYPE);
            match content_type.is_some_and(|ty| ty.as_bytes().starts_with(b"application/grpc")) {
                true => service.call(request).await,
                false => Ok::<_, Infallible>(page(&desk, request.uri().path())),
            }
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(GREETING_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(5));
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), answering).await {
        tracing::debug!(error, "a member's connection ended with an error");
    }
}

/// The plain pages of this port.
fn page(desk: &Desk, path: &str) -> Response<Body> {
    let (status, body) = match path {
        "/version" => (StatusCode::OK, version::json()),
        "/members" => match desk.replica() {
            Some(replica) => (StatusCode::OK, members(replica)),
            None => (StatusCode::SERVICE_UNAVAILABLE, "the member is starting\n".to_owned()),
        },
        _ => (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
    };
    let mut response = Response::new(Body::new(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The members, as etcd lists them here.
fn members(replica: &drystone_kv::runtime::Replica) -> String {
    let list = |urls: &[String]| {
        let quoted: Vec<String> = urls.iter().map(|url| quoted(url)).collect();
        format!("[{}]", quoted.join(","))
    };
    let cluster = replica.cluster();
    let lines = cluster.members.iter().map(|member| {
        let (peers, clients) = (list(&member.peer_urls), list(&member.client_urls));
        let learner = if member.is_learner { r#","isLearner":true"# } else { "" };
        let (id, name) = (member.id, quoted(&member.name));
        format!(r#"{{"id":{id},"peerURLs":{peers}{learner},"name":{name},"clientURLs":{clients}}}"#)
    });
    format!("[{}]\n", lines.collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    crate::logging::push_json_string(&mut out, text);
    out
}
