//! The connection, against a server made of the generated parts.

use std::{net::SocketAddr, time::Duration};

use drystone_etcd_api::{
    client::{Config, connect, connect_lazy},
    etcdserverpb::RangeRequest,
    health::{
        HealthCheckRequest, HealthCheckResponse,
        health_check_response::ServingStatus,
        health_client::HealthClient,
        health_server::{Health, HealthServer},
    },
};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, codegen::tokio_stream};

/// Always well.
struct Well;

#[tonic::async_trait]
impl Health for Well {
    type WatchStream = tokio_stream::Pending<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::pending()))
    }
}

async fn serve_well() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let router = tonic::transport::Server::builder().add_service(HealthServer::new(Well));
    tokio::spawn(router.serve_with_incoming(incoming));
    addr
}

/// `etcdctl` style endpoints carry no scheme; both spellings must connect.
#[tokio::test]
async fn both_spellings_of_an_endpoint_connect() {
    let addr = serve_well().await;
    for endpoint in [format!("{addr}"), format!("http://{addr}")] {
        let client = connect(&endpoint, &Config::default()).await.unwrap();
        let answer = HealthClient::new(client.channel())
            .check(HealthCheckRequest::default())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
}

/// A caller that wants to know at once whether anybody is there must be told.
#[tokio::test]
async fn connect_fails_where_nobody_listens_and_connect_lazy_fails_later() {
    // Bound and dropped: a port that was free a moment ago.
    let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = Config { connect_timeout: Duration::from_secs(2), ..Config::default() };
    assert!(connect(&addr.to_string(), &config).await.is_err());

    let client = connect_lazy(&addr.to_string(), &config).unwrap();
    let failure = client.kv().range(RangeRequest::default()).await;
    assert_eq!(failure.unwrap_err().code(), tonic::Code::Unavailable);
}

/// A typing error in an endpoint is the user's, not a reason to panic.
#[tokio::test]
async fn an_endpoint_that_is_no_url_is_an_error() {
    assert!(connect("http://not a host", &Config::default()).await.is_err());
}
