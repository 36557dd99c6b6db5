//! A write: a put, a deletion or a transaction.

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use pb::request_op::Request;
use tonic::Status;

use super::cache::Span;
use super::message::Framed;
use super::namespace::{Enter, Namespace};
use super::order;

/// A write, as the client asks for it or as members know it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
}

impl Change {
    /// What a method of the KV service writes; `None` if that is no write.
    ///
    /// # Errors
    ///
    /// If its message is none.
    pub(crate) fn of(method: &str, framed: &Framed) -> Option<Result<Change, Status>> {
        match method {
            "Put" => Some(framed.decode().map(Change::Put)),
            "DeleteRange" => Some(framed.decode().map(Change::Delete)),
            "Txn" => Some(framed.decode().map(Change::Txn)),
            _ => None,
        }
    }

    /// As a message.
    pub(crate) fn framed(&self) -> Framed {
        match self {
            Change::Put(put) => Framed::of(put),
            Change::Delete(delete) => Framed::of(delete),
            Change::Txn(txn) => Framed::of(txn),
        }
    }

    /// Whose answers it makes wrong: what it may write, and what it compared. Who is told that a
    /// comparison failed looks again, and must not see what he had before.
    pub(crate) fn touched(&self) -> Vec<Span> {
        let mut spans = self.written();
        if let Change::Txn(txn) = self {
            compared(txn, &mut spans);
        }
        spans
    }

    /// What it may write.
    pub(crate) fn written(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        match self {
            Change::Put(put) => spans.push(Span::new(&put.key, &Bytes::new())),
            Change::Delete(delete) => spans.push(Span::new(&delete.key, &delete.range_end)),
            Change::Txn(txn) => written(txn, &mut spans),
        }
        spans
    }

    /// What it reads is the newest.
    pub(crate) fn linearize(&mut self) {
        if let Change::Txn(txn) = self {
            order::linearize(txn);
        }
    }
}

impl Enter for Change {
    fn enter(&mut self, namespace: &Namespace) -> Result<(), Status> {
        match self {
            Change::Put(put) => put.enter(namespace),
            Change::Delete(delete) => delete.enter(namespace),
            Change::Txn(txn) => txn.enter(namespace),
        }
    }
}

fn compared(txn: &pb::TxnRequest, spans: &mut Vec<Span>) {
    spans.extend(txn.compare.iter().map(|it| Span::new(&it.key, &it.range_end)));
    for op in txn.success.iter().chain(&txn.failure) {
        if let Some(Request::RequestTxn(txn)) = &op.request {
            compared(txn, spans);
        }
    }
}

fn written(txn: &pb::TxnRequest, spans: &mut Vec<Span>) {
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Request::RequestPut(put)) => spans.push(Span::new(&put.key, &Bytes::new())),
            Some(Request::RequestDeleteRange(it)) => spans.push(Span::new(&it.key, &it.range_end)),
            Some(Request::RequestTxn(txn)) => written(txn, spans),
            Some(Request::RequestRange(_)) | None => {}
        }
    }
}
