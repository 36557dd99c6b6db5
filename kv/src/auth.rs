//! Users, roles, and who may touch which keys: the part of the state that says no.
//!
//! **The problem.** A permission is only worth something if every member gives the same answer to
//! the same command, whatever it has heard of the users so far: one that let a put in which another
//! refused would be another store.
//!
//! **The idea.** Users and roles are replicated like keys. A change of them is a command, and has a
//! revision of its own, the *auth revision*. Whoever proposes a command for a client says who that
//! is ([`Caller`]), with the auth revision at which it recognised him. When the command is applied
//! it is judged once more, by the users as they are *there*:
//!
//! ```text
//!   client ── token ──► member: who is it? alice, at auth revision 7
//!                         │ propose_as(alice@7, put)
//!                         ▼
//!   apply, everywhere:  auth revision still 7? ── no ──► refused, "old": the client asks again
//!                         │ yes
//!                       do alice's roles cover the key? ── no ──► refused, "denied"
//!                         │ yes
//!                       put
//! ```
//!
//! A permission is etcd's pair of byte strings, kept as it was given. What a user may touch is the
//! *union* of what the permissions of all its roles say ([`Grants`]): two that touch each other
//! cover a range that lies across both.
//!
//! Passwords never come here: a hash does, made by whoever proposes. Nor do tokens: those are known
//! by their SHA-256, and not part of the state at all (`runtime::tokens`).
//!
//! **Promises.** With authentication off nothing is checked, and nothing costs more than a look at
//! one flag. A refused command leaves no trace. Every effective change has the next auth revision,
//! except switching on, as in etcd.
//!
//! **Left out.** Who a client is: hashing passwords, tokens and certificates are for the server.

mod change;
mod check;
pub(crate) mod format;
mod grants;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::key_range::KeyRange;

pub(crate) use change::Edit;
pub(crate) use check::permit;
pub use grants::Grants;

/// The user that must be there before authentication can be switched on.
pub const ROOT_USER: &str = "root";
/// Whoever has this role may do everything.
pub const ROOT_ROLE: &str = "root";
/// The auth revision of a store whose users nobody has touched.
pub const AUTH_REVISION_FRESH: u64 = 1;
/// Most bytes of the name of a user or a role. A part of the format: it may grow, never shrink.
pub const NAME_BYTES_MAX: usize = 1024;

/// For whom a command is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The group itself: leases that end, alarms, what members say of themselves. Not checked.
    System,
    /// A client that has not said who it is.
    Nobody,
    /// A client that was recognised.
    User {
        /// As whom.
        name: Arc<str>,
        /// The auth revision at which it was.
        revision: u64,
    },
}

/// What is to be done with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// See them.
    Read,
    /// Set or delete them.
    Write,
}

/// What a permission lets do. The numbers are etcd's, and on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PermissionKind {
    /// See keys.
    Read = 0,
    /// Set or delete keys, without seeing what was there.
    Write = 1,
    /// Both.
    ReadWrite = 2,
}

impl PermissionKind {
    /// The kind whose number is `byte`.
    pub fn from_byte(byte: u8) -> Option<PermissionKind> {
        match byte {
            0 => Some(PermissionKind::Read),
            1 => Some(PermissionKind::Write),
            2 => Some(PermissionKind::ReadWrite),
            _ => None,
        }
    }

    /// Whether it allows `access`.
    pub fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => self != PermissionKind::Write,
            Access::Write => self != PermissionKind::Read,
        }
    }
}

/// Leave to do something with some keys, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What may be done.
    pub kind: PermissionKind,
    /// The first key.
    pub key: Bytes,
    /// etcd's: empty for the one key, one zero byte for all from it on.
    pub range_end: Bytes,
}

impl Permission {
    /// The keys that it is about.
    pub fn range(&self) -> KeyRange {
        KeyRange::from_etcd(self.key.clone(), self.range_end.clone())
    }

    fn place(&self) -> (&Bytes, &Bytes) {
        (&self.key, &self.range_end)
    }
}

/// A user.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The hash of the password; empty if there is none.
    pub password: Bytes,
    /// It can come in by certificate only.
    pub no_password: bool,
    /// What it is.
    pub roles: BTreeSet<String>,
}

/// A hash is not for logs.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let User { password: _, no_password, roles } = self;
        let mut shown = f.debug_struct("User");
        shown.field("no_password", no_password).field("roles", roles).finish_non_exhaustive()
    }
}

/// A role: its permissions, by key and end, no pair of those twice.
pub type Role = Vec<Permission>;

/// All users and roles. Invariants:
///
/// - every role of a user is there, or is [`ROOT_ROLE`];
/// - the permissions of a role ascend by key and end;
/// - there are grants for exactly the users, and they say what their roles say;
/// - while authentication is on, [`ROOT_USER`] has [`ROOT_ROLE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Whether anything is checked.
    pub enabled: bool,
    /// Raised by every change.
    pub revision: u64,
    /// By name.
    pub users: BTreeMap<String, User>,
    /// By name.
    pub roles: BTreeMap<String, Role>,
    /// What each user may touch.
    grants: BTreeMap<String, Grants>,
}

impl Default for Auth {
    fn default() -> Auth {
        Auth {
            enabled: false,
            revision: AUTH_REVISION_FRESH,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            grants: BTreeMap::new(),
        }
    }
}

impl Auth {
    /// One number that tells whether anything has changed for those who ask: 0 while nothing is
    /// checked, else the auth revision.
    pub fn epoch(&self) -> u64 {
        if self.enabled { self.revision } else { 0 }
    }

    /// Whether `user` may do everything.
    pub fn is_root(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.roles.contains(ROOT_ROLE))
    }

    /// Asserts the invariants.
    pub(crate) fn check(&self) {
        let stands = |role: &String| role == ROOT_ROLE || self.roles.contains_key(role);
        assert!(self.users.values().all(|user| user.roles.iter().all(stands)), "roles are there");
        for role in self.roles.values() {
            assert!(role.is_sorted_by(|a, b| a.place() < b.place()), "permissions ascend");
        }
        assert!(self.users.keys().eq(self.grants.keys()), "there are grants for every user");
        debug_assert!(
            self.users.iter().all(|(name, user)| self.grants[name] == self.grants_of(user)),
            "grants are those of the roles"
        );
        assert!(!self.enabled || self.is_root(ROOT_USER), "root is root");
    }
}
