//! Our requests and replies as the messages of etcd, and back.
//!
//! What comes back is believed in nothing: an answer of another kind than was asked for, or text
//! that is no text, is an error that the caller reports, never a panic.

use anyhow::{Context as _, Result, bail};
use drystone_etcd_api::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use drystone_etcd_api::etcdserverpb::{
    Compare as WireCompare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
    WatchResponse, request_op, response_op,
};
use drystone_etcd_api::mvccpb;

use crate::history::{Message, Moment, Said};
use crate::request::{
    Body, Compare, Event, Kv, Op, OpReply, Range, Relation, Reply, Revision, Span, Subject, Txn,
};

/// The revision of a header, which every answer must have.
pub(crate) fn revision(header: Option<&ResponseHeader>) -> Result<Revision> {
    Ok(header.context("an answer without a header")?.revision)
}

/// The message of a put.
pub(crate) fn put(key: &str, value: &str, lease: i64, prev_kv: bool) -> PutRequest {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    PutRequest { key, value, lease, prev_kv, ..PutRequest::default() }
}

/// The message of a deletion.
pub(crate) fn delete(span: &Span, prev_kv: bool) -> DeleteRangeRequest {
    let (key, range_end) = bounds(span);
    DeleteRangeRequest { key, range_end, prev_kv }
}

/// The message of a read.
pub(crate) fn range(range: &Range) -> RangeRequest {
    let (key, range_end) = bounds(&range.span);
    RangeRequest {
        key,
        range_end,
        revision: range.revision,
        limit: range.limit,
        count_only: range.count_only,
        serializable: range.serializable,
        ..RangeRequest::default()
    }
}

/// The message of a transaction.
pub(crate) fn txn(txn: &Txn) -> TxnRequest {
    TxnRequest {
        compare: txn.compares.iter().map(compare).collect(),
        success: txn.success.iter().map(op).collect(),
        failure: txn.failure.iter().map(op).collect(),
    }
}

/// First key and end of a span, as bytes of any kind.
pub(crate) fn bounds<B: From<String>>(span: &Span) -> (B, B) {
    (span.key.clone().into(), span.end.clone().into())
}

fn op(op: &Op) -> RequestOp {
    let request = match op {
        Op::Put { key, value, lease, prev_kv } => {
            request_op::Request::RequestPut(put(key, value, *lease, *prev_kv))
        }
        Op::Delete { span, prev_kv } => {
            request_op::Request::RequestDeleteRange(delete(span, *prev_kv))
        }
        Op::Range(asked) => request_op::Request::RequestRange(range(asked)),
    };
    RequestOp { request: Some(request) }
}

fn compare(compare: &Compare) -> WireCompare {
    let result = match compare.relation {
        Relation::Equal => CompareResult::Equal,
        Relation::NotEqual => CompareResult::NotEqual,
        Relation::Less => CompareResult::Less,
        Relation::Greater => CompareResult::Greater,
    };
    let (target, union) = match &compare.subject {
        Subject::Modified(n) => (CompareTarget::Mod, TargetUnion::ModRevision(*n)),
        Subject::Created(n) => (CompareTarget::Create, TargetUnion::CreateRevision(*n)),
        Subject::Version(n) => (CompareTarget::Version, TargetUnion::Version(*n)),
        Subject::Value(text) => (CompareTarget::Value, TargetUnion::Value(text.clone().into())),
    };
    WireCompare {
        result: result.into(),
        target: target.into(),
        key: compare.key.clone().into(),
        target_union: Some(union),
        ..WireCompare::default()
    }
}

/// The answer to a put.
pub(crate) fn put_reply(answer: PutResponse) -> Result<Reply> {
    let revision = revision(answer.header.as_ref())?;
    Ok(Reply { revision, body: Body::One(OpReply::Put { prev: maybe(answer.prev_kv)? }) })
}

/// The answer to a deletion.
pub(crate) fn delete_reply(answer: DeleteRangeResponse) -> Result<Reply> {
    let revision = revision(answer.header.as_ref())?;
    Ok(Reply { revision, body: Body::One(deleted(answer)?) })
}

/// The answer to a read.
pub(crate) fn range_reply(answer: RangeResponse) -> Result<Reply> {
    let revision = revision(answer.header.as_ref())?;
    Ok(Reply { revision, body: Body::One(ranged(answer)?) })
}

/// The answer to a transaction.
pub(crate) fn txn_reply(answer: TxnResponse) -> Result<Reply> {
    let revision = revision(answer.header.as_ref())?;
    let replies = answer.responses.into_iter().map(op_reply).collect::<Result<_>>()?;
    Ok(Reply { revision, body: Body::Txn { succeeded: answer.succeeded, replies } })
}

fn op_reply(answer: ResponseOp) -> Result<OpReply> {
    Ok(match answer.response.context("an empty answer in a transaction")? {
        response_op::Response::ResponsePut(put) => OpReply::Put { prev: maybe(put.prev_kv)? },
        response_op::Response::ResponseDeleteRange(answer) => deleted(answer)?,
        response_op::Response::ResponseRange(answer) => ranged(answer)?,
        response_op::Response::ResponseTxn(_) => bail!("nobody asked for a nested transaction"),
    })
}

fn deleted(answer: DeleteRangeResponse) -> Result<OpReply> {
    let prev = answer.prev_kvs.into_iter().map(kv).collect::<Result<_>>()?;
    Ok(OpReply::Delete { count: answer.deleted, prev })
}

fn ranged(answer: RangeResponse) -> Result<OpReply> {
    let kvs = answer.kvs.into_iter().map(kv).collect::<Result<_>>()?;
    Ok(OpReply::Range { kvs, count: answer.count, more: answer.more })
}

/// A message of a watch, which came at this moment.
pub(crate) fn message(answer: WatchResponse, at: Moment) -> Result<Message> {
    let revision = revision(answer.header.as_ref())?;
    let said = if answer.canceled {
        let (reason, compacted) = (answer.cancel_reason, answer.compact_revision);
        Said::Canceled { reason, compacted }
    } else if answer.created {
        Said::Created
    } else if answer.events.is_empty() {
        Said::Progress
    } else {
        Said::Events(answer.events.into_iter().map(event).collect::<Result<_>>()?)
    };
    Ok(Message { at, revision, said })
}

/// An event of a watch.
fn event(event: mvccpb::Event) -> Result<Event> {
    let deleted = event.r#type() == mvccpb::event::EventType::Delete;
    let (now, prev) = (event.kv.context("an event without a key")?, maybe(event.prev_kv)?);
    Ok(Event { kv: kv(now)?, deleted, prev })
}

fn maybe(answer: Option<mvccpb::KeyValue>) -> Result<Option<Kv>> {
    answer.map(kv).transpose()
}

/// A key as the store holds it.
pub(crate) fn kv(kv: mvccpb::KeyValue) -> Result<Kv> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("bytes that nobody wrote");
    Ok(Kv {
        key: text(kv.key.into())?,
        value: text(kv.value.into())?,
        created: kv.create_revision,
        modified: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    })
}
