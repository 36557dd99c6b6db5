//! Why a request is refused, as an answer.

use std::fmt::Display;
use std::io::ErrorKind;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mason_node::{image, runtime};

use super::super::hand::chain;
use crate::api::wire::Refusal;

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    error: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, error: impl Display) -> Refused {
        Refused { status, error: error.to_string() }
    }

    /// What was sent is wrong.
    pub(super) fn bad(error: impl Display) -> Refused {
        Refused::new(StatusCode::BAD_REQUEST, error)
    }

    /// So many do that already.
    pub(super) fn busy(most: usize, what: &str) -> Refused {
        let error = format!("this node does {most} {what} at once, and does already");
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    /// The machine refuses.
    pub(super) fn io(what: &str, error: &std::io::Error) -> Refused {
        Refused::new(status_of(error), format!("{what}: {error}"))
    }
}

/// A full disk is the node's fault, and is told from others, for something can be done about it.
fn status_of(error: &std::io::Error) -> StatusCode {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<image::Error> for Refused {
    fn from(error: image::Error) -> Refused {
        use image::Error as E;
        let status = match &error {
            E::BadReference { .. }
            | E::WrongDigest { .. }
            | E::Layer { .. }
            | E::BadImage { .. } => StatusCode::BAD_REQUEST,
            E::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            E::NotFound { .. } => StatusCode::NOT_FOUND,
            E::Unauthorized { .. } | E::Unreachable { .. } | E::Refused { .. } => {
                StatusCode::BAD_GATEWAY
            }
            E::Io { source, .. } => status_of(source),
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refused::new(status, chain(&error))
    }
}

impl From<runtime::Error> for Refused {
    fn from(error: runtime::Error) -> Refused {
        use runtime::Error as E;
        let status = match &error {
            E::Refused { .. } => StatusCode::BAD_REQUEST,
            E::Unknown(_) => StatusCode::NOT_FOUND,
            E::NotRunning(_) | E::StillRunning(_) | E::Exists(_) => StatusCode::CONFLICT,
            E::Io { source, .. } => status_of(source),
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refused::new(status, chain(&error))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refused { status, error } = self;
        (status, Json(Refusal { error, problems: Vec::new() })).into_response()
    }
}
