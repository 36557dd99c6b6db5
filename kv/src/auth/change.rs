//! What a command makes of the users and roles, decided first and done after.

use bytes::Bytes;

use super::{Auth, Grants, NAME_BYTES_MAX, Permission, ROOT_ROLE, ROOT_USER, Role, User};
use crate::command::AuthChange;
use crate::error::Refusal;
use crate::key_range::KeyRange;

/// What a command makes of the users and roles, decided and not yet done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Whether authentication is on from here.
    pub(crate) enabled: Option<bool>,
    /// Whether this is a new auth revision.
    pub(crate) is_new: bool,
    /// Users that are new or changed, and those that go.
    pub(crate) users: Vec<(String, Option<User>)>,
    /// Roles likewise.
    pub(crate) roles: Vec<(String, Option<Role>)>,
}

impl Edit {
    fn user(name: &str, user: Option<User>) -> Edit {
        Edit { is_new: true, users: vec![(name.to_owned(), user)], ..Edit::default() }
    }

    fn role(name: &str, role: Option<Role>) -> Edit {
        Edit { is_new: true, roles: vec![(name.to_owned(), role)], ..Edit::default() }
    }
}

impl Auth {
    /// What `change` makes of it.
    pub(crate) fn decide(&self, change: &AuthChange) -> Result<Edit, Refusal> {
        if change.names().any(|name| name.len() > NAME_BYTES_MAX) {
            return Err(Refusal::TooLarge);
        }
        match change {
            AuthChange::Enable => self.enable(),
            AuthChange::Disable if self.enabled => {
                Ok(Edit { enabled: Some(false), is_new: true, ..Edit::default() })
            }
            AuthChange::Disable => Ok(Edit::default()),
            AuthChange::UserAdd { name, password, no_password } => {
                self.add_user(name, password, *no_password)
            }
            AuthChange::UserDelete { name } => self.delete_user(name),
            AuthChange::UserChangePassword { name, password } => {
                let user = self.standing(name)?;
                let password = if user.no_password { Bytes::new() } else { password.clone() };
                Ok(Edit::user(name, Some(User { password, ..user })))
            }
            AuthChange::UserGrantRole { name, role } => self.grant_role(name, role),
            AuthChange::UserRevokeRole { name, role } => self.revoke_role(name, role),
            AuthChange::RoleAdd { name } => self.add_role(name),
            AuthChange::RoleDelete { name } => self.delete_role(name),
            AuthChange::RoleGrantPermission { role, permission } => {
                self.grant_permission(role, permission)
            }
            AuthChange::RoleRevokePermission { role, key, range_end } => {
                self.revoke_permission(role, (key, range_end))
            }
            AuthChange::Authenticate { user, revision, token: _ } => {
                self.check_recognised(user, *revision).map(|()| Edit::default())
            }
        }
    }

    /// Switching on is no new revision, as in etcd: what was recognised before still holds.
    fn enable(&self) -> Result<Edit, Refusal> {
        if self.enabled {
            return Ok(Edit::default());
        }
        if !self.users.contains_key(ROOT_USER) {
            return Err(Refusal::RootUserMissing);
        }
        if !self.is_root(ROOT_USER) {
            return Err(Refusal::RootRoleMissing);
        }
        Ok(Edit { enabled: Some(true), ..Edit::default() })
    }

    fn add_user(&self, name: &str, password: &Bytes, no_password: bool) -> Result<Edit, Refusal> {
        if name.is_empty() {
            return Err(Refusal::UserNameEmpty);
        }
        if self.users.contains_key(name) {
            return Err(Refusal::UserExists);
        }
        let password = if no_password { Bytes::new() } else { password.clone() };
        Ok(Edit::user(name, Some(User { password, no_password, ..User::default() })))
    }

    fn delete_user(&self, name: &str) -> Result<Edit, Refusal> {
        if self.enabled && name == ROOT_USER {
            return Err(Refusal::InvalidAuthManagement);
        }
        self.standing(name)?;
        Ok(Edit::user(name, None))
    }

    fn grant_role(&self, name: &str, role: &str) -> Result<Edit, Refusal> {
        let mut user = self.standing(name)?;
        if role != ROOT_ROLE && !self.roles.contains_key(role) {
            return Err(Refusal::RoleNotFound);
        }
        let is_new = user.roles.insert(role.to_owned());
        Ok(if is_new { Edit::user(name, Some(user)) } else { Edit::default() })
    }

