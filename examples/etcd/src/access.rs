//! Browsers at the door: whose pages may read the answers, and by which name this server goes.
//!
//! **The problem.** A page from anywhere can have a browser send requests to a server that only the
//! browser's machine reaches. Two rules stand against it: `--cors` says whose pages may see the
//! answers, and `--host-whitelist` by which names the server may be called, so that a name that
//! suddenly resolves to this address (DNS rebinding) does not get in. Both let in everybody unless
//! they are set.
//!
//! It concerns HTTP requests alone: gRPC is nothing that a page can send. Whoever comes under TLS
//! has checked the name already.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;

const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static("accept, content-type, authorization");
const ANYBODY: HeaderValue = HeaderValue::from_static("*");

/// Who may come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    origins: Vec<String>,
    hosts: Vec<String>,
}

/// A request that may come in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visit {
    origin: Option<HeaderValue>,
    /// It only asks whether it may.
    pub(crate) is_preflight: bool,
}

impl Access {
    /// Pages from `origins` may read answers, requests may be for `hosts`; nobody named, or `*`, is
    /// everybody.
    pub(crate) fn new(origins: Vec<String>, hosts: Vec<String>) -> Access {
        let unless_all = |list: Vec<String>| match list.iter().any(|one| one == "*") {
            true => Vec::new(),
            false => list,
        };
        Access { origins: unless_all(origins), hosts: unless_all(hosts) }
    }

    /// Lets a request in, or says why not.
    pub(crate) fn judge<T>(
        &self,
        request: &Request<T>,
        secure: bool,
    ) -> Result<Visit, Box<Response<Body>>> {
        if !secure && !self.hosts.is_empty() {
            let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
            let host = request.uri().host().or(named).unwrap_or_default();
            let host = without_port(host);
            if !self.hosts.iter().any(|known| known == host) {
                tracing::warn!(host, "rejecting HTTP request to prevent DNS rebinding attacks");
                return Err(Box::new(misdirected(host)));
            }
        }
        let origin = request.headers().get(header::ORIGIN);
        let origin = match self.origins.is_empty() {
            true => Some(ANYBODY),
            false => origin
                .filter(|origin| self.origins.iter().any(|known| known.as_str() == *origin))
                .cloned(),
        };
        Ok(Visit { origin, is_preflight: request.method() == Method::OPTIONS })
    }
}

impl Visit {
    /// The answer, with the headers that browsers look for.
    pub(crate) fn dress(self, mut response: Response<Body>) -> Response<Body> {
        if let Some(origin) = self.origin {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        }
        response
    }
}

/// `[::1]:80` and `a:80` without what does not name the host.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

fn misdirected(host: &str) -> Response<Body> {
    let text = format!(
        "etcd received your request, but the Host header was unrecognized.\n\n\
         Name the host in --host-whitelist ({host:?}), or use TLS: then any host is allowed.\n\
         This keeps pages that have changed their address from reading your data (CVE-2018-5702).\n"
    );
    let mut response = Response::new(Body::new(Full::new(Bytes::from(text))));
    *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(origins: &[&str], hosts: &[&str]) -> Access {
        let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        Access::new(owned(origins), owned(hosts))
    }

    fn ask(access: &Access, headers: &[(&str, &str)], secure: bool) -> Result<Visit, StatusCode> {
        let mut request = Request::builder().uri("/version");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let judged = access.judge(&request.body(()).unwrap(), secure);
        judged.map_err(|refusal| refusal.status())
    }

    // A page whose name has come to resolve to this address must not read anything.
    #[test]
    fn hosts_that_are_not_named_are_misdirected() {
        let named = access(&["*"], &["etcd.local", "::1"]);
        for host in ["etcd.local", "etcd.local:2379", "[::1]:2379"] {
            assert!(ask(&named, &[("host", host)], false).is_ok(), "{host}");
        }
        let refused = ask(&named, &[("host", "evil.example:2379")], false).unwrap_err();
        assert_eq!(refused, StatusCode::MISDIRECTED_REQUEST);
        assert!(ask(&named, &[("host", "evil.example")], true).is_ok(), "TLS has checked it");
        assert!(ask(&access(&["*"], &["*"]), &[("host", "evil.example")], false).is_ok());
    }

    // Only the pages that are named may see answers; by default all may, as in etcd.
    #[test]
    fn answers_are_for_pages_that_are_named() {
        let origin = |access: &Access, from: &str| {
            let visit = ask(access, &[("origin", from)], false).unwrap();
            let answer = visit.dress(Response::new(Body::empty()));
            let allowed = answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
            allowed.map(|allowed| allowed.to_str().unwrap().to_owned())
        };
        assert_eq!(origin(&access(&[], &[]), "http://a"), Some("*".to_owned()));
        let named = access(&["http://a"], &[]);
        assert_eq!(origin(&named, "http://a"), Some("http://a".to_owned()));
        assert_eq!(origin(&named, "http://b"), None);
    }
}
