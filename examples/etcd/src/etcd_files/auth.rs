//! Users, roles and whether they matter: how they come out of etcd's database and go into it.
//!
//! ```text
//!   bucket auth        authEnabled    1 byte: 1 is on        absent: off
//!                      authRevision   8 bytes                absent: nobody has touched them
//!   bucket authUsers   name           authpb.User            a bcrypt hash, roles, no_password
//!   bucket authRoles   name           authpb.Role            its permissions
//! ```
//!
//! A hash stays what it is, so passwords hold on the other side. So does the auth revision: what
//! lies in the journal names the one at which its user was recognised.
//!
//! etcd can hold what the store never does. A role may allow the same range twice; then it allows
//! what both together do. A user may have a role that is not there, and allows nothing; it is left
//! out, and whoever converts is told.

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use drystone_etcd_api::authpb;
use drystone_etcd_bolt::File;
use drystone_kv::Auth;
use drystone_kv::auth::{AUTH_REVISION_FRESH, Permission, PermissionKind, ROOT_ROLE, Role, User};
use prost::Message;

use super::buckets;

const ENABLED: &[u8] = b"authEnabled";
const REVISION: &[u8] = b"authRevision";

/// Those in a database.
pub(crate) fn read(file: &File) -> Result<Auth> {
    let mut auth = Auth::default();
    for (key, value) in records(file, buckets::AUTH)? {
        match &key[..] {
            ENABLED => auth.enabled = value[..] == [1],
            REVISION => {
                let bytes = value[..].try_into().context("`authRevision` is not 8 bytes wide")?;
                auth.revision = u64::from_be_bytes(bytes).max(AUTH_REVISION_FRESH);
            }
            _ => {}
        }
    }
    for (name, value) in records(file, buckets::AUTH_ROLES)? {
        let name = text(&name)?;
        let role = role(value).with_context(|| format!("role {name:?}"))?;
        auth.roles.insert(name, role);
    }
    for (name, value) in records(file, buckets::AUTH_USERS)? {
        let name = text(&name)?;
        let mut user = user(value).with_context(|| format!("user {name:?}"))?;
        user.roles.retain(|role| {
            let stands = role == ROOT_ROLE || auth.roles.contains_key(role);
            if !stands {
                eprintln!("user {name:?} has a role {role:?} that is not there: it is left out");
            }
            stands
        });
        auth.users.insert(name, user);
    }
    Ok(auth)
}

