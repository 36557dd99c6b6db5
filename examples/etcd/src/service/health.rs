//! gRPC's health check: a server that answers is serving.

use drystone_etcd_api::health::health_check_response::ServingStatus;
use drystone_etcd_api::health::{HealthCheckRequest, HealthCheckResponse, health_server};
use futures_util::{StreamExt, stream};
use tonic::{Request, Response, Status};

use super::BoxStream;
use crate::member::Shared;

/// The services that one may ask about; the empty name is the server as a whole.
const SERVICES: [&str; 7] = [
    "",
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
];

#[tonic::async_trait]
impl health_server::Health for Shared {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(&request.into_inner().service) {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(answer(ServingStatus::Serving)))
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    /// Says how things are, and then nothing, since they stay so until the end.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = is_known(&request.into_inner().service);
        let first = if known { ServingStatus::Serving } else { ServingStatus::ServiceUnknown };
        let mut shutdown = self.shutdown.clone();
        let last = async move {
            shutdown.fired().await;
            Ok(answer(ServingStatus::NotServing))
        };
        let answers = stream::iter([Ok(answer(first))]).chain(stream::once(last));
        Ok(Response::new(Box::pin(answers)))
    }
}

fn is_known(service: &str) -> bool {
    SERVICES.contains(&service)
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
