//! What a client may ask of the store.
//!
//! A [`Command`] changes the store. It is journaled first and applied after, and it carries all
//! that the outcome depends on: no clock is read and no number is drawn while it is applied, so
//! every copy of the store that applies the same commands is the same store.
//! A [`RangeRequest`] only reads; it is journaled when it stands inside a transaction that writes.
//!
//! The requests keep etcd's meaning but not its sentinels: where etcd says "0 is none", these say
//! `Option`.

use std::fmt;

use bytes::Bytes;

use crate::auth::Permission;
use crate::key_range::KeyRange;
use crate::members::Member;
use crate::types::LeaseId;

/// One change, as it is journaled, replicated and applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Sets one key.
    Put(Put),
    /// Deletes every key of a range.
    DeleteRange(DeleteRange),
    /// Compares, then runs one of two lists of operations, all in one revision.
    Txn(Txn),
    /// Forgets what can only be seen below a revision.
    Compact(Compact),
    /// Creates a lease.
    LeaseGrant(LeaseGrant),
    /// Ends a lease and deletes the keys that hang on it.
    LeaseRevoke(LeaseRevoke),
    /// Raises or clears an alarm.
    Alarm(AlarmChange),
    /// Changes users and roles.
    Auth(AuthChange),
    /// Forms the cluster. The first one does; to a later one the answer is what stands.
    ClusterInit {
        /// The cluster's id.
        cluster: u64,
        /// Its first members, in any order.
        members: Vec<Member>,
    },
    /// Adds a member.
    MemberAdd {
        /// Who it is.
        member: Member,
        /// How many learners there may be with it, if it is one; usually
        /// [`crate::members::LEARNERS_MAX`].
        learners_max: u64,
    },
    /// Removes a member, for ever.
    MemberRemove {
        /// Whom.
        id: u64,
    },
    /// Changes where other members reach one.
    MemberUpdate {
        /// Whom.
        id: u64,
        /// All its peer URLs.
        peer_urls: Vec<String>,
    },
    /// Gives a learner a vote.
    MemberPromote {
        /// Whom.
        id: u64,
    },
    /// What a member says of itself after its start.
    MemberPublish {
        /// Who says it.
        id: u64,
        /// What people call it.
        name: String,
        /// All its client URLs.
        client_urls: Vec<String>,
    },
    /// After a disaster: one member goes on alone, and all others count as removed.
    ClusterForce {
        /// The cluster's id from here on.
        cluster: u64,
        /// The member that is left.
        member: Member,
    },
}

impl Command {
    /// Whether the store and its leases depend on it: it is not to wait until others write less.
    pub fn is_urgent(&self) -> bool {
        !matches!(self, Command::Put(_) | Command::DeleteRange(_) | Command::Txn(_))
    }

    /// Whether it is about keys and leases, which a store that is known to be wrong refuses.
    pub fn is_of_keys(&self) -> bool {
        !self.is_of_members() && !matches!(self, Command::Alarm(_) | Command::Auth(_))
    }

    /// Whether it changes the members of the group, and nothing else.
    pub fn is_of_members(&self) -> bool {
        match self {
            Command::ClusterInit { .. }
            | Command::MemberAdd { .. }
            | Command::MemberRemove { .. }
            | Command::MemberUpdate { .. }
            | Command::MemberPromote { .. }
            | Command::MemberPublish { .. }
            | Command::ClusterForce { .. } => true,
            Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Txn(_)
            | Command::Compact(_)
            | Command::LeaseGrant(_)
            | Command::LeaseRevoke(_)
            | Command::Alarm(_)
            | Command::Auth(_) => false,
        }
    }
}

/// Sets one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The key; empty is refused.
    pub key: Bytes,
    /// The value; `None` keeps what stands there and is refused where nothing does.
    pub value: Option<Bytes>,
    /// The lease to hang on; [`LeaseId::NONE`] lets go of any, `None` keeps what stands there and
    /// is refused where nothing does.
    pub lease: Option<LeaseId>,
    /// Whether the reply carries what stood there before.
    pub prev_kv: bool,
}

impl Put {
    /// Sets `key` to `value`, on no lease, and wants nothing back.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Put {
        let (key, value) = (key.into(), Some(value.into()));
        Put { key, value, lease: Some(LeaseId::NONE), prev_kv: false }
    }
}

impl Default for Put {
    /// An empty key (which is refused) set to an empty value on no lease.
    fn default() -> Put {
        Put::new(Bytes::new(), Bytes::new())
    }
}

/// Deletes every key of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRange {
    /// The keys; an empty start is refused.
    pub range: KeyRange,
    /// Whether the reply carries what was deleted.
    pub prev_kv: bool,
}

