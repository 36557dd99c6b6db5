//! Watches: the order of messages, ids, filters, and starts before and after history.
//!
//! A watch says nothing when nothing happens, so no step waits for silence: after each question
//! comes one whose answer must arrive, and an answer too many shows in its place.

use std::time::Duration;

use drystone_etcd_api::etcdserverpb::watch_create_request::FilterType;
use drystone_etcd_api::etcdserverpb::watch_request::RequestUnion;
use drystone_etcd_api::etcdserverpb::{
    DeleteRangeRequest, RequestOp, TxnRequest, WatchCancelRequest, WatchCreateRequest,
    WatchProgressRequest, WatchRequest, WatchResponse, request_op,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use super::{Wire, del, put};

/// How long an answer may take that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stream of watches.
///
/// A server may send the head of its answer with the first message only, so the stream counts as
/// open only after something was asked.
pub(super) struct Watches {
    requests: mpsc::Sender<WatchRequest>,
    opening: Option<JoinHandle<Opened>>,
    answers: Option<Streaming<WatchResponse>>,
}

type Opened = Result<Response<Streaming<WatchResponse>>, Status>;

impl Watches {
    pub(super) fn open(w: &Wire) -> Watches {
        let (requests, receiver) = mpsc::channel(16);
        let mut client = w.client.watch();
        let call = async move { client.watch(ReceiverStream::new(receiver)).await };
        Watches { requests, opening: Some(tokio::spawn(call)), answers: None }
    }

    async fn ask(&self, request: RequestUnion) {
        let request = WatchRequest { request_union: Some(request) };
        self.requests.send(request).await.expect("the stream is open");
    }

    /// Asks how far the stream is.
    pub(super) async fn ask_progress(&self) {
        self.ask(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    }

    /// Asks for a watch and notes the answer that it is there.
    pub(super) async fn create(&mut self, w: &mut Wire, step: &str, request: WatchCreateRequest) {
        self.ask(RequestUnion::CreateRequest(request)).await;
        self.next(w, step).await;
    }

    /// Notes the next answer, whatever it is.
    pub(super) async fn next(&mut self, w: &mut Wire, step: &str) {
        let answer = tokio::time::timeout(PATIENCE, self.message()).await;
        let answer = match answer {
            Ok(Ok(Some(message))) => Ok(Response::new(message)),
            Ok(Ok(None)) => Err(Status::ok("the stream ended")),
            Ok(Err(status)) => Err(status),
            Err(_) => Err(Status::ok("no answer")),
        };
        w.note(step, answer);
    }

    async fn message(&mut self) -> Result<Option<WatchResponse>, Status> {
        if let Some(opening) = self.opening.take() {
            let opened = opening.await.expect("the call does not panic");
            self.answers = Some(opened?.into_inner());
        }
        match &mut self.answers {
            Some(answers) => answers.message().await,
            None => Ok(None),
        }
    }
}

pub(super) fn on(key: &str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.to_owned().into(), ..WatchCreateRequest::default() }
}

fn over(key: &str, end: &str) -> WatchCreateRequest {
    WatchCreateRequest { range_end: end.to_owned().into(), ..on(key) }
}

pub(super) fn since(request: WatchCreateRequest, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest { start_revision, ..request }
}

/// Ids are counted up from 0, or chosen; one that is taken is refused.
pub(super) async fn ids(w: &mut Wire) {
    let mut watches = Watches::open(w);
    watches.create(w, "first", on("a")).await;
    watches.create(w, "second", on("b")).await;
    let chosen = |watch_id| WatchCreateRequest { watch_id, ..on("c") };
    watches.create(w, "chosen 7", chosen(7)).await;
    watches.create(w, "chosen 7 again", chosen(7)).await;
    watches.create(w, "chosen 1, which is taken", chosen(1)).await;
    watches.create(w, "chosen 2", chosen(2)).await;
    watches.create(w, "the next one free", on("d")).await;
    watches.create(w, "no key", over("", "")).await;
    watches.create(w, "no key but an end", over("", "b")).await;
    watches.create(w, "equal bounds", over("a", "a")).await;
    watches.create(w, "reversed bounds", over("b", "a")).await;
    watches.create(w, "from a key on", over("e", "\0")).await;
    watches.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 7 })).await;
    watches.next(w, "cancel 7").await;
    watches.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 7 })).await;
    watches.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 99 })).await;
    watches.create(w, "cancel twice and cancel none are not answered; 7 again", chosen(7)).await;
    w.put("write b", put("b", "1")).await;
    watches.next(w, "event on b").await;
    w.put("write d", put("d", "1")).await;
    watches.next(w, "event on d").await;
}

