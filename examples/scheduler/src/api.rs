//! HTTP and JSON: what people's tools say to servers, and servers to agents.
//!
//! # Problem
//! Whoever can reach this can run containers. What comes in is anybody's: half a request, a
//! gigabyte of brackets, a path that climbs, a page in somebody's browser that talks to loopback.
//! And what is asked for is written to a store that others write to at the same time.
//!
//! # Idea
//! ```text
//!   listen   connections, heads and bodies have bounds; the token, before anything else is read
//!     │
//!   ask      path, query and body become values, or a refusal that names the field
//!     │
//!   ┌─┴── objects, explain, events ── read the copy of the store (server::Shared)
//!   ├──── apply, verbs, nodes, texts ─ decide on the copy, write by a transaction that asks that
//!   │                                  nothing has changed since; if it has, decide again
//!   └──── proxy ────────────────────── the agent that has it
//! ```
//! A server keeps nothing of its clients: any of them can be asked anything.
//!
//! # Promises
//! * What is refused is answered with a [`wire::Refusal`]; all that is wrong with a manifest is
//!   said at once, and nothing of it is written then.
//! * The value of a secret is in no answer, message, log or plan.
//! * Everything has a bound: connections, heads, bodies, time, followers, the length of answers.
//!
//! # Omissions
//! One token, which may do everything; no users, no TLS: put a proxy in front, or a tunnel.

pub mod wire;

pub mod client;

mod apply;
mod ask;
mod change;
mod events;
mod explain;
pub(crate) mod listen;
mod nodes;
mod objects;
mod plan;
mod proxy;
mod refuse;
mod select;
mod texts;
mod token;
mod verbs;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub use listen::serve as listen;
pub use refuse::Refused;
pub(crate) use refuse::{unknown_method, unknown_path};
pub use token::Token;

use crate::secrets::Keyring;
use crate::server::{Server, Shared};
use crate::store::Store;

/// Requests that follow something, or are passed on to an agent, at once.
const FOLLOWERS_MAX: usize = 256;
/// How long a request waits for the first copy of the store.
const COPY_MAX: Duration = Duration::from_secs(10);

/// What answers requests.
#[derive(Debug)]
pub struct Api {
    store: Store,
    shared: Shared,
    leads: watch::Receiver<bool>,
    keyring: Option<Keyring>,
    token: Option<Token>,
    followers: Arc<Semaphore>,
    clusters: explain::Clusters,
}

impl Api {
    /// Of a server over this store. Without a keyring it takes no secrets in.
    pub fn new(store: Store, server: &Server, keyring: Option<Keyring>) -> Api {
        Api {
            store,
            shared: server.shared().clone(),
            leads: server.leads(),
            keyring,
            token: None,
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            clusters: explain::Clusters::default(),
        }
    }

    /// Gives a place among the followers, if there is one.
    fn follower(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Refused> {
        self.followers.clone().try_acquire_owned().map_err(|_| {
            Refused::busy(format!("{FOLLOWERS_MAX} requests follow something already"))
        })
    }
}

/// Answers requests until it is dropped.
///
/// # Errors
/// If the address can be reached from elsewhere and there is no token, or the listener fails.
pub async fn serve(listener: TcpListener, mut api: Api, token: Option<Token>) -> Result<()> {
    api.token.clone_from(&token);
    listen::serve(listener, routes(Arc::new(api)), token).await
}

type Shelf = State<Arc<Api>>;

fn routes(api: Arc<Api>) -> Router {
    let with_copy = Router::new()
        .route("/v1/apply", post(apply::apply))
        .route("/v1/plan", post(plan::plan))
        .route("/v1/objects", get(objects::list))
        .route("/v1/objects/{namespace}/{name}", get(objects::detail))
        .route("/v1/objects/{namespace}/{name}/explain", get(explain::explain))
        .route("/v1/objects/{namespace}/{name}/{verb}", post(verbs::verb))
        .route("/v1/events", get(events::events))
        .route("/v1/configs", get(texts::configs))
        .route("/v1/configs/{namespace}/{name}", delete(texts::delete_config))
        .route("/v1/secrets", get(texts::secrets))
        .route(
            "/v1/secrets/{namespace}/{name}",
            delete(texts::delete_secret).put(texts::put_secret),
        )
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/{id}", get(nodes::one))
        .route("/v1/nodes/{id}/{verb}", post(nodes::verb))
        .route(
            "/v1/nodes/{id}/images",
            get(proxy::to_node).post(proxy::to_node).delete(proxy::to_node),
        )
        .route("/v1/nodes/{id}/images/pull", post(proxy::to_node))
        .route("/v1/runs/{run}/logs", get(proxy::to_run))
        .route("/v1/runs/{run}/exec", post(proxy::to_run))
        .layer(middleware::from_fn_with_state(api.clone(), wait_for_copy));
    Router::new()
        .route("/v1/health", get(nodes::health))
        .merge(with_copy)
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(api)
}

/// A server that has just begun would say that nothing is there.
async fn wait_for_copy(State(api): Shelf, request: Request, next: Next) -> Response {
    if *api.shared.revision().borrow() == 0 {
        let begun = tokio::time::timeout(COPY_MAX, api.shared.at(1)).await;
        if !matches!(begun, Ok(Ok(_))) {
            return Refused::unavailable("this server has no copy of the store yet")
                .into_response();
        }
    }
    next.run(request).await
}
