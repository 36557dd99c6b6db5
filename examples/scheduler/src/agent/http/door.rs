//! Who may ask.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::Desk;
use super::refused::Refused;

/// Who may ask: whoever knows the token.
pub(super) struct Door {
    /// SHA-256 of the token, so that comparing takes as long for every guess.
    token: Option<[u8; 32]>,
}

impl Door {
    pub(super) fn new(token: Option<String>) -> Door {
        Door { token: token.map(|token| Sha256::digest(token.as_bytes()).into()) }
    }

    /// Whether it may be where it is.
    pub(super) fn check(&self, address: IpAddr) -> Result<()> {
        ensure!(
            self.token.is_some() || address.to_canonical().is_loopback(),
            "an agent that listens at {address}, where others reach it, needs a token"
        );
        Ok(())
    }

    fn lets_in(&self, header: Option<&[u8]>) -> bool {
        let Some(token) = &self.token else { return true };
        let Some(given) = header.and_then(bearer) else { return false };
        let given: [u8; 32] = Sha256::digest(given).into();
        // All bytes are looked at, whichever differ. Of a hash there would be nothing to learn
        // from the time even so.
        given.iter().zip(token).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

/// The token of `Bearer <token>`; the word is written in any case (RFC 9110, 11.1).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (word, token) = header.split_at_checked("Bearer ".len())?;
    word.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// Lets in who may ask.
pub(super) async fn guard(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    if desk.door.lets_in(header) {
        return next.run(request).await;
    }
    let refused = Refused::new(StatusCode::UNAUTHORIZED, "this takes the cluster's token");
    let mut response = refused.into_response();
    let scheme = HeaderValue::from_static("Bearer");
    response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is let in may run commands in every container.
    #[test]
    fn only_the_token_opens_the_door() {
        let door = Door::new(Some("hush".to_owned()));
        for (header, expected) in [
            (Some("Bearer hush"), true),
            (Some("bearer hush"), true),
            (Some("Bearer hus"), false),
            (Some("Bearer hushh"), false),
            (Some("Bearer "), false),
            (Some("Basic hush"), false),
            (Some("ä"), false),
            (None, false),
        ] {
            assert_eq!(door.lets_in(header.map(str::as_bytes)), expected, "{header:?}");
        }
        assert!(Door::new(None).lets_in(None));
    }

    /// An agent without a token that all the network reaches is a shell for all the network.
    #[test]
    fn without_a_token_there_is_loopback_alone() {
        let open = |text: &str, token: Option<&str>| {
            Door::new(token.map(str::to_owned)).check(text.parse().unwrap()).is_ok()
        };
        for (address, expected) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(open(address, None), expected, "{address}");
            assert!(open(address, Some("x")), "{address}");
        }
    }
}