    fn revoke_role(&self, name: &str, role: &str) -> Result<Edit, Refusal> {
        if self.enabled && name == ROOT_USER && role == ROOT_ROLE {
            return Err(Refusal::InvalidAuthManagement);
        }
        let mut user = self.standing(name)?;
        if !user.roles.remove(role) {
            return Err(Refusal::RoleNotGranted);
        }
        Ok(Edit::user(name, Some(user)))
    }

    fn add_role(&self, name: &str) -> Result<Edit, Refusal> {
        if name.is_empty() {
            return Err(Refusal::RoleNameEmpty);
        }
        if self.roles.contains_key(name) {
            return Err(Refusal::RoleExists);
        }
        Ok(Edit::role(name, Some(Role::new())))
    }

    /// A role that goes is taken from all who have it.
    fn delete_role(&self, name: &str) -> Result<Edit, Refusal> {
        if self.enabled && name == ROOT_ROLE {
            return Err(Refusal::InvalidAuthManagement);
        }
        if !self.roles.contains_key(name) {
            return Err(Refusal::RoleNotFound);
        }
        let mut edit = Edit::role(name, None);
        for (user_name, user) in self.users.iter().filter(|(_, user)| user.roles.contains(name)) {
            let mut user = user.clone();
            user.roles.remove(name);
            edit.users.push((user_name.clone(), Some(user)));
        }
        Ok(edit)
    }

    fn grant_permission(&self, name: &str, permission: &Permission) -> Result<Edit, Refusal> {
        if !is_valid(permission) {
            return Err(Refusal::InvalidAuthManagement);
        }
        let mut role = self.roles.get(name).ok_or(Refusal::RoleNotFound)?.clone();
        match role.binary_search_by(|other| other.place().cmp(&permission.place())) {
            Ok(at) => role[at] = permission.clone(),
            Err(at) => role.insert(at, permission.clone()),
        }
        Ok(Edit::role(name, Some(role)))
    }

    fn revoke_permission(&self, name: &str, place: (&Bytes, &Bytes)) -> Result<Edit, Refusal> {
        let mut role = self.roles.get(name).ok_or(Refusal::RoleNotFound)?.clone();
        let found = role.binary_search_by(|other| other.place().cmp(&place));
        role.remove(found.map_err(|_| Refusal::PermissionNotGranted)?);
        Ok(Edit::role(name, Some(role)))
    }

    /// A token is given for a password that was checked elsewhere, at `revision`: whatever has
    /// changed since may have been that password.
    fn check_recognised(&self, user: &str, revision: u64) -> Result<(), Refusal> {
        if !self.enabled {
            return Err(Refusal::AuthNotEnabled);
        }
        if revision != self.revision {
            return Err(Refusal::AuthRevisionOld);
        }
        match self.users.get(user) {
            Some(user) if !user.no_password => Ok(()),
            _ => Err(Refusal::AuthFailed),
        }
    }

    fn standing(&self, name: &str) -> Result<User, Refusal> {
        self.users.get(name).cloned().ok_or(Refusal::UserNotFound)
    }

    /// Does what was decided.
    pub(crate) fn make(&mut self, edit: Edit) {
        self.enabled = edit.enabled.unwrap_or(self.enabled);
        self.revision += u64::from(edit.is_new);
        for (name, role) in edit.roles {
            match role {
                Some(role) => drop(self.roles.insert(name.clone(), role)),
                None => drop(self.roles.remove(&name)),
            }
            let has_it = |(user_name, user): (&String, &User)| {
                user.roles.contains(&name).then(|| user_name.clone())
            };
            for user in self.users.iter().filter_map(has_it).collect::<Vec<_>>() {
                self.grant(&user);
            }
        }
        for (name, user) in edit.users {
            match user {
                Some(user) => drop(self.users.insert(name.clone(), user)),
                None => drop(self.users.remove(&name)),
            }
            self.grant(&name);
        }
    }

    /// Works out what a user may touch.
    pub(super) fn grant(&mut self, name: &str) {
        match self.users.get(name) {
            Some(user) => drop(self.grants.insert(name.to_owned(), self.grants_of(user))),
            None => drop(self.grants.remove(name)),
        }
    }

    pub(super) fn grants_of(&self, user: &User) -> Grants {
        let roles = user.roles.iter().filter_map(|role| self.roles.get(role));
        Grants::new(&roles.flatten().collect::<Vec<_>>())
    }
}

/// Whether a permission can be about any key.
fn is_valid(permission: &Permission) -> bool {
    let range: KeyRange = permission.range();
    !permission.key.is_empty() && !range.is_empty()
}