/// One answer a revision, its events in the order they were made.
pub(super) async fn events(w: &mut Wire) {
    let mut watches = Watches::open(w);
    watches.create(w, "plain", over("a", "m")).await;
    w.put("write", put("a", "1")).await;
    watches.next(w, "put").await;
    w.put("write again", put("a", "2")).await;
    watches.next(w, "second put").await;
    w.put("outside", put("z", "1")).await;
    w.delete("nothing there", del("b")).await;
    w.delete("delete", del("a")).await;
    watches.next(w, "deletion").await;
    let op = |request| RequestOp { request: Some(request) };
    let txn = TxnRequest {
        success: vec![
            op(request_op::Request::RequestPut(put("c", "1"))),
            op(request_op::Request::RequestPut(put("b", "1"))),
            op(request_op::Request::RequestPut(put("z", "2"))),
            op(request_op::Request::RequestPut(put("a", "3"))),
        ],
        ..TxnRequest::default()
    };
    w.txn("three at once", txn).await;
    watches.next(w, "in the order of the transaction").await;
    let wide = DeleteRangeRequest { range_end: "m".into(), ..del("a") };
    w.delete("a range", wide).await;
    watches.next(w, "in the order of keys").await;
    let previous = WatchCreateRequest { prev_kv: true, watch_id: 5, ..on("p") };
    watches.create(w, "with previous values", previous).await;
    w.put("first", put("p", "1")).await;
    watches.next(w, "no previous value").await;
    w.put("second", put("p", "2")).await;
    watches.next(w, "the value before").await;
    w.delete("delete", del("p")).await;
    watches.next(w, "the value deleted").await;
}

/// Filters drop events, and answers that would be empty.
pub(super) async fn filtered(w: &mut Wire) {
    let mut watches = Watches::open(w);
    let with = |filters: &[FilterType]| WatchCreateRequest {
        filters: filters.iter().map(|filter| (*filter).into()).collect(),
        ..over("f", "g")
    };
    watches.create(w, "no puts", with(&[FilterType::Noput])).await;
    w.put("write", put("f1", "1")).await;
    w.put("write", put("f2", "1")).await;
    w.delete("delete", del("f1")).await;
    watches.next(w, "the deletion alone").await;
    watches.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 0 })).await;
    watches.next(w, "canceled").await;
    watches.create(w, "no deletions", with(&[FilterType::Nodelete])).await;
    w.delete("delete", del("f2")).await;
    w.put("write", put("f3", "1")).await;
    watches.next(w, "the put alone").await;
    let past = since(with(&[FilterType::Noput]), 2);
    watches.create(w, "no puts, from the past", past).await;
    watches.next(w, "the deletions of the past").await;
    let neither = with(&[FilterType::Noput, FilterType::Nodelete]);
    watches.create(w, "nothing at all", neither).await;
    w.put("write", put("f4", "1")).await;
    watches.next(w, "only the one without deletions").await;
}

