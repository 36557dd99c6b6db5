//! Leases: granted, renewed once, revoked. [`super::Session`] keeps one alive.

use std::time::Duration;

use drystone_etcd_api::client::Client;
use drystone_etcd_api::etcdserverpb as pb;
use mason_core::types::Ms;

use super::answer::{is_lease_gone, is_lease_there};
use super::{Store, StoreError};

/// A lease as it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: i64,
    /// How long it lasts from a renewal on: as long as was asked for, or as the store's minimum.
    pub ttl: Ms,
}

impl Store {
    /// Has a lease granted that lasts so long, in whole seconds, rounded up.
    ///
    /// Its number is drawn here, so that it can be asked for again without there being two.
    ///
    /// # Errors
    /// If nobody grants it.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let seconds = i64::try_from(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0));
        let (id, ttl) = (rand::random_range(1..i64::MAX), seconds.unwrap_or(i64::MAX).max(1));
        let ask = |client: Client| {
            let request = pb::LeaseGrantRequest { ttl, id };
            async move { client.lease().lease_grant(request).await }
        };
        let granted = match self.calls.call(self.calls.repeatable("grant a lease"), ask).await {
            Ok((answer, chosen)) => {
                self.calls.revision(answer.header.as_ref(), &chosen)?;
                answer.ttl
            }
            // An attempt of which nothing was heard had been granted.
            Err(StoreError::Refused { source, .. }) if is_lease_there(&source) => {
                self.granted_ttl(id).await?
            }
            Err(error) => return Err(error),
        };
        let ttl = Ms::try_from(granted).unwrap_or(0).saturating_mul(1000);
        Ok(Lease { id, ttl })
    }

    /// Ends a lease, and all keys with it, at once. One that is gone has ended.
    ///
    /// # Errors
    /// If nobody does it; the lease then ends by itself, unless it is renewed.
    pub async fn revoke(&self, id: i64) -> Result<(), StoreError> {
        let ask = |client: Client| {
            let request = pb::LeaseRevokeRequest { id };
            async move { client.lease().lease_revoke(request).await }
        };
        match self.calls.call(self.calls.repeatable("revoke a lease"), ask).await {
            Err(StoreError::Refused { source, .. }) if is_lease_gone(&source) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    async fn granted_ttl(&self, id: i64) -> Result<i64, StoreError> {
        let ask = |client: Client| {
            let request = pb::LeaseTimeToLiveRequest { id, keys: false };
            async move { client.lease().lease_time_to_live(request).await }
        };
        let (answer, _) = self.calls.call(self.calls.repeatable("look at a lease"), ask).await?;
        if answer.granted_ttl > 0 { Ok(answer.granted_ttl) } else { Err(StoreError::LeaseGone(id)) }
    }

    /// Says, of an error that a lease is gone, which.
    pub(crate) fn lease_error(id: i64, error: StoreError) -> StoreError {
        match error {
            StoreError::Refused { source, .. } if is_lease_gone(&source) => {
                StoreError::LeaseGone(id)
            }
            other => other,
        }
    }
}
