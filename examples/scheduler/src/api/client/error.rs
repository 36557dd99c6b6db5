//! Why a request failed.

use std::io;

use http::StatusCode;

use crate::api::wire::Refusal;

/// Why a request failed. Each names who was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// What was given is no URL of a server.
    #[error("`{url}` is no address of a server: {reason}")]
    BadUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A token with characters that no header takes.
    #[error("the token has characters in it that no header takes")]
    BadToken,
    /// Nobody answers.
    #[error("nobody answers at {url}")]
    Unreachable {
        /// Who was asked.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {url} broke")]
    Broken {
        /// Who was asked.
        url: String,
        /// Why.
        source: hyper::Error,
    },
    /// It is refused.
    #[error("{}", .refusal.error)]
    Refused {
        /// In a number.
        status: StatusCode,
        /// In words.
        refusal: Refusal,
    },
    /// The answer does not read.
    #[error("what {url} answers does not read: {reason}")]
    BadAnswer {
        /// Who was asked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// What was asked for is not there, as we found out ourselves.
    pub(crate) fn absent(error: String) -> ClientError {
        let refusal = Refusal { error, problems: Vec::new() };
        ClientError::Refused { status: StatusCode::NOT_FOUND, refusal }
    }

    /// Whether it may be over by itself: whoever can wait tries again.
    pub fn is_passing(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } | ClientError::Broken { .. } => true,
            ClientError::Refused { status, .. } => {
                matches!(status.as_u16(), 429 | 502 | 503 | 504)
            }
            _ => false,
        }
    }

    /// What was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, ClientError::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}
