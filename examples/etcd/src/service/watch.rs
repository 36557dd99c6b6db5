//! Watches: one stream of requests in, one stream of events out.
//!
//! A [`Session`] is both ends of one call. The connection polls it when there is room to send:
//!
//! ```text
//!   client ── requests ──► ┌─────────┐ ── create, cancel, progress ──► store's WatchStream
//!                          │ Session │ ◄── Created, Events, Canceled, Progress ──┘
//!   client ◄─ responses ── └─────────┘ ◄── tick, shutdown
//! ```
//!
//! Nothing is buffered here beyond one refusal: what a client does not read stays in the store's
//! stream, which bounds it and falls back to history. A client that does not read is not read from
//! either, since the connection then does not poll. How fast one that is behind may read, [`pace`]
//! says.
//!
//! Nothing is sent to whoever may not see it any more: when users or roles have changed, the
//! watchers are judged anew before the next message, and those that may not go on are canceled.

mod pace;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use drystone_etcd_api::etcdserverpb::{self as pb, watch_server};
use drystone_etcd_api::mvccpb;
use drystone_kv::key_range::KeyRange;
use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use self::pace::Pace;
use crate::auth::{Credentials, Standing, asker_of};
use crate::convert;
use crate::dispatch::wants_leader;
use crate::error_text;
use crate::member::Shared;
use crate::shutdown::Fired;
use crate::store::{
    CancelReason, CreateError, StreamOptions, Unreadable, WatchId, WatchMessage, WatchRequest,
    WatchStream,
};

/// What stands for a watcher in an answer that is about none.
const NO_WATCHER: i64 = -1;
/// Progress messages of different streams are spread over a tenth of the interval.
const JITTER_FRACTION: f64 = 0.1;

#[tonic::async_trait]
impl watch_server::Watch for Shared {
    type WatchStream = Session;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Session>, Status> {
        let leaderless = wants_leader(&request).then(|| Box::pin(self.leaderless()) as Leaderless);
        let credentials = asker_of(&request).credentials;
        let requests = request.into_inner();
        Ok(Response::new(Session::new(self.clone(), credentials, requests, leaderless)))
    }
}

/// Resolves when nobody has led for too long.
type Leaderless = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One call of `Watch`.
pub(crate) struct Session {
    member: Shared,
    /// Who watches.
    standing: Standing,
    /// Watchers that may not go on, and why, until the client has been told.
    denied: BTreeMap<WatchId, String>,
    /// Gone when the client will ask no more; it may still listen.
    requests: Option<Streaming<pb::WatchRequest>>,
    watches: WatchStream,
    /// A refused request's answer, to be sent next.
    refusal: Option<pb::WatchResponse>,
    pace: Pace,
    /// Runs once a watcher has asked for progress.
    ticks: Option<Interval>,
    shutdown: Fired,
    /// Ends the call when nobody leads, if the client wants that.
    leaderless: Option<Leaderless>,
    /// Watchers created and not yet canceled, for the metrics.
    watchers: u64,
    ended: bool,
}

impl Session {
    fn new(
        member: Shared,
        credentials: Credentials,
        requests: Streaming<pb::WatchRequest>,
        leaderless: Option<Leaderless>,
    ) -> Session {
        member.metrics.watch_streams.fetch_add(1, Ordering::Relaxed);
        Session {
            watches: member.kv.watch(stream_options(&member)),
            shutdown: member.shutdown.pollable(),
            leaderless,
            member,
            standing: Standing::new(credentials),
            denied: BTreeMap::new(),
            requests: Some(requests),
            refusal: None,
            pace: Pace::default(),
            ticks: None,
            watchers: 0,
            ended: false,
        }
    }

