//! The door: connections, with bounds on all that a stranger can hold open or fill, and the token.
//!
//! | bound | against |
//! |---|---|
//! | [`CONNECTIONS_MAX`] | a flood of connections |
//! | [`HEAD_MAX`] of time, [`HEAD_BYTES_MAX`], [`HEADERS_MAX`] | heads that drip, or never end |
//! | the token, before the body is read | everybody else |
//! | without a token: loopback alone, and no pages of elsewhere | a browser on this machine |
//!
//! The last one: a page can make a browser send requests to `127.0.0.1`, and by a name of its own
//! that resolves there. Such a request says where its page is from (`Origin`), or that name
//! (`Host`).

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::refuse::{Refused, shown};
use super::token::Token;

/// Connections at once; more wait to be accepted.
pub(super) const CONNECTIONS_MAX: usize = 1024;
/// How long the head of a request may take, the pause before it among that.
pub(super) const HEAD_MAX: Duration = Duration::from_secs(30);
/// Longest head, bytes.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Headers of a request at most.
pub(super) const HEADERS_MAX: usize = 100;
/// How long it rests when no connection can be accepted: there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers requests by these routes until it is dropped. Who does not send the token is refused.
///
/// # Errors
/// If the address can be reached from elsewhere and there is no token.
pub async fn serve(listener: TcpListener, routes: Router, token: Option<Token>) -> Result<()> {
    let address = listener.local_addr().context("the address to listen on")?;
    ensure!(
        token.is_some() || address.ip().is_loopback(),
        "will not listen on {address} without a token: whoever reaches it could run anything; \
         give a token, or listen on 127.0.0.1"
    );
    let routes = routes.layer(middleware::from_fn_with_state(Arc::new(token), guard));
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        let place = room.clone().acquire_owned().await.context("nobody closes it")?;
        match listener.accept().await {
            Ok((stream, _)) => {
                let routes = routes.clone();
                connections.spawn(async move {
                    attend(stream, routes).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn attend(stream: TcpStream, routes: Router) {
    // Answers are small and wait for nothing.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection broke");
    }
}

/// Lets in who may.
async fn guard(State(token): State<Arc<Option<Token>>>, request: Request, next: Next) -> Response {
    match check(token.as_ref().as_ref(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) if refused.status == StatusCode::UNAUTHORIZED => {
            ([(header::WWW_AUTHENTICATE, "Bearer")], refused).into_response()
        }
        Err(refused) => refused.into_response(),
    }
}

fn check(token: Option<&Token>, headers: &HeaderMap) -> Result<(), Refused> {
    let Some(token) = token else { return check_local(headers) };
    let unauthorized = |error| Err(Refused::new(StatusCode::UNAUTHORIZED, error));
    let Some(sent) = headers.get(header::AUTHORIZATION) else {
        return unauthorized("no token was sent: `Authorization: Bearer <token>`");
    };
    let bearer = sent
        .as_bytes()
        .split_at_checked(7)
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
    match bearer {
        Some((_, sent)) if token.is(sent.trim_ascii()) => Ok(()),
        Some(_) => unauthorized("the token is another"),
        None => unauthorized("what was sent is no token: `Authorization: Bearer <token>`"),
    }
}

fn check_local(headers: &HeaderMap) -> Result<(), Refused> {
    let refuse = |error| Err(Refused::new(StatusCode::FORBIDDEN, error));
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(origin) = text(header::ORIGIN) {
        return refuse(format!("a page of {} may not ask this without a token", shown(&origin)));
    }
    match text(header::HOST) {
        Some(host) if !is_local(&host) => {
            refuse(format!("{} is no name of loopback; without a token it must be", shown(&host)))
        }
        _ => Ok(()),
    }
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &str)| {
            (header::HeaderName::from_static(name), value.parse().unwrap())
        };
        all.iter().map(pair).collect()
    }

    /// The token is all that stands between a network and a shell.
    #[test]
    fn nobody_enters_without_the_token() {
        let token = Token::new("0123456789abcdef").unwrap();
        let status = |all: &[(&'static str, &str)]| {
            check(Some(&token), &headers(all)).map_err(|refused| refused.status.as_u16())
        };
        assert_eq!(status(&[]), Err(401));
        for bad in ["0123456789abcdef", "Bearer", "Bearer ", "Basic 0123456789abcdef", "Bearer x"] {
            assert_eq!(status(&[("authorization", bad)]), Err(401), "{bad}");
        }
        assert_eq!(status(&[("authorization", "bearer 0123456789abcdef")]), Ok(()));
    }

    /// A page in a browser on this machine reaches loopback as well as its user does.
    #[test]
    fn pages_of_elsewhere_do_not_reach_loopback() {
        let status = |all: &[(&'static str, &str)]| {
            check(None, &headers(all)).map_err(|refused| refused.status.as_u16())
        };
        for good in ["localhost", "localhost:7070", "127.0.0.1:7070", "[::1]:7070", "127.9.9.9"] {
            assert_eq!(status(&[("host", good)]), Ok(()), "{good}");
        }
        for bad in ["evil.example", "evil.example:7070", "10.0.0.1:7070", "[::2]", ""] {
            assert_eq!(status(&[("host", bad)]), Err(403), "{bad}");
        }
        let page = [("host", "127.0.0.1:7070"), ("origin", "https://evil.example")];
        assert_eq!(status(&page), Err(403));
    }
}
