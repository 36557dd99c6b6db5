//! Keys: range, put, delete, transaction, compaction.
//!
//! Writes go to the leader and come back when a quorum has them and this member has applied them. A
//! linearizable read first makes sure that this member is up to date; a serializable one does not.
//! Reads are answered on the thread of the connection while they are small; a read that could keep
//! that thread from its other connections for long is sent elsewhere:
//!
//! ```text
//!   one key, a count, or a limit of at most INLINE_KEYS_MAX ─────────────► here
//!   no such limit: read INLINE_KEYS_MAX keys here; if there are more ────► blocking thread,
//!                                          and in turns if it is large ([`super::large`])
//!   a sort or a filter: reads everything, whatever the limit ────────────► blocking thread
//! ```
//!
//! A worker has few blocking threads ([`crate::worker::BLOCKING_THREADS_MAX`]), which bounds how
//! many answers of the last kind are held in memory at once.

use std::pin::Pin;
use std::time::Instant;

use drystone_etcd_api::etcdserverpb as pb;
use drystone_kv::Caller;
use drystone_kv::auth::Access;
use drystone_kv::command::{Command, Compare, RangeRequest, Txn, TxnOp};
use drystone_kv::reply::{RangeReply, TxnOpReply, TxnReply};
use http::{Request, Response};
use tonic::Status;

use super::large::{self, Answer, Measured};
use crate::admission::line;
use crate::call::{Call, CountedBody, RequestBody};
use crate::convert;
use crate::error_text;
use crate::member::{self, Member, Shared};
use crate::store::Error;
use crate::unary::{self, Reply};

/// A call under way.
pub(crate) type Serving = Pin<Box<dyn Future<Output = Response<CountedBody>> + Send>>;

/// Keys that a read may fetch on the thread of its connection.
const INLINE_KEYS_MAX: usize = 256;

impl Shared {
    /// Serves a call of the method `name`; gives the call back if that is not there yet.
    pub(crate) fn call_kv<B: RequestBody>(
        &self,
        name: &str,
        request: Request<B>,
        call: Call,
        caller: Caller,
    ) -> Result<Serving, Call> {
        let (member, max) = (self.clone(), self.message_bytes_max());
        Ok(match name {
            "Put" => Box::pin(unary::serve(request, call, max, async move |put| {
                member.put(&caller, put).await
            })),
            "Range" => Box::pin(unary::serve(request, call, max, async move |range| {
                member.range(&caller, range).await
            })),
            "Txn" => Box::pin(unary::serve(request, call, max, async move |txn| {
                member.txn(&caller, txn).await
            })),
            "DeleteRange" => Box::pin(unary::serve(request, call, max, async move |delete| {
                member.delete_range(&caller, delete).await
            })),
            "Compact" => Box::pin(unary::serve(request, call, max, async move |compact| {
                member.compact(&caller, compact).await
            })),
            "RangeStream" => Box::pin(unary::serve(request, call, max, async move |range| {
                member.range_stream(&caller, range).await
            })),
            _ => return Err(call),
        })
    }

    /// Reads a range for `caller`.
    pub(crate) async fn range(
        &self,
        caller: &Caller,
        request: pb::RangeRequest,
    ) -> Result<Reply, Status> {
        let serializable = request.serializable;
        let request = convert::range(request)?;
        let permitted = self.before_range(caller, &request, serializable).await?;
        let began = Instant::now();
        let (read, seat) = read(self, request).await?;
        let took = began.elapsed();
        self.still(permitted)?;
        match &read {
            Ok(_) => self.metrics.ranges_read.observe(took),
            Err(_) => self.metrics.ranges_failed.observe(took),
        }
        match read.map_err(|error| self.failed(&error))? {
            Measured::Whole(reply) => {
                Ok(Reply::message(&convert::range_response(self.header(reply.revision), reply)))
            }
            Measured::Large(scan, bytes) => {
                let header = self.header(scan.revision());
                Ok(Reply::Large(Box::new(Answer::new(header, scan, bytes, seat)?)))
            }
        }
    }

    /// What precedes a read of a range: this member is up to date, unless the caller does not mind,
    /// and the caller may read. What it returns is for [`Member::still`], after the read.
    pub(super) async fn before_range(
        &self,
        caller: &Caller,
        request: &RangeRequest,
        serializable: bool,
    ) -> Result<u64, Status> {
        self.metrics.ranges.add(1);
        if serializable {
            self.metrics.serializable_reads.add(1);
        } else {
            self.check_votes()?;
            self.linearize().await?;
        }
        self.permit(|auth| auth.permit(caller, &request.range, Access::Read))
    }

    /// Sets a key for `caller`.
    pub(crate) async fn put(
        &self,
        caller: &Caller,
        request: pb::PutRequest,
    ) -> Result<Reply, Status> {
        let put = convert::put(request)?;
        let reply = member::put_reply(self.propose(caller, Command::Put(put)).await?);
        self.metrics.puts.add(1);
        Ok(Reply::message(&convert::put_response(self.header(reply.revision), reply)))
    }

    /// Deletes keys for `caller`.
    pub(crate) async fn delete_range(
        &self,
        caller: &Caller,
        request: pb::DeleteRangeRequest,
    ) -> Result<Reply, Status> {
        let delete = convert::delete_range(request)?;
        let reply = member::delete_reply(self.propose(caller, Command::DeleteRange(delete)).await?);
        self.metrics.deletes.add(reply.deleted);
        Ok(Reply::message(&convert::delete_response(self.header(reply.revision), reply)))
    }

