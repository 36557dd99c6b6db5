//! What a client is told when something is refused or fails: etcd's codes and etcd's words.
//!
//! Client libraries compare the text, letter by letter, to tell one failure from another. So every
//! text stands here, and nowhere else.
//!
//! ```text
//!   Invalid        the request makes no sense       found by crate::convert, before the store
//!   store::Error   the store refuses, or fails      found by the store
//!   tonic's own    the message is too large         rewritten by `too_large`
//! ```

use std::fmt;

use http::HeaderValue;
use tonic::{Code, Status};

use crate::store::{Error, Refusal};

/// Why a request makes no sense, whatever the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// There is no key.
    EmptyKey,
    /// A value beside `ignore_value`.
    ValueProvided,
    /// A lease beside `ignore_lease`.
    LeaseProvided,
    /// A number that names no order or no target.
    SortOption,
    /// More operations than the limit.
    TooManyOps,
    /// An operation that is none of the four.
    EmptyOp,
}

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Status {
        Status::invalid_argument(match invalid {
            Invalid::EmptyKey => "etcdserver: key is not provided",
            Invalid::ValueProvided => "etcdserver: value is provided",
            Invalid::LeaseProvided => "etcdserver: lease is provided",
            Invalid::SortOption => "etcdserver: invalid sort option",
            Invalid::TooManyOps => "etcdserver: too many operations in txn request",
            Invalid::EmptyOp => KEY_NOT_FOUND,
        })
    }
}

const KEY_NOT_FOUND: &str = "etcdserver: key not found";
/// What a watcher below the compacted revision is told, here and in a watch's cancel reason.
pub(crate) const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
/// The answer to a password of a user who has none; etcd's own slip: it leaves without a code.
pub(crate) const NO_PASSWORD_USER: &str =
    "auth: authentication failed, password was given for no password user";
/// The answer to a password that would be cut; Go's words.
pub(crate) const PASSWORD_TOO_LONG: &str = "bcrypt: password length exceeds 72 bytes";
/// The answer to a permission that is not there.
pub(crate) const PERMISSION_NOT_GIVEN: &str = "etcdserver: permission not given";
/// What a promotion finds that comes too early.
pub(crate) const LEARNER_NOT_READY: &str =
    "etcdserver: can only promote a learner member which is in sync with leader";
/// What a change of members finds that could cost the quorum. etcd's own slip: it leaves without a
/// code.
pub(crate) const NOT_ENOUGH_STARTED: &str =
    "etcdserver: re-configuration failed due to not enough started members";
/// What a learner answers to most calls.
pub(crate) const LEARNER: &str = "etcdserver: rpc not supported for learner";
/// What is told about addresses that cannot be a member's.
pub(crate) const BAD_MEMBER_URLS: &str = "etcdserver: given member URLs are invalid";
/// What is told about a leader that is to be nobody who can lead.
const BAD_TRANSFEREE: &str = "etcdserver: bad leader transferee";
const STOPPED: &str = "etcdserver: server stopped";

/// The answer to a request that the store refused or could not do.
pub(crate) fn status(error: &Error) -> Status {
    match error {
        Error::Refused(refusal) => refused(refusal),
        // etcd's own slip: the error leaves without a code, and clients know it by its words.
        Error::Busy => too_many(),
        Error::TimedOut => Status::unavailable("etcdserver: request timed out"),
        Error::LeaderLost => Status::unavailable(
            "etcdserver: request timed out, possibly due to previous leader failure",
        ),
        Error::NotLeader => Status::failed_precondition("etcdserver: not leader"),
        Error::BadTransferee => Status::failed_precondition(BAD_TRANSFEREE),
        // Stopped, or storage that is not to be trusted any more. What became of the request is
        // unknown, which is what this code tells a client; the cause is for the operator's log.
        _ => stopped(),
    }
}

/// The answer when too much is under way.
pub(crate) fn too_many() -> Status {
    Status::unknown("etcdserver: too many requests")
}

/// The answer to what is refused before it is begun: by its load, or by what its user has had. etcd
/// has the words; the code is the one that they deserve, for here no client of etcd's knows better.
pub(crate) fn overloaded() -> Status {
    Status::resource_exhausted("etcdserver: too many requests")
}

