//! Users and roles as bytes: in commands, and in the engine.
//!
//! ```text
//! change       kind 1 byte, then: 1 enable, 2 disable: nothing
//!                3 user add         name bytes | no_password bool | password bytes
//!                4 user delete      name bytes
//!                5 change password  name bytes | password bytes
//!                6 grant role       name bytes | role bytes           (7 revoke role likewise)
//!                8 role add         name bytes                        (9 role delete likewise)
//!               10 grant permission role bytes | permission
//!               11 revoke it        role bytes | key bytes | range end bytes
//!               12 authenticate     user bytes | auth revision varint | token option<32 bytes>
//! permission   kind 1 byte | key bytes | range end bytes
//!
//! Space::Meta  "auth/enabled"       empty    authentication is on; absent: it is off
//!              "auth/revision"      8 bytes  absent: 1
//!              "auth/user/" name    no_password bool | password bytes | roles count, each: bytes
//!              "auth/role/" name    permissions count, each: permission
//! ```
//!
//! The building blocks are those of [`crate::codec`]; names are UTF-8. A password is a hash of one,
//! a token the SHA-256 of one, everywhere.

use bytes::Bytes;

use super::{AUTH_REVISION_FRESH, Auth, Edit, NAME_BYTES_MAX, Permission, PermissionKind};
use super::{ROOT_ROLE, ROOT_USER, Role, User};
use crate::codec::{Decoder, Malformed, put_bool, put_bytes, put_option, put_varint};
use crate::command::AuthChange;
use crate::engine::{Batch, Direction, Snapshot, Space};
use crate::error::Error;
use crate::state::{damaged, load_number};

const META_ENABLED: &[u8] = b"auth/enabled";
const META_REVISION: &[u8] = b"auth/revision";
const META_USER: &[u8] = b"auth/user/";
const META_ROLE: &[u8] = b"auth/role/";

/// Width of a token's hash.
pub(crate) const TOKEN_BYTES: usize = 32;

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

fn take_text(input: &mut Decoder) -> Result<String, Malformed> {
    text(&input.bytes()?)
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed("not UTF-8"))?;
    Ok(text.to_owned())
}

/// Appends a change, its kind included.
pub(crate) fn put_change(out: &mut Vec<u8>, change: &AuthChange) {
    let mut texts = |kind: u8, texts: &[&str]| {
        out.push(kind);
        texts.iter().for_each(|text| put_text(out, text));
    };
    match change {
        AuthChange::Enable => texts(1, &[]),
        AuthChange::Disable => texts(2, &[]),
        AuthChange::UserAdd { name, password, no_password } => {
            texts(3, &[name]);
            put_bool(out, *no_password);
            put_bytes(out, password);
        }
        AuthChange::UserDelete { name } => texts(4, &[name]),
        AuthChange::UserChangePassword { name, password } => {
            texts(5, &[name]);
            put_bytes(out, password);
        }
        AuthChange::UserGrantRole { name, role } => texts(6, &[name, role]),
        AuthChange::UserRevokeRole { name, role } => texts(7, &[name, role]),
        AuthChange::RoleAdd { name } => texts(8, &[name]),
        AuthChange::RoleDelete { name } => texts(9, &[name]),
        AuthChange::RoleGrantPermission { role, permission } => {
            texts(10, &[role]);
            put_permission(out, permission);
        }
        AuthChange::RoleRevokePermission { role, key, range_end } => {
            texts(11, &[role]);
            put_bytes(out, key);
            put_bytes(out, range_end);
        }
        AuthChange::Authenticate { user, revision, token } => {
            texts(12, &[user]);
            put_varint(out, *revision);
            put_option(out, token.as_ref(), |out, token| out.extend_from_slice(token));
        }
    }
}

/// Reads what [`put_change`] wrote.
pub(crate) fn take_change(input: &mut Decoder) -> Result<AuthChange, Malformed> {
    Ok(match input.byte()? {
        1 => AuthChange::Enable,
        2 => AuthChange::Disable,
        3 => AuthChange::UserAdd {
            name: take_text(input)?,
            no_password: input.bool()?,
            password: input.bytes()?,
        },
        4 => AuthChange::UserDelete { name: take_text(input)? },
        5 => AuthChange::UserChangePassword { name: take_text(input)?, password: input.bytes()? },
        6 => AuthChange::UserGrantRole { name: take_text(input)?, role: take_text(input)? },
        7 => AuthChange::UserRevokeRole { name: take_text(input)?, role: take_text(input)? },
        8 => AuthChange::RoleAdd { name: take_text(input)? },
        9 => AuthChange::RoleDelete { name: take_text(input)? },
        10 => AuthChange::RoleGrantPermission {
            role: take_text(input)?,
            permission: take_permission(input)?,
        },
        11 => AuthChange::RoleRevokePermission {
            role: take_text(input)?,
            key: input.bytes()?,
            range_end: input.bytes()?,
        },
        12 => AuthChange::Authenticate {
            user: take_text(input)?,
            revision: input.varint()?,
            token: input.option(take_token)?,
        },
        _ => return Err(Malformed("unknown change of users")),
    })
}

fn take_token(input: &mut Decoder) -> Result<[u8; TOKEN_BYTES], Malformed> {
    let mut token = [0; TOKEN_BYTES];
    for byte in &mut token {
        *byte = input.byte()?;
    }
    Ok(token)
}

