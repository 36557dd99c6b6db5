//! The plain HTTP routes: health, version, metrics.
//!
//! | route | answers |
//! |---|---|
//! | `/health` | `{"health":"true","reason":""}`, or 503 with the reason; `?exclude=NOSPACE` |
//! | `/livez`, `/readyz` | `ok`, or 503 with what failed; `?verbose`, `?exclude=`, or by path |
//! | `/version` | what this server is, as JSON |
//! | `/metrics` | Prometheus' text format |
//! | `/debug/vars` | what this process is and where it stands, as JSON |
//!
//! A probe reads one key, like a client: a store that cannot answer is not healthy, whatever the
//! process thinks of itself. `/livez` is content with what this member has; `/readyz` and `/health`
//! want a quorum behind it.

use bytes::Bytes;
use drystone_kv::command::{AlarmKind, RangeRequest};
use drystone_kv::key_range::KeyRange;
use http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use http_body_util::Full;
use tonic::body::Body;

use crate::debug_vars;
use crate::dispatch::Scope;
use crate::error_text;
use crate::logging::push_json_string;
use crate::member::{Member, Shared};
use crate::metrics;
use crate::version;

const JSON: &str = "application/json";
const JSON_TEXT: &str = "application/json; charset=utf-8";
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
/// The version of the text format that Prometheus expects without asking.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The answer to a request that is not gRPC.
pub(crate) async fn answer(
    member: Shared,
    scope: Scope,
    method: Method,
    uri: Uri,
) -> Response<Body> {
    let (path, query) = (uri.path(), uri.query().unwrap_or(""));
    let is_get = method == Method::GET;
    match path {
        "/health" if !is_get => method_not_allowed(),
        "/version" | "/debug/vars" if scope == Scope::Clients && !is_get => method_not_allowed(),
        "/debug/vars" if scope == Scope::Clients => {
            text(StatusCode::OK, JSON_TEXT, debug_vars::page(&member).await)
        }
        "/health" => health(&member, query).await,
        "/metrics" => text(StatusCode::OK, METRICS_TEXT, metrics::page(&member).await),
        "/version" if scope == Scope::Clients => text(StatusCode::OK, JSON, version::json()),
        _ => match checks_of(path) {
            Some(_) if !is_get => method_not_allowed(),
            Some((checks, only)) => probe(&member, checks, only, query).await,
            None => not_found(),
        },
    }
}

async fn health(member: &Member, query: &str) -> Response<Body> {
    let excluded: Vec<&str> = parameters(query, "exclude").collect();
    let alarms = member.kv.status().alarms.into_iter();
    let alarms = alarms.filter(|alarm| alarm.kind != AlarmKind::Corrupt || member.kv.is_corrupt());
    let alarm = alarms.map(|alarm| metrics::alarm_name(alarm.kind));
    let mut alarm = alarm.filter(|name| !excluded.contains(name));
    let serializable = parameters(query, "serializable").any(|value| value == "true");
    let reason = if let Some(name) = alarm.next() {
        format!("ALARM {name}")
    } else if !serializable && member.kv.rank().leader.is_none() {
        "RAFT NO LEADER".to_owned()
    } else {
        let check = if serializable { Check::SerializableRead } else { Check::LinearizableRead };
        check.run(member).await.err().map_or(String::new(), |why| format!("RANGE ERROR:{why}"))
    };
    let healthy = reason.is_empty();
    let counter = match healthy {
        true => &member.metrics.health_successes,
        false => &member.metrics.health_failures,
    };
    counter.add(1);
    let mut body = format!(r#"{{"health":"{healthy}","reason":"#);
    push_json_string(&mut body, &reason);
    body.push('}');
    match healthy {
        true => text(StatusCode::OK, TEXT, body),
        false => failure(StatusCode::SERVICE_UNAVAILABLE, body),
    }
}

/// One thing that a probe looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Nobody has found that this member's data are wrong, or may be.
    DataCorruption,
    /// This member can read what it has.
    SerializableRead,
    /// It can read what a quorum says is newest.
    LinearizableRead,
    /// It has a vote.
    NonLearner,
}

