//! etcd's rules for users and roles, written as lists that are looked through for every question.

use bytes::Bytes;
use drystone_kv::auth::PermissionKind;
use drystone_kv::command::AuthChange;
use drystone_kv::reply::AuthReply;
use drystone_kv::{Outcome, Refusal, Reply};

use super::Model;

/// Key, end and kind of each permission of a role.
type Permissions = Vec<(Bytes, Bytes, PermissionKind)>;

/// Users and roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    /// Whether anything would be checked.
    pub enabled: bool,
    /// The auth revision.
    pub revision: u64,
    /// Name, hash, whether there is no password, roles.
    pub users: Vec<(String, Bytes, bool, Vec<String>)>,
    /// Name, and the permissions: key, end, kind.
    pub roles: Vec<(String, Permissions)>,
}

impl Default for Users {
    fn default() -> Users {
        Users { enabled: false, revision: 1, users: Vec::new(), roles: Vec::new() }
    }
}

impl Users {
    fn user(&mut self, name: &str) -> Option<&mut (String, Bytes, bool, Vec<String>)> {
        self.users.iter_mut().find(|user| user.0 == name)
    }

    fn role(&mut self, name: &str) -> Option<&mut Permissions> {
        self.roles.iter_mut().find(|role| role.0 == name).map(|role| &mut role.1)
    }

    /// Whether there is something new to say.
    fn change(&mut self, change: AuthChange) -> Result<bool, Refusal> {
        let (enabled, revision) = (self.enabled, self.revision);
        match change {
            AuthChange::Enable if enabled => return Ok(false),
            AuthChange::Enable => {
                let root = self.user("root").ok_or(Refusal::RootUserMissing)?;
                if !root.3.iter().any(|role| role == "root") {
                    return Err(Refusal::RootRoleMissing);
                }
                self.enabled = true;
                return Ok(false);
            }
            AuthChange::Disable => self.enabled = false,
            AuthChange::UserAdd { name, .. } if name.is_empty() => {
                return Err(Refusal::UserNameEmpty);
            }
            AuthChange::UserAdd { name, .. } if self.user(&name).is_some() => {
                return Err(Refusal::UserExists);
            }
            AuthChange::UserAdd { name, password, no_password } => {
                let password = if no_password { Bytes::new() } else { password };
                self.users.push((name, password, no_password, Vec::new()));
            }
            AuthChange::UserDelete { name } => {
                if enabled && name == "root" {
                    return Err(Refusal::InvalidAuthManagement);
                }
                self.user(&name).ok_or(Refusal::UserNotFound)?;
                self.users.retain(|user| user.0 != name);
            }
            AuthChange::UserChangePassword { name, password } => {
                let user = self.user(&name).ok_or(Refusal::UserNotFound)?;
                user.1 = if user.2 { Bytes::new() } else { password };
            }
            AuthChange::UserGrantRole { name, role } => {
                self.user(&name).ok_or(Refusal::UserNotFound)?;
                if role != "root" {
                    self.role(&role).ok_or(Refusal::RoleNotFound)?;
                }
                let roles = &mut self.user(&name).expect("seen").3;
                if roles.contains(&role) {
                    return Ok(false);
                }
                roles.push(role);
            }
            AuthChange::UserRevokeRole { name, role } => {
                if enabled && name == "root" && role == "root" {
                    return Err(Refusal::InvalidAuthManagement);
                }
                let roles = &mut self.user(&name).ok_or(Refusal::UserNotFound)?.3;
                let before = roles.len();
                roles.retain(|other| *other != role);
                if roles.len() == before {
                    return Err(Refusal::RoleNotGranted);
                }
            }
            AuthChange::RoleAdd { name } if name.is_empty() => return Err(Refusal::RoleNameEmpty),
            AuthChange::RoleAdd { name } if self.role(&name).is_some() => {
                return Err(Refusal::RoleExists);
            }
            AuthChange::RoleAdd { name } => self.roles.push((name, Vec::new())),
            AuthChange::RoleDelete { name } => {
                if enabled && name == "root" {
                    return Err(Refusal::InvalidAuthManagement);
                }
                self.role(&name).ok_or(Refusal::RoleNotFound)?;
                self.roles.retain(|role| role.0 != name);
                self.users.iter_mut().for_each(|user| user.3.retain(|role| *role != name));
            }
            AuthChange::RoleGrantPermission { role, permission } => {
                let (key, end) = (permission.key, permission.range_end);
                let open = end.is_empty() || end == "\0";
                if key.is_empty() || (!open && key >= end) {
                    return Err(Refusal::InvalidAuthManagement);
                }
                let role = self.role(&role).ok_or(Refusal::RoleNotFound)?;
                role.retain(|one| (&one.0, &one.1) != (&key, &end));
                role.push((key, end, permission.kind));
            }
            AuthChange::RoleRevokePermission { role, key, range_end } => {
                let role = self.role(&role).ok_or(Refusal::RoleNotFound)?;
                let before = role.len();
                role.retain(|one| (&one.0, &one.1) != (&key, &range_end));
                if role.len() == before {
                    return Err(Refusal::PermissionNotGranted);
                }
            }
            AuthChange::Authenticate { .. } if !enabled => return Err(Refusal::AuthNotEnabled),
            AuthChange::Authenticate { revision: seen, .. } if seen != revision => {
                return Err(Refusal::AuthRevisionOld);
            }
            AuthChange::Authenticate { user, .. } => {
                let user = self.user(&user).filter(|user| !user.2);
                user.ok_or(Refusal::AuthFailed)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same in the order of names and keys, which is how a store shows it.
    #[must_use]
    pub fn sorted(&self) -> Users {
        let mut sorted = self.clone();
        sorted.users.sort();
        sorted.users.iter_mut().for_each(|user| user.3.sort());
        sorted.roles.sort_by(|a, b| a.0.cmp(&b.0));
        for role in &mut sorted.roles {
            role.1.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        }
        sorted
    }
}

impl Model {
    pub(super) fn change_users(&mut self, change: &AuthChange) -> Outcome {
        let mut next = self.users.clone();
        let was_on = next.enabled;
        let named = format!("{change:?}");
        if named.len() > 1024 && named.split('"').any(|name| name.len() > 1024) {
            return Err(Refusal::TooLarge);
        }
        let mut is_new = next.change(change.clone())?;
        if *change == AuthChange::Disable {
            is_new = was_on;
        }
        next.revision += u64::from(is_new);
        self.users = next;
        let (revision, auth_revision) = (self.revision, self.users.revision);
        Ok(Reply::Auth(AuthReply { revision, auth_revision }))
    }
}
