//! One connection, from its first byte to its last.
//!
//! HTTP/1 and HTTP/2 share the port. Which one it is shows in the first bytes, which have to come
//! in time:
//!
//! ```text
//!   accept ──► first bytes ──┬── "PRI * HTTP/2.0…" ──► HTTP/2: gRPC, and HTTP routes
//!               within       └── anything else ─────► HTTP/1: HTTP routes
//!               HEAD_TIMEOUT
//!   shutdown ──► GOAWAY / connection: close ──► finish what is under way, within DRAIN_TIMEOUT
//! ```
//!
//! **Bounds.** Until the first bytes are there a connection costs a task and 24 bytes. HTTP/1
//! headers have 30 s and 16 KiB. On HTTP/2 the peer may send [`STREAM_WINDOW_BYTES`] ahead on one
//! call and
//! [`CONNECTION_WINDOW_BYTES`] in all; what we send waits for the peer's window, so a peer that
//! does not read costs one message per call above that. How often it may ping is in [`pings`]; how
//! small answers come through beside large ones, in [`sliced`].

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tower::BoxError;

use crate::config::Config;
use crate::shutdown::Shutdown;

mod authority;
mod paced;
mod pings;
mod sliced;
mod stream;

use paced::Paced;
use pings::{PACE_OF_ZERO, Pings};
use sliced::Slicing;
pub(crate) use stream::{Plain, Sniffed, Stream};

/// Whom the certificate of a client is for, verified (`--client-cert-auth`). Every request of its
/// connection carries it among its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerName(pub(crate) Arc<str>);

/// How every HTTP/2 connection begins (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a peer may take for its first bytes, and for the head of an HTTP/1 request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long calls under way may take once the server is stopping.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that a peer may send ahead on one call. A request is at most 2 MiB by default; a window
/// below that costs a round trip, a larger one costs memory for requests that nobody reads yet.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes that a peer may send ahead on one connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Calls that a peer may give up before we saw them. The default of 20 closes the connection of a
/// client that cancels many calls at once, as Go clients do when a context ends.
const CANCELED_UNSEEN_MAX: usize = 1024;
/// Bytes of headers in a request.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
const HTTP1_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// How connections are served; one a worker.
#[derive(Clone)]
pub(crate) struct Server {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    /// How often clients may ping.
    ping_pace: Duration,
}

/// What can be chosen of that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// Pings on idle connections; `None` is never.
    pub(crate) ping_interval: Option<Duration>,
    /// How long a ping may stay unanswered.
    pub(crate) ping_timeout: Duration,
    /// How often clients may ping, where that counts; 0 is as etcd takes it.
    pub(crate) ping_pace: Duration,
    /// Calls at once on one connection.
    pub(crate) streams_max: u32,
}

impl Server {
    /// As `config` has it.
    pub(crate) fn new(config: &Config) -> Server {
        Server::with(Manners {
            ping_interval: config.keepalive_interval,
            ping_timeout: config.keepalive_timeout,
            ping_pace: config.keepalive_min_time,
            streams_max: config.max_concurrent_streams,
        })
    }

    /// With these manners.
    pub(crate) fn with(manners: Manners) -> Server {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HTTP1_BUFFER_BYTES_MAX);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(manners.ping_interval)
            .keep_alive_timeout(manners.ping_timeout)
            .max_concurrent_streams(manners.streams_max)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_pending_accept_reset_streams(CANCELED_UNSEEN_MAX)
            .max_header_list_size(HEADER_BYTES_MAX)
            .auto_date_header(false);
        let ping_pace = Some(manners.ping_pace).filter(|pace| !pace.is_zero());
        Server { http1, http2, ping_pace: ping_pace.unwrap_or(PACE_OF_ZERO) }
    }

    /// Serves a connection to its end; whoever pings too often there may be sent away. Errors are
    /// the peer's affair: they end this connection.
    pub(crate) async fn serve<S, B>(
        &self,
        stream: Stream,
        service: S,
        counts_pings: bool,
        mut shutdown: Shutdown,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let sniffed = tokio::select! {
            sniffed = timeout(HEAD_TIMEOUT, sniff(stream)) => sniffed,
            () = shutdown.fired() => return,
        };
        let Ok(Some((stream, is_http2))) = sniffed else { return };
        let result = if is_http2 {
            let pings = || Pings::new(self.ping_pace, PREFACE.len());
            let stream = Paced::new(stream, counts_pings.then(pings));
            let connection = self.http2.serve_connection(TokioIo::new(stream), Slicing(service));
            drive(connection, http2::Connection::graceful_shutdown, shutdown).await
        } else {
            let connection = self.http1.serve_connection(TokioIo::new(stream), service);
            drive(connection, http1::Connection::graceful_shutdown, shutdown).await
        };
        if let Err(error) = result {
            tracing::debug!(%error, "connection ended with an error");
        }
    }
}

/// Runs `connection` to its end; once the server is stopping, `wind_down` asks it to come to one.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    wind_down: impl FnOnce(std::pin::Pin<&mut C>),
    mut shutdown: Shutdown,
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        result = connection.as_mut() => return result,
        () = shutdown.fired() => wind_down(connection.as_mut()),
    }
    timeout(DRAIN_TIMEOUT, connection).await.unwrap_or(Ok(()))
}

/// Reads the first bytes, up to the first that is not HTTP/2's; `None` when the peer went away.
async fn sniff(mut stream: Stream) -> Option<(Sniffed, bool)> {
    let mut head = [0; PREFACE.len()];
    let mut filled = 0;
    while filled < head.len() && head[..filled] == PREFACE[..filled] {
        match stream.read(&mut head[filled..]).await {
            Ok(0) | Err(_) => {
                let _ = stream.shutdown().await;
                return None;
            }
            Ok(read) => filled += read,
        }
    }
    let is_http2 = head == *PREFACE;
    Some((Sniffed::new(stream, &head[..filled], is_http2), is_http2))
}
