//! Where a request goes: gRPC to the services, everything else to the HTTP routes.
//!
//! Both share a port. A request is gRPC when its content type says so:
//!
//! ```text
//!             content-type: application/grpc…
//!   request ──────────┬──── yes ──► method table ──► tonic's server for the service ──► count code
//!                     └──── no ───► crate::http
//! ```
//!
//! The services are called directly, without a router between: the path is looked up once, in the
//! table that also counts calls. What tonic says differently from gRPC in Go is put right on the
//! way out.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use drystone_etcd_api::etcdserverpb::{
    auth_server::AuthServer, cluster_server::ClusterServer, lease_server::LeaseServer,
    maintenance_server::MaintenanceServer, watch_server::WatchServer,
};
use drystone_etcd_api::health::health_server::HealthServer;
use http::{Request, Response, header};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service as _};
use tonic::{Code, Status};

use crate::call::{Call, CountedBody, CountedRequest};
use crate::error_text;
use crate::grpc_method::{Service, Unknown};
use crate::http_routes;
use crate::member::Shared;
use crate::service::Serving;

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
    /// The HTTP routes that monitoring needs, alone.
    Metrics,
}

/// Takes the requests of one connection. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dispatch {
    member: Shared,
    scope: Scope,
    servers: Arc<Servers>,
}

/// tonic's face of each service.
struct Servers {
    watch: WatchServer<Shared>,
    lease: LeaseServer<Shared>,
    maintenance: MaintenanceServer<Shared>,
    cluster: ClusterServer<Shared>,
    auth: AuthServer<Shared>,
    health: HealthServer<Shared>,
}

impl Dispatch {
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
            health: HealthServer::from_arc(shared).max_decoding_message_size(max),
        };
        Dispatch { member, scope, servers: Arc::new(servers) }
    }

    fn call_grpc(&self, request: Request<Incoming>) -> Answer {
        let methods = &self.member.metrics.grpc;
        let wants_leader = request.headers().get(HAS_LEADER).is_some_and(|value| value == "true");
        let (service, id) = match methods.find(request.uri().path()) {
            Ok(found) => found,
            Err(unknown) => return Answer::now(unknown_method(unknown).into_http()),
        };
        let (method, mut call) = (methods.get(id), Call::start(self.member.clone(), id));
        self.member.metrics.clients.count(request.headers(), method.is_unary());
        if let Err(status) = self.check_place(service, method.name, wants_leader) {
            call.end(status.code());
            return Answer::now(status.into_http());
        }
        if service == Service::Kv {
            return match self.member.call_kv(method.name, request, call) {
                Ok(serving) => Answer::Unary(serving),
                Err(call) => not_there_yet(call, method.name),
            };
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
            Service::Kv | Service::Missing => return not_there_yet(call, method.name),
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

    fn call(&self, request: Request<Incoming>) -> Answer {
        if self.scope == Scope::Clients && is_grpc(&request) {
            return self.call_grpc(request);
        }
        let (member, scope) = (self.member.clone(), self.scope);
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Answer::Page(Box::pin(http_routes::answer(member, scope, method, uri)))
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

fn is_grpc(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn unknown_method(unknown: Unknown<'_>) -> Status {
    Status::unimplemented(match unknown {
        Unknown::Path => "malformed method name".to_owned(),
        Unknown::Service(service) => format!("unknown service {service}"),
        Unknown::Method(service, name) => format!("unknown method {name} for service {service}"),
    })
}