    /// Runs a transaction for `caller`.
    pub(crate) async fn txn(
        &self,
        caller: &Caller,
        request: pb::TxnRequest,
    ) -> Result<Reply, Status> {
        let serializable = is_serializable(&request);
        let txn = convert::txn(request, self.config.max_txn_ops)?;
        let reply = if txn.is_read_only() {
            if !serializable {
                self.linearize().await?;
            }
            let permitted = self.permit(|auth| auth.permit_read_txn(caller, &txn))?;
            let read = self.read_long_if(!is_small(&txn), move |member| member.kv.read_txn(&txn));
            let read = read.await?;
            self.still(permitted)?;
            read.map_err(|error| self.failed(&error))?
        } else {
            member::txn_reply(self.propose(caller, Command::Txn(txn)).await?)
        };
        self.metrics.txns.add(1);
        count_ops(self, &reply);
        Ok(Reply::message(&convert::txn_response(self.header(reply.revision), reply)))
    }

    /// Compacts for `caller`.
    pub(crate) async fn compact(
        &self,
        caller: &Caller,
        request: pb::CompactionRequest,
    ) -> Result<Reply, Status> {
        let physical = request.physical;
        let Some(compact) = convert::compact(request) else {
            return Err(Status::out_of_range(error_text::COMPACTED));
        };
        let reply = member::compact_reply(self.propose(caller, Command::Compact(compact)).await?);
        if physical {
            self.kv.swept(compact.revision).await;
        }
        let header = Some(self.header(reply.revision));
        Ok(Reply::message(&pb::CompactionResponse { header }))
    }
}

/// Whether a transaction that only reads may be answered with what is here: all its reads say so.
fn is_serializable(request: &pb::TxnRequest) -> bool {
    use pb::request_op::Request::RequestRange;
    let mut ops = request.success.iter().chain(&request.failure);
    ops.all(|op| matches!(&op.request, Some(RequestRange(range)) if range.serializable))
}

/// What a read found, and its seat among the long ones if it is one.
type Read = (Result<Measured, Error>, Option<line::Place>);

/// Reads a range where it keeps nobody waiting.
async fn read(member: &Shared, request: RangeRequest) -> Result<Read, Status> {
    if let Some(read) = read_inline(member, &request) {
        return Ok((read.map(Measured::Whole), None));
    }
    let read = move |member: &Member| match request.is_native() {
        true => member.kv.scan(&request).and_then(large::measure),
        false => member.kv.range(&request).map(Measured::Whole),
    };
    let (read, seat) = member.read_seated(read).await?;
    Ok((read, Some(seat)))
}

/// The answer, if it can be had without keeping the thread for long.
fn read_inline(member: &Shared, request: &RangeRequest) -> Option<Result<RangeReply, Error>> {
    if is_bounded(request) {
        return Some(member.kv.range(request));
    }
    if !request.is_native() {
        return None;
    }
    // Most ranges without a limit are small. The few that are not pay for this look.
    let probe = RangeRequest { limit: INLINE_KEYS_MAX, ..request.clone() };
    match member.kv.range(&probe) {
        Ok(reply) if reply.more => None,
        // Below the limit, the probe's answer is the answer.
        whole => Some(whole),
    }
}

/// Whether a read fetches few keys, whatever the store holds.
fn is_bounded(request: &RangeRequest) -> bool {
    let native = request.is_native();
    request.range.as_single().is_some()
        || (native && request.count_only)
        || (native && (1..=INLINE_KEYS_MAX).contains(&request.limit))
}

fn is_small(txn: &Txn) -> bool {
    let bounded = |op: &TxnOp| matches!(op, TxnOp::Range(request) if is_bounded(request));
    let single = |compare: &Compare| compare.range.as_single().is_some();
    txn.compares.iter().all(single) && txn.success.iter().chain(&txn.failure).all(bounded)
}

fn count_ops(member: &Shared, reply: &TxnReply) {
    for op in &reply.replies {
        match op {
            TxnOpReply::Range(_) => member.metrics.ranges.add(1),
            TxnOpReply::Put(_) => member.metrics.puts.add(1),
            TxnOpReply::DeleteRange(reply) => member.metrics.deletes.add(reply.deleted),
            TxnOpReply::Txn(nested) => count_ops(member, nested),
        }
    }
}

#[cfg(test)]
mod tests {
    use drystone_kv::key_range::KeyRange;

    use super::*;

    // A read that is taken for small and is not stops every connection of its thread.
    #[test]
    fn only_reads_with_a_bound_count_as_small() {
        let all = RangeRequest::new(KeyRange::all());
        assert!(is_bounded(&RangeRequest::new(KeyRange::single("k"))));
        assert!(is_bounded(&RangeRequest { count_only: true, ..all.clone() }));
        assert!(is_bounded(&RangeRequest { limit: INLINE_KEYS_MAX, ..all.clone() }));
        assert!(!is_bounded(&all));
        assert!(!is_bounded(&RangeRequest { limit: INLINE_KEYS_MAX + 1, ..all.clone() }));
        let sorted = |sort_target| {
            let request = pb::RangeRequest {
                key: "a".into(),
                range_end: "b".into(),
                limit: 1,
                sort_order: 2,
                sort_target,
                ..Default::default()
            };
            is_bounded(&convert::range(request).unwrap())
        };
        assert!(sorted(0), "the last key is at an end");
        assert!(!sorted(4), "the largest value may be anywhere");
    }
}