/// What is in the bucket `auth`, by key.
pub(crate) fn settings(auth: &Auth) -> [(&'static [u8], Vec<u8>); 2] {
    let (enabled, revision) = (u8::from(auth.enabled), auth.revision.to_be_bytes());
    [(ENABLED, vec![enabled]), (REVISION, revision.to_vec())]
}

/// What is in the bucket `authRoles`, by key.
pub(crate) fn roles(auth: &Auth) -> impl Iterator<Item = (&str, Vec<u8>)> {
    auth.roles.iter().map(|(name, role)| {
        let permission = |permission: &Permission| {
            let Permission { kind, key, range_end } = permission.clone();
            authpb::Permission { perm_type: i32::from(kind as u8), key, range_end }
        };
        let key_permission = role.iter().map(permission).collect();
        let role = authpb::Role { name: name.clone().into(), key_permission };
        (&name[..], role.encode_to_vec())
    })
}

/// What is in the bucket `authUsers`, by key.
pub(crate) fn users(auth: &Auth) -> impl Iterator<Item = (&str, Vec<u8>)> {
    auth.users.iter().map(|(name, user)| {
        let User { password, no_password, roles } = user.clone();
        let user = authpb::User {
            name: name.clone().into(),
            password,
            roles: roles.into_iter().collect(),
            options: Some(authpb::UserAddOptions { no_password }),
        };
        (&name[..], user.encode_to_vec())
    })
}

fn user(bytes: Bytes) -> Result<User> {
    let authpb::User { password, roles, options, .. } = authpb::User::decode(bytes)?;
    let no_password = options.is_some_and(|options| options.no_password);
    let password = if no_password { Bytes::new() } else { password };
    Ok(User { password, no_password, roles: roles.into_iter().collect() })
}

fn role(bytes: Bytes) -> Result<Role> {
    let given = authpb::Role::decode(bytes)?.key_permission.into_iter();
    let mut role = given.map(permission).collect::<Result<Role>>()?;
    role.sort_by(|one, two| (&one.key, &one.range_end).cmp(&(&two.key, &two.range_end)));
    role.dedup_by(|next, kept| {
        let same = (&next.key, &next.range_end) == (&kept.key, &kept.range_end);
        if same && next.kind != kept.kind {
            kept.kind = PermissionKind::ReadWrite;
        }
        same
    });
    Ok(role)
}

/// A permission, as it was given: etcd's ends are those of the store.
pub(super) fn permission(given: authpb::Permission) -> Result<Permission> {
    let authpb::Permission { perm_type, key, range_end } = given;
    let kind = u8::try_from(perm_type).ok().and_then(PermissionKind::from_byte);
    let Some(kind) = kind else { bail!("a permission is of unknown kind {perm_type}") };
    Ok(Permission { kind, key, range_end })
}

fn text(name: &Bytes) -> Result<String> {
    let text = std::str::from_utf8(name);
    Ok(text.map_err(|_| anyhow!("the name of a user or role is not UTF-8: {name:?}"))?.to_owned())
}

/// Key and value of all that a small bucket holds; nothing if there is no such bucket.
fn records(file: &File, bucket: &str) -> Result<Vec<(Bytes, Bytes)>> {
    let Some(bucket) = file.bucket(bucket.as_bytes())? else { return Ok(Vec::new()) };
    let mut records = Vec::new();
    for entry in file.entries(&bucket) {
        let entry = entry?;
        records.push((entry.key, entry.value));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(perm_type: i32, key: &'static str, range_end: &'static str) -> authpb::Permission {
        authpb::Permission { perm_type, key: key.into(), range_end: range_end.into() }
    }

    // etcd finds only the first of several permissions for one key, and may write one twice; it
    // goes by all of them, and the store has a place for one.
    #[test]
    fn what_a_role_allows_twice_it_allows_together() {
        let key_permission = vec![
            allow(1, "a", "c"),
            allow(0, "a", "\0"),
            allow(0, "a", "c"),
            allow(0, "a", ""),
            allow(0, "a", ""),
        ];
        let found = authpb::Role { name: "r".into(), key_permission };
        let expected: Role = [
            (PermissionKind::Read, ""),
            (PermissionKind::Read, "\0"),
            (PermissionKind::ReadWrite, "c"),
        ]
        .map(|(kind, end)| Permission { kind, key: "a".into(), range_end: end.into() })
        .into();
        assert_eq!(role(found.encode_to_vec().into()).unwrap(), expected);
        let odd = authpb::Role { name: "r".into(), key_permission: vec![allow(3, "a", "")] };
        assert!(role(odd.encode_to_vec().into()).is_err());
    }

    // What is written must be read as the same, each field of it.
    #[test]
    fn users_and_roles_come_back_as_they_went() {
        let mut auth = Auth::default();
        let permission = |key: &'static str, end: &'static str, kind| Permission {
            kind,
            key: key.into(),
            range_end: end.into(),
        };
        let all = permission("a", "\0", PermissionKind::Write);
        auth.roles.insert("r".into(), vec![permission("a", "", PermissionKind::Read), all]);
        let roles = ["r".to_owned(), "root".to_owned()].into();
        let user = User { password: "$2a$04$x".into(), no_password: false, roles };
        auth.users.insert("u".into(), user);
        auth.users.insert("v".into(), User { no_password: true, ..User::default() });
        for (name, bytes) in super::roles(&auth) {
            assert_eq!(role(bytes.into()).unwrap(), auth.roles[name]);
        }
        for (name, bytes) in users(&auth) {
            assert_eq!(super::user(bytes.into()).unwrap(), auth.users[name]);
        }
    }
}
