//! The members that calls go to: one at a time, and the next one when it is gone.
//!
//! ```text
//!   call ──► the member of last time ── connected? ── no ──► dial ── fails ──► the next member …
//!                                          │ yes                                     │ none
//!                                          ▼                                         ▼
//!                                       send it                          "no connection available"
//! ```
//!
//! **What is sent twice.** A request that never left is offered to the next member, whatever it is.
//! One that left, and whose connection then broke, may have been done: only what changes nothing is
//! asked again, and everything else is answered with UNAVAILABLE, by which clients know that they
//! cannot know.
//!
//! **Bounds.** A dial has five seconds, and whoever needs the same connection waits for the same
//! dial. A stream may have [`STREAM_WINDOW_BYTES`] under way that nobody reads; the window of the
//! connection is large enough for thousands of such streams, so that they hold up nobody else.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::remote::{Reach, shake_hands};
use crate::tls::ClientTls;

/// Bytes that may be under way to one call that nobody reads.
const STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// Bytes that may be under way on one connection: the most that HTTP/2 can say.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;
/// What a client of etcd's takes for a call that never left, and may repeat.
const NOBODY: &str = "there is no connection available";

/// The way to the members. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Upstream(Arc<Members>);

struct Members {
    reach: Reach,
    tls: Option<Arc<ClientTls>>,
    /// Pings go out even while no call is open.
    pings_idle: bool,
    members: Vec<Member>,
    /// Which of them calls go to.
    current: AtomicUsize,
    /// Connections made.
    made: AtomicU64,
}

struct Member {
    /// As the operator wrote it.
    url: String,
    authority: Authority,
    scheme: Scheme,
    /// Locked while it is dialled: the others wait for that, and dial not again.
    kept: tokio::sync::Mutex<Option<Connection>>,
}

/// A connection to a member.
#[derive(Clone)]
struct Connection {
    /// No other has it.
    number: u64,
    sender: SendRequest<Body>,
}

/// Which member has answered, among the extensions of its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnsweredBy(usize);

/// Why a call came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It never left; the log says why.
    Unreachable,
    /// It left, and nobody knows what became of it.
    Broken(String),
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Status {
        match failure {
            Failure::Unreachable => Status::unavailable(NOBODY),
            Failure::Broken(why) => {
                Status::unavailable(format!("error reading from server: {why}"))
            }
        }
    }
}

impl Upstream {
    /// The way to the endpoints of `reach`. Nothing is dialled yet.
    ///
    /// # Errors
    ///
    /// If one is no address, or a file of certificates cannot be used.
    pub(crate) fn new(reach: Reach, pings_idle: bool) -> Result<Upstream> {
        let tls = reach.tls()?;
        let members: Result<Vec<Member>> =
            reach.endpoints.iter().map(|url| Member::at(url, reach.is_secure(url))).collect();
        let (members, current) = (members?, AtomicUsize::new(0));
        if members.is_empty() {
            bail!("no endpoints");
        }
        let made = AtomicU64::new(0);
        Ok(Upstream(Arc::new(Members { reach, tls, pings_idle, members, current, made })))
    }

    /// The member that calls go to, as the operator wrote it.
    pub(crate) fn current_url(&self) -> &str {
        &self.0.members[self.current()].url
    }

    /// Where the member is that calls go to, and whether under TLS.
    pub(crate) fn current_place(&self) -> (String, Option<Arc<ClientTls>>) {
        let member = &self.0.members[self.current()];
        let tls = self.0.tls.clone().filter(|_| member.scheme == Scheme::HTTPS);
        (member.authority.to_string(), tls)
    }

    fn current(&self) -> usize {
        self.0.current.load(Ordering::Relaxed)
    }

    /// Makes a call whose whole message is at hand, on `path`, with these headers. It is made again
    /// where that can do no harm.
    ///
    /// # Errors
    ///
    /// If no member can be reached, or the connection breaks before there is an answer.
    pub(crate) async fn call(
        &self,
        path: &PathAndQuery,
        headers: &HeaderMap,
        message: Bytes,
        repeatable: bool,
    ) -> Result<Response<Incoming>, Status> {
        let mut left = if repeatable { self.0.members.len() } else { 0 };
        loop {
            let mut request = Request::new(Body::new(Full::new(message.clone())));
            *request.headers_mut() = headers.clone();
            *request.uri_mut() = path.clone().into();
            match self.send(request).await {
                Err(Failure::Broken(_)) if left > 0 => left -= 1,
                sent => return Ok(sent?),
            }
        }
    }