/// The answer to a token that nobody was given, or that has ended.
pub(crate) fn invalid_token() -> Status {
    Status::unauthenticated("etcdserver: invalid auth token")
}

/// The answer of a member that believes tokens and cannot make any.
pub(crate) fn cannot_sign() -> Status {
    Status::unknown("auth: token signing attempted with verify-only key")
}

/// A refusal as Go prints it, where it travels as text.
pub(crate) fn in_go(status: &Status) -> String {
    let code = match status.code() {
        Code::InvalidArgument => "InvalidArgument",
        Code::Unauthenticated => "Unauthenticated",
        Code::PermissionDenied => "PermissionDenied",
        _ => "Unknown",
    };
    format!("rpc error: code = {code} desc = {}", status.message())
}

/// The answer while shutting down.
pub(crate) fn stopped() -> Status {
    Status::unavailable(STOPPED)
}

/// The answer where nobody leads, to whoever asked to be told.
pub(crate) fn no_leader() -> Status {
    Status::unavailable("etcdserver: no leader")
}

/// The answer to a change of members while too many are out of touch.
pub(crate) fn unhealthy() -> Status {
    Status::unavailable("etcdserver: unhealthy cluster")
}

/// The answer to a version to step down to that is no version.
pub(crate) fn bad_downgrade_version() -> Status {
    Status::invalid_argument("etcdserver: wrong downgrade target version format")
}

/// The answer to a version that is not the minor one before.
pub(crate) fn not_a_downgrade() -> Status {
    Status::invalid_argument("etcdserver: invalid downgrade target version")
}

/// The answer to who calls off what was not begun.
pub(crate) fn no_downgrade() -> Status {
    Status::failed_precondition("etcdserver: no inflight downgrade job")
}

/// The answer to who would begin a downgrade.
pub(crate) fn cannot_downgrade() -> Status {
    Status::unimplemented("drystone-etcd: its data are not etcd's, and no older etcd can open them")
}

/// The answer to who waited for a lock and lost its key. It is of a library of etcd's, without a
/// code, as are the next.
pub(crate) fn lock_session_expired() -> Status {
    Status::unknown("mutex: session is expired")
}

/// The answer to who speaks for a leader, and is none.
pub(crate) fn election_not_leader() -> Status {
    Status::unknown("election: not leader")
}

/// The answer to a question after a leader where there is none.
pub(crate) fn election_no_leader() -> Status {
    Status::unknown("election: no leader")
}

/// The answer to who does not say as whom it speaks.
pub(crate) fn election_no_leader_field() -> Status {
    Status::unknown("\"leader\" field must be provided")
}

/// The answer that would be longer than a message of gRPC may be, in the words of gRPC in Go.
pub(crate) fn message_too_long(bytes: u64, bytes_max: u64) -> Status {
    Status::resource_exhausted(format!(
        "grpc: trying to send message larger than max ({bytes} vs. {bytes_max})"
    ))
}

/// Why an answer broke off whose reader took nothing for long.
pub(crate) fn reader_too_slow() -> Status {
    Status::deadline_exceeded("drystone-etcd: the reader of a large range took nothing for long")
}

/// The answer to what etcd can do and this server cannot.
pub(crate) fn unimplemented(what: &str) -> Status {
    Status::unimplemented(format!("drystone-etcd: {what} is not implemented yet"))
}

