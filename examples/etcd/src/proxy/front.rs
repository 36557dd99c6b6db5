//! Where a request goes.
//!
//! ```text
//!   gRPC ──┬── Watch/Watch, Lease/LeaseKeepAlive ──► coalesced: watch.rs, lease.rs
//!          ├── KV ─────────────────────────────────► kv.rs: cache, namespace
//!          ├── Cluster/MemberList ─────────────────► cluster.rs: the proxies themselves
//!          └── everything else ────────────────────► passed on as it is, but for names of locks
//!                                                    and elections in a namespace
//!   HTTP ───── /metrics, /health, /proxy/… ────────► pages.rs
//! ```

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::v3electionpb as election;
use drystone_etcd_api::v3lockpb as lock;
use http::uri::PathAndQuery;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use prost::Message;
use tonic::body::Body;
use tonic::{Code, Status};

use super::asker::{self, Asker};
use super::message::{self, Framed};
use super::namespace::{Enter, Leave};
use super::{Head, Proxy, Shared, lease, pages, watch};
use crate::deadline;
use crate::dispatch::{is_grpc, unknown_method};
use crate::grpc_method::{MethodId, Service};

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// gRPC, and pages.
    All,
    /// Pages alone.
    Pages,
}

/// Takes the requests of connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Front {
    proxy: Shared,
    scope: Scope,
}

impl Front {
    /// Serves `proxy` within `scope`.
    pub(crate) fn new(proxy: Shared, scope: Scope) -> Front {
        Front { proxy, scope }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let proxy = self.proxy.clone();
        if self.scope == Scope::All && is_grpc(&request) {
            return Box::pin(async move { Ok(serve(proxy, request).await) });
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Box::pin(async move { Ok(pages::answer(proxy, method, uri).await) })
    }
}

/// Serves a call of gRPC, for as long as the client waits.
async fn serve(proxy: Shared, request: Request<Incoming>) -> Response<Body> {
    let (service, id) = match proxy.methods.find(request.uri().path()) {
        Ok(found) => found,
        Err(unknown) => return unknown_method(unknown).into_http(),
    };
    let counted = Counted::start(proxy.clone(), id);
    if proxy.logs_calls {
        tracing::info!(path = request.uri().path(), "a call begins");
    }
    let response = match deadline::of(request.headers()) {
        Ok(None) => dispatch(proxy, service, id, request).await,
        Ok(Some(until)) => {
            let answer = dispatch(proxy, service, id, request);
            let waited = tokio::time::timeout_at(until.into(), answer).await;
            waited.unwrap_or_else(|_| deadline::exceeded().into_http())
        }
        Err(status) => status.into_http(),
    };
    counted.follow(response)
}

async fn dispatch(
    proxy: Shared,
    service: Service,
    id: MethodId,
    request: Request<Incoming>,
) -> Response<Body> {
    let name = proxy.methods.get(id).name;
    match (service, name) {
        (Service::Watch, _) => return watch::serve(proxy, request).await,
        (Service::Lease, "LeaseKeepAlive") => return lease::serve(proxy, request).await,
        _ => {}
    }
    let (parts, body) = request.into_parts();
    let head = Head {
        path: parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
        asker: Asker::of(&parts.headers),
        headers: asker::passed_on(&parts.headers),
    };
    let answered = match message::read(&parts.headers, body, proxy.sizes).await {
        Ok(framed) => proxy.answer(service, name, &head, framed).await,
        Err(status) => Err(status),
    };
    answered.unwrap_or_else(Status::into_http)
}

impl Proxy {
    /// Answers a call of one message.
    async fn answer(
        &self,
        service: Service,
        name: &str,
        head: &Head,
        framed: Framed,
    ) -> Result<Response<Body>, Status> {
        match (service, name) {
            (Service::Kv, _) => {
                if let Some(answer) = self.keys(name, head, framed.clone()).await {
                    return answer;
                }
                if !self.namespace.is_none() {
                    let text = format!("unknown method {name} for service etcdserverpb.KV");
                    return Err(Status::unimplemented(text));
                }
            }
            (Service::Cluster, "MemberList") => {
                if let Some(members) = self.proxies() {
                    return Ok(Framed::of(&members).into_response());
                }
            }
            (Service::Auth, _) if !is_repeatable(service, name) => {
                // Before, for whoever asks meanwhile; and after, for what was kept meanwhile.
                self.distrust();
                let answer = self.relay(head, framed, false).await;
                self.distrust();
                return answer;
            }
            _ if !self.namespace.is_none() => {
                if let Some(answer) = self.in_namespace(service, name, head, &framed).await {
                    return answer;
                }
            }
            _ => {}
        }
        self.relay(head, framed, is_repeatable(service, name)).await
    }

    /// Who may read what may have changed.
    fn distrust(&self) {
        self.cache.clear();
        if let Some(leasing) = &self.leasing {
            leasing.close();
        }
    }

