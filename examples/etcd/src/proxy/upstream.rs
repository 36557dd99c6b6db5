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
//! **Who they are** may change while the proxy runs ([`Upstream::replace`]): a member that stays
//! keeps its connection, and what is under way at one that goes is not cut off.
//!
//! **Bounds.** A dial has five seconds, and whoever needs the same connection waits for the same
//! dial. A stream may have a part of the connection's window under way that nobody reads; that is
//! large enough for thousands of such streams, so that they hold up nobody else.

mod member;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::remote::Reach;
use crate::tls::ClientTls;

use member::{Member, Way};

/// How long a dial may take, as etcd's proxy has it.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// What a client of etcd's takes for a call that never left, and may repeat.
const NOBODY: &str = "there is no connection available";

/// The way to the members. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Upstream(Arc<Inner>);

struct Inner {
    way: Way,
    list: Mutex<List>,
}

/// Whom there is. The invariant: `current` is one of `members`, of whom there is one at least.
#[derive(Clone)]
struct List {
    members: Arc<[Arc<Member>]>,
    current: usize,
}

/// Which member has answered, among the extensions of its response.
#[derive(Clone)]
pub(crate) struct AnsweredBy(Arc<Member>);

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
        let urls = reach.endpoints.clone();
        let way = Way { reach, tls, pings_idle, made: AtomicU64::new(0) };
        let members: Result<Vec<Arc<Member>>> =
            urls.iter().map(|url| way.member(url).map(Arc::new)).collect();
        let members: Arc<[Arc<Member>]> = members?.into();
        if members.is_empty() {
            bail!("no endpoints");
        }
        let list = Mutex::new(List { members, current: 0 });
        Ok(Upstream(Arc::new(Inner { way, list })))
    }

    fn list(&self) -> List {
        self.0.list.lock().clone()
    }

    /// The member that calls go to, by its URL.
    pub(crate) fn current_url(&self) -> String {
        self.list().first().url.clone()
    }

    /// Where the member is that calls go to, and whether under TLS.
    pub(crate) fn current_place(&self) -> (String, Option<Arc<ClientTls>>) {
        self.list().first().place(&self.0.way)
    }

    /// How many members there are.
    pub(crate) fn count(&self) -> usize {
        self.list().members.len()
    }

    /// From now on the members are those at `urls`. The one that calls go to stays that if it is
    /// among them. URLs that cannot be used are left out; if none is left, everything stays as it
    /// is. Whether anything has changed.
    pub(crate) fn replace(&self, urls: &[String]) -> bool {
        let mut fresh: Vec<Arc<Member>> = Vec::with_capacity(urls.len());
        let before = self.list();
        for url in urls {
            match self.0.way.member(url) {
                Ok(member) if fresh.iter().any(|known| known.is_at(&member)) => {}
                Ok(member) => {
                    let known = before.members.iter().find(|known| known.is_at(&member));
                    fresh.push(known.cloned().unwrap_or_else(|| Arc::new(member)));
                }
                Err(error) => tracing::debug!(error = format!("{error:#}"), "cannot be used"),
            }
        }
        let mut list = self.0.list.lock();
        let same = |member: &Arc<Member>| list.members.iter().any(|it| Arc::ptr_eq(it, member));
        if fresh.is_empty() || (fresh.len() == list.members.len() && fresh.iter().all(same)) {
            return false;
        }
        let current = list.first().clone();
        let current = fresh.iter().position(|it| Arc::ptr_eq(it, &current)).unwrap_or(0);
        *list = List { members: fresh.into(), current };
        true
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
        let mut left = if repeatable { self.count() } else { 0 };
        loop {
            match self.send(request(path, headers, message.clone())).await {
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
        let list = self.list();
        let mut why = Vec::new();
        for member in list.in_turn() {
            match self.offer(member, request, &mut why).await {
                Ok(response) => {
                    self.stay(list.first(), member);
                    return response;
                }
                Err(back) => request = back,
            }
        }
        let why = why.join("; ");
        tracing::warn!(error = why, "no member can be reached");
        Err(Failure::Unreachable)
    }

    /// Makes a call at the one behind `turns` others, counted from the member that calls go to.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, or the connection breaks.
    pub(crate) async fn call_at(
        &self,
        turns: usize,
        (path, headers): (&PathAndQuery, &HeaderMap),
        message: Bytes,
    ) -> Result<Response<Incoming>, Status> {
        let list = self.list();
        let member = list.in_turn().nth(turns % list.members.len());
        let member = member.expect("there are as many turns as members");
        let sent = self.offer(member, request(path, headers, message), &mut Vec::new()).await;
        Ok(sent.unwrap_or(Err(Failure::Unreachable))?)
    }

    /// Offers a request to one member. It comes back if it never left.
    async fn offer(
        &self,
        member: &Arc<Member>,
        mut request: Request<Body>,
        why: &mut Vec<String>,
    ) -> Result<Result<Response<Incoming>, Failure>, Request<Body>> {
        let mut connection = match member.connect(&self.0.way).await {
            Ok(connection) => connection,
            Err(error) => {
                why.push(format!("{}: {error:#}", member.url));
                return Err(request);
            }
        };
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = member.uri(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        match connection.sender.try_send_request(request).await {
            Ok(mut response) => {
                response.extensions_mut().insert(AnsweredBy(member.clone()));
                Ok(Ok(response))
            }
            Err(mut error) => {
                let taken = error.take_message();
                let error = crate::error_text::chain(error.error());
                member.forget(connection.number).await;
                why.push(format!("{}: {error}", member.url));
                taken.map_or(Ok(Err(Failure::Broken(error))), Err)
            }
        }
    }

    /// Calls go to `member` from now on, if they still went to the one `before`.
    fn stay(&self, before: &Arc<Member>, member: &Arc<Member>) {
        if Arc::ptr_eq(before, member) {
            return;
        }
        let mut list = self.0.list.lock();
        let at = list.members.iter().position(|it| Arc::ptr_eq(it, member));
        let Some(at) = at.filter(|_| Arc::ptr_eq(list.first(), before)) else { return };
        list.current = at;
        drop(list);
        let (from, to) = (&before.url, &member.url);
        tracing::warn!(from, to, "an endpoint is left; calls go to another");
    }

    /// Looks at what a member has answered: one without a leader is left for the next.
    pub(crate) fn heed(&self, answered: Option<AnsweredBy>, status: &Status) {
        let leaderless =
            status.code() == Code::Unavailable && status.message().ends_with("no leader");
        if let (true, Some(AnsweredBy(member))) = (leaderless, answered) {
            let list = self.list();
            let at = list.members.iter().position(|it| Arc::ptr_eq(it, &member));
            let Some(at) = at else { return };
            self.stay(&member, &list.members[(at + 1) % list.members.len()]);
        }
    }

    /// Calls go to the member that has answered from now on.
    pub(crate) fn prefer(&self, answered: Option<AnsweredBy>) {
        if let Some(AnsweredBy(member)) = answered {
            self.stay(self.list().first(), &member);
        }
    }
}

impl List {
    /// The one that calls go to.
    fn first(&self) -> &Arc<Member> {
        &self.members[self.current]
    }

    /// All of them, the one first that calls go to.
    fn in_turn(&self) -> impl Iterator<Item = &Arc<Member>> {
        let (behind, before) = (&self.members[self.current..], &self.members[..self.current]);
        behind.iter().chain(before)
    }
}

fn request(path: &PathAndQuery, headers: &HeaderMap, message: Bytes) -> Request<Body> {
    let mut request = Request::new(Body::new(Full::new(message)));
    *request.headers_mut() = headers.clone();
    *request.uri_mut() = path.clone().into();
    request
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

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(urls: &[&str]) -> Upstream {
        let reach = Reach {
            endpoints: urls.iter().map(|url| (*url).to_owned()).collect(),
            cacert: None,
            cert: None,
            key: None,
            is_unverified: false,
            user: None,
            password: None,
            dial_timeout: DIAL_TIMEOUT,
            ping_interval: DIAL_TIMEOUT,
            ping_timeout: DIAL_TIMEOUT,
        };
        Upstream::new(reach, false).unwrap()
    }

    fn replace(upstream: &Upstream, urls: &[&str]) -> bool {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        upstream.replace(&urls)
    }

    // A proxy that drops the connection it is using at every look at the list would cut off all
    // its clients; one that trusts an empty list would have nobody left to ask.
    #[test]
    fn a_new_list_keeps_who_stays() {
        let upstream = upstream(&["http://a:1", "b:2"]);
        let list = upstream.list();
        upstream.stay(&list.members[0], &list.members[1]);
        assert_eq!(upstream.current_url(), "b:2");
        assert!(replace(&upstream, &["http://c:3", "http://b:2", "http://b:2/"]));
        assert_eq!((upstream.count(), upstream.current_url()), (2, "b:2".to_owned()));
        assert!(Arc::ptr_eq(upstream.list().first(), &list.members[1]), "it keeps its connection");
        assert!(!replace(&upstream, &["http://b:2", "http://c:3"]), "they are the same");
        assert!(!replace(&upstream, &[]) && !replace(&upstream, &["unix://x", "nowhere"]));
        assert_eq!(upstream.count(), 2);
        assert!(replace(&upstream, &["http://d:4"]));
        assert_eq!(upstream.current_url(), "http://d:4");
        // Whoever has answered meanwhile is none of them any more.
        upstream.stay(upstream.list().first(), &list.members[0]);
        assert_eq!(upstream.current_url(), "http://d:4");
    }
}
