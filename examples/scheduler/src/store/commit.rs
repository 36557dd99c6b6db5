//! Transactions.

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use mason_core::txn::{Compare, OPS_MAX, Op, Txn};
use mason_core::types::Revision;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;

use super::calls::Manner;
use super::{Store, StoreError};

/// A transaction that the store has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Whether all comparisons held, and so all operations were done.
    pub succeeded: bool,
    /// The revision of the store then: that of the changes, if there were any.
    pub revision: Revision,
}

impl Store {
    /// Has a transaction decided.
    ///
    /// It is sent again only if it is certain that it was not done.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] if it may have been done: the caller looks at the store. Else it was
    /// not.
    pub async fn commit(&self, txn: &Txn) -> Result<Committed, StoreError> {
        if !txn.fits() {
            let (compares, ops) = (txn.when.len(), txn.then.len());
            return Err(StoreError::TooManyOps { compares, ops, max: OPS_MAX });
        }
        let request = message(txn);
        let max = self.settings().commit_max;
        let manner = Manner { what: "commit a transaction", repeatable: false, max };
        let ask = |client: drystone_etcd_api::client::Client| {
            let request = request.clone();
            async move { client.kv().txn(request).await }
        };
        let (answer, chosen) = self.calls.call(manner, ask).await?;
        let revision = self.calls.revision(answer.header.as_ref(), &chosen)?;
        Ok(Committed { succeeded: answer.succeeded, revision })
    }
}

fn message(txn: &Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: txn.when.iter().map(compare).collect(),
        success: txn.then.iter().map(operation).collect(),
        failure: Vec::new(),
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn compare(compare: &Compare) -> pb::Compare {
    use {CompareResult as Result, CompareTarget as Target, TargetUnion as Value};
    // A key that is not there was made, and last changed, in revision 0.
    let (result, target, value) = match compare {
        Compare::Absent(_) => (Result::Equal, Target::Create, Value::CreateRevision(0)),
        Compare::Present(_) => (Result::Greater, Target::Create, Value::CreateRevision(0)),
        Compare::Made(_, at) => (Result::Equal, Target::Create, Value::CreateRevision(*at)),
        Compare::Changed(_, at) => (Result::Equal, Target::Mod, Value::ModRevision(*at)),
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: bytes(compare.key()),
        range_end: Bytes::new(),
        target_union: Some(value),
    }
}

fn operation(op: &Op) -> pb::RequestOp {
    let request = match op {
        Op::Put { key, value, lease } => Request::RequestPut(pb::PutRequest {
            key: bytes(key),
            value: Bytes::copy_from_slice(value),
            lease: lease.unwrap_or(0),
            ..pb::PutRequest::default()
        }),
        Op::Delete(key) => Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key: bytes(key),
            ..pb::DeleteRangeRequest::default()
        }),
    };
    pb::RequestOp { request: Some(request) }
}
