//! The port that other members connect to.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::Service as _;

use super::desk::Desk;
use super::pb::peer_server::PeerServer;
use crate::connection::{Plain, Sniffed, Stream};
use crate::http_routes;
use crate::listener::{Door, Listener, rest_after};
use crate::tls::{Secured, ServerTls};
use crate::version;

/// How long a connection may take to say what it wants.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// Where somebody is who comes through a file.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A port that other members connect to.
pub(crate) struct Port {
    listener: Listener,
}

impl Port {
    /// One behind what has been bound.
    pub(crate) fn new(listener: Listener) -> Port {
        Port { listener }
    }

    /// How members come in under TLS.
    pub(crate) fn door(&self) -> Option<Arc<ServerTls>> {
        self.listener.door().tls().cloned()
    }

    /// Where it is, as a URL with the real port.
    pub(crate) fn url(&self) -> String {
        self.listener.url()
    }

    /// Where it is, with the real port; nowhere, if that is a file.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address().unwrap_or(NOWHERE)
    }

    /// Hands connections to those they are for, for ever.
    pub(crate) async fn serve(self, tcp: Tcp, desk: Arc<Desk>) {
        let service = PeerServer::new(desk.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        loop {
            match self.listener.accept().await {
                Ok(stream) => {
                    let hall =
                        Hall { tcp: tcp.clone(), desk: desk.clone(), service: service.clone() };
                    tokio::spawn(welcome(stream, self.listener.door(), hall));
                }
                Err(error) => rest_after(&error).await,
            }
        }
    }
}

/// Where connections go from the door.
struct Hall {
    tcp: Tcp,
    desk: Arc<Desk>,
    service: PeerServer<Arc<Desk>>,
}

async fn welcome(stream: Plain, door: Door, hall: Hall) {
    let Ok(stream) = stream.adopt() else { return };
    let from = stream.remote().unwrap_or(NOWHERE);
    let Some(Secured { stream, .. }) = door.pass(stream).await else { return };
    match timeout(GREETING_TIMEOUT, greeted(stream)).await {
        Ok(Ok((stream, true))) => hall.tcp.take_wire(Box::new(stream), from),
        Ok(Ok((stream, false))) => serve_http(TokioIo::new(stream), hall).await,
        // Whoever says nothing, or went away.
        Ok(Err(_)) | Err(_) => {}
    }
}

/// A connection with its first bytes put back, and whether they are those of the consensus.
async fn greeted(mut stream: Stream) -> io::Result<(Sniffed, bool)> {
    let mut head = [0; Tcp::GREETING.len()];
    let mut filled = 0;
    while filled < head.len() && head[..filled] == Tcp::GREETING[..filled] {
        match stream.read(&mut head[filled..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok((Sniffed::new(stream, &head[..filled], false), head == Tcp::GREETING))
}

async fn serve_http<I>(io: TokioIo<I>, hall: Hall)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Hall { desk, service, .. } = hall;
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
    if let Err(error) = builder.serve_connection(io, answering).await {
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
        _ => return http_routes::not_found(),
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