    /// Sends a request, of which the path counts, to the first member that can be reached.
    ///
    /// # Errors
    ///
    /// As for [`Upstream::call`].
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let (first, count) = (self.current(), self.0.members.len());
        let path = request.uri().path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        let mut why = Vec::new();
        for at in (first..first + count).map(|at| at % count) {
            let member = &self.0.members[at];
            let mut connection = match self.connect(member).await {
                Ok(connection) => connection,
                Err(error) => {
                    why.push(format!("{}: {error:#}", member.url));
                    continue;
                }
            };
            *request.uri_mut() = member.uri(path.clone());
            match connection.sender.try_send_request(request).await {
                Ok(mut response) => {
                    self.stay(first, at);
                    response.extensions_mut().insert(AnsweredBy(at));
                    return Ok(response);
                }
                Err(mut error) => {
                    let taken = error.take_message();
                    let error = crate::error_text::chain(error.error());
                    member.forget(connection.number).await;
                    match taken {
                        Some(back) => request = back,
                        None => return Err(Failure::Broken(error)),
                    }
                    why.push(format!("{}: {error}", member.url));
                }
            }
        }
        let why = why.join("; ");
        tracing::warn!(error = why, "no member can be reached");
        Err(Failure::Unreachable)
    }

    /// Calls go to the member `at` from now on, if they still went to the one `before`.
    fn stay(&self, before: usize, at: usize) {
        let current = &self.0.current;
        let moved = before != at
            && current.compare_exchange(before, at, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if moved {
            let (from, to) = (&self.0.members[before].url, &self.0.members[at].url);
            tracing::warn!(from, to, "an endpoint is gone; calls go to another");
        }
    }

    /// Looks at what a member has answered: one without a leader is left for the next.
    pub(crate) fn heed(&self, answered: Option<AnsweredBy>, status: &Status) {
        let leaderless =
            status.code() == Code::Unavailable && status.message().ends_with("no leader");
        if let (true, Some(AnsweredBy(at))) = (leaderless, answered) {
            self.stay(at, (at + 1) % self.0.members.len());
        }
    }

    async fn connect(&self, member: &Member) -> Result<Connection> {
        let mut kept = member.kept.lock().await;
        if let Some(connection) = kept.as_ref().filter(|it| !it.sender.is_closed()) {
            return Ok(connection.clone());
        }
        *kept = None;
        let limit = self.0.reach.dial_timeout;
        let dialled = timeout(limit, self.dial(member)).await;
        let sender = dialled.with_context(|| format!("no answer within {limit:?}"))??;
        let connection = Connection { number: self.0.made.fetch_add(1, Ordering::Relaxed), sender };
        *kept = Some(connection.clone());
        Ok(connection)
    }

    async fn dial(&self, member: &Member) -> Result<SendRequest<Body>> {
        let tls = self.0.tls.as_deref().filter(|_| member.scheme == Scheme::HTTPS);
        let stream = shake_hands(member.authority.as_str(), tls).await?;
        let reach = &self.0.reach;
        let pings = Some(reach.ping_interval).filter(|interval| !interval.is_zero());
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(pings)
            .keep_alive_timeout(reach.ping_timeout)
            .keep_alive_while_idle(self.0.pings_idle)
            .handshake(TokioIo::new(stream))
            .await?;
        let url = member.url.clone();
        tokio::spawn(async move {
            let ended = connection.await;
            tracing::debug!(url, error = ?ended.err(), "a connection to a member has ended");
        });
        Ok(sender)
    }
}

impl Member {
    fn at(url: &str, is_secure: bool) -> Result<Member> {
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
        let scheme = if is_secure { Scheme::HTTPS } else { Scheme::HTTP };
        Ok(Member { url: url.to_owned(), authority, scheme, kept: tokio::sync::Mutex::default() })
    }

    /// Nothing more is sent on that connection. It may be broken without knowing it yet; if it is
    /// not, what is under way there goes on.
    async fn forget(&self, number: u64) {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|connection| connection.number == number) {
            *kept = None;
        }
    }

    fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = Uri::default().into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).expect("all parts are there")
    }
}

/// What generated clients go through.
impl tower::Service<Request<Body>> for Upstream {
    type Response = Response<Incoming>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let upstream = self.clone();
        Box::pin(async move { Ok(upstream.send(request).await?) })
    }
}

/// How long a dial may take, as etcd's proxy has it.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
