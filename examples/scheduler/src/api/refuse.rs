//! Refusals: a status, a sentence, and each thing that is wrong by its path.

use std::fmt::Display;

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::wire::Refusal;
use crate::store::StoreError;

/// So much of a text that somebody sent is shown to them again, bytes.
const SHOWN_MAX: usize = 80;

/// Why a request is refused, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What kind of refusal.
    pub status: StatusCode,
    /// Why.
    pub refusal: Refusal,
}

impl Refused {
    /// With this status, for this reason.
    pub fn new(status: StatusCode, error: impl Display) -> Refused {
        Refused { status, refusal: Refusal { error: error.to_string(), problems: Vec::new() } }
    }

    /// What was sent is wrong.
    pub fn bad(error: impl Display) -> Refused {
        Refused::new(StatusCode::BAD_REQUEST, error)
    }

    /// What was sent is wrong in these ways.
    pub fn problems(error: impl Display, problems: Vec<String>) -> Refused {
        let refusal = Refusal { error: error.to_string(), problems };
        Refused { status: StatusCode::BAD_REQUEST, refusal }
    }

    /// There is no such thing.
    pub fn missing(error: impl Display) -> Refused {
        Refused::new(StatusCode::NOT_FOUND, error)
    }

    /// It cannot be done to what is there.
    pub fn conflict(error: impl Display) -> Refused {
        Refused::new(StatusCode::CONFLICT, error)
    }

    /// It cannot be done for the moment.
    pub fn unavailable(error: impl Display) -> Refused {
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    /// There are too many of the kind.
    pub fn busy(error: impl Display) -> Refused {
        Refused::new(StatusCode::TOO_MANY_REQUESTS, error)
    }

    /// The same, with something put before the sentence.
    #[must_use]
    pub fn within(mut self, what: &str) -> Refused {
        self.refusal.error = format!("{what}: {}", self.refusal.error);
        self
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(self.refusal)).into_response()
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        match error {
            StoreError::Unavailable { .. } => {
                Refused::unavailable(format!("{error}; nothing was changed"))
            }
            StoreError::Unknown { .. } => Refused::unavailable(format!(
                "{error}; look whether it was done before you ask again"
            )),
            StoreError::TooManyOps { .. } => {
                Refused::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
            }
            _ => Refused::unavailable(error.to_string()),
        }
    }
}

/// A text that somebody sent, short enough to be shown, on one line.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(SHOWN_MAX)
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect();
    if short.len() < text.len() && text.chars().count() > SHOWN_MAX {
        short.push('…');
    }
    format!("`{short}`")
}

/// Nothing answers there.
pub(crate) async fn unknown_path(uri: Uri) -> Refused {
    Refused::missing(format!("nothing answers at {}", shown(uri.path())))
}

/// Something does, but not that.
pub(crate) async fn unknown_method(method: Method, uri: Uri) -> Refused {
    let error = format!("{} is not answered at {}", shown(method.as_str()), shown(uri.path()));
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, error)
}