    /// The next answer. Between two answers one request is taken, if there is one: a watcher that
    /// is always busy must not keep the client from canceling it, nor requests keep answers back.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<pb::WatchResponse, Status>> {
        loop {
            if self.member.shutdown.has_fired() {
                return Poll::Ready(Err(error_text::stopped()));
            }
            if let Some(leaderless) = &mut self.leaderless
                && leaderless.as_mut().poll(cx).is_ready()
            {
                self.leaderless = None;
                return Poll::Ready(Err(error_text::no_leader()));
            }
            let asked = self.poll_request(cx)?.is_ready();
            if let Some(refusal) = self.refusal.take() {
                return Poll::Ready(Ok(refusal));
            }
            if let Poll::Ready(message) = self.poll_watches(cx) {
                let Some(message) = message else {
                    return Poll::Ready(Err(error_text::stopped()));
                };
                let message = message.map_err(|error| {
                    tracing::error!(error = %error_text::chain(&error), "watch failed");
                    error_text::stopped()
                })?;
                // Judged now that it is known: it may be of after the change.
                self.review();
                if self.may_be_sent(&message) {
                    return Poll::Ready(Ok(self.answer(message)));
                }
                continue;
            }
            if !asked && !self.poll_tick(cx) {
                ready!(self.shutdown.poll(cx));
            }
        }
    }

    /// The next answer of the watchers, at the pace of those who are behind.
    fn poll_watches(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<WatchMessage, Unreadable>>> {
        let rests = self.pace.poll_rest(cx).is_pending();
        self.watches.rest(rests);
        let started = (self.watches.is_behind() && !rests).then(Instant::now);
        let polled = self.watches.poll_next(cx);
        if let Some(started) = started {
            let (read, written) = (self.watches.revisions_read(), self.member.kv.revision());
            self.pace.worked(started.elapsed(), read, written);
        }
        polled
    }

    /// Takes one request, if there is one.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let Some(requests) = &mut self.requests else { return Poll::Pending };
        match ready!(Pin::new(requests).poll_next(cx)) {
            Some(Ok(request)) => self.take(request),
            Some(Err(status)) => {
                return Poll::Ready(Err(error_text::too_large(&status).unwrap_or(status)));
            }
            None => self.requests = None,
        }
        Poll::Ready(Ok(()))
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(ticks) = &mut self.ticks else { return false };
        let ticked = ticks.poll_tick(cx).is_ready();
        if ticked {
            self.watches.control().tick_progress();
        }
        ticked
    }

    fn take(&mut self, request: pb::WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(&create),
            Some(RequestUnion::CancelRequest(cancel)) => {
                self.watches.control().cancel(WatchId(cancel.watch_id));
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                self.watches.control().request_progress();
            }
            // etcd skips what it does not know, so that newer clients can talk to it.
            None => {}
        }
    }

    /// Cancels the watchers that may not go on, if users have changed.
    fn review(&mut self) {
        let Some(judge) = self.standing.review(&self.member) else { return };
        let mut why = String::new();
        let denied = self.watches.control().retain(|range| match judge.permits(range) {
            Ok(()) => true,
            Err(status) => {
                why = error_text::in_go(&status);
                false
            }
        });
        self.denied.extend(denied.into_iter().map(|id| (id, why.clone())));
    }

    /// Whether this is not one of the last words that the store had ready for a watcher which is
    /// not to hear them.
    fn may_be_sent(&self, message: &WatchMessage) -> bool {
        match message {
            WatchMessage::Events { id, .. } | WatchMessage::Progress { id: Some(id), .. } => {
                !self.denied.contains_key(id)
            }
            _ => true,
        }
    }

    fn create(&mut self, create: &pb::WatchCreateRequest) {
        if let Err(status) = self.standing.begin(&self.member, &watch_range(create)) {
            self.refuse(&error_text::in_go(&status));
            return;
        }
        let Some(request) = watch_request(create) else {
            self.refuse(error_text::COMPACTED);
            return;
        };
        let wants_progress = request.progress;
        match self.watches.control().create(request) {
            Ok(_) if wants_progress && self.ticks.is_none() => {
                self.ticks = Some(ticks(self.member.config.watch_progress_interval));
            }
            Ok(_) => {}
            Err(CreateError::DuplicateId) => {
                self.refuse("mvcc: duplicate watch ID provided on the WatchStream");
            }
            Err(CreateError::EmptyRange) => self.refuse("mvcc: watcher range is empty"),
            Err(other) => self.refuse(&format!("drystone-etcd: {other}")),
        }
    }

    /// etcd says that a watcher which never was is created and canceled, in one breath.
    fn refuse(&mut self, reason: &str) {
        self.refusal = Some(pb::WatchResponse {
            header: Some(self.member.header_now()),
            watch_id: NO_WATCHER,
            created: true,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..Default::default()
        });
    }

    fn answer(&mut self, message: WatchMessage) -> pb::WatchResponse {
        let at = |revision| Some(self.member.header(revision));
        match message {
            WatchMessage::Created { id, revision } => {
                let header = at(revision);
                self.count_watchers(1);
                pb::WatchResponse { header, watch_id: id.0, created: true, ..Default::default() }
            }
            WatchMessage::Events { id, revision, events, more_fragments } => {
                self.member.metrics.events.add(events.len() as u64);
                pb::WatchResponse {
                    header: at(revision),
                    watch_id: id.0,
                    fragment: more_fragments,
                    events: events.into_iter().map(convert::event).collect(),
                    ..Default::default()
                }
            }
            WatchMessage::Progress { id, revision } => pb::WatchResponse {
                header: at(revision),
                watch_id: id.map_or(NO_WATCHER, |id| id.0),
                ..Default::default()
            },
            WatchMessage::Canceled { id, revision, reason } => {
                let (revision, compacted) = match reason {
                    // The client is to start over from the compacted revision; etcd gives no other.
                    CancelReason::Compacted { compacted } => (0, compacted),
                    _ => (revision, 0),
                };
                let header = at(revision);
                self.count_watchers(-1);
                pb::WatchResponse {
                    header,
                    watch_id: id.0,
                    canceled: true,
                    compact_revision: convert::signed(compacted),
                    cancel_reason: self.denied.remove(&id).unwrap_or_default(),
                    ..Default::default()
                }
            }
        }
    }

    fn count_watchers(&mut self, change: i64) {
        self.watchers = self.watchers.saturating_add_signed(change);
        self.member.metrics.watchers.fetch_add(change, Ordering::Relaxed);
    }
}

