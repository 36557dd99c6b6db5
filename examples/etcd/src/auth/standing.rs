//! What was permitted once and goes on: watchers, and those who observe an election.
//!
//! **The problem.** A watch may stand for months. Whoever was let in on its first day would see
//! everything to its last, whatever became of his roles meanwhile; etcd has it so.
//!
//! **The idea.** The auth epoch changes with every change of users and roles, and is one number to
//! look at. Whatever was permitted under an older one is judged anew before more of it is sent. By
//! name, not by what the client has shown: a token ends by itself after a while, and that is no
//! reason to end a watch.

use std::sync::Arc;

use drystone_kv::auth::Access;
use drystone_kv::key_range::KeyRange;
use drystone_kv::{Auth, Caller};
use tonic::Status;

use super::{Credentials, refusal};
use crate::member::Member;

/// Who asked for something that goes on.
pub(crate) struct Standing {
    credentials: Credentials,
    /// Who that was when he began.
    name: Option<Arc<str>>,
    /// The auth epoch at which all that stands was permitted.
    epoch: u64,
}

impl Standing {
    /// Of whoever shows these credentials.
    pub(crate) fn new(credentials: Credentials) -> Standing {
        Standing { credentials, name: None, epoch: 0 }
    }

    /// Asks whether these keys may be seen from now on.
    ///
    /// # Errors
    /// What the client is told if not.
    pub(crate) fn begin(&mut self, member: &Member, range: &KeyRange) -> Result<(), Status> {
        let caller = member.recognise(&self.credentials)?;
        self.remember(&caller);
        member.permit(|auth| auth.permit(&caller, range, Access::Read)).map(drop)
    }

    /// If users have changed since this was last asked, who judges all that stands.
    pub(crate) fn review(&mut self, member: &Member) -> Option<Judge> {
        if member.kv.auth_epoch() == self.epoch {
            return None;
        }
        if self.name.is_none()
            && let Ok(caller) = member.recognise(&self.credentials)
        {
            // He came while nothing was checked.
            self.remember(&caller);
        }
        let auth = member.kv.auth();
        self.epoch = auth.epoch();
        // Whom the name stands for is looked up now, and so is never out of date.
        let user = |name| Caller::User { name, revision: u64::MAX };
        Some(Judge { auth, caller: self.name.clone().map_or(Caller::Nobody, user) })
    }

    fn remember(&mut self, caller: &Caller) {
        if let Caller::User { name, .. } = caller {
            self.name = Some(Arc::clone(name));
        }
    }
}

/// Users and roles as they are now, and the one whose rights are in question.
#[derive(Debug)]
pub(crate) struct Judge {
    auth: Arc<Auth>,
    caller: Caller,
}

impl Judge {
    /// Whether he may see all of these keys.
    ///
    /// # Errors
    /// What the client is told if not.
    pub(crate) fn permits(&self, range: &KeyRange) -> Result<(), Status> {
        self.auth.permit(&self.caller, range, Access::Read).map_err(refusal)
    }
}