/// Reads the keys of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRequest {
    /// The keys; an empty start is refused.
    pub range: KeyRange,
    /// The main revision to read at; `None` is the newest.
    pub revision: Option<u64>,
    /// At most so many key-values; 0 is no limit.
    pub limit: usize,
    /// The order of the answer; `None` is by key, ascending.
    pub sort: Option<Sort>,
    /// Leaves the values out.
    pub keys_only: bool,
    /// Leaves the key-values out.
    pub count_only: bool,
    /// Drops key-values by their revisions, after counting.
    pub bounds: RevisionBounds,
}

impl RangeRequest {
    /// All of `range` as it stands now.
    pub fn new(range: KeyRange) -> RangeRequest {
        RangeRequest {
            range,
            revision: None,
            limit: 0,
            sort: None,
            keys_only: false,
            count_only: false,
            bounds: RevisionBounds::default(),
        }
    }
}

/// An order other than the native one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// What is compared.
    pub by: SortBy,
    /// Which way.
    pub order: SortOrder,
}

/// What a [`Sort`] compares. Ties come in no promised order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// The key.
    Key,
    /// How many puts the generation has seen.
    Version,
    /// The revision that created the key.
    Create,
    /// The revision that last changed it.
    Mod,
    /// The value.
    Value,
}

/// Which way a [`Sort`] runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortOrder {
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
    /// Smallest first, but a limit takes the first keys *before* they are sorted: what etcd makes
    /// of a request that names what to compare and no order.
    AscendAfterLimit,
}

/// Inclusive bounds on the revisions of the key-values that an answer keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevisionBounds {
    /// Smallest modification revision kept.
    pub mod_min: Option<u64>,
    /// Largest modification revision kept.
    pub mod_max: Option<u64>,
    /// Smallest creation revision kept.
    pub create_min: Option<u64>,
    /// Largest creation revision kept.
    pub create_max: Option<u64>,
}

impl RevisionBounds {
    /// Whether every key-value passes.
    pub fn is_open(&self) -> bool {
        *self == RevisionBounds::default()
    }

    /// Whether a key-value with these revisions passes.
    pub fn keep(&self, created: u64, modified: u64) -> bool {
        self.mod_min.is_none_or(|min| min <= modified)
            && self.mod_max.is_none_or(|max| modified <= max)
            && self.create_min.is_none_or(|min| min <= created)
            && self.create_max.is_none_or(|max| created <= max)
    }
}

/// Compares, then runs one of two lists of operations, all in one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold for success; none holds trivially.
    pub compares: Vec<Compare>,
    /// Run when all compares hold.
    pub success: Vec<TxnOp>,
    /// Run otherwise.
    pub failure: Vec<TxnOp>,
}

impl Txn {
    /// Whether no branch can write: only then may a transaction stay out of the journal.
    /// A nested transaction counts as a write, whatever is in it, as etcd has it.
    pub fn is_read_only(&self) -> bool {
        let reads = |ops: &[TxnOp]| ops.iter().all(|op| matches!(op, TxnOp::Range(_)));
        reads(&self.success) && reads(&self.failure)
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOp {
    /// Reads; sees the writes of the operations before it.
    Range(RangeRequest),
    /// Sets one key.
    Put(Put),
    /// Deletes keys.
    DeleteRange(DeleteRange),
    /// A transaction inside; its compares see the state before the outermost one began.
    Txn(Txn),
}

/// A condition on every key of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The keys. Where none is alive, one imagined key-value of zeros is compared, except by value,
    /// where the condition fails.
    pub range: KeyRange,
    /// What must hold between the key-value and `target`.
    pub relation: Relation,
    /// What is compared, and with what.
    pub target: CompareTarget,
}

/// What must hold between the two sides of a [`Compare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are the same.
    Equal,
    /// The key-value's side is larger.
    Greater,
    /// The key-value's side is smaller.
    Less,
    /// They differ.
    NotEqual,
    /// Always holds: what etcd makes of a number that its protocol does not define.
    Any,
}

/// The right-hand side of a [`Compare`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    /// How many puts the generation has seen.
    Version(i64),
    /// The revision that created the key.
    Create(i64),
    /// The revision that last changed it.
    Mod(i64),
    /// The value.
    Value(Bytes),
    /// The lease.
    Lease(LeaseId),
    /// Both sides count as equal: what etcd makes of a number that its protocol does not define.
    Unknown,
}

/// Forgets what can only be seen below a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compact {
    /// The oldest main revision that stays readable.
    pub revision: u64,
}

/// Creates a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Its name, chosen before the command is journaled; [`LeaseId::NONE`] is refused.
    pub id: LeaseId,
    /// Its time to live, seconds, already raised to the server's minimum.
    pub ttl: i64,
}

