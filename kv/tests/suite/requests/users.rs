//! Random changes of users and roles: few names, so that they meet.

use bytes::Bytes;
use drystone_kv::auth::{Permission, PermissionKind};
use drystone_kv::command::{AuthChange, Command};
use rand::RngExt as _;

use super::Requests;
use drystone_kv_model::Model;

const NAMES: [&str; 4] = ["root", "alice", "bob", "\u{e9}"];
const KEYS: [&[u8]; 5] = [b"a", b"b", b"c", b"\0", b"\xff"];
const ENDS: [&[u8]; 5] = [b"", b"\0", b"b", b"c", b"\xff\xff"];

impl Requests {
    /// A change of users, for a store that stands where `oracle` does.
    pub(crate) fn of_users(&mut self, oracle: &Model) -> Command {
        let (name, role) = (self.name_of_user(), self.name_of_user());
        let kinds = [PermissionKind::Read, PermissionKind::Write, PermissionKind::ReadWrite];
        let password = Bytes::from(self.bytes(6));
        let (key, range_end) = (self.one(&KEYS), self.one(&ENDS));
        let (key, range_end) = (Bytes::from_static(key), Bytes::from_static(range_end));
        Command::Auth(match self.random.random_range(0..28) {
            0..3 => AuthChange::Enable,
            3 => AuthChange::Disable,
            4..8 => AuthChange::UserAdd { name, password, no_password: self.percent(20) },
            8 => AuthChange::UserDelete { name },
            9..11 => AuthChange::UserChangePassword { name, password },
            11..15 => AuthChange::UserGrantRole { name, role },
            15 => AuthChange::UserRevokeRole { name, role },
            16..19 => AuthChange::RoleAdd { name: role },
            19 => AuthChange::RoleDelete { name: role },
            20..24 => {
                let permission = Permission { kind: self.one(&kinds), key, range_end };
                AuthChange::RoleGrantPermission { role, permission }
            }
            24..26 => AuthChange::RoleRevokePermission { role, key, range_end },
            _ => AuthChange::Authenticate {
                user: name,
                revision: oracle.users.revision - u64::from(self.percent(20)),
                token: self.percent(50).then(|| self.random.random()),
            },
        })
    }

    fn name_of_user(&mut self) -> String {
        if self.percent(2) {
            return "n".repeat(self.random.random_range(0..1500));
        }
        self.one(&NAMES).to_owned()
    }
}
