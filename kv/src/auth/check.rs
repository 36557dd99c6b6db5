//! Whether somebody may do something.
//!
//! | what | what it needs |
//! |---|---|
//! | read of a range, compare | `Read` on all of it |
//! | put | `Write` on the key, `Read` too to be told what was there, `Write` on its lease's keys |
//! | delete | `Write` on the range, `Read` too to be told what was there |
//! | transaction | all that both branches need, whichever runs |
//! | end of a lease | `Write` on all its keys |
//! | lease | to be a user |
//! | compaction, alarms, members, users, roles | [`ROOT_ROLE`](super::ROOT_ROLE) |
//!
//! Whoever has the role root may do everything. A change of users between the moment at which a
//! user was recognised and this one refuses him as old, as in etcd; what only root may do is
//! decided by what he is now.

use super::{Access, Auth, Caller};
use crate::command::{AuthChange, Command, DeleteRange, Put, Txn, TxnOp};
use crate::error::Refusal;
use crate::key_range::KeyRange;
use crate::lease::Leases;
use crate::types::LeaseId;

/// Whether `caller` may have `command` done.
pub(crate) fn permit(
    auth: &Auth,
    leases: &Leases,
    caller: &Caller,
    command: &Command,
) -> Result<(), Refusal> {
    if !auth.enabled || *caller == Caller::System {
        return Ok(());
    }
    match command {
        Command::Put(put) => auth.permit_put(caller, put, leases),
        Command::DeleteRange(delete) => auth.permit_delete(caller, delete),
        Command::Txn(txn) => {
            auth.permit_user(caller)?;
            auth.permit_txn_on(caller, txn, leases)
        }
        Command::LeaseGrant(_) => auth.permit_user(caller),
        Command::LeaseRevoke(revoke) => {
            auth.permit_user(caller)?;
            auth.permit_lease(caller, leases, revoke.id)
        }
        // The password was checked by whoever proposes it.
        Command::Auth(AuthChange::Authenticate { .. }) => Ok(()),
        Command::Compact(_)
        | Command::Alarm(_)
        | Command::Auth(_)
        | Command::ClusterInit { .. }
        | Command::MemberAdd { .. }
        | Command::MemberRemove { .. }
        | Command::MemberUpdate { .. }
        | Command::MemberPromote { .. }
        | Command::MemberPublish { .. }
        | Command::ClusterForce { .. } => auth.permit_root(caller),
    }
}

impl Auth {
    /// Whether `caller` is anybody at all.
    ///
    /// # Errors
    ///
    /// The refusal that it is to be told.
    pub fn permit_user(&self, caller: &Caller) -> Result<(), Refusal> {
        match caller {
            _ if !self.enabled => Ok(()),
            Caller::System => Ok(()),
            Caller::Nobody => Err(Refusal::UserNameEmpty),
            Caller::User { name, .. } if self.users.contains_key(&**name) => Ok(()),
            // Who went since is told to come again, and will then hear that he is gone.
            Caller::User { revision, .. } if *revision < self.revision => {
                Err(Refusal::AuthRevisionOld)
            }
            Caller::User { .. } => Err(Refusal::PermissionDenied),
        }
    }

    /// Whether `caller` may do everything.
    ///
    /// # Errors
    ///
    /// The refusal that it is to be told.
    pub fn permit_root(&self, caller: &Caller) -> Result<(), Refusal> {
        match caller {
            _ if !self.enabled => Ok(()),
            Caller::System => Ok(()),
            Caller::Nobody => Err(Refusal::UserNameEmpty),
            Caller::User { name, .. } if self.is_root(name) => Ok(()),
            Caller::User { name, .. } if self.users.contains_key(&**name) => {
                Err(Refusal::PermissionDenied)
            }
            Caller::User { .. } => Err(Refusal::UserNotFound),
        }
    }

    /// Whether `caller` may touch all of `range`.
    ///
    /// # Errors
    ///
    /// The refusal that it is to be told.
    pub fn permit(&self, caller: &Caller, range: &KeyRange, to: Access) -> Result<(), Refusal> {
        let (name, revision) = match caller {
            _ if !self.enabled => return Ok(()),
            Caller::System => return Ok(()),
            Caller::Nobody => return Err(Refusal::UserNameEmpty),
            Caller::User { name, revision } => (&**name, *revision),
        };
        if revision < self.revision {
            return Err(Refusal::AuthRevisionOld);
        }
        let granted = self.grants.get(name).is_some_and(|grants| grants.cover(range, to));
        if granted || self.is_root(name) { Ok(()) } else { Err(Refusal::PermissionDenied) }
    }

    /// Whether `caller` may run a transaction that only reads.
    ///
    /// # Errors
    ///
    /// The refusal that it is to be told.
    pub fn permit_read_txn(&self, caller: &Caller, txn: &Txn) -> Result<(), Refusal> {
        self.permit_txn_on(caller, txn, &Leases::default())
    }

    fn permit_put(&self, caller: &Caller, put: &Put, leases: &Leases) -> Result<(), Refusal> {
        let key = KeyRange::single(put.key.clone());
        self.permit(caller, &key, Access::Write)?;
        if let Some(lease) = put.lease {
            // Who could not end the lease must not hang keys on it.
            self.permit_lease(caller, leases, lease)?;
        }
        if put.prev_kv { self.permit(caller, &key, Access::Read) } else { Ok(()) }
    }

    fn permit_delete(&self, caller: &Caller, delete: &DeleteRange) -> Result<(), Refusal> {
        self.permit(caller, &delete.range, Access::Write)?;
        match delete.prev_kv {
            true => self.permit(caller, &delete.range, Access::Read),
            false => Ok(()),
        }
    }

    fn permit_lease(&self, caller: &Caller, leases: &Leases, id: LeaseId) -> Result<(), Refusal> {
        let Some(lease) = leases.get(id) else { return Ok(()) };
        if self.permit_root(caller).is_ok() {
            return Ok(());
        }
        let mut keys = lease.keys.iter().cloned();
        keys.try_for_each(|key| self.permit(caller, &KeyRange::single(key), Access::Write))
    }

    /// Nesting is bounded where a command is decoded.
    fn permit_txn_on(&self, caller: &Caller, txn: &Txn, leases: &Leases) -> Result<(), Refusal> {
        for compare in &txn.compares {
            self.permit(caller, &compare.range, Access::Read)?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                TxnOp::Range(request) => self.permit(caller, &request.range, Access::Read)?,
                TxnOp::Put(put) => self.permit_put(caller, put, leases)?,
                TxnOp::DeleteRange(delete) => self.permit_delete(caller, delete)?,
                TxnOp::Txn(nested) => self.permit_txn_on(caller, nested, leases)?,
            }
        }
        Ok(())
    }
}
