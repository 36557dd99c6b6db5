//! A member, and the one connection to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;
use tonic::body::Body;

use crate::remote::{Reach, shake_hands};
use crate::tls::ClientTls;

/// Bytes that may be under way to one call that nobody reads.
const STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// Bytes that may be under way on one connection: the most that HTTP/2 can say.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// How members are reached.
pub(super) struct Way {
    pub(super) reach: Reach,
    pub(super) tls: Option<Arc<ClientTls>>,
    /// Pings go out even while no call is open.
    pub(super) pings_idle: bool,
    /// Connections made.
    pub(super) made: AtomicU64,
}

pub(super) struct Member {
    /// As the operator wrote it, or the member itself.
    pub(super) url: String,
    authority: Authority,
    scheme: Scheme,
    /// Locked while it is dialled: the others wait for that, and dial not again.
    kept: tokio::sync::Mutex<Option<Connection>>,
}

/// A connection to a member.
#[derive(Clone)]
pub(super) struct Connection {
    /// No other has it.
    pub(super) number: u64,
    pub(super) sender: SendRequest<Body>,
}

impl Way {
    /// The member at `url`. It is not dialled yet.
    ///
    /// # Errors
    ///
    /// If that is no address.
    pub(super) fn member(&self, url: &str) -> Result<Member> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        if !matches!(scheme, "http" | "https") {
            bail!("endpoint {url}: {scheme}:// is not spoken here; http:// and https:// are");
        }
        let address = rest.trim_end_matches('/');
        let authority: Authority =
            address.parse().with_context(|| format!("endpoint {url} is no address"))?;
        if authority.port_u16().is_none() {
            bail!("endpoint {url} has no port");
        }
        let is_secure = self.reach.is_secure(url);
        let scheme = if is_secure { Scheme::HTTPS } else { Scheme::HTTP };
        Ok(Member { url: url.to_owned(), authority, scheme, kept: tokio::sync::Mutex::default() })
    }
}

impl Member {
    /// Whether it is at the same place, and reached in the same way.
    pub(super) fn is_at(&self, other: &Member) -> bool {
        self.authority == other.authority && self.scheme == other.scheme
    }

    /// Where it is, and whether under TLS.
    pub(super) fn place(&self, way: &Way) -> (String, Option<Arc<ClientTls>>) {
        let tls = way.tls.clone().filter(|_| self.scheme == Scheme::HTTPS);
        (self.authority.to_string(), tls)
    }

    /// The connection to it, made if there is none.
    ///
    /// # Errors
    ///
    /// If it cannot be reached in time.
    pub(super) async fn connect(&self, way: &Way) -> Result<Connection> {
        let mut kept = self.kept.lock().await;
        if let Some(connection) = kept.as_ref().filter(|it| !it.sender.is_closed()) {
            return Ok(connection.clone());
        }
        *kept = None;
        let limit = way.reach.dial_timeout;
        let dialled = timeout(limit, self.dial(way)).await;
        let sender = dialled.with_context(|| format!("no answer within {limit:?}"))??;
        let connection = Connection { number: way.made.fetch_add(1, Ordering::Relaxed), sender };
        *kept = Some(connection.clone());
        Ok(connection)
    }

    async fn dial(&self, way: &Way) -> Result<SendRequest<Body>> {
        let (address, tls) = self.place(way);
        let stream = shake_hands(&address, tls.as_deref()).await?;
        let reach = &way.reach;
        let pings = Some(reach.ping_interval).filter(|interval| !interval.is_zero());
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(pings)
            .keep_alive_timeout(reach.ping_timeout)
            .keep_alive_while_idle(way.pings_idle)
            .handshake(TokioIo::new(stream))
            .await?;
        let url = self.url.clone();
        tokio::spawn(async move {
            let ended = connection.await;
            tracing::debug!(url, error = ?ended.err(), "a connection to a member has ended");
        });
        Ok(sender)
    }

    /// Nothing more is sent on that connection. It may be broken without knowing it yet; if it is
    /// not, what is under way there goes on.
    pub(super) async fn forget(&self, number: u64) {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|connection| connection.number == number) {
            *kept = None;
        }
    }

    /// Where a request for `path` goes.
    pub(super) fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = Uri::default().into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).expect("all parts are there")
    }
}
