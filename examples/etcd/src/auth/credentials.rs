//! What a client shows.
//!
//! A token stands in the metadata `token`, or in `authorization`, there with or without `Bearer `
//! before it. A client without one is whoever its certificate names, if it had to show one; a
//! gateway's certificate is the gateway's own, and names nobody. A token counts more.

use std::sync::Arc;

use drystone_kv::Caller;
use http::{Extensions, HeaderMap};

use crate::connection::PeerName;

const TOKEN: &str = "token";
const AUTHORIZATION: &str = "authorization";
const BEARER: &str = "bearer ";
/// Whoever sends this passes on what others ask.
const GATEWAY: &str = "grpcgateway-accept";

/// What a client shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// A token, which may be anything.
    Token(Arc<str>),
    /// A certificate that was verified, in this name.
    Certificate(Arc<str>),
}

impl Credentials {
    /// Those of a request.
    pub(crate) fn of(headers: &HeaderMap, extensions: &Extensions) -> Credentials {
        let shown = headers.get(TOKEN).or_else(|| headers.get(AUTHORIZATION));
        if let Some(shown) = shown {
            // What is no text is no token that was ever given.
            let token = shown.to_str().unwrap_or_default();
            let is_bearer =
                token.get(..BEARER.len()).is_some_and(|word| word.eq_ignore_ascii_case(BEARER));
            let token = if is_bearer { &token[BEARER.len()..] } else { token };
            return Credentials::Token(token.into());
        }
        match extensions.get::<PeerName>() {
            Some(PeerName(name)) if !headers.contains_key(GATEWAY) => {
                Credentials::Certificate(name.clone())
            }
            _ => Credentials::None,
        }
    }
}

/// Who makes a call, in the extensions of its request.
#[derive(Clone)]
pub(crate) struct Asker {
    /// Who it was when the call began.
    pub(crate) caller: Caller,
    /// What it showed, for calls that go on for long.
    pub(crate) credentials: Credentials,
}

impl Default for Asker {
    fn default() -> Asker {
        Asker { caller: Caller::Nobody, credentials: Credentials::None }
    }
}

impl Asker {
    /// Whether that is what one is who has said nothing.
    pub(crate) fn is_nobody(&self) -> bool {
        self.caller == Caller::Nobody && self.credentials == Credentials::None
    }
}

/// Who makes a call; nobody if nobody has said.
pub(crate) fn asker_of<T>(request: &tonic::Request<T>) -> Asker {
    request.extensions().get::<Asker>().cloned().unwrap_or_default()
}

/// The same without what it showed.
pub(crate) fn caller_of<T>(request: &tonic::Request<T>) -> Caller {
    request.extensions().get::<Asker>().map_or(Caller::Nobody, |asker| asker.caller.clone())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn shown(headers: &[(&'static str, &'static str)], peer: Option<&str>) -> Credentials {
        let map: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect();
        let mut extensions = Extensions::new();
        if let Some(peer) = peer {
            extensions.insert(PeerName(peer.into()));
        }
        Credentials::of(&map, &extensions)
    }

    // Clients of every age and kind put the token where they always have.
    #[test]
    fn tokens_are_found_wherever_clients_put_them() {
        let token = Credentials::Token("a.1".into());
        assert!(shown(&[("token", "a.1")], None) == token);
        for value in ["a.1", "Bearer a.1", "bearer a.1"] {
            assert!(shown(&[("authorization", value)], None) == token, "{value}");
        }
        assert!(shown(&[("token", "a.1"), ("authorization", "b.2")], Some("eve")) == token);
    }

    // A gateway has a certificate, and speaks for others who have none.
    #[test]
    fn certificates_name_their_owner_and_no_gateways_clients() {
        assert!(shown(&[], Some("alice")) == Credentials::Certificate("alice".into()));
        let gateway = ("grpcgateway-accept", "application/json");
        assert!(shown(&[gateway], Some("alice")) == Credentials::None);
        assert!(shown(&[], None) == Credentials::None);
    }
}
