//! What a failed call says about whether it was done.
//!
//! ```text
//!   never sent (no connection)           ─► not done: ask another
//!   refused before it was taken up       ─► not done: ask another
//!     "no leader", "not leader", "too many requests"
//!   refused for good                     ─► not done, and nobody else will do it
//!     invalid, compacted, no such lease, no space, no permission
//!   all else: a deadline, a broken
//!   connection, a leader that changed    ─► may have been done
//! ```
//!
//! The code alone does not say which: a connection that the server closes because of too many pings
//! ends its calls as "resource exhausted", which from a server that answers means that it refuses.
//! What a server says has no cause; what broke here has one.

use std::error::Error;

use tonic::{Code, ConnectError, Status};

/// What a failed call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was not done, and another endpoint may do it.
    NotDone,
    /// It was not done, and none will.
    Refused,
    /// It may have been done.
    Unknown,
}

/// What etcd says before it takes a call up.
const NOT_TAKEN: [&str; 3] =
    ["etcdserver: no leader", "etcdserver: not leader", "etcdserver: too many requests"];
/// What etcd says, as if it were a refusal, of something that passes.
const LEARNER: &str = "rpc not supported for learner";

/// What a failed call came to.
pub(crate) fn fate(status: &Status) -> Fate {
    let message = status.message();
    if NOT_TAKEN.contains(&message) || message.ends_with(LEARNER) || was_never_sent(status) {
        return Fate::NotDone;
    }
    if status.source().is_some() {
        return Fate::Unknown;
    }
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Fate::Refused,
        _ => Fate::Unknown,
    }
}

fn was_never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether the answer is that a revision is gone.
pub(crate) fn is_compacted(status: &Status) -> bool {
    status.message() == "etcdserver: mvcc: required revision has been compacted"
}

/// Whether the answer is that there is no such lease.
pub(crate) fn is_lease_gone(status: &Status) -> bool {
    status.message() == "etcdserver: requested lease not found"
}

/// Whether the answer is that there is such a lease already.
pub(crate) fn is_lease_there(status: &Status) -> bool {
    status.message() == "etcdserver: lease already exists"
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    /// A transaction that is sent again after it was done counts twice; one that is given up though
    /// it was not done leaves a task waiting. The texts are etcd's.
    #[test]
    fn only_what_was_certainly_not_done_is_asked_again() {
        let never = ConnectError("refused".into());
        let mut broken = Status::resource_exhausted("h2 protocol error");
        broken.set_source(Arc::new(io::Error::other("go away: too many pings")));
        let cases = [
            (broken, Fate::Unknown),
            (Status::from_error(Box::new(never)), Fate::NotDone),
            (Status::unavailable("etcdserver: no leader"), Fate::NotDone),
            (Status::failed_precondition("etcdserver: not leader"), Fate::NotDone),
            (Status::resource_exhausted("etcdserver: too many requests"), Fate::NotDone),
            (
                Status::resource_exhausted("etcdserver: mvcc: database space exceeded"),
                Fate::Refused,
            ),
            (Status::invalid_argument("etcdserver: duplicate key given"), Fate::Refused),
            (Status::not_found("etcdserver: requested lease not found"), Fate::Refused),
            (Status::unavailable("etcdserver: request timed out"), Fate::Unknown),
            (Status::unavailable("etcdserver: leader changed"), Fate::Unknown),
            (Status::unavailable("etcdserver: server stopped"), Fate::Unknown),
            (Status::deadline_exceeded("a deadline"), Fate::Unknown),
            (Status::cancelled("by whomever"), Fate::Unknown),
            (Status::unknown("transport error"), Fate::Unknown),
            (Status::internal("h2 protocol error"), Fate::Unknown),
        ];
        for (status, expected) in cases {
            assert_eq!(fate(&status), expected, "{status:?}");
        }
    }
}
