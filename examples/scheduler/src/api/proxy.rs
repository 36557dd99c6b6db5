//! What lies on a node is asked of its agent: the request is passed on as it is, and its answer
//! back, whatever streams in either direction.
//!
//! ```text
//!   client ── request, body ──► server ── the same, with our token ──► agent
//!          ◄─ answer, body ────        ◄───────────────────────────────
//!          ◄═ upgraded: bytes, both ways, until either ends ══════════►
//! ```
//! Which node has a run is in the copy as long as the run is known; of one that has ended, in what
//! is kept of its task's last attempt.
//!
//! | what is wrong | answer |
//! |---|---|
//! | nobody knows the run, or the node | 404 |
//! | the run's node was forgotten, and its logs with it | 410 |
//! | the node is silent, or its agent does not connect or breaks off | 502 |
//! | it takes longer than [`ANSWER_MAX`] to begin its answer | 504 |

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mason_core::mirror::Mirror;
use mason_core::types::{NodeId, RunId};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::ask::{self, NodeName, RunName};
use super::refuse::Refused;
use super::{Api, Shelf, nodes};

/// How long a connection to an agent may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long an agent may take to begin its answer. A pull is answered when it is done.
const ANSWER_MAX: Duration = Duration::from_secs(30 * 60);
/// Longest body of a request that asks for an upgrade, bytes.
const UPGRADE_BYTES_MAX: usize = 64 << 10;
/// Headers that are about one connection, and not about what is said over it.
const OF_CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    header::UPGRADE,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];

pub(super) async fn to_run(
    State(api): Shelf,
    RunName(run): RunName,
    request: Request,
) -> Result<Response, Refused> {
    let node = api.shared.read(|mirror| node_of(mirror, &run));
    let node =
        node.ok_or_else(|| Refused::missing(format!("there is no run {run}, or no more")))?;
    let what = format!("run {run} was on node {node}, which is forgotten, and its logs with it");
    let gone = Refused::new(StatusCode::GONE, what);
    pass(&api, &node, gone, request).await
}

pub(super) async fn to_node(
    State(api): Shelf,
    NodeName(node): NodeName,
    request: Request,
) -> Result<Response, Refused> {
    pass(&api, &node, nodes::unknown(&node), request).await
}

/// Where a run is, or was.
fn node_of(mirror: &Mirror, run: &RunId) -> Option<NodeId> {
    let known = mirror.run(run);
    if let Some((node, _)) = known.and_then(|it| it.record.as_ref()) {
        return Some(node.clone());
    }
    if let Some(result) = known.and_then(|it| it.result.as_ref()) {
        return Some(result.value.node.clone());
    }
    // What is kept is a thousand of a job at most: people who ask wait that long.
    mirror.jobs().find_map(|(_, job)| {
        let pasts = job.pasts.values().map(|it| &it.value);
        let lasts = job.tasks.values().filter_map(|it| it.value.last.as_ref());
        pasts.chain(lasts).find(|past| past.run == *run).map(|past| past.node.clone())
    })
}

async fn pass(
    api: &Api,
    node: &NodeId,
    gone: Refused,
    request: Request,
) -> Result<Response, Refused> {
    let place = api.follower()?;
    let address = api.shared.read(|mirror| {
        let node = mirror.node(node)?;
        Some(node.alive.as_ref().map(|alive| alive.value.address.clone()))
    });
    let bad_gateway = |error: String| Refused::new(StatusCode::BAD_GATEWAY, error);
    let Some(address) = address else { return Err(gone) };
    let address =
        address.ok_or_else(|| bad_gateway(format!("node {node} is silent: its lease is gone")))?;
    let whom = format!("the agent of node {node} at {address}");
    let connected = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(&address)).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(bad_gateway(format!("{whom} does not connect: {error}"))),
        Err(_) => return Err(bad_gateway(format!("{whom} does not connect in time"))),
    };
    let _ = stream.set_nodelay(true);
    let broke = |error: hyper::Error| bad_gateway(format!("{whom} broke off: {error}"));
    let (mut sender, connection) =
        http1::handshake::<_, Body>(TokioIo::new(stream)).await.map_err(broke)?;
    tokio::spawn(connection.with_upgrades());
    let wants_upgrade = request.headers().contains_key(header::UPGRADE);
    let (onward, client) = onward(api, &address, request, wants_upgrade).await?;
    let answer = match tokio::time::timeout(ANSWER_MAX, sender.send_request(onward)).await {
        Ok(answer) => answer.map_err(broke)?,
        Err(_) => {
            let error = format!("{whom} does not answer in time");
            return Err(Refused::new(StatusCode::GATEWAY_TIMEOUT, error));
        }
    };
    Ok(back(answer, client, place))
}

/// The request as the agent gets it, and the client's connection if it is to be upgraded.
async fn onward(
    api: &Api,
    address: &str,
    mut request: Request,
    wants_upgrade: bool,
) -> Result<(Request, Option<hyper::upgrade::OnUpgrade>), Refused> {
    let client = wants_upgrade.then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.headers.get(header::UPGRADE).cloned();
    strip(&mut parts.headers);
    parts.headers.remove(header::AUTHORIZATION);
    parts.headers.remove(header::EXPECT);
    let host = HeaderValue::from_str(address);
    let host = host.map_err(|_| Refused::bad("the agent's address is none"))?;
    parts.headers.insert(header::HOST, host);
    if let Some(token) = &api.token {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .expect("a token is visible ASCII");
        value.set_sensitive(true);
        parts.headers.insert(header::AUTHORIZATION, value);
    }
    if let Some(upgrade) = upgrade {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, upgrade);
    }
    // The path and the query, not the rest of what a client may have written there.
    let target = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    parts.uri = target.parse().map_err(|_| Refused::bad("the path is none"))?;
    // A connection is another one only when all that was sent before is read.
    let body = match wants_upgrade {
        true => Body::from(ask::read(body, UPGRADE_BYTES_MAX).await?),
        false => body,
    };
    if wants_upgrade {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    Ok((Request::from_parts(parts, body), client))
}

/// Removes what is about one connection: what all such headers are, and what this one names.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_CONNECTION) {
        headers.remove(name);
    }
}

/// The agent's answer, as the client gets it. The place among the followers is held until it ends.
fn back(
    mut answer: hyper::Response<hyper::body::Incoming>,
    client: Option<hyper::upgrade::OnUpgrade>,
    place: OwnedSemaphorePermit,
) -> Response {
    let is_upgrade = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if is_upgrade && let Some(client) = client {
        let agent = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move {
            let _place = place;
            if let (Ok(client), Ok(agent)) = (client.await, agent.await) {
                let (mut client, mut agent) = (TokioIo::new(client), TokioIo::new(agent));
                // However it ends, both are closed.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut agent).await;
            }
        });
        return answer.map(|_| Body::empty());
    }
    strip(answer.headers_mut());
    answer.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _held = &place;
            frame
        }))
    })
}
