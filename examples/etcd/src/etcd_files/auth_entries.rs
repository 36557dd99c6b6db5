//! Entries of the journal that change users and roles.
//!
//! From 3.5 on etcd hashes a password before it proposes it; before, the password itself lies in
//! the journal, and each member hashes it with a salt of its own. It must not lie in a log of this
//! server. So it is hashed here, and since all members must make the same command of the same
//! entry, the salt is drawn from what tells that entry from all others, and from nothing else: a
//! salt that told of the password would be a second hash of it, and a fast one.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use drystone_kv::command::AuthChange;
use sha2::{Digest, Sha256};

use super::auth::permission;
use super::messages::{LogEntry, RaftRequest};
use crate::auth::passwords;

/// What the request changes; nothing if it does not change users or roles.
///
/// # Errors
///
/// If it cannot be understood.
pub(super) fn change(entry: &LogEntry, request: &RaftRequest) -> Result<Option<AuthChange>> {
    let hash = |name: &str, password: &str, hashed: &str| {
        if password.is_empty() && !hashed.is_empty() {
            let hash = STANDARD.decode(hashed).context("the hash of a password is not base64")?;
            return Ok(Bytes::from(hash));
        }
        passwords::hash_with(password, salt(entry, request, name)).context("a password")
    };
    let change = if request.auth_enable.is_some() {
        AuthChange::Enable
    } else if request.auth_disable.is_some() {
        AuthChange::Disable
    } else if let Some(add) = &request.user_add {
        let pb::AuthUserAddRequest { name, password, options, hashed_password } = add;
        let (name, no_password) = (name.clone(), options.is_some_and(|told| told.no_password));
        let password = match no_password {
            true => Bytes::new(),
            false => hash(&name, password, hashed_password)?,
        };
        AuthChange::UserAdd { name, password, no_password }
    } else if let Some(delete) = &request.user_delete {
        AuthChange::UserDelete { name: delete.name.clone() }
    } else if let Some(change) = &request.user_change_password {
        let name = change.name.clone();
        let password = hash(&name, &change.password, &change.hashed_password)?;
        AuthChange::UserChangePassword { name, password }
    } else if let Some(grant) = &request.user_grant_role {
        AuthChange::UserGrantRole { name: grant.user.clone(), role: grant.role.clone() }
    } else if let Some(revoke) = &request.user_revoke_role {
        AuthChange::UserRevokeRole { name: revoke.name.clone(), role: revoke.role.clone() }
    } else {
        return of_role(request);
    };
    Ok(Some(change))
}

fn of_role(request: &RaftRequest) -> Result<Option<AuthChange>> {
    let change = if let Some(add) = &request.role_add {
        AuthChange::RoleAdd { name: add.name.clone() }
    } else if let Some(delete) = &request.role_delete {
        AuthChange::RoleDelete { name: delete.role.clone() }
    } else if let Some(grant) = &request.role_grant_permission {
        let Some(given) = grant.perm.clone() else { return Ok(None) };
        AuthChange::RoleGrantPermission { role: grant.name.clone(), permission: permission(given)? }
    } else if let Some(revoke) = &request.role_revoke_permission {
        let pb::AuthRoleRevokePermissionRequest { role, key, range_end } = revoke.clone();
        AuthChange::RoleRevokePermission { role, key, range_end }
    } else {
        return Ok(None);
    };
    Ok(Some(change))
}

fn salt(entry: &LogEntry, request: &RaftRequest, name: &str) -> [u8; passwords::SALT_BYTES] {
    let mut hasher = Sha256::new();
    let id = request.header.as_ref().map_or(0, |header| header.id);
    for number in [id, entry.term, entry.index] {
        hasher.update(number.to_be_bytes());
    }
    hasher.update(name);
    *hasher.finalize().first_chunk().expect("a SHA-256 is longer than a salt")
}

#[cfg(test)]
mod tests {
    use drystone_etcd_api::authpb;

