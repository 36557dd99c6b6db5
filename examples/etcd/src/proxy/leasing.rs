//! `--experimental-leasing-prefix`: linearizable reads answered here, of keys that this proxy
//! answers for.
//!
//! **The problem.** Kept answers may be old, so a linearizable read goes to a member each time, and
//! there to a majority.
//!
//! **The idea** is that of etcd's `clientv3/leasing`, and both respect each other's leases. A proxy
//! that has created the *lease key* `PREFIX` + k, on a lease that it keeps alive, answers for k:
//! nobody writes k before that lease key is gone. As it knows then how k stands, it answers reads
//! of k without asking.
//!
//! ```text
//!   this proxy                      members                        another proxy
//!   claim k ─────────────────────►  PREFIX+k = "" on lease 7
//!   reads of k from the book
//!                                   PREFIX+k = "REVOKE"  ◄──────── put k, if no PREFIX+k: there is
//!   k is held no more ◄─── watch ─┘
//!   delete PREFIX+k ─────────────►  gone ────────────────────────► watch: put k again, in the same
//!                                                                  way, until that is done
//! ```
//!
//! **Writes** are made inside a transaction that compares lease keys: it writes k only if there is
//! no lease key but the one that is known to be this proxy's, by the revision that created it. Its
//! answer shows how k stands afterwards, so that k stays held. Of ranges all lease keys of others
//! are asked for first, and none may have been created since. A transaction of the client's stands
//! inside the other as it is.
//!
//! **Who is answered from the book.** Whoever shows no token, while members let such people read:
//! that is looked at every second, and believed for three. Everybody else's reads go to a member,
//! by whom alone rights are judged; their writes ask for leases as all do, for which their users
//! need rights to the lease keys.
//!
//! **What is held.** Keys that are there and hang on no lease. Those that are not there could be
//! made by locks and elections, which write at the member and ask nobody.
//!
//! **The dead.** A proxy that ends at once takes its lease keys with it when its lease ends: others
//! wait that long to write what it held. It counts on its lease for less than that.
//!
//! **Whoever writes past all proxies** that have the prefix breaks it, as with etcd's; so does one
//! that unlocks a lock by the name of an ordinary key.

mod book;
mod session;
mod takeover;
mod txn;

use std::time::Instant;

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::mvccpb::KeyValue;
use http::HeaderMap;
use http::uri::PathAndQuery;
use pb::request_op::Request;
use pb::response_op::Response;
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::cache::Span;
use super::change::Change;
use super::message::Framed;
use super::namespace::{Enter, Leave, Namespace};
use super::{Head, Proxy};

pub(crate) use book::Counts;
use book::{Book, Claim, Look, Standing};
pub(crate) use session::keep;

/// What whoever wants to write puts into a lease key.
const REVOKE: &[u8] = b"REVOKE";
/// Keys of which a write's answer shows how they stand; others are read anew.
const SHOWN_MAX: usize = 4;
const RANGE: PathAndQuery = PathAndQuery::from_static("/etcdserverpb.KV/Range");
const TXN: PathAndQuery = PathAndQuery::from_static("/etcdserverpb.KV/Txn");

/// The keys that this proxy answers for.
pub(crate) struct Leasing {
    /// What stands in front of a key in its lease key.
    prefix: Namespace,
    book: Book,
}

impl Leasing {
    /// With lease keys below `prefix`; and what [`keep`] needs.
    pub(crate) fn new(prefix: &str) -> (Leasing, mpsc::UnboundedReceiver<Bytes>) {
        let (book, given_up) = Book::new();
        (Leasing { prefix: Namespace::new(prefix), book }, given_up)
    }

    /// Who may read what may have changed.
    pub(crate) fn close(&self) {
        self.book.close(Instant::now());
    }

    pub(crate) fn counts(&self) -> Counts {
        self.book.counts()
    }

    /// Where the lease keys are.
    fn space(&self) -> (Bytes, Bytes) {
        let open = Bytes::from_static(b"\0");
        (self.prefix.key(&Bytes::new()), self.prefix.range(&open, &open).1)
    }

