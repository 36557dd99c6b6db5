//! Where a request goes: gRPC to the services, everything else to the HTTP routes.
//!
//! Both share a port. A request is gRPC when its content type says so:
//!
//! ```text
//!             content-type: application/grpc…
//!   request ──────────┬──── yes ──► method table ──► tonic's server for the service ──► count code
//!                     │                  ▲
//!                     ├ no, /v3/… ─► crate::gateway: JSON into gRPC, and back
//!                     └──── no ────► crate::http_routes
//! ```
//!
//! While authentication is on, who asks and whether he may is found out before ([`crate::auth`]).
//!
//! The services are called directly, without a router between: the path is looked up once, in the
//! table that also counts calls. What tonic says differently from gRPC in Go is put right on the
//! way out.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use drystone_etcd_api::etcdserverpb::{
    auth_server::AuthServer, cluster_server::ClusterServer, lease_server::LeaseServer,
    maintenance_server::MaintenanceServer, watch_server::WatchServer,
};
use drystone_etcd_api::health::health_server::HealthServer;
use drystone_etcd_api::v3electionpb::election_server::ElectionServer;
use drystone_etcd_api::v3lockpb::lock_server::LockServer;
use drystone_kv::Caller;
use http::{Request, Response, header};
use hyper::body::Incoming;
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service as _};
use tonic::{Code, Status};

use crate::access::Visit;
use crate::admission::Class;
use crate::auth::{Asker, Credentials, Need, needs};
use crate::call::{Call, CountedBody, CountedRequest, RequestBody};
use crate::connection::PeerName;
use crate::deadline;
use crate::error_text;
use crate::gateway;
use crate::grpc_method::{MethodId, Service, Unknown};
use crate::http_routes;
use crate::member::Shared;
use crate::service::Serving;
use crate::user_limits::Who;

/// With this header a client wants nothing of a member that has no leader.
const HAS_LEADER: &str = "hasleader";

/// Whether a call is to end when there is no leader.
pub(crate) fn wants_leader<T>(request: &tonic::Request<T>) -> bool {
    request.metadata().get(HAS_LEADER).is_some_and(|value| value == "true")
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// gRPC and all HTTP routes.
    Clients,
    /// gRPC alone, where others serve HTTP.
    Grpc,
    /// All HTTP routes and no gRPC.
    Http,
    /// The HTTP routes that monitoring needs, alone.
    Metrics,
}

/// Takes the requests of one connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dispatch {
    member: Shared,
    scope: Scope,
    servers: Arc<Servers>,
    /// The connection is under TLS.
    secure: bool,
    /// Whom the client's certificate is for.
    name: Option<PeerName>,
    /// Where the client is; a Unix socket is nowhere.
    from: Option<IpAddr>,
}

/// tonic's face of each service.
struct Servers {
    watch: WatchServer<Shared>,
    lease: LeaseServer<Shared>,
    maintenance: MaintenanceServer<Shared>,
    cluster: ClusterServer<Shared>,
    auth: AuthServer<Shared>,
    lock: LockServer<Shared>,
    election: ElectionServer<Shared>,
    health: HealthServer<Shared>,
}

