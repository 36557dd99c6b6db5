//! How what went wrong on a node is answered.

use std::io::ErrorKind;

use axum::http::StatusCode;
use mason_node::{image, runtime};

use super::super::hand::chain;
use crate::api::Refused;

/// So many do that already.
pub(super) fn full(most: usize, what: &str) -> Refused {
    Refused::unavailable(format!("this node does {most} {what} at once, and does already"))
}

/// The machine refuses.
pub(super) fn io(what: &str, error: &std::io::Error) -> Refused {
    Refused::new(status_of(error), format!("{what}: {error}"))
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