    /// Passes a call on, and its answer back, as they are.
    pub(crate) async fn relay(
        &self,
        head: &Head,
        framed: Framed,
        repeatable: bool,
    ) -> Result<Response<Body>, Status> {
        let response = self.ask(head, framed, repeatable).await?;
        if let Some(status) = message::early_end(response.status(), response.headers()) {
            self.upstream.heed(response.extensions().get().cloned(), &status);
        }
        Ok(message::pass_on(response, self.sizes.answer_max))
    }

    /// What has keys beside those of the KV service; `None` if this has not.
    async fn in_namespace(
        &self,
        service: Service,
        name: &str,
        head: &Head,
        framed: &Framed,
    ) -> Option<Result<Response<Body>, Status>> {
        use election::{CampaignRequest, CampaignResponse, LeaderRequest, LeaderResponse};
        use election::{ProclaimRequest, ProclaimResponse, ResignRequest, ResignResponse};
        use lock::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
        use pb::{LeaseTimeToLiveRequest, LeaseTimeToLiveResponse};
        Some(match (service, name) {
            (Service::Lease, "LeaseTimeToLive") => {
                self.inside::<LeaseTimeToLiveRequest, LeaseTimeToLiveResponse>(head, framed).await
            }
            (Service::Lock, "Lock") => self.inside::<LockRequest, LockResponse>(head, framed).await,
            (Service::Lock, "Unlock") => {
                self.inside::<UnlockRequest, UnlockResponse>(head, framed).await
            }
            (Service::Election, "Campaign") => {
                self.inside::<CampaignRequest, CampaignResponse>(head, framed).await
            }
            (Service::Election, "Proclaim") => {
                self.inside::<ProclaimRequest, ProclaimResponse>(head, framed).await
            }
            (Service::Election, "Leader") => {
                self.inside::<LeaderRequest, LeaderResponse>(head, framed).await
            }
            (Service::Election, "Resign") => {
                self.inside::<ResignRequest, ResignResponse>(head, framed).await
            }
            (Service::Election, "Observe") => self.observe(head, framed).await,
            _ => return None,
        })
    }

    async fn inside<M, A>(&self, head: &Head, framed: &Framed) -> Result<Response<Body>, Status>
    where
        M: Message + Default + Enter,
        A: Message + Default + Leave,
    {
        let mut request: M = framed.decode()?;
        request.enter(&self.namespace)?;
        let response = self.ask(head, Framed::of(&request), false).await?;
        Ok(self.answer_of::<A>(response).await?.into_response())
    }

    async fn observe(&self, head: &Head, framed: &Framed) -> Result<Response<Body>, Status> {
        let mut request: election::LeaderRequest = framed.decode()?;
        request.enter(&self.namespace)?;
        let response = self.ask(head, Framed::of(&request), true).await?;
        let namespace = self.namespace.clone();
        let leave = move |leader: &mut election::LeaderResponse| leader.leave(&namespace);
        Ok(message::translate(response, self.sizes.answer_max, leave))
    }
}

/// Whether a call may be made twice where nobody knows whether it was made once.
fn is_repeatable(service: Service, name: &str) -> bool {
    match service {
        Service::Kv => matches!(name, "Range" | "RangeStream"),
        Service::Lease => matches!(name, "LeaseTimeToLive" | "LeaseLeases"),
        Service::Cluster => name == "MemberList",
        Service::Maintenance => matches!(name, "Status" | "Hash" | "HashKV" | "Snapshot"),
        Service::Auth => {
            let reads = ["AuthStatus", "UserGet", "UserList", "RoleGet", "RoleList"];
            name == "Authenticate" || reads.contains(&name)
        }
        Service::Election => matches!(name, "Leader" | "Observe"),
        Service::Health => true,
        Service::Watch | Service::Lock => false,
    }
}

/// A call that is counted, and the body of its answer.
struct Counted {
    proxy: Shared,
    id: MethodId,
    began: Instant,
    is_over: bool,
    body: Body,
}

impl Counted {
    fn start(proxy: Shared, id: MethodId) -> Counted {
        proxy.methods.get(id).start();
        Counted { proxy, id, began: Instant::now(), is_over: false, body: Body::empty() }
    }

    fn follow(mut self, response: Response<Body>) -> Response<Body> {
        if let Some(status) = Status::from_header_map(response.headers()) {
            self.end(status.code());
        }
        response.map(|body| {
            self.body = body;
            Body::new(self)
        })
    }

    fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.proxy.methods.get(self.id).end(code, self.began.elapsed());
            if self.proxy.logs_calls {
                let name = self.proxy.methods.get(self.id).name;
                tracing::info!(name, code = ?code, "a call has ended");
            }
        }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let ended = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().and_then(Status::from_header_map),
            Some(Err(status)) => Some(status.clone()),
            None => None,
        };
        if let Some(status) = ended {
            self.end(status.code());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}