/// Ends a lease and deletes the keys that hang on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRevoke {
    /// Its name.
    pub id: LeaseId,
}

/// Raises or clears an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmChange {
    /// Raise, or clear.
    pub raise: bool,
    /// The member it concerns.
    pub member: u64,
    /// What is wrong.
    pub kind: AlarmKind,
}

/// Changes users and roles, or notes that a user was recognised. Passwords are hashes of them, by
/// whoever proposes it.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthChange {
    /// From here on everything is checked.
    Enable,
    /// From here on nothing is.
    Disable,
    /// A new user, without roles.
    UserAdd {
        /// Its name; empty is refused.
        name: String,
        /// The hash of its password.
        password: Bytes,
        /// It has none, and comes in by certificate only.
        no_password: bool,
    },
    /// A user goes.
    UserDelete {
        /// Which.
        name: String,
    },
    /// A user has another password.
    UserChangePassword {
        /// Which.
        name: String,
        /// The hash of the new one.
        password: Bytes,
    },
    /// A user has one role more.
    UserGrantRole {
        /// Which user.
        name: String,
        /// Which role.
        role: String,
    },
    /// A user has one role less.
    UserRevokeRole {
        /// Which user.
        name: String,
        /// Which role.
        role: String,
    },
    /// A new role, without permissions.
    RoleAdd {
        /// Its name; empty is refused.
        name: String,
    },
    /// A role goes, from all who have it.
    RoleDelete {
        /// Which.
        name: String,
    },
    /// A role has one permission more, or another kind of one that it has.
    RoleGrantPermission {
        /// Which role.
        role: String,
        /// The permission.
        permission: Permission,
    },
    /// A role has one permission less.
    RoleRevokePermission {
        /// Which role.
        role: String,
        /// The permission's key.
        key: Bytes,
        /// And its end, as they were given.
        range_end: Bytes,
    },
    /// A user was recognised by its password. Changes nothing: the members take note of the token.
    Authenticate {
        /// The user.
        user: String,
        /// The auth revision at which the password was right; at any other it is refused.
        revision: u64,
        /// The SHA-256 of the token that the user is given; `None` for one that needs no note.
        token: Option<[u8; 32]>,
    },
}

impl AuthChange {
    /// The names in it.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let (one, two): (&str, &str) = match self {
            AuthChange::Enable | AuthChange::Disable => ("", ""),
            AuthChange::UserGrantRole { name, role }
            | AuthChange::UserRevokeRole { name, role } => (name, role),
            AuthChange::UserAdd { name, .. }
            | AuthChange::UserDelete { name }
            | AuthChange::UserChangePassword { name, .. }
            | AuthChange::RoleAdd { name }
            | AuthChange::RoleDelete { name }
            | AuthChange::RoleGrantPermission { role: name, .. }
            | AuthChange::RoleRevokePermission { role: name, .. }
            | AuthChange::Authenticate { user: name, .. } => (name, ""),
        };
        [one, two].into_iter()
    }

    /// What is done, in etcd's word.
    pub fn verb(&self) -> &'static str {
        match self {
            AuthChange::Enable => "auth_enable",
            AuthChange::Disable => "auth_disable",
            AuthChange::UserAdd { .. } => "auth_user_add",
            AuthChange::UserDelete { .. } => "auth_user_delete",
            AuthChange::UserChangePassword { .. } => "auth_user_change_password",
            AuthChange::UserGrantRole { .. } => "auth_user_grant_role",
            AuthChange::UserRevokeRole { .. } => "auth_user_revoke_role",
            AuthChange::RoleAdd { .. } => "auth_role_add",
            AuthChange::RoleDelete { .. } => "auth_role_delete",
            AuthChange::RoleGrantPermission { .. } => "auth_role_grant_permission",
            AuthChange::RoleRevokePermission { .. } => "auth_role_revoke_permission",
            AuthChange::Authenticate { .. } => "authenticate",
        }
    }
}

/// Hashes are not for logs.
impl fmt::Debug for AuthChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb())?;
        f.debug_list().entries(self.names().filter(|name| !name.is_empty())).finish()
    }
}

/// A standing trouble that stops writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum AlarmKind {
    /// The store has outgrown its quota: puts, transactions with puts and grants are refused until
    /// an operator clears it.
    NoSpace = 1,
    /// Members disagree: everything is refused until an operator clears it.
    Corrupt = 2,
    /// A member's disk is full: the same is refused as for want of space, until that member finds
    /// room again. An alarm of its own, so that whoever clears it knows that it is his, however
    /// late the word of it came. Goes with [`AlarmKind::NoSpace`], and with the member.
    DiskFull = 3,
}
