//! What an agent answers over HTTP: logs of its runs, commands in their containers, its images.
//!
//! The paths and bodies are in [`wire`](crate::api::wire). Servers pass requests of people on to
//! it, with the same token.
//!
//! # Who may ask
//! Whoever knows the token, and on loopback everybody if there is none; an agent that would listen
//! elsewhere without a token does not start. Who may ask may run commands in every container of
//! the node: the token is as good as root in all of them. There is no TLS here: a network that is
//! not trusted needs a tunnel.
//!
//! # What is bounded
//! | what | at most | who is over it |
//! |---|---|---|
//! | connections | [`CONNECTIONS_MAX`] | waits |
//! | the head of a request | 10 s to come | is hung up on |
//! | logs that are read | [`LOGS_MAX`] | 503 |
//! | commands in containers | [`SESSIONS_MAX`] | 503 |
//! | pulls, uploads | [`PULLS_MAX`], [`UPLOADS_MAX`] | 503 |
//! | an upload | `Limits::upload_bytes`, 60 s without a byte | 413, 408 |
//! | other bodies | [`BODY_BYTES_MAX`] | 413 |

mod door;
mod exec;
mod images;
mod logs;
mod refused;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query};
use axum::http::{StatusCode, Uri};
use axum::middleware;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mason_core::types::{NodeId, RunId, check_name};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::hands::Tools;
use super::upkeep::Limits;
use door::Door;
use refused::Refused;

/// Most connections at once.
pub const CONNECTIONS_MAX: usize = 512;
/// Most logs that are read at once.
pub const LOGS_MAX: usize = 128;
/// Most commands in containers at once.
pub const SESSIONS_MAX: usize = 32;
/// Most images that are pulled by hand at once.
pub const PULLS_MAX: usize = 4;
/// Most images that are taken in at once.
pub const UPLOADS_MAX: usize = 2;
/// Longest body of a request that is no upload, bytes.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// How long the head of a request may take.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// How long a listener that fails is left alone.
const PAUSE: Duration = Duration::from_millis(200);

/// What answers.
pub(super) struct Desk {
    tools: Arc<Tools>,
    door: Door,
    limits: Limits,
    /// Where uploads lie until they are images.
    uploads: PathBuf,
    logs: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
    pulls: Semaphore,
    uploading: Semaphore,
    /// Commands that run in containers, beside their connections.
    running: Mutex<JoinSet<()>>,
}

impl Desk {
    /// Opens it. What an earlier start left of uploads is removed.
    pub(super) fn open(
        tools: Arc<Tools>,
        token: Option<String>,
        limits: Limits,
        data_dir: &Path,
    ) -> Result<Desk> {
        let uploads = data_dir.join("uploads");
        let empty = || {
            if uploads.exists() {
                std::fs::remove_dir_all(&uploads)?;
            }
            std::fs::create_dir_all(&uploads)
        };
        empty().with_context(|| uploads.display().to_string())?;
        Ok(Desk {
            tools,
            door: Door::new(token),
            limits,
            uploads,
            logs: Arc::new(Semaphore::new(LOGS_MAX)),
            sessions: Arc::new(Semaphore::new(SESSIONS_MAX)),
            pulls: Semaphore::new(PULLS_MAX),
            uploading: Semaphore::new(UPLOADS_MAX),
            running: Mutex::new(JoinSet::new()),
        })
    }

    /// This node, or another.
    fn check_node(&self, node: &str) -> Result<(), Refused> {
        if NodeId::from(node) == self.tools.node {
            return Ok(());
        }
        let node: String = node.chars().take(80).collect();
        let here = &self.tools.node;
        Err(Refused::new(StatusCode::NOT_FOUND, format!("this is node {here}, not {node}")))
    }
}

/// What a run is called: no name leaves the folder of runs.
fn check_run(run: &str) -> Result<RunId, Refused> {
    check_name(run).map_err(|error| Refused::bad(format!("run: {error}")))?;
    Ok(run.into())
}

fn check_query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refused> {
    query.map(|Query(query)| query).map_err(|error| Refused::bad(error.body_text()))
}

/// Answers until it is dropped; all connections go with it.
pub(super) fn serve(listener: TcpListener, desk: Desk) -> Result<impl Future<Output = ()>> {
    let address = listener.local_addr().context("the agent's address")?;
    desk.door.check(address.ip())?;
    let desk = Arc::new(desk);
    let service = TowerToHyperService::new(router(desk.clone()));
    let end = AtEnd(desk);
    Ok(async move {
        let _end = end;
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            if connections.len() >= CONNECTIONS_MAX {
                connections.join_next().await;
                continue;
            }
            let stream = tokio::select! {
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Too many open files, for one: it passes.
                        tracing::warn!(%error, "nobody can connect");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            let _ = stream.set_nodelay(true);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_MAX)
                .max_buf_size(BODY_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service.clone())
                .with_upgrades();
            // That a client hung up is no news.
            connections.spawn(async move { drop(connection.await) });
        }
    })
}

/// Commands are killed when nobody answers any more.
struct AtEnd(Arc<Desk>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.running.lock().abort_all();
    }
}

fn router(desk: Arc<Desk>) -> Router {
    let images = get(images::list).post(images::import).delete(images::remove);
    Router::new()
        .route("/v1/runs/{run}/logs", get(logs::logs))
        .route("/v1/runs/{run}/exec", post(exec::exec))
        .route("/v1/nodes/{node}/images", images)
        .route("/v1/nodes/{node}/images/pull", post(images::pull))
        .fallback(async |uri: Uri| {
            let path: String = uri.path().chars().take(80).collect();
            Refused::new(StatusCode::NOT_FOUND, format!("an agent has nothing at {path}"))
        })
        .method_not_allowed_fallback(async || {
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, "that cannot be done with this path")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(desk.clone(), door::guard))
        .with_state(desk)
}