impl Dispatch {
    /// The largest message that a call may have, bytes.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.member.message_bytes_max()
    }

    /// Whether clients are sent away that ping too often. Under TLS, unless gRPC has the port to
    /// itself, it is Go's server for HTTP/2 that serves etcd's clients, and that does not mind.
    pub(crate) fn counts_pings(&self) -> bool {
        match self.scope {
            Scope::Grpc => true,
            Scope::Clients => !self.secure,
            Scope::Http | Scope::Metrics => false,
        }
    }

    /// Serves `member` within `scope`.
    pub(crate) fn new(member: Shared, scope: Scope) -> Dispatch {
        let max = member.message_bytes_max();
        let shared = Arc::new(member.clone());
        let servers = Servers {
            watch: WatchServer::from_arc(shared.clone()).max_decoding_message_size(max),
            lease: LeaseServer::from_arc(shared.clone()).max_decoding_message_size(max),
            maintenance: MaintenanceServer::from_arc(shared.clone()).max_decoding_message_size(max),
            cluster: ClusterServer::from_arc(shared.clone()).max_decoding_message_size(max),
            auth: AuthServer::from_arc(shared.clone()).max_decoding_message_size(max),
            lock: LockServer::from_arc(shared.clone()).max_decoding_message_size(max),
            election: ElectionServer::from_arc(shared.clone()).max_decoding_message_size(max),
            health: HealthServer::from_arc(shared).max_decoding_message_size(max),
        };
        Dispatch {
            member,
            scope,
            servers: Arc::new(servers),
            secure: false,
            name: None,
            from: None,
        }
    }

    /// For a connection that is under TLS or not, of somebody who may have a name, and is
    /// somewhere.
    pub(crate) fn on(
        mut self,
        secure: bool,
        name: Option<PeerName>,
        from: Option<IpAddr>,
    ) -> Dispatch {
        (self.secure, self.name, self.from) = (secure, name, from);
        self
    }

    /// Serves a call of gRPC, for as long as the client waits.
    pub(crate) fn call_grpc<B: RequestBody>(&self, request: Request<B>) -> Answer {
        match deadline::of(request.headers()) {
            Ok(None) => self.call_until(request, None),
            Ok(Some(deadline)) => Answer::Timed(Box::new(Timed {
                answer: self.call_until(request, Some(deadline)),
                deadline,
                sleep: None,
            })),
            Err(status) => Answer::now(status.into_http()),
        }
    }

    fn call_until<B: RequestBody>(&self, request: Request<B>, deadline: Option<Instant>) -> Answer {
        let methods = &self.member.metrics.grpc;
        let wants_leader = request.headers().get(HAS_LEADER).is_some_and(|value| value == "true");
        let (service, id) = match methods.find(request.uri().path()) {
            Ok(found) => found,
            Err(unknown) => return Answer::now(unknown_method(unknown).into_http()),
        };
        let (method, mut call) = (methods.get(id), Call::start(self.member.clone(), id, deadline));
        self.member.metrics.clients.count(request.headers(), method.is_unary());
        let admitted = self.check_place(service, method.name, wants_leader).and_then(|()| {
            let (class, is_command) = Class::of_method(service, method.name);
            self.member.admission.look(class, is_command)
        });
        if let Err(status) = admitted {
            call.end(status.code());
            return Answer::now(status.into_http());
        }
        let credentials = Credentials::of(request.headers(), request.extensions());
        if self.member.kv.auth_epoch() == 0 && !self.member.is_behind(&credentials) {
            let shown = request.extensions().get::<PeerName>();
            let who = || shown.map_or(Who::From(self.from), |name| Who::User(name.0.clone()));
            if let Err(status) = self.charge(who, service, &mut call) {
                call.end(status.code());
                return Answer::now(status.into_http());
            }
            return self.serve(service, id, request, call, Asker::default());
        }
        Answer::Unary(Box::pin(self.clone().call_checked(service, id, request, call, credentials)))
    }

    /// Finds out who asks first, and refuses who may not.
    async fn call_checked<B: RequestBody>(
        self,
        service: Service,
        id: MethodId,
        request: Request<B>,
        mut call: Call,
        credentials: Credentials,
    ) -> Response<CountedBody> {
        let method = self.member.metrics.grpc.get(id);
        let need = needs::of(method.service_name, method.name);
        let caller = match need {
            // Nobody waits to hear what does not matter.
            Some(Need::Nothing) => Ok(Caller::Nobody),
            // It is found out again for every message.
            Some(Need::Inside) => {
                Ok(self.member.who_asks(&credentials).await.unwrap_or(Caller::Nobody))
            }
            _ => self.member.who_asks(&credentials).await,
        };
        let admitted = caller.and_then(|caller| {
            self.member.admit(need, &caller)?;
            let who = || match &caller {
                Caller::User { name, .. } => Who::User(name.clone()),
                _ => Who::From(self.from),
            };
            self.charge(who, service, &mut call)?;
            Ok(Asker { caller, credentials })
        });
        match admitted {
            Ok(asker) => {
                let Ok(response) = self.serve(service, id, request, call, asker).await;
                response
            }
            Err(status) => {
                call.end(status.code());
                status.into_http().map(CountedBody::plain)
            }
        }
    }

    /// Lets a call begin within what its user may have.
    fn charge(
        &self,
        who: impl FnOnce() -> Who,
        service: Service,
        call: &mut Call,
    ) -> Result<(), Status> {
        let Some(limits) = &self.member.user_limits else { return Ok(()) };
        let (name, is_unary) = (call.name(), call.is_unary());
        let visit = limits.begin(who(), (service, name, is_unary)).map_err(|reason| {
            let (class, _) = Class::of_method(service, name);
            self.member.admission.refuse(class, reason)
        })?;
        call.charge(visit);
        Ok(())
    }

    /// Hands a call to its service.
    fn serve<B: RequestBody>(
        &self,
        service: Service,
        id: MethodId,
        mut request: Request<B>,
        call: Call,
        asker: Asker,
    ) -> Answer {
        let method = self.member.metrics.grpc.get(id);
        if service == Service::Kv {
            return match self.member.call_kv(method.name, request, call, asker.caller) {
                Ok(serving) => Answer::Unary(serving),
                Err(call) => not_there_yet(call, method.name),
            };
        }
        if !asker.is_nobody() {
            request.extensions_mut().insert(asker);
        }
        let request = request.map(|body| CountedRequest::new(body, &call));
        let servers = &self.servers;
        let future = match service {
            Service::Watch => servers.watch.clone().call(request),
            Service::Lease => servers.lease.clone().call(request),
            Service::Maintenance => servers.maintenance.clone().call(request),
            Service::Cluster => servers.cluster.clone().call(request),
            Service::Auth => servers.auth.clone().call(request),
            Service::Health => servers.health.clone().call(request),
            Service::Lock => servers.lock.clone().call(request),
            Service::Election => servers.election.clone().call(request),
            Service::Kv => return not_there_yet(call, method.name),
        };
        Answer::Grpc { future, call: Some(call) }
    }

    /// What this member does not do where it stands: a learner does little, and a client may want
    /// nothing of one that has no leader.
    fn check_place(&self, service: Service, name: &str, wants_leader: bool) -> Result<(), Status> {
        let learner_may = match service {
            // A range that must be linearizable is refused where it shows that it is.
            Service::Kv => name == "Range",
            Service::Maintenance => matches!(name, "Status" | "Snapshot"),
            Service::Health => true,
            _ => false,
        };
        if !learner_may {
            self.member.check_votes()?;
        }
        if wants_leader && self.member.kv.rank().leader.is_none() {
            return Err(error_text::no_leader());
        }
        Ok(())
    }
}