/// What happened since a revision is told at once, then life goes on.
pub(super) async fn past(w: &mut Wire) {
    for i in 0..5 {
        w.put("write", put("a", &i.to_string())).await;
    }
    w.delete("delete", del("a")).await;
    w.put("write", put("b", "1")).await;
    let mut watches = Watches::open(w);
    watches.create(w, "from the start", since(over("a", "c"), 1)).await;
    watches.next(w, "all events").await;
    w.put("write", put("b", "2")).await;
    watches.next(w, "the next one").await;
    watches.create(w, "from the middle", since(on("a"), 5)).await;
    watches.next(w, "the later events").await;
    watches.create(w, "from the current revision", since(on("b"), 9)).await;
    watches.next(w, "the current one").await;
    let previous = WatchCreateRequest { prev_kv: true, ..since(on("a"), 3) };
    watches.create(w, "with previous values", previous).await;
    watches.next(w, "events and what was before").await;
}

/// A start that has not come yet waits for it.
pub(super) async fn future(w: &mut Wire) {
    let mut watches = Watches::open(w);
    watches.create(w, "from revision 5", since(on("a"), 5)).await;
    for i in 2..5 {
        w.put("too early", put("a", &i.to_string())).await;
    }
    w.put("in time", put("a", "5")).await;
    watches.next(w, "the first event").await;
    w.delete("delete", del("a")).await;
    watches.next(w, "the second").await;
    watches.create(w, "from the next revision", since(on("b"), 7)).await;
    w.put("write", put("b", "1")).await;
    watches.next(w, "the event").await;
}

/// History that was forgotten cannot be watched: the watch is made, then canceled.
pub(super) async fn compacted(w: &mut Wire) {
    for i in 0..6 {
        w.put("write", put("a", &i.to_string())).await;
    }
    w.compact("compact", 5).await;
    let mut watches = Watches::open(w);
    for start in [4, 1] {
        watches.create(w, &format!("from {start}"), since(on("a"), start)).await;
        watches.next(w, "canceled").await;
    }
    watches.create(w, "from the compacted revision", since(on("a"), 5)).await;
    watches.next(w, "events").await;
    let previous = WatchCreateRequest { prev_kv: true, ..since(on("a"), 5) };
    watches.create(w, "with a previous value that is forgotten", previous).await;
    watches.next(w, "events").await;
    watches.create(w, "other keys", since(on("none"), 5)).await;
    w.put("write", put("none", "1")).await;
    watches.next(w, "an event").await;
    watches.create(w, "the stream goes on", on("b")).await;
}

/// The events of one revision come in pieces if they are large and pieces were asked for. Three
/// large keys cannot be written at once, but deleted, and the watch wants to know what they held.
pub(super) async fn fragments(w: &mut Wire) {
    let large = "x".repeat(1_200_000);
    for key in ["a", "b", "c"] {
        w.put("write", put(key, &large)).await;
    }
    let previous = WatchCreateRequest { prev_kv: true, ..over("a", "d") };
    let mut in_pieces = Watches::open(w);
    let fragment = WatchCreateRequest { fragment: true, ..previous.clone() };
    in_pieces.create(w, "in pieces", fragment).await;
    let mut whole = Watches::open(w);
    whole.create(w, "whole", previous).await;
    w.delete("delete", DeleteRangeRequest { range_end: "d".into(), ..del("a") }).await;
    for i in 1..=3 {
        in_pieces.next(w, &format!("piece {i}")).await;
    }
    whole.next(w, "all in one").await;
    in_pieces.create(w, "no piece is left over", on("e")).await;
    whole.create(w, "nor another whole", on("e")).await;
}

/// A progress request is answered for the whole stream, after all events before it.
pub(super) async fn progress(w: &mut Wire) {
    let mut watches = Watches::open(w);
    watches.create(w, "create", on("a")).await;
    w.put("write", put("a", "1")).await;
    watches.next(w, "event").await;
    watches.ask_progress().await;
    watches.next(w, "progress").await;
    w.put("write elsewhere", put("b", "1")).await;
    watches.ask_progress().await;
    watches.next(w, "progress over what is not watched").await;
}