fn refused(refusal: &Refusal) -> Status {
    if let Some(status) = refused_by_users(refusal) {
        return status;
    }
    let (code, text) = match refusal {
        Refusal::EmptyKey => return Invalid::EmptyKey.into(),
        Refusal::TooManyOps => return Invalid::TooManyOps.into(),
        Refusal::KeyNotFound => (Code::InvalidArgument, KEY_NOT_FOUND),
        Refusal::DuplicateKey => {
            (Code::InvalidArgument, "etcdserver: duplicate key given in txn request")
        }
        Refusal::TooLarge => (Code::InvalidArgument, "etcdserver: request is too large"),
        Refusal::Compacted { .. } => (Code::OutOfRange, COMPACTED),
        Refusal::FutureRevision { .. } => {
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision")
        }
        Refusal::LeaseNotFound => (Code::NotFound, "etcdserver: requested lease not found"),
        Refusal::LeaseExists => (Code::FailedPrecondition, "etcdserver: lease already exists"),
        Refusal::LeaseTtlTooLarge => (Code::OutOfRange, "etcdserver: too large lease TTL"),
        Refusal::NoSpace => (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        Refusal::Corrupt => (Code::DataLoss, "etcdserver: corrupt cluster"),
        Refusal::MemberExists => (Code::FailedPrecondition, "etcdserver: member ID already exist"),
        Refusal::PeerUrlsExist => {
            (Code::FailedPrecondition, "etcdserver: Peer URLs already exists")
        }
        // etcd tells whoever asks no difference between who never was and who was removed.
        Refusal::MemberNotFound | Refusal::MemberRemoved => {
            (Code::NotFound, "etcdserver: member not found")
        }
        Refusal::MemberNotLearner => {
            (Code::FailedPrecondition, "etcdserver: can only promote a learner member")
        }
        Refusal::TooManyLearners => {
            (Code::FailedPrecondition, "etcdserver: too many learner members in cluster")
        }
        Refusal::NoCluster | Refusal::LastVoter => (
            Code::FailedPrecondition,
            "etcdserver: re-configuration failed due to not enough started members",
        ),
        // `Refusal` may grow; a new one must get its own line here, and until then a true answer.
        other => return Status::unknown(format!("etcdserver: {other}")),
    };
    Status::new(code, text)
}

/// What is about users and roles.
fn refused_by_users(refusal: &Refusal) -> Option<Status> {
    use Code::{FailedPrecondition, InvalidArgument, PermissionDenied};
    let (code, text) = match refusal {
        Refusal::AuthNotEnabled => (FailedPrecondition, "authentication is not enabled"),
        Refusal::AuthFailed => {
            (InvalidArgument, "authentication failed, invalid user ID or password")
        }
        Refusal::AuthRevisionOld => (InvalidArgument, "revision of auth store is old"),
        Refusal::PermissionDenied => (PermissionDenied, "permission denied"),
        Refusal::UserNameEmpty => (InvalidArgument, "user name is empty"),
        Refusal::RoleNameEmpty => (InvalidArgument, "role name is empty"),
        Refusal::RootUserMissing => (FailedPrecondition, "root user does not exist"),
        Refusal::RootRoleMissing => (FailedPrecondition, "root user does not have root role"),
        Refusal::UserExists => (FailedPrecondition, "user name already exists"),
        Refusal::UserNotFound => (FailedPrecondition, "user name not found"),
        Refusal::RoleExists => (FailedPrecondition, "role name already exists"),
        Refusal::RoleNotFound => (FailedPrecondition, "role name not found"),
        Refusal::RoleNotGranted => (FailedPrecondition, "role is not granted to the user"),
        Refusal::PermissionNotGranted => {
            (FailedPrecondition, "permission is not granted to the role")
        }
        Refusal::InvalidAuthManagement => (InvalidArgument, "invalid auth management"),
        _ => return None,
    };
    Some(Status::new(code, format!("etcdserver: {text}")))
}

/// The answer to a message above the limit: gRPC in Go has another code and other words for it than
/// tonic. `None` when `status` is about something else.
pub(crate) fn too_large(status: &Status) -> Option<Status> {
    let text = status.message().strip_prefix("Error, decoded message length too large: found ")?;
    let (found, rest) = text.split_once(" bytes, the limit is: ")?;
    let limit = rest.strip_suffix(" bytes")?;
    (status.code() == Code::OutOfRange).then(|| received_too_large(found, limit))
}

/// The answer to a message above the limit.
pub(crate) fn received_too_large(found: impl fmt::Display, limit: impl fmt::Display) -> Status {
    let text = format!("grpc: received message larger than max ({found} vs. {limit})");
    Status::resource_exhausted(text)
}

/// The answer to a message that is none.
pub(crate) fn malformed(error: &prost::DecodeError) -> Status {
    Status::internal(format!("grpc: error unmarshalling request: {error}"))
}

/// The answer to a message that is compressed in a way that nobody announced, which is any.
pub(crate) fn payload_format(flag: u8) -> Status {
    Status::internal(match flag {
        1 => "grpc: compressed flag set with identity or empty encoding".to_owned(),
        _ => format!("grpc: received unexpected payload format {flag}"),
    })
}

/// The answer to a call whose messages are compressed.
pub(crate) fn unknown_encoding(encoding: &HeaderValue) -> Status {
    let encoding = encoding.to_str().unwrap_or("?");
    let text = format!("grpc: Decompressor is not installed for grpc-encoding \"{encoding}\"");
    Status::unimplemented(text)
}

/// The answer to a call whose message does not come to its end.
pub(crate) fn cut_short() -> Status {
    Status::internal("unexpected EOF")
}

/// The answer to a call with more than its one message.
pub(crate) fn second_message() -> Status {
    Status::internal("drystone-etcd: more than one message in a call that takes one")
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    // clientv3 and jetcd look these up by text; one changed letter turns a known error to unknown.
    #[test]
    fn refusals_have_etcds_codes_and_texts() {
        let check = |refusal: Refusal, code: Code, text: &str| {
            let status = status(&Error::Refused(refusal));
            assert_eq!((status.code(), status.message()), (code, text));
        };
        use Code::{DataLoss, FailedPrecondition, InvalidArgument, NotFound, OutOfRange};
        check(Refusal::EmptyKey, InvalidArgument, "etcdserver: key is not provided");
        check(Refusal::KeyNotFound, InvalidArgument, "etcdserver: key not found");
        check(
            Refusal::TooManyOps,
            InvalidArgument,
            "etcdserver: too many operations in txn request",
        );
        check(
            Refusal::DuplicateKey,
            InvalidArgument,
            "etcdserver: duplicate key given in txn request",
        );
        check(Refusal::TooLarge, InvalidArgument, "etcdserver: request is too large");
        let compacted = Refusal::Compacted { compacted: 7 };
        check(compacted, OutOfRange, "etcdserver: mvcc: required revision has been compacted");
        let future = Refusal::FutureRevision { newest: 7 };
        check(future, OutOfRange, "etcdserver: mvcc: required revision is a future revision");
        check(Refusal::LeaseNotFound, NotFound, "etcdserver: requested lease not found");
        check(Refusal::LeaseExists, FailedPrecondition, "etcdserver: lease already exists");
        check(Refusal::LeaseTtlTooLarge, OutOfRange, "etcdserver: too large lease TTL");
        let space = "etcdserver: mvcc: database space exceeded";
        check(Refusal::NoSpace, Code::ResourceExhausted, space);
        check(Refusal::Corrupt, DataLoss, "etcdserver: corrupt cluster");
        let unknown = "etcdserver: member not found";
        check(Refusal::MemberNotFound, NotFound, unknown);
        check(Refusal::MemberRemoved, NotFound, unknown);
        let taken = "etcdserver: member ID already exist";
        check(Refusal::MemberExists, FailedPrecondition, taken);
        let taken = "etcdserver: Peer URLs already exists";
        check(Refusal::PeerUrlsExist, FailedPrecondition, taken);
        let voter = "etcdserver: can only promote a learner member";
        check(Refusal::MemberNotLearner, FailedPrecondition, voter);
        let learners = "etcdserver: too many learner members in cluster";
        check(Refusal::TooManyLearners, FailedPrecondition, learners);
        let few = "etcdserver: re-configuration failed due to not enough started members";
        check(Refusal::LastVoter, FailedPrecondition, few);
        check(Refusal::NoCluster, FailedPrecondition, few);
        let old = "etcdserver: revision of auth store is old";
        check(Refusal::AuthRevisionOld, InvalidArgument, old);
        check(Refusal::UserNameEmpty, InvalidArgument, "etcdserver: user name is empty");
        let denied = status(&Error::Refused(Refusal::PermissionDenied));
        let go = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        assert_eq!(in_go(&denied), go);
    }

    // clientv3 maps this text to "request is too large" for its caller.
    #[test]
    fn oversized_messages_speak_go() {
        let tonics = Status::out_of_range(
            "Error, decoded message length too large: found 3000000 bytes, \
             the limit is: 2097152 bytes",
        );
        let ours = too_large(&tonics).unwrap();
        assert_eq!(ours.code(), Code::ResourceExhausted);
        assert_eq!(ours.message(), "grpc: received message larger than max (3000000 vs. 2097152)");
        assert!(too_large(&Status::out_of_range(COMPACTED)).is_none());
    }
}
