//! What an agent answers over HTTP: logs of its runs, commands in their containers, its images.
//!
//! The paths and bodies are in [`wire`](crate::api::wire). Servers pass requests of people on to
//! it, with the same token; the door is the same, too.
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
//! | connections, heads | as a server's | waits, is hung up on |
//! | logs that are read | [`LOGS_MAX`] | 503 |
//! | commands in containers | [`SESSIONS_MAX`] | 503 |
//! | pulls, uploads | [`PULLS_MAX`], [`UPLOADS_MAX`] | 503 |
//! | an upload | `Limits::upload_bytes`, 60 s without a byte | 413, 408 |
//! | other bodies | [`BODY_BYTES_MAX`] | 413 |

mod exec;
mod images;
mod logs;
mod refused;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query};
use axum::http::StatusCode;
use axum::routing::{get, post};
use mason_core::types::{NodeId, RunId, check_name};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::hands::Tools;
use super::upkeep::Limits;
use crate::api::{self, Refused, Token, listen};

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

/// What answers.
pub(super) struct Desk {
    tools: Arc<Tools>,
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
    pub(super) fn open(tools: Arc<Tools>, limits: Limits, data_dir: &Path) -> Result<Desk> {
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
pub(super) fn serve(
    listener: TcpListener,
    desk: Desk,
    token: Option<Token>,
) -> Result<impl Future<Output = ()>> {
    let address = listener.local_addr().context("the agent's address")?;
    ensure!(
        token.is_some() || address.ip().is_loopback(),
        "an agent that listens on {address}, where others reach it, needs a token"
    );
    let desk = Arc::new(desk);
    let routes = router(desk.clone());
    let end = AtEnd(desk);
    Ok(async move {
        let _end = end;
        if let Err(error) = listen::serve(listener, routes, token).await {
            tracing::error!("nobody can ask this agent any more: {error:#}");
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
        .fallback(api::unknown_path)
        .method_not_allowed_fallback(api::unknown_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(desk)
}