fn put_permission(out: &mut Vec<u8>, permission: &Permission) {
    out.push(permission.kind as u8);
    put_bytes(out, &permission.key);
    put_bytes(out, &permission.range_end);
}

fn take_permission(input: &mut Decoder) -> Result<Permission, Malformed> {
    let kind = PermissionKind::from_byte(input.byte()?);
    let kind = kind.ok_or(Malformed("unknown kind of permission"))?;
    Ok(Permission { kind, key: input.bytes()?, range_end: input.bytes()? })
}

fn user_bytes(user: &User) -> Bytes {
    let mut out = Vec::new();
    put_bool(&mut out, user.no_password);
    put_bytes(&mut out, &user.password);
    put_varint(&mut out, user.roles.len() as u64);
    user.roles.iter().for_each(|role| put_text(&mut out, role));
    out.into()
}

fn user(bytes: Bytes) -> Result<User, Malformed> {
    let mut input = Decoder::new(bytes);
    let (no_password, password, count) = (input.bool()?, input.bytes()?, input.count()?);
    let roles = (0..count).map(|_| take_text(&mut input)).collect::<Result<_, _>>()?;
    input.finish()?;
    Ok(User { password: Bytes::copy_from_slice(&password), no_password, roles })
}

fn role_bytes(role: &Role) -> Bytes {
    let mut out = Vec::new();
    put_varint(&mut out, role.len() as u64);
    role.iter().for_each(|permission| put_permission(&mut out, permission));
    out.into()
}

fn role(bytes: Bytes) -> Result<Role, Malformed> {
    let mut input = Decoder::new(bytes);
    let count = input.count()?;
    let role = (0..count).map(|_| take_permission(&mut input)).collect::<Result<Role, _>>()?;
    input.finish()?;
    let ascends = role.is_sorted_by(|a, b| a.place() < b.place());
    if ascends { Ok(role) } else { Err(Malformed("permissions are out of order")) }
}

impl Edit {
    /// Adds what the engine has to change; `revision` is the auth revision afterwards.
    pub(crate) fn save(&self, revision: u64, batch: &mut Batch) {
        match self.enabled {
            Some(true) => batch.put(Space::Meta, META_ENABLED, Bytes::new()),
            Some(false) => batch.delete(Space::Meta, META_ENABLED),
            None => {}
        }
        let revision = Bytes::copy_from_slice(&revision.to_be_bytes());
        batch.put(Space::Meta, META_REVISION, revision);
        for (name, role) in &self.roles {
            let key = [META_ROLE, name.as_bytes()].concat();
            match role {
                Some(role) => batch.put(Space::Meta, &key, role_bytes(role)),
                None => batch.delete(Space::Meta, &key),
            }
        }
        for (name, user) in &self.users {
            let key = [META_USER, name.as_bytes()].concat();
            match user {
                Some(user) => batch.put(Space::Meta, &key, user_bytes(user)),
                None => batch.delete(Space::Meta, &key),
            }
        }
    }
}

impl Auth {
    /// Adds all of it, to an engine that holds none.
    #[cfg(feature = "runtime")]
    pub(crate) fn save(&self, batch: &mut Batch) {
        let roles = self.roles.iter().map(|(name, role)| (name.clone(), Some(role.clone())));
        let users = self.users.iter().map(|(name, user)| (name.clone(), Some(user.clone())));
        let edit = Edit {
            enabled: self.enabled.then_some(true),
            is_new: false,
            users: users.collect(),
            roles: roles.collect(),
        };
        edit.save(self.revision, batch);
    }

    /// The users and roles that an engine holds.
    pub(crate) fn load(snapshot: &impl Snapshot) -> Result<Auth, Error> {
        let revision = load_number(snapshot, META_REVISION)?.unwrap_or(AUTH_REVISION_FRESH);
        let enabled = snapshot.get(Space::Meta, META_ENABLED)?.is_some();
        let mut auth = Auth { enabled, revision, ..Auth::default() };
        each_under(snapshot, META_ROLE, |name, bytes| {
            auth.roles.insert(name, role(bytes)?);
            Ok(())
        })?;
        each_under(snapshot, META_USER, |name, bytes| {
            auth.users.insert(name, user(bytes)?);
            Ok(())
        })?;
        let stands = |name: &String| name == ROOT_ROLE || auth.roles.contains_key(name);
        if !auth.users.values().all(|user| user.roles.iter().all(stands)) {
            return Err(damaged("a user has a role that is not there"));
        }
        if auth.enabled && !auth.is_root(ROOT_USER) {
            return Err(damaged("authentication is on, and there is no root"));
        }
        for name in auth.users.keys().cloned().collect::<Vec<_>>() {
            auth.grant(&name);
        }
        auth.check();
        Ok(auth)
    }
}

/// Calls `visit` with the name and the value of every record under `prefix`, by name.
fn each_under(
    snapshot: &impl Snapshot,
    prefix: &[u8],
    mut visit: impl FnMut(String, Bytes) -> Result<(), Malformed>,
) -> Result<(), Error> {
    let mut end = prefix.to_vec();
    *end.last_mut().expect("a prefix is not empty") += 1;
    for entry in snapshot.range(Space::Meta, prefix, Some(&end), Direction::Forward) {
        let (key, bytes) = entry?;
        let name = &key[prefix.len()..];
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(damaged("a user or a role has no name that it could have"));
        }
        let visited = text(name).and_then(|name| visit(name, bytes));
        visited.map_err(|malformed| damaged(malformed.0))?;
    }
    Ok(())
}
