//! The plain HTTP routes: health, version, metrics.
//!
//! | route | answers |
//! |---|---|
//! | `/health` | `{"health":"true","reason":""}`, or 503 with the reason; `?exclude=NOSPACE` |
//! | `/livez`, `/readyz` | `ok`, or 503 with what failed; `?verbose`, `?exclude=`, or by path |
//! | `/version` | what this server is, as JSON |
//! | `/metrics` | Prometheus' text format |
//!
//! A probe reads one key, like a client: a store that cannot answer is not healthy, whatever the
//! process thinks of itself.

use bytes::Bytes;
use drystone_kv::command::RangeRequest;
use drystone_kv::key_range::KeyRange;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;

use crate::dispatch::Scope;
use crate::error_text;
use crate::logging::push_json_string;
use crate::member::Member;
use crate::metrics;
use crate::version;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// The version of the text format that Prometheus expects without asking.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The answer to a request that is not gRPC.
pub(crate) fn answer<B>(member: &Member, scope: Scope, request: &Request<B>) -> Response<Body> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or(""));
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    match path {
        "/health" | "/version" | "/metrics" if !is_get => method_not_allowed(),
        "/health" => health(member, query),
        "/metrics" => text(StatusCode::OK, METRICS_TEXT, metrics::page(member)),
        "/version" if scope == Scope::Clients => {
            let (server, cluster, storage) = (version::SERVER, version::CLUSTER, version::STORAGE);
            let body = format!(
                r#"{{"etcdserver":"{server}","etcdcluster":"{cluster}","storage":"{storage}"}}"#
            );
            text(StatusCode::OK, JSON, body)
        }
        _ => match checks_of(path) {
            Some(_) if !is_get => method_not_allowed(),
            Some((checks, only)) => probe(member, checks, only, query),
            None if path.starts_with("/v3/") && scope == Scope::Clients => {
                let what = "drystone-etcd: the JSON gateway is not implemented yet";
                let body = format!(r#"{{"code":12,"message":"{what}"}}"#);
                text(StatusCode::NOT_IMPLEMENTED, JSON, body)
            }
            None => text(StatusCode::NOT_FOUND, TEXT, "404 page not found\n".to_owned()),
        },
    }
}

fn health(member: &Member, query: &str) -> Response<Body> {
    let excluded: Vec<&str> = parameters(query, "exclude").collect();
    let alarm = member.kv.status().alarms.into_iter().map(|alarm| metrics::alarm_name(alarm.kind));
    let mut alarm = alarm.filter(|name| !excluded.contains(name));
    let reason = match (alarm.next(), read_one_key(member)) {
        (Some(name), _) => format!("ALARM {name}"),
        (None, Err(error)) => format!("RANGE ERROR:{error}"),
        (None, Ok(())) => String::new(),
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
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    text(status, TEXT, body)
}

/// One thing that a probe looks at: its name, and what is wrong with it if anything is.
type Check = (&'static str, fn(&Member) -> Result<(), String>);

const LIVEZ: &[Check] = &[("serializable_read", read_one_key)];
const READYZ: &[Check] = &[
    ("data_corruption", no_corruption),
    ("serializable_read", read_one_key),
    ("linearizable_read", read_one_key),
    ("non_learner", |_| Ok(())),
];

/// The checks of a probe's path, and the one that it is about if it names one.
fn checks_of(path: &str) -> Option<(&'static [Check], Option<&str>)> {
    let mut parts = path.strip_prefix('/')?.splitn(2, '/');
    let checks = match parts.next()? {
        "livez" => LIVEZ,
        "readyz" => READYZ,
        _ => return None,
    };
    let only = parts.next().filter(|name| !name.is_empty());
    only.is_none_or(|only| checks.iter().any(|check| check.0 == only)).then_some((checks, only))
}

fn probe(member: &Member, checks: &[Check], only: Option<&str>, query: &str) -> Response<Body> {
    let excluded: Vec<&str> = parameters(query, "exclude").collect();
    let chosen = checks.iter().filter(|check| match only {
        Some(only) => check.0 == only,
        None => !excluded.contains(&check.0),
    });
    let (mut lines, mut healthy) = (String::new(), true);
    for (name, check) in chosen {
        match check(member) {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(reason) => {
                healthy = false;
                lines.push_str(&format!("[-]{name} failed: {reason}\n"));
            }
        }
    }
    match healthy {
        false => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines),
        true if parameters(query, "verbose").next().is_some() => {
            text(StatusCode::OK, TEXT, lines + "ok\n")
        }
        true => text(StatusCode::OK, TEXT, "ok\n".to_owned()),
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
    let corrupt = drystone_kv::command::AlarmKind::Corrupt;
    match member.kv.status().alarms.iter().any(|alarm| alarm.kind == corrupt) {
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

fn method_not_allowed() -> Response<Body> {
    let mut response =
        text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Method Not Allowed\n".to_owned());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
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
        assert_eq!(checks_of("/readyz/").map(|found| found.1), Some(None));
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
