//! Locks that the server keeps for clients who do not want to do it themselves.
//!
//! A lock is held by a key in a line ([`super::contest`]), for as long as the key is there: until
//! `Unlock`, or the end of the lease. Locking twice under one lease is locking once.

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::v3lockpb::{self as lockpb, lock_server};
use pb::range_request::SortOrder;
use pb::request_op::Request as Op;
use tonic::{Request, Response, Status};

use super::contest::{self, Desk, Place, found, get, made_at, op, put};
use crate::error_text;
use crate::member::Shared;

#[tonic::async_trait]
impl lock_server::Lock for Shared {
    async fn lock(
        &self,
        request: Request<lockpb::LockRequest>,
    ) -> Result<Response<lockpb::LockResponse>, Status> {
        let desk = Desk::new(self, &request);
        let request = request.into_inner();
        let lease = desk.session(request.lease).await?;
        let prefix = contest::prefix(&request.name);
        let key = contest::key(&prefix, lease);
        let oldest = op(Op::RequestRange(contest::by_age(prefix.clone(), SortOrder::Ascend)));
        let entered = desk.txn(pb::TxnRequest {
            compare: vec![made_at(key.clone(), 0)],
            success: vec![put(key.clone(), Bytes::new(), lease), oldest.clone()],
            failure: vec![get(key.clone()), oldest],
        });
        let entered = entered.await?;
        let revision = match entered.succeeded {
            true => contest::revision(&entered),
            false => found(&entered, 0).map_or(0, |kv| kv.create_revision),
        };
        // In most cases nobody else is there, and one round has done it.
        let oldest = found(&entered, 1).map(|kv| kv.create_revision);
        if oldest.is_none_or(|oldest| oldest == revision) {
            return Ok(Response::new(lockpb::LockResponse { header: entered.header, key }));
        }
        let place = Place::new(&desk, prefix, key.clone(), revision);
        let header = place.reach_front().await?;
        place.stay();
        let header = header.ok_or_else(error_text::lock_session_expired)?;
        Ok(Response::new(lockpb::LockResponse { header: Some(header), key }))
    }

    async fn unlock(
        &self,
        request: Request<lockpb::UnlockRequest>,
    ) -> Result<Response<lockpb::UnlockResponse>, Status> {
        let desk = Desk::new(self, &request);
        let deleted = desk.delete(request.into_inner().key).await?;
        Ok(Response::new(lockpb::UnlockResponse { header: deleted.header }))
    }
}