    use super::super::messages::RequestHeader;
    use super::*;

    const PASSWORD: &str = "swordfish-4711";

    fn hashed(index: u64, id: u64, password: &str) -> Bytes {
        let (name, password) = ("alice".to_owned(), password.to_owned());
        let add = pb::AuthUserAddRequest { name, password, ..Default::default() };
        let header = Some(RequestHeader { id, ..Default::default() });
        let request = RaftRequest { header, user_add: Some(add), ..Default::default() };
        let entry = LogEntry { term: 1, index, ..Default::default() };
        match change(&entry, &request).unwrap() {
            Some(AuthChange::UserAdd { password, .. }) => password,
            other => panic!("{other:?}"),
        }
    }

    // A password in a log is one that a thief of the disk has; two hashes of one entry would be two
    // logs; and a salt that is the same for two users tells who shares a password.
    #[test]
    fn password_becomes_a_hash_that_is_the_same_everywhere_and_nowhere_else() {
        let hash = hashed(9, 1, PASSWORD);
        assert!(hash.starts_with(b"$2a$10$") && bcrypt::verify(PASSWORD, as_text(&hash)).unwrap());
        assert_eq!(hashed(9, 1, PASSWORD), hash);
        let salt = |hash: &Bytes| hash[7..29].to_vec();
        assert_eq!(salt(&hashed(9, 1, "other")), salt(&hash), "it says nothing of the password");
        for other in [hashed(8, 1, PASSWORD), hashed(9, 2, PASSWORD)] {
            assert_ne!(salt(&other), salt(&hash));
        }
    }

    fn as_text(hash: &Bytes) -> &str {
        std::str::from_utf8(hash).unwrap()
    }

    // Each of etcd's requests has its place in the message, and a wrong one would be lost unseen.
    #[test]
    fn each_request_becomes_its_change() {
        let name = || "n".to_owned();
        let role = || "r".to_owned();
        let of = |request: RaftRequest| change(&LogEntry::default(), &request).unwrap();
        let default = RaftRequest::default;
        let hash = STANDARD.encode("$2a$hash");
        let options = Some(authpb::UserAddOptions { no_password: true });
        let add = pb::AuthUserAddRequest {
            name: name(),
            hashed_password: hash.clone(),
            ..Default::default()
        };
        let bare = pb::AuthUserAddRequest { options, ..add.clone() };
        let password = Bytes::from("$2a$hash");
        let expected =
            AuthChange::UserAdd { name: name(), password: password.clone(), no_password: false };
        assert_eq!(of(RaftRequest { user_add: Some(add), ..default() }), Some(expected));
        let expected =
            AuthChange::UserAdd { name: name(), password: Bytes::new(), no_password: true };
        assert_eq!(of(RaftRequest { user_add: Some(bare), ..default() }), Some(expected));
        let changed = pb::AuthUserChangePasswordRequest {
            name: name(),
            hashed_password: hash,
            ..Default::default()
        };
        let request = RaftRequest { user_change_password: Some(changed), ..default() };
        let expected = AuthChange::UserChangePassword { name: name(), password };
        assert_eq!(of(request), Some(expected));
        let grant = pb::AuthUserGrantRoleRequest { user: name(), role: role() };
        let request = RaftRequest { user_grant_role: Some(grant), ..default() };
        assert_eq!(of(request), Some(AuthChange::UserGrantRole { name: name(), role: role() }));
        let perm_type = authpb::permission::Type::Write.into();
        let perm = authpb::Permission { perm_type, key: "k".into(), range_end: "\0".into() };
        let grant = pb::AuthRoleGrantPermissionRequest { name: role(), perm: Some(perm.clone()) };
        let request = RaftRequest { role_grant_permission: Some(grant), ..default() };
        let permission = permission(perm).unwrap();
        assert_eq!(of(request), Some(AuthChange::RoleGrantPermission { role: role(), permission }));
        assert_eq!(of(default()), None);
    }
}