impl hyper::service::Service<Request<Incoming>> for Dispatch {
    type Response = Response<CountedBody>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, mut request: Request<Incoming>) -> Answer {
        if let Some(name) = &self.name {
            request.extensions_mut().insert(name.clone());
        }
        if matches!(self.scope, Scope::Clients | Scope::Grpc) && is_grpc(&request) {
            return self.call_grpc(request);
        }
        // Monitoring comes by addresses, and no browser does.
        let access = (self.scope != Scope::Metrics).then_some(&self.member.config.access);
        let visit = match access.map(|access| access.judge(&request, self.secure)) {
            Some(Err(refusal)) => return Answer::now(*refusal),
            Some(Ok(visit)) => visit,
            None => Visit::default(),
        };
        if visit.is_preflight {
            return Answer::now(visit.dress(Response::new(Body::empty())));
        }
        let scope = match self.scope {
            Scope::Grpc => return Answer::now(http_routes::not_found()),
            Scope::Http => Scope::Clients,
            scope => scope,
        };
        let is_json = gateway::is_for(request.uri().path()) && self.member.config.serves_json;
        if scope == Scope::Clients && is_json {
            let page = gateway::answer(self.clone(), request);
            return Answer::Page(Box::pin(async move { visit.dress(page.await) }));
        }
        let member = self.member.clone();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let page = http_routes::answer(member, scope, method, uri);
        Answer::Page(Box::pin(async move { visit.dress(page.await) }))
    }
}

