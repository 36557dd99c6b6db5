//! A client that watches: from now, from the past, from the future, and on from where it was.
//!
//! ```text
//!   open ─► created ─► events, progress ─► broken, or long enough ─► open again, elsewhere
//!                        ▲                                            from the revision after
//!              asks for progress now and then                         the last one it saw
//! ```
//!
//! At the end every watch must come to the newest revision: it goes on until an event or a progress
//! says so, and is overdue if nothing does.

use std::sync::Arc;
use std::time::Duration;

use drystone_etcd_api::etcdserverpb::watch_request::RequestUnion;
use drystone_etcd_api::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use drystone_sim::{Rate, Rng};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::caller::Shared;
use crate::history::{Message, Said, Stream};
use crate::request::{Revision, Span};
use crate::{holder, wire, workload};

mod forger;

use forger::Forger;

/// How long a watch may take to come to the newest revision once all is well.
const FINALE: Duration = Duration::from_secs(30);
const ASK_PROGRESS: Duration = Duration::from_millis(200);

/// The newest revision, once no more will come.
pub(crate) type Finale = watch::Receiver<Option<Revision>>;

struct Watcher {
    shared: Shared,
    rng: Rng,
    id: u32,
    slot: usize,
    span: Span,
    /// The first revision that it has not seen.
    next: Revision,
    finale: Finale,
    deadline: Option<Instant>,
}

/// Watches until the finale is over.
pub(crate) async fn watch(shared: Shared, seed: u64, id: u32, finale: Finale) {
    let slot = usize::try_from(id).expect("small") % shared.endpoints.len();
    let rng = Rng::new(seed).fork(&format!("watcher {id}"));
    let (span, next, deadline) = (Span::all(), 0, None);
    let mut watcher = Watcher { shared, rng, id, slot, span, next, finale, deadline };
    loop {
        let start = watcher.choose_start();
        let done = watcher.one_stream(start).await;
        if done {
            return;
        }
        let members = u64::try_from(watcher.shared.endpoints.len()).expect("a handful");
        watcher.slot = usize::try_from(watcher.rng.below(members)).expect("a handful");
        sleep(Duration::from_millis(watcher.rng.below(200))).await;
    }
}

impl Watcher {
    /// On from where it was, most of the time.
    fn choose_start(&mut self) -> Revision {
        let newest = self.shared.recorder.newest();
        let (rng, ending) = (&mut self.rng, self.finale.borrow().is_some());
        if self.next > 0 && (ending || rng.chance(Rate::percent(60))) {
            return self.next;
        }
        self.span = match rng.below(8) {
            0 => Span::one(&workload::key(rng)),
            1 => Span::prefix(holder::PREFIX),
            2..=4 => Span::prefix(workload::PREFIX),
            _ => Span::all(),
        };
        let some = i64::try_from(rng.below(400)).expect("a few hundred");
        match rng.below(4) {
            0 | 1 => 0,
            2 => (newest - some).max(1),
            _ => newest + some,
        }
    }

    /// One stream, until it breaks or has lasted long enough. Whether all is done.
    async fn one_stream(&mut self, start: Revision) -> bool {
        let (recorder, before) = (self.shared.recorder.clone(), self.shared.lives.now(self.slot));
        let mut stream = Stream {
            client: self.id,
            life: None,
            opened: recorder.now(),
            span: self.span.clone(),
            start,
            prev_kv: self.rng.chance(Rate::percent(50)),
            messages: Vec::new(),
            overdue: None,
        };
        self.next = start;
        let patience = Instant::now() + Duration::from_millis(self.rng.range(1_000..9_000));
        let (requests, receiver) = mpsc::channel(16);
        let create = RequestUnion::CreateRequest(self.create(&stream));
        requests.try_send(ask(create)).expect("the channel has room");
        let mut calls = self.shared.connection(self.slot).watch();
        let mut done = false;
        tokio::select! {
            answers = calls.watch(ReceiverStream::new(receiver)) => {
                if let Ok(answers) = answers {
                    let answers = answers.into_inner();
                    done = self.follow(answers, &requests, &mut stream, patience).await;
                }
            }
            () = sleep_until(patience) => {}
        }
        stream.life = self.shared.lives.since(before);
        let overdue = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if overdue && !done {
            stream.overdue = *self.finale.borrow();
        }
        recorder.stream(stream);
        done || overdue
    }

    fn create(&self, stream: &Stream) -> WatchCreateRequest {
        let (key, range_end) = wire::bounds(&stream.span);
        WatchCreateRequest {
            key,
            range_end,
            start_revision: stream.start,
            prev_kv: stream.prev_kv,
            progress_notify: true,
            ..WatchCreateRequest::default()
        }
    }

    /// Writes down what comes. Whether everything has come that ever will.
    async fn follow(
        &mut self,
        mut answers: Streaming<WatchResponse>,
        requests: &mpsc::Sender<WatchRequest>,
        stream: &mut Stream,
        patience: Instant,
    ) -> bool {
        let mut forger = Forger::new(Arc::clone(&self.shared.liar));
        let ask_often = self.rng.chance(Rate::percent(50));
        let mut next_ask = Instant::now() + ASK_PROGRESS;
        loop {
            let ending = self.ending();
            if let Some(last) = ending
                && !forger.is_waiting()
                // A watch on the future has nothing to say, and does not.
                && (self.next > last || stream.start > last)
            {
                return true;
            }
            let until = self.deadline.unwrap_or(patience);
            tokio::select! {
                answer = answers.message() => {
                    let Ok(Some(answer)) = answer else { return false };
                    let Some(message) = self.message(answer) else { return false };
                    let over = matches!(message.said, Said::Canceled(_));
                    self.advance(&message);
                    stream.messages.extend(forger.bend(message));
                    if over {
                        return false;
                    }
                }
                () = sleep_until(next_ask) => {
                    next_ask = Instant::now() + ASK_PROGRESS;
                    if ending.is_some() || ask_often {
                        let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
                        // A full queue means that nobody reads; there will be another time.
                        let _ = requests.try_send(ask(request));
                    }
                }
                () = sleep_until(until) => {
                    let lasts = forger.is_waiting() && self.deadline.is_none();
                    if !lasts {
                        return false;
                    }
                    // A lie that is half told needs one more message.
                    sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }

    /// The revision that the watch must come to, once that is known.
    fn ending(&mut self) -> Option<Revision> {
        let last = *self.finale.borrow();
        if last.is_some() && self.deadline.is_none() {
            self.deadline = Some(Instant::now() + FINALE);
        }
        last
    }

    fn message(&self, answer: WatchResponse) -> Option<Message> {
        let (at, revision) = (self.shared.recorder.now(), answer.header.as_ref()?.revision);
        let said = if answer.canceled {
            Said::Canceled(answer.cancel_reason)
        } else if answer.created {
            Said::Created
        } else if answer.events.is_empty() {
            Said::Progress
        } else {
            let events = answer.events.into_iter().map(wire::event).collect::<Result<_, _>>();
            Said::Events(events.ok()?)
        };
        Some(Message { at, revision, said })
    }

    fn advance(&mut self, message: &Message) {
        let seen = match &message.said {
            Said::Created if self.next == 0 => message.revision,
            Said::Events(events) => events.last().map_or(0, crate::request::Event::revision),
            Said::Progress => message.revision,
            Said::Created | Said::Canceled(_) => 0,
        };
        self.next = self.next.max(seen + 1).max(1);
    }
}

fn ask(request: RequestUnion) -> WatchRequest {
    WatchRequest { request_union: Some(request) }
}
