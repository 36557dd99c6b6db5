//! The newest that this proxy has shown, and serializable ranges that never show less.
//!
//! **The problem.** A serializable range is answered from what one member has, which may lag behind
//! the others. Whoever is moved from one member to the next, because that died or because somebody
//! else's call found it gone, may so read something, and then something older.
//!
//! **The idea** (`--experimental-serializable-ordering`) is that of etcd's `clientv3/ordering`. The
//! proxy remembers the highest revision that it has heard from members, be it as the answer to a
//! range, to a write, or in a watch. An answer from below is not shown:
//!
//! ```text
//!   range ──► this member ── older? ──► each other member ── older? ──► the same, linearizable
//!                 │ no                       │ no, and calls go there        │ fails, or older
//!                 ▼                          ▼ from now on                   ▼
//!              answered                   answered                    "no cluster members …"
//! ```
//!
//! The mark is one for all clients: two of them may talk to each other. What is kept of answers is
//! measured by it too, so that under writes less of it can be used. Ranges inside transactions, and
//! those that come in parts, are made linearizable. A proxy begins with a linearizable read, so
//! that its mark is not below what its predecessor has shown.
//!
//! **Weaker than one would like.** Two proxies have two marks.

use std::time::Duration;

use drystone_etcd_api::etcdserverpb as pb;
use http::uri::PathAndQuery;
use parking_lot::Mutex;
use pb::ResponseHeader;
use pb::request_op::Request;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::asker::{self, Asker};
use super::message::{self, Framed};
use super::{Head, Proxy};

/// How long a member may take that is asked because another one is behind.
const OTHER_PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait before the first read is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// What etcd's client says.
const NOBODY_NEWER: &str =
    "etcdclient: no cluster members have a revision higher than the previously received revision";

/// The newest header that members have sent.
#[derive(Debug)]
pub(crate) struct Newest {
    header: Mutex<ResponseHeader>,
    is_kept: bool,
}

impl Newest {
    /// Nothing has been heard yet, nor will anything be remembered unless it `is_kept`.
    pub(crate) fn new(is_kept: bool) -> Newest {
        Newest { header: Mutex::default(), is_kept }
    }

    /// Whether it has to be told.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// A member has said this.
    pub(crate) fn note(&self, heard: Option<ResponseHeader>) {
        if let Some(heard) = heard.filter(|_| self.is_kept) {
            let mut header = self.header.lock();
            if header.revision <= heard.revision {
                *header = heard;
            }
        }
    }

    /// The newest of it.
    pub(crate) fn header(&self) -> ResponseHeader {
        *self.header.lock()
    }
}

/// The head of an answer, whichever of the KV service it is: all have it in the same place.
pub(crate) fn header_of(answer: &Framed) -> Option<ResponseHeader> {
    answer.decode::<pb::CompactionResponse>().ok()?.header
}

/// Whether an answer is of `floor` or later.
pub(crate) fn is_of(answer: &Framed, floor: i64) -> bool {
    floor == 0 || header_of(answer).is_some_and(|header| floor <= header.revision)
}

/// Whether this says that a member has not come as far as clients have been shown.
fn is_behind(answered: &Result<Framed, Status>, revision: i64, floor: i64) -> bool {
    match answered {
        Ok(answer) => !is_of(answer, floor),
        Err(status) => status.code() == Code::OutOfRange && 0 < revision && revision <= floor,
    }
}

impl Proxy {
    /// Below which revision no serializable range is answered; 0 if there is no such promise.
    pub(crate) fn floor(&self) -> i64 {
        if self.keeps_order { self.newest.header().revision } else { 0 }
    }

    /// Answers a serializable range, as members know it, with nothing from below `floor`.
    pub(crate) async fn range_from(
        &self,
        head: &Head,
        request: pb::RangeRequest,
        floor: i64,
    ) -> Result<Framed, Status> {
        let framed = Framed::of(&request);
        let response = self.ask(head, framed.clone(), true).await?;
        let answered = self.collect(response).await;
        if !is_behind(&answered, request.revision, floor) {
            return answered;
        }
        for turns in 1..self.upstream.count() {
            let asked = async {
                let to = (&head.path, &head.headers);
                let response = self.upstream.call_at(turns, to, framed.0.clone()).await?;
                let by = response.extensions().get().cloned();
                Ok::<_, Status>((by, message::collect(response, self.sizes.answer_max).await?))
            };
            if let Ok(Ok((by, answer))) = timeout(OTHER_PATIENCE, asked).await
                && is_of(&answer, floor)
            {
                self.upstream.prefer(by);
                return Ok(answer);
            }
        }
        let revision = request.revision;
        let newest = Framed::of(&pb::RangeRequest { serializable: false, ..request });
        let answered = match self.ask(head, newest, true).await {
            Ok(response) => self.collect(response).await,
            Err(status) => Err(status),
        };
        if is_behind(&answered, revision, floor) {
            return Err(Status::unavailable(NOBODY_NEWER));
        }
        match answered {
            Err(status) if !is_refusal(&status) => Err(Status::unavailable(NOBODY_NEWER)),
            answered => answered,
        }
    }