    /// What must be nobody else's for a write: what it writes, and everything if it may write lease
    /// keys themselves.
    fn guarded(&self, change: &Change) -> Vec<Span> {
        let (key, end) = self.space();
        let space = Span { key, end };
        let written = change.written();
        if written.iter().any(|span| span.meets(&space)) {
            let open = Bytes::from_static(b"\0");
            return vec![Span { key: open.clone(), end: open }];
        }
        let mut spans: Vec<Span> = Vec::with_capacity(written.len());
        for span in written {
            if !spans.contains(&span) {
                spans.push(span);
            }
        }
        spans
    }
}

impl Proxy {
    /// Answers a range from the book, or by claiming its key; `None` if a member is to be asked.
    pub(crate) async fn range_leased(
        &self,
        head: &Head,
        range: &pb::RangeRequest,
    ) -> Option<Framed> {
        let leasing = self.leasing.as_ref()?;
        let (key, end) = leasing.space();
        let is_of_leases = Span::new(&range.key, &Bytes::new()).meets(&Span { key, end });
        let is_anybodys = head.asker.is_nobody() && !head.asker.wants_leader;
        if !is_anybodys || !is_plain(range) || range.key.is_empty() || is_of_leases {
            return None;
        }
        // Nothing newer is said to hold what the book has than what was heard before it was opened.
        let header = self.newest.header();
        match leasing.book.look(&range.key, !range.serializable, Instant::now()) {
            Look::Held(kv) => Some(answer(range, header, vec![kv])),
            Look::Claim(claim) => self.claim(leasing, head, range, claim).await,
            Look::Nothing => None,
        }
    }

    /// Claims a key, and answers what it finds; nothing if that fails.
    async fn claim(
        &self,
        leasing: &Leasing,
        head: &Head,
        range: &pb::RangeRequest,
        claim: Claim,
    ) -> Option<Framed> {
        let (key, lease) = (&range.key, claim.session.lease);
        let request = txn::claim(key, &leasing.prefix.key(key), lease);
        let told = self.txn_as(&head.headers, request).await.ok()?;
        let header = told.header?;
        let mut responses = told.responses.into_iter();
        let found = kvs(responses.next());
        if told.succeeded {
            let granted = found.first().map(|kv| (kv.clone(), header.revision));
            claim.settle(granted);
        } else if kvs(responses.next()).iter().any(|kv| kv.lease == lease) {
            // One that was thought to be lost: it is given up.
            drop(claim);
        } else {
            claim.decline(Instant::now());
        }
        Some(answer(range, header, found))
    }

    /// Makes a change once nobody else answers for what it writes.
    ///
    /// # Errors
    ///
    /// The member's, as it gives them for the change itself.
    pub(crate) async fn write_leased(
        &self,
        leasing: &Leasing,
        head: &Head,
        change: Change,
    ) -> Result<Framed, Status> {
        let spans = leasing.guarded(&change);
        let lock = leasing.book.lock(spans.clone());
        loop {
            let held = lock.held();
            let mut request =
                pb::TxnRequest { success: vec![as_op(&change)], ..Default::default() };
            for span in &spans {
                let (key, end) = leasing.prefix.range(&span.key, &span.end);
                let by = match &span.end[..] {
                    b"" => {
                        request.failure.push(txn::get(&key));
                        held.iter().find(|(held, _)| *held == span.key).map_or(0, |it| it.1)
                    }
                    _ => self.clear(leasing, head, &lock, (&key, &end)).await?,
                };
                request.compare.push(txn::created_by(key, end, by));
            }
            // Whoever has a token may be one who is not to read what he writes.
            let shown_max = if head.asker.is_nobody() { SHOWN_MAX } else { 0 };
            let shown = &held[..held.len().min(shown_max)];
            for (key, _) in shown {
                request.success.extend([txn::get(key), txn::get(&leasing.prefix.key(key))]);
            }
            let told = match self.txn_as(&head.headers, request).await {
                Ok(told) => told,
                Err(status) => {
                    if is_without_effect(&status) {
                        lock.refused();
                    }
                    return Err(status);
                }
            };
            let at = told.header.map_or(0, |header| header.revision);
            let mut responses = told.responses.into_iter();
            if told.succeeded {
                let own = responses.next();
                let lease = lock.session.map(|session| session.lease);
                lock.finish(at, standing(shown, responses, lease));
                return as_answer(own, told.header);
            }
            for kv in responses.flat_map(|response| kvs(Some(response))) {
                self.take_over(leasing, head, &lock, (kv, at)).await?;
            }
        }
    }

