//! Exit codes, which scripts may rely on.
//!
//! | code | means |
//! |---|---|
//! | 0 | done; of `plan`: an apply would change nothing |
//! | 1 | refused or failed; of `plan`: an apply would change something |
//! | 2 | the command line does not read; of `plan`: any error |
//! | 3 | there is no such object |
//! | 4 | nobody answers: no server, or no store |
//! | 124 | of `wait`: it took too long |
//! | 125 | of `run` and `exec`: mason's own failure, all other codes are the container's |
//! | 130 | Ctrl-C |

use std::process::ExitCode;

use crate::api::client::ClientError;
use crate::store::StoreError;

use super::text::plain;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit(pub(super) u8);

impl Exit {
    pub(super) const DONE: Exit = Exit(0);
    pub(super) const FAILED: Exit = Exit(1);
    pub(super) const NOT_FOUND: Exit = Exit(3);
    pub(super) const NOBODY: Exit = Exit(4);
    pub(super) const LATE: Exit = Exit(124);
    pub(super) const OURS: Exit = Exit(125);
    pub(super) const INTERRUPTED: Exit = Exit(130);

    /// Of a container: what does not fit into a byte is cut, as a shell does.
    pub(super) fn of_code(code: i32) -> Exit {
        Exit(u8::try_from(code & 0xff).expect("masked to a byte"))
    }

    /// What an error means.
    pub(super) fn of(error: &anyhow::Error) -> Exit {
        let client = error.downcast_ref::<ClientError>();
        match client {
            Some(error) if error.is_not_found() => Exit::NOT_FOUND,
            Some(ClientError::Unreachable { .. } | ClientError::Broken { .. }) => Exit::NOBODY,
            // The server is there, and the store is not.
            Some(ClientError::Refused { status, .. }) if status.as_u16() == 503 => Exit::NOBODY,
            Some(_) => Exit::FAILED,
            None => match error.downcast_ref::<StoreError>() {
                Some(StoreError::Unavailable { .. }) => Exit::NOBODY,
                _ => Exit::FAILED,
            },
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.0)
    }
}

/// Says on standard error what went wrong: one line, and one for each problem of a manifest.
pub(super) fn complain(error: &anyhow::Error) {
    eprintln!("mason: {}", plain(&format!("{error:#}")));
    if let Some(ClientError::Refused { refusal, .. }) = error.downcast_ref::<ClientError>() {
        for problem in &refusal.problems {
            eprintln!("  {}", plain(problem));
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::api::wire::Refusal;

    /// A script that waits for the store must tell that from a manifest that is wrong.
    #[test]
    fn a_store_that_does_not_answer_is_nobody() {
        let check = |status: StatusCode, expected: Exit| {
            let refusal = Refusal { error: String::new(), problems: Vec::new() };
            let error = anyhow::Error::new(ClientError::Refused { status, refusal });
            assert_eq!(Exit::of(&error.context("a file")), expected, "{status}");
        };
        check(StatusCode::SERVICE_UNAVAILABLE, Exit::NOBODY);
        check(StatusCode::BAD_REQUEST, Exit::FAILED);
        check(StatusCode::NOT_FOUND, Exit::NOT_FOUND);
    }
}