/// A response on its way.
pub(crate) enum Answer {
    /// A refusal: it is there at once.
    Now(Option<Response<Body>>),
    /// Of an HTTP route.
    Page(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
    /// Of a gRPC method with one message each way.
    Unary(Serving),
    /// Of another.
    Grpc {
        /// tonic's.
        future: BoxFuture<Response<Body>, Infallible>,
        /// What it answers, until it does.
        call: Option<Call>,
    },
    /// Of a client that waits only so long.
    Timed(Box<Timed>),
}

/// An answer, for as long as the client waits for it.
pub(crate) struct Timed {
    answer: Answer,
    deadline: Instant,
    /// Made when it is known that there is something to wait for.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Future for Timed {
    type Output = Result<Response<CountedBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let timed = &mut *self;
        // What has waited for too long is not begun.
        if timed.sleep.is_none() && Instant::now() >= timed.deadline {
            return Poll::Ready(Ok(timed.give_up()));
        }
        let deadline = timed.deadline;
        let asleep = || Box::pin(tokio::time::sleep_until(deadline.into()));
        if let Poll::Ready(Ok(response)) = Pin::new(&mut timed.answer).poll(cx) {
            let sleep = timed.sleep.take();
            return Poll::Ready(Ok(response.map(|body| match body.goes_on() {
                true => body.until(sleep.unwrap_or_else(asleep)),
                false => body,
            })));
        }
        ready!(timed.sleep.get_or_insert_with(asleep).as_mut().poll(cx));
        Poll::Ready(Ok(timed.give_up()))
    }
}

impl Timed {
    /// Drops the call where it stands, which is counted as late.
    fn give_up(&mut self) -> Response<CountedBody> {
        self.answer = Answer::Now(None);
        deadline::exceeded().into_http().map(CountedBody::plain)
    }
}

impl Answer {
    fn now(response: Response<Body>) -> Answer {
        Answer::Now(Some(response))
    }
}

impl Future for Answer {
    type Output = Result<Response<CountedBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Answer::Now(response) => {
                let response = response.take().expect(ENDED);
                Poll::Ready(Ok(response.map(CountedBody::plain)))
            }
            Answer::Page(page) => {
                page.as_mut().poll(cx).map(|page| Ok(page.map(CountedBody::plain)))
            }
            Answer::Unary(serving) => serving.as_mut().poll(cx).map(Ok),
            Answer::Timed(timed) => Pin::new(&mut **timed).poll(cx),
            Answer::Grpc { future, call } => {
                let Ok(response) = ready!(future.as_mut().poll(cx));
                Poll::Ready(Ok(finish(call.take().expect(ENDED), response)))
            }
        }
    }
}

fn not_there_yet(mut call: Call, name: &str) -> Answer {
    call.end(Code::Unimplemented);
    Answer::now(error_text::unimplemented(name).into_http())
}

const ENDED: &str = "a future is not polled after its end";

/// tonic puts an error that comes before any message into the headers, and everything else into the
/// trailers. So a unary response without a status in its headers has succeeded, and a stream's
/// status is known when its body ends.
fn finish(mut call: Call, response: Response<Body>) -> Response<CountedBody> {
    let Some(code) = response.headers().get(Status::GRPC_STATUS) else {
        if call.is_unary() {
            call.end(Code::Ok);
        }
        return response.map(|body| CountedBody::new(body, call));
    };
    let code = Code::from_bytes(code.as_bytes());
    if code != Code::OutOfRange {
        call.end(code);
        return response.map(CountedBody::plain);
    }
    let status = Status::from_header_map(response.headers());
    let response = match status.as_ref().and_then(error_text::too_large) {
        Some(status) => {
            call.end(status.code());
            status.into_http()
        }
        None => {
            call.end(code);
            response
        }
    };
    response.map(CountedBody::plain)
}

/// Whether a request says that it is a call of gRPC.
pub(crate) fn is_grpc(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The answer to a call of what is not there.
pub(crate) fn unknown_method(unknown: Unknown<'_>) -> Status {
    Status::unimplemented(match unknown {
        Unknown::Path => "malformed method name".to_owned(),
        Unknown::Service(service) => format!("unknown service {service}"),
        Unknown::Method(service, name) => format!("unknown method {name} for service {service}"),
    })
}
