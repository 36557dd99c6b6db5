//! Changes: decided on the copy, written only if what was decided on is still so, else decided
//! again.
//!
//! ```text
//!   copy at R ─► decide ─► txn when key changed at … ─► done, at R' ─► wait for the copy ─► answer
//!     ▲                        │
//!     └── wait for the copy ◄──┴ refused: somebody else was faster
//! ```

use std::time::Duration;

use mason_core::mirror::Mirror;
use mason_core::txn::{Op, Txn};
use mason_core::types::Revision;

use super::Api;
use super::refuse::Refused;
use crate::store::StoreError;

/// How often somebody else may be faster.
const ATTEMPTS_MAX: usize = 10;
/// How long the copy may take to show what was in the way.
const COPY_MAX: Duration = Duration::from_secs(5);
/// How long an answer waits for the copy to show what it is about, so that who asks next sees it.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// What to do.
pub(super) enum Decision<T> {
    /// Nothing: it is so already.
    Keep(T),
    /// This, if all that it relies on still holds.
    Write(Txn, T),
}

impl Api {
    /// Has something decided and written. The revision is 0 if there was nothing to write.
    pub(super) async fn change<T>(
        &self,
        decide: impl Fn(&Mirror) -> Result<Decision<T>, Refused>,
    ) -> Result<(Revision, T), Refused> {
        for _ in 0..ATTEMPTS_MAX {
            let (txn, value) = match self.shared.read(&decide)? {
                Decision::Keep(value) => return Ok((0, value)),
                Decision::Write(txn, value) => (txn, value),
            };
            match self.store.commit(&txn).await {
                Ok(done) if done.succeeded => {
                    self.settle(done.revision).await;
                    return Ok((done.revision, value));
                }
                Ok(refused) => self.catch_up(refused.revision).await?,
                Err(error @ StoreError::Unknown { .. }) => {
                    let revision = self.look(&txn, error).await?;
                    self.settle(revision).await;
                    return Ok((revision, value));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refused::conflict(format!(
            "others changed it {ATTEMPTS_MAX} times while this was tried: ask again"
        )))
    }

    /// Waits a little for the copy to show a revision.
    async fn settle(&self, revision: Revision) {
        // Who must see it says so by its revision.
        let _ = tokio::time::timeout(SETTLE_MAX, self.shared.at(revision)).await;
    }

    async fn catch_up(&self, revision: Revision) -> Result<(), Refused> {
        let caught = tokio::time::timeout(COPY_MAX, self.shared.at(revision)).await;
        match caught {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Refused::unavailable(
                "this server's copy of the store is behind: it cannot decide; nothing was changed",
            )),
        }
    }

    /// Nobody said whether a transaction was done: if all that it puts is there, it was.
    async fn look(&self, txn: &Txn, error: StoreError) -> Result<Revision, Refused> {
        let mut at = 0;
        for op in &txn.then {
            let found = self.store.get(op.key()).await?;
            let same = match (op, &found) {
                (Op::Put { value, .. }, Some(found)) => found.value == *value,
                (Op::Delete(_), None) => true,
                _ => false,
            };
            if !same {
                return Err(error.into());
            }
            at = found.map_or(at, |found| found.changed.max(at));
        }
        Ok(at)
    }
}