impl Stream for Session {
    type Item = Result<pb::WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let answer = ready!(self.poll_answer(cx));
        self.ended = answer.is_err();
        Poll::Ready(Some(answer))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let metrics = &self.member.metrics;
        metrics.watch_streams.fetch_sub(1, Ordering::Relaxed);
        let watchers = i64::try_from(self.watchers).expect("watchers are counted one by one");
        metrics.watchers.fetch_sub(watchers, Ordering::Relaxed);
    }
}

/// The store's request; `None` when the start lies before all history.
fn watch_request(create: &pb::WatchCreateRequest) -> Option<WatchRequest> {
    let start = u64::try_from(create.start_revision).ok()?;
    let has = |filter: FilterType| create.filters.contains(&i32::from(filter));
    Some(WatchRequest {
        range: watch_range(create),
        start: (start > 0).then_some(start),
        id: (create.watch_id != 0).then_some(WatchId(create.watch_id)),
        prev_kv: create.prev_kv,
        progress: create.progress_notify,
        skip_puts: has(FilterType::Noput),
        skip_deletes: has(FilterType::Nodelete),
        fragment: create.fragment,
    })
}

/// The keys that are watched. What is permitted is asked of these, and of no other form of them.
fn watch_range(create: &pb::WatchCreateRequest) -> KeyRange {
    // An empty key is the smallest one, not every one.
    let key = match create.key.is_empty() {
        true => bytes::Bytes::from_static(&[0]),
        false => create.key.clone(),
    };
    KeyRange::from_etcd(key, create.range_end.clone())
}

/// etcd cuts fragments to what a client's message limit is by default.
fn stream_options(member: &Shared) -> StreamOptions {
    StreamOptions { fragment_bytes_max: member.message_bytes_max(), ..StreamOptions::default() }
}

fn ticks(interval: Duration) -> Interval {
    let jitter = interval.mul_f64(rand::random::<f64>() * JITTER_FRACTION);
    let period = interval + jitter;
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What an event of kind "delete" is on the wire; a put is 0 and so not written at all.
const _: () = assert!(mvccpb::event::EventType::Delete as i32 == 1);

#[cfg(test)]
mod tests {
    use super::*;

    // An empty key in a range means something else than in a watch; clients rely on both.
    #[test]
    fn empty_key_watches_one_key_and_not_all() {
        let request = watch_request(&pb::WatchCreateRequest::default()).unwrap();
        assert!(request.range.contains(b"\0"));
        assert!(!request.range.contains(b"a"));
        let all = pb::WatchCreateRequest { range_end: vec![0].into(), ..Default::default() };
        assert!(watch_request(&all).unwrap().range.contains(b"zzz"));
    }

    // Zero means "from now" and "any id"; below zero there is no history.
    #[test]
    fn sentinels_of_a_watch() {
        let with = |start_revision, watch_id| {
            watch_request(&pb::WatchCreateRequest {
                start_revision,
                watch_id,
                filters: vec![1],
                ..Default::default()
            })
        };
        let request = with(0, 0).unwrap();
        assert_eq!((request.start, request.id), (None, None));
        assert!(request.skip_deletes && !request.skip_puts);
        let request = with(7, 5).unwrap();
        assert_eq!((request.start, request.id), (Some(7), Some(WatchId(5))));
        assert!(with(-1, 0).is_none());
    }
}