    /// Waits for a linearizable read, which shows how far the members are.
    pub(crate) async fn begin_in_order(&self) {
        tracing::info!("waiting for linearized read from cluster to recover ordering");
        let range = pb::RangeRequest { key: "_".into(), keys_only: true, ..Default::default() };
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Range");
        let (headers, message) = (asker::own(&Asker::default()), Framed::of(&range).0);
        loop {
            let read = async {
                let response = self.upstream.call(&path, &headers, message.clone(), true).await?;
                message::collect(response, self.sizes.answer_max).await
            };
            let error = match read.await {
                Ok(answer) => return self.newest.note(header_of(&answer)),
                Err(status) if is_refusal(&status) => {
                    let error = status.message();
                    tracing::warn!(error, "the order begins with what clients are answered");
                    return;
                }
                Err(status) => status.message().to_owned(),
            };
            tracing::warn!(error, "ordering recovery failed, retrying in 1s");
            sleep(RETRY).await;
        }
    }
}

/// Whether a member has understood, and does not want to: another one would say the same.
pub(super) fn is_refusal(status: &Status) -> bool {
    use Code::{FailedPrecondition, InvalidArgument, OutOfRange, PermissionDenied};
    let refusals = [FailedPrecondition, InvalidArgument, OutOfRange, PermissionDenied];
    refusals.contains(&status.code())
        || matches!(status.code(), Code::Unauthenticated | Code::ResourceExhausted)
}

/// Makes all ranges of a transaction linearizable.
pub(crate) fn linearize(txn: &mut pb::TxnRequest) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Request::RequestRange(range)) => range.serializable = false,
            Some(Request::RequestTxn(txn)) => linearize(txn),
            Some(Request::RequestPut(_) | Request::RequestDeleteRange(_)) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(revision: i64) -> ResponseHeader {
        ResponseHeader { revision, ..ResponseHeader::default() }
    }

    // Answers overtake each other on their way: a mark that follows the last one would go back.
    #[test]
    fn the_mark_only_rises() {
        let newest = Newest::new(true);
        for revision in [3, 7, 5] {
            newest.note(Some(header(revision)));
        }
        newest.note(None);
        assert_eq!(newest.header().revision, 7);
        let forgetful = Newest::new(false);
        forgetful.note(Some(header(3)));
        assert_eq!(forgetful.header().revision, 0);
    }

    // A range at a revision that was shown already is refused by a member that is not there yet.
    #[test]
    fn who_is_behind_is_known_by_his_answer() {
        let answer = |revision| {
            let header = Some(header(revision));
            Ok(Framed::of(&pb::RangeResponse { header, count: 3, ..Default::default() }))
        };
        assert!(is_behind(&answer(4), 0, 5) && !is_behind(&answer(5), 0, 5));
        assert!(!is_behind(&answer(0), 0, 0), "nothing was promised");
        let future = || Err(Status::out_of_range("required revision is a future revision"));
        assert!(is_behind(&future(), 5, 5) && !is_behind(&future(), 6, 5));
        assert!(!is_behind(&Err(Status::permission_denied("no")), 5, 5));
    }

    // A transaction that only reads is answered by one member alone if all its ranges may be old.
    #[test]
    fn no_range_of_a_transaction_stays_serializable() {
        let op = |request| pb::RequestOp { request: Some(request) };
        let old = pb::RangeRequest { serializable: true, ..Default::default() };
        let inner = pb::TxnRequest {
            failure: vec![op(Request::RequestRange(old.clone()))],
            ..Default::default()
        };
        let mut txn = pb::TxnRequest {
            success: vec![op(Request::RequestRange(old)), op(Request::RequestTxn(inner))],
            ..Default::default()
        };
        linearize(&mut txn);
        assert!(!format!("{txn:?}").contains("serializable: true"), "{txn:?}");
    }
}
