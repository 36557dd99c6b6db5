//! The pages for monitoring, as etcd's proxy has them.
//!
//! | page | answers |
//! |---|---|
//! | `/metrics` | the page of the member that calls go to |
//! | `/health` | whether a member answers a read |
//! | `/proxy/metrics` | what this proxy counts |
//! | `/proxy/health` | whether this proxy answers a read and a watch |

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::body::Body;

use super::asker::{self, Asker};
use super::message::{self, Framed};
use super::{Proxy, Shared};
use crate::http_routes::{self, TEXT};
use crate::logging::push_json_string;
use crate::metrics;
use crate::remote::shake_hands;

const METRICS_TEXT: &str = "text/plain; version=0.0.4";
/// How long a probe waits, as in etcd.
const READ_PATIENCE: Duration = Duration::from_secs(1);
const WATCH_PATIENCE: Duration = Duration::from_secs(3);
/// How long a member may take for its page, and how large that may be.
const PAGE_PATIENCE: Duration = Duration::from_secs(5);
const PAGE_BYTES_MAX: usize = 16 << 20;

/// The answer to a request that is not gRPC.
pub(crate) async fn answer(proxy: Shared, method: Method, uri: Uri) -> Response<Body> {
    match uri.path() {
        "/metrics" => match timeout(PAGE_PATIENCE, members_page(&proxy)).await {
            Ok(Ok(page)) => http_routes::text(StatusCode::OK, METRICS_TEXT, page),
            Ok(Err(error)) => {
                tracing::warn!(error = format!("{error:#}"), "a member shows no metrics");
                unavailable()
            }
            Err(_) => unavailable(),
        },
        "/proxy/metrics" => {
            let page = metrics::proxy_page(&proxy.methods, &proxy.counts());
            http_routes::text(StatusCode::OK, METRICS_TEXT, page)
        }
        "/health" | "/proxy/health" if method != Method::GET => http_routes::method_not_allowed(),
        "/health" => health(&proxy.read_one_key().await),
        "/proxy/health" => {
            let read = proxy.read_one_key().await;
            health(&if read.is_empty() { proxy.watch_one_key().await } else { read })
        }
        _ => http_routes::not_found(),
    }
}

impl Proxy {
    /// What is wrong with reads, if anything is. Whoever may not read has been answered.
    async fn read_one_key(&self) -> String {
        let range = pb::RangeRequest { key: "a".into(), ..Default::default() };
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Range");
        let (headers, message) = (asker::own(&Asker::default()), Framed::of(&range).0);
        let read = async {
            let response = self.upstream.call(&path, &headers, message, true).await?;
            message::collect(response, self.sizes.answer_max).await
        };
        let read = timeout(READ_PATIENCE, read).await;
        match read.unwrap_or_else(|_| Err(Status::unknown("context deadline exceeded"))) {
            Ok(_) => String::new(),
            Err(status) if is_answer(&status) => String::new(),
            Err(status) => format!("GET ERROR:{}", status.message()),
        }
    }

    /// What is wrong with watches, if anything is.
    async fn watch_one_key(&self) -> String {
        let create = pb::WatchCreateRequest { key: "a".into(), ..Default::default() };
        let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        // A watch ends when its requests do: they are open for as long as this takes.
        let (to, requests) = mpsc::channel(1);
        let mut client = WatchClient::new(self.upstream.clone());
        let watch = async {
            to.send(request).await.map_err(|_| Status::internal("nobody takes it"))?;
            client.watch(ReceiverStream::new(requests)).await?.into_inner().message().await
        };
        match timeout(WATCH_PATIENCE, watch).await {
            Ok(Ok(_)) => String::new(),
            Ok(Err(status)) if is_answer(&status) => String::new(),
            Ok(Err(status)) => format!("WATCH ERROR:{}", status.message()),
            Err(_) => "WATCH TIMEOUT".to_owned(),
        }
    }
}

/// A refusal for lack of rights shows that somebody is there.
fn is_answer(status: &Status) -> bool {
    status.message().ends_with("permission denied")
        || status.message().ends_with("user name is empty")
}

fn health(reason: &str) -> Response<Body> {
    let is_healthy = reason.is_empty();
    let mut body = format!(r#"{{"health":"{is_healthy}","reason":"#);
    push_json_string(&mut body, reason);
    body.push('}');
    match is_healthy {
        true => http_routes::text(StatusCode::OK, TEXT, body),
        false => http_routes::failure(StatusCode::SERVICE_UNAVAILABLE, body),
    }
}

fn unavailable() -> Response<Body> {
    http_routes::failure(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error".to_owned())
}

/// The page of the member that calls go to.
async fn members_page(proxy: &Proxy) -> Result<String> {
    let (address, tls) = proxy.upstream.current_place();
    let stream = shake_hands(&address, tls.as_deref()).await?;
    let request = Request::get("/metrics").header(header::HOST, &address);
    let request = request.body(Empty::<Bytes>::new())?;
    // What the handshake has agreed on: over TLS this is HTTP/2.
    let response = if tls.is_some() {
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = request;
        *request.uri_mut() = format!("https://{address}/metrics").parse()?;
        request.headers_mut().remove(header::HOST);
        sender.send_request(request).await?
    } else {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await?
    };
    let body = Limited::new(response.into_body(), PAGE_BYTES_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!(error)).context("no whole page")?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}
