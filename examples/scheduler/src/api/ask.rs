//! What is asked, as values: path, query and body, or a refusal that names what is wrong.
//!
//! Bodies are read within a bound of bytes and of time, and before that nothing of them is trusted.
//! A message about a body never repeats a value of it: it may be a secret.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mason_core::types::{JobKey, NodeId, RunId, check_name};
use serde::de::DeserializeOwned;

use super::refuse::{Refused, shown};
use super::wire;

/// How long a body may take.
const BODY_MAX: Duration = Duration::from_secs(30);
/// Longest query, bytes.
const QUERY_BYTES_MAX: usize = 8 << 10;
/// Longest name of a node or a run in a path, bytes.
const NAME_BYTES_MAX: usize = 253;

/// What can be sent as a body.
pub(super) trait Sendable: DeserializeOwned {
    /// Longest, bytes.
    const BYTES_MAX: usize;
}

impl Sendable for wire::Apply {
    // Its text, and room for escapes.
    const BYTES_MAX: usize = 4 * mason_core::manifest::TEXT_BYTES_MAX;
}

impl Sendable for wire::NewSecret {
    const BYTES_MAX: usize = 256 << 10;
}

impl Sendable for wire::Change {
    const BYTES_MAX: usize = 16 << 10;
}

impl Sendable for wire::NodeChange {
    const BYTES_MAX: usize = 16 << 10;
}

/// A body of JSON.
pub(super) struct Sent<T>(pub(super) T);

impl<T: Sendable, S: Sync> FromRequest<S> for Sent<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Sent<T>, Refused> {
        let bytes = read(request.into_body(), T::BYTES_MAX).await?;
        // Nothing is an object without fields.
        let bytes = if bytes.is_empty() { &b"{}"[..] } else { &bytes };
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let read = serde_path_to_error::deserialize(&mut reader);
        let value = read.map_err(|error| {
            let (path, inner) = (error.path().to_string(), error.into_inner());
            bad_body(&path, &inner)
        })?;
        reader.end().map_err(|error| bad_body(".", &error))?;
        Ok(Sent(value))
    }
}

/// Reads a body, if it comes in time and is not too long.
pub(super) async fn read(body: Body, max: usize) -> Result<axum::body::Bytes, Refused> {
    let collected = tokio::time::timeout(BODY_MAX, Limited::new(body, max).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let error = format!("the body is longer than {max} bytes");
            Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, error))
        }
        Ok(Err(_)) => Err(Refused::bad("the body broke off")),
        Err(_) => {
            let error = format!("the body did not come within {} s", BODY_MAX.as_secs());
            Err(Refused::new(StatusCode::REQUEST_TIMEOUT, error))
        }
    }
}

/// Says what is wrong with a body, without any value of it.
fn bad_body(path: &str, error: &serde_json::Error) -> Refused {
    let at = format!("line {}, column {}", error.line(), error.column());
    let text = error.to_string();
    let what = if error.is_data() {
        let text = text.split(" at line ").next().unwrap_or_default();
        match text.rsplit_once(", expected ") {
            // `invalid type: string "…", expected a map` has the value in it.
            Some((start, expected)) if start.starts_with("invalid ") => {
                format!("is not {expected}")
            }
            _ => text.chars().take(200).collect(),
        }
    } else if error.is_eof() {
        format!("ends in the middle, at {at}")
    } else {
        format!("is no JSON at {at}")
    };
    let problem = match path {
        "." | "?" => what,
        path => format!("{path}: {what}"),
    };
    Refused::problems("the body does not read", vec![problem])
}

/// A query; fields that are not known are refused.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asked<T>, Refused> {
        if parts.uri.query().is_some_and(|query| query.len() > QUERY_BYTES_MAX) {
            return Err(Refused::bad(format!("the query is longer than {QUERY_BYTES_MAX} bytes")));
        }
        let Query(value) = Query::try_from_uri(&parts.uri).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let why = source.unwrap_or_else(|| error.to_string());
            let why: String = why.chars().take(200).collect();
            Refused::problems("the query does not read", vec![why])
        })?;
        Ok(Asked(value))
    }
}

async fn parts_of<T: DeserializeOwned + Send, S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<T, Refused> {
    let path = Path::<T>::from_request_parts(parts, state).await;
    path.map(|Path(value)| value)
        .map_err(|_| Refused::bad("a part of the path is no text in UTF-8"))
}

fn named(what: &str, name: &str) -> Result<(), Refused> {
    check_name(name)
        .map_err(|error| Refused::bad(format!("{what} {}: {}", shown(name), error.rule)))
}

/// An object, by `{namespace}/{name}`.
pub(super) struct Object(pub(super) JobKey);

impl<S: Send + Sync> FromRequestParts<S> for Object {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Object, Refused> {
        let all: Vec<(String, String)> = parts_of(parts, state).await?;
        let part =
            |name: &str| all.iter().find(|(it, _)| it == name).map_or("", |(_, value)| value);
        named("namespace", part("namespace"))?;
        named("name", part("name"))?;
        Ok(Object(JobKey::new(part("namespace"), part("name"))))
    }
}

/// What is to be done, by `{verb}`.
pub(super) struct Verb(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Verb {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Verb, Refused> {
        Ok(Verb(one_of(parts, state, "verb").await?))
    }
}

/// A node, by `{id}`.
pub(super) struct NodeName(pub(super) NodeId);

impl<S: Send + Sync> FromRequestParts<S> for NodeName {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<NodeName, Refused> {
        let name = one_of(parts, state, "id").await?;
        plain("node", &name)?;
        Ok(NodeName(name.into()))
    }
}

/// A run, by `{run}`.
pub(super) struct RunName(pub(super) RunId);

impl<S: Send + Sync> FromRequestParts<S> for RunName {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<RunName, Refused> {
        let name = one_of(parts, state, "run").await?;
        plain("run", &name)?;
        Ok(RunName(name.into()))
    }
}

async fn one_of<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<String, Refused> {
    let all: Vec<(String, String)> = parts_of(parts, state).await?;
    let found = all.into_iter().find(|(it, _)| it == name);
    Ok(found.map(|(_, value)| value).unwrap_or_default())
}

/// Such a name becomes a part of keys and of other paths: it must stay in its place.
fn plain(what: &str, name: &str) -> Result<(), Refused> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(letter)
        && !name.starts_with('.');
    match fits {
        true => Ok(()),
        false => Err(Refused::bad(format!("{} is no name of a {what}", shown(name)))),
    }
}

/// A namespace in a query.
pub(super) fn check_namespace(namespace: Option<&str>) -> Result<(), Refused> {
    namespace.map_or(Ok(()), |namespace| named("namespace", namespace))
}