    /// A range, as a client asks for it.
    async fn range_as(
        &self,
        headers: &HeaderMap,
        range: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Status> {
        let answer: pb::RangeResponse = self.ask_as(&RANGE, headers, range, true).await?;
        self.newest.note(answer.header);
        Ok(answer)
    }

    /// A transaction, as a client asks for it.
    async fn txn_as(
        &self,
        headers: &HeaderMap,
        txn: pb::TxnRequest,
    ) -> Result<pb::TxnResponse, Status> {
        let answer: pb::TxnResponse = self.ask_as(&TXN, headers, txn, false).await?;
        self.newest.note(answer.header);
        Ok(answer)
    }

    async fn ask_as<M: Message + Enter, A: Message + Default + Leave>(
        &self,
        path: &PathAndQuery,
        headers: &HeaderMap,
        mut request: M,
        repeatable: bool,
    ) -> Result<A, Status> {
        if !self.namespace.is_none() {
            request.enter(&self.namespace)?;
        }
        let message = Framed::of(&request).0;
        let response = self.upstream.call(path, headers, message, repeatable).await?;
        let mut answer: A = self.collect(response).await?.decode()?;
        if !self.namespace.is_none() {
            answer.leave(&self.namespace);
        }
        Ok(answer)
    }
}

/// Whether a range asks for how one key stands now.
fn is_plain(range: &pb::RangeRequest) -> bool {
    let plain = pb::RangeRequest {
        key: range.key.clone(),
        serializable: range.serializable,
        keys_only: range.keys_only,
        count_only: range.count_only,
        ..Default::default()
    };
    *range == plain
}

/// The answer to a plain range.
fn answer(range: &pb::RangeRequest, header: pb::ResponseHeader, mut kvs: Vec<KeyValue>) -> Framed {
    let count = i64::try_from(kvs.len()).expect("one key is there at most once");
    if range.count_only {
        kvs.clear();
    }
    if range.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    Framed::of(&pb::RangeResponse { header: Some(header), kvs, count, ..Default::default() })
}

fn kvs(response: Option<pb::ResponseOp>) -> Vec<KeyValue> {
    match response.and_then(|response| response.response) {
        Some(Response::ResponseRange(range)) => range.kvs,
        _ => Vec::new(),
    }
}

/// How keys stand, by the ranges of each and of its lease key; without those whose lease key is not
/// this proxy's any more, or is wanted by somebody.
fn standing(
    shown: &[(Bytes, i64)],
    mut responses: impl Iterator<Item = pb::ResponseOp>,
    lease: Option<i64>,
) -> Vec<Standing> {
    let mut all = Vec::new();
    for (key, created) in shown {
        let (kv, lease_key) = (kvs(responses.next()).pop(), kvs(responses.next()).pop());
        let (Some(kv), Some(lease_key)) = (kv, lease_key) else { continue };
        let is_own = Some(lease_key.lease) == lease && lease_key.create_revision == *created;
        if is_own && lease_key.value != REVOKE {
            all.push(Standing { key: key.clone(), created: *created, kv });
        }
    }
    all
}

/// A change as part of a transaction.
fn as_op(change: &Change) -> pb::RequestOp {
    txn::op(match change.clone() {
        Change::Put(put) => Request::RequestPut(put),
        Change::Delete(delete) => Request::RequestDeleteRange(delete),
        Change::Txn(txn) => Request::RequestTxn(txn),
    })
}

/// The answer to a change that was part of a transaction.
fn as_answer(
    own: Option<pb::ResponseOp>,
    header: Option<pb::ResponseHeader>,
) -> Result<Framed, Status> {
    match own.and_then(|own| own.response) {
        Some(Response::ResponsePut(put)) => Ok(Framed::of(&pb::PutResponse { header, ..put })),
        Some(Response::ResponseDeleteRange(delete)) => {
            Ok(Framed::of(&pb::DeleteRangeResponse { header, ..delete }))
        }
        Some(Response::ResponseTxn(txn)) => Ok(Framed::of(&pb::TxnResponse { header, ..txn })),
        Some(Response::ResponseRange(_)) | None => {
            Err(Status::internal("the member has answered something else"))
        }
    }
}

/// Whether this says that nothing was written.
fn is_without_effect(status: &Status) -> bool {
    use Code::{FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unauthenticated};
    let refusals = [FailedPrecondition, InvalidArgument, NotFound, PermissionDenied];
    refusals.contains(&status.code()) || status.code() == Unauthenticated
}