const LIVEZ: &[Check] = &[Check::SerializableRead];
const READYZ: &[Check] =
    &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    /// What is wrong, if anything is.
    async fn run(self, member: &Member) -> Result<(), String> {
        match self {
            Check::DataCorruption => no_corruption(member),
            Check::SerializableRead => read_one_key(member),
            Check::LinearizableRead => {
                let confirmed = member.linearize().await;
                confirmed.map_err(|status| status.message().to_owned())?;
                read_one_key(member)
            }
            Check::NonLearner => {
                let learns = "learner is not ready".to_owned();
                if member.is_learner() { Err(learns) } else { Ok(()) }
            }
        }
    }
}

/// The checks of a probe's path, and the one that it is about if it names one.
fn checks_of(path: &str) -> Option<(&'static [Check], Option<&str>)> {
    let mut parts = path.strip_prefix('/')?.splitn(2, '/');
    let checks = match parts.next()? {
        "livez" => LIVEZ,
        "readyz" => READYZ,
        _ => return None,
    };
    let only = parts.next();
    only.is_none_or(|only| checks.iter().any(|check| check.name() == only))
        .then_some((checks, only))
}

async fn probe(
    member: &Member,
    checks: &[Check],
    only: Option<&str>,
    query: &str,
) -> Response<Body> {
    let excluded: Vec<&str> = parameters(query, "exclude").collect();
    let chosen = checks.iter().filter(|check| match only {
        Some(only) => check.name() == only,
        None => !excluded.contains(&check.name()),
    });
    let (mut lines, mut healthy) = (String::new(), true);
    for check in chosen {
        let name = check.name();
        match check.run(member).await {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(reason) => {
                healthy = false;
                lines.push_str(&format!("[-]{name} failed: {reason}\n"));
            }
        }
    }
    match healthy {
        false => failure(StatusCode::SERVICE_UNAVAILABLE, lines),
        true if parameters(query, "verbose").next().is_some() => {
            unsniffed(text(StatusCode::OK, TEXT, lines + "ok\n"))
        }
        true => unsniffed(text(StatusCode::OK, TEXT, "ok\n".to_owned())),
    }
}

/// Reads a key that nobody has, as a client would. A member that can only be read is not well: a
/// restart may help it, and nothing else will.
fn read_one_key(member: &Member) -> Result<(), String> {
    if member.is_broken() {
        return Err("storage failed; nothing can be written until a restart".to_owned());
    }
    let request = RangeRequest::new(KeyRange::single(&b"health"[..]));
    let read = member.kv.range(&request);
    read.map(drop).map_err(|error| error_text::status(&error).message().to_owned())
}

fn no_corruption(member: &Member) -> Result<(), String> {
    match member.kv.is_corrupt() {
        true => Err("alarm activated: CORRUPT".to_owned()),
        false => Ok(()),
    }
}

/// The values of a query's parameter; one without `=` has the empty value.
fn parameters<'q>(query: &'q str, name: &'q str) -> impl Iterator<Item = &'q str> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

/// Go's answer where there is nothing.
pub(crate) fn not_found() -> Response<Body> {
    failure(StatusCode::NOT_FOUND, "404 page not found".to_owned())
}

/// Go's answer to whoever does more than look.
pub(crate) fn method_not_allowed() -> Response<Body> {
    let mut response = failure(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed".to_owned());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

/// A failure as Go's library writes it: with one more line end, and not to be taken for anything
/// but text.
pub(crate) fn failure(status: StatusCode, message: String) -> Response<Body> {
    unsniffed(text(status, TEXT, message + "\n"))
}

fn unsniffed(mut response: Response<Body>) -> Response<Body> {
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

pub(crate) fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(body))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    // Probes name one check in the path or leave one out by query; a wrong name is not found.
    #[test]
    fn probes_are_found_by_path() {
        assert_eq!(checks_of("/livez").map(|found| found.1), Some(None));
        assert!(checks_of("/readyz/").is_none());
        let one = checks_of("/readyz/non_learner").map(|found| found.1);
        assert_eq!(one, Some(Some("non_learner")));
        assert!(checks_of("/livez/non_learner").is_none());
        assert!(checks_of("/live").is_none());
    }

    // `?verbose` stands alone, `?exclude=` may be repeated.
    #[test]
    fn query_parameters_are_read() {
        let excluded: Vec<&str> = parameters("exclude=a&verbose&exclude=b", "exclude").collect();
        assert_eq!(excluded, ["a", "b"]);
        assert_eq!(parameters("verbose", "verbose").next(), Some(""));
        assert_eq!(parameters("", "verbose").next(), None);
    }
}
