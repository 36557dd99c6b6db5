//! Who asks, as far as a member can tell; and what of a request goes on to it.
//!
//! A member knows people by their tokens. The proxy passes each token on with the calls it came
//! with, and never lends one: what was answered under one token is not told under another.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

const TOKEN: HeaderName = HeaderName::from_static("token");
const HAS_LEADER: HeaderName = HeaderName::from_static("hasleader");
/// What concerns one connection alone, and how answers may be packed: the proxy looks into some.
const KEPT_BACK: [HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("grpc-accept-encoding"),
];

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Asker {
    token: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
    /// It wants nothing of a member that has no leader.
    pub(crate) wants_leader: bool,
}

impl Asker {
    /// Who sent these headers.
    pub(crate) fn of(headers: &HeaderMap) -> Asker {
        Asker {
            token: headers.get(TOKEN).cloned(),
            authorization: headers.get(header::AUTHORIZATION).cloned(),
            wants_leader: headers.get(HAS_LEADER).is_some_and(|value| value == "true"),
        }
    }

    /// Whether it shows nothing by which a member could tell who it is.
    pub(crate) fn is_nobody(&self) -> bool {
        self.token.is_none() && self.authorization.is_none()
    }

    /// Says it in a request of the proxy's own.
    pub(crate) fn sign(&self, headers: &mut HeaderMap) {
        let leader = self.wants_leader.then(|| HeaderValue::from_static("true"));
        let all = [
            (TOKEN, self.token.clone()),
            (header::AUTHORIZATION, self.authorization.clone()),
            (HAS_LEADER, leader),
        ];
        headers.extend(all.into_iter().filter_map(|(name, value)| Some((name, value?))));
    }

    /// The tokens, as one value that no other tokens have.
    pub(crate) fn tokens(&self) -> Bytes {
        let mut all = BytesMut::new();
        for value in [&self.token, &self.authorization] {
            match value {
                Some(value) => {
                    all.put_u64(1 + value.len() as u64);
                    all.put_slice(value.as_bytes());
                }
                None => all.put_u64(0),
            }
        }
        all.freeze()
    }
}

/// What of a request's headers a member is to hear.
pub(crate) fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    for name in KEPT_BACK {
        passed.remove(name);
    }
    passed
}

/// The headers of a call that the proxy makes for somebody.
pub(crate) fn own(asker: &Asker) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("drystone-etcd-grpc-proxy"));
    asker.sign(&mut headers);
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    // Two people must not be taken for one, whatever their tokens hold.
    #[test]
    fn no_two_tokens_are_one() {
        let all = [
            headers(&[]),
            headers(&[("token", "a")]),
            headers(&[("authorization", "a")]),
            headers(&[("token", "a"), ("authorization", "")]),
            headers(&[("token", ""), ("authorization", "a")]),
            headers(&[("token", "")]),
        ];
        let mut seen: Vec<Bytes> = all.iter().map(|one| Asker::of(one).tokens()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), all.len());
    }

    // A token that got lost would make everybody nobody, and one that changed somebody else.
    #[test]
    fn who_asks_is_passed_on() {
        let given = headers(&[("token", "t"), ("hasleader", "true"), ("host", "proxy")]);
        assert_eq!(Asker::of(&own(&Asker::of(&given))), Asker::of(&given));
        let passed = passed_on(&given);
        assert!(passed.get("host").is_none() && passed.get("token").is_some());
    }
}
