//! A client that watches: from now, from the past, from the future, and on from where it was.
//!
//! ```text
//!   open ─► created ─► events, progress ─► broken, or long enough ─► open again, elsewhere
//!                        ▲                                            from the revision after
//!              asks for progress now and then                         the last one it saw
//! ```
//!
//! Some read slowly, so that a compaction overtakes them; then they go on from what is left.
//!
//! One watcher of each member keeps the chronicle: it sees all keys from the first revision on and
//! stays where it is. What several of them say together is the log that all else is held against,
//! since nobody can be asked for it at the end. So nothing may be compacted that none of them has.
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
use crate::request::{Event, Revision, Span};
use crate::{holder, wire, workload};

mod forger;

use forger::Forger;

/// How long a watch may take to come to the newest revision once all is well.
const FINALE: Duration = Duration::from_secs(30);
const ASK_PROGRESS: Duration = Duration::from_millis(200);
/// The chronicle is opened anew after so long, or a stream that has died silently would end it.
const CHRONICLE: Duration = Duration::from_secs(20);

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
    chronicle: bool,
}

/// Watches until the finale is over, here and there.
pub(crate) async fn watch(shared: Shared, seed: u64, id: u32, finale: Finale) {
    let slot = usize::try_from(id).expect("small") % shared.endpoints.len();
    Watcher::new(shared, seed, (id, slot), finale, false).run().await;
}

/// Watches everything through one member until the finale is over.
pub(crate) async fn chronicle(shared: Shared, seed: u64, id: u32, slot: usize, finale: Finale) {
    Watcher::new(shared, seed, (id, slot), finale, true).run().await;
}

impl Watcher {
    fn new(
        shared: Shared,
        seed: u64,
        (id, slot): (u32, usize),
        finale: Finale,
        chronicle: bool,
    ) -> Watcher {
        let rng = Rng::new(seed).fork(&format!("watcher {id}"));
        let (span, next, deadline) = (Span::all(), i64::from(chronicle), None);
        Watcher { shared, rng, id, slot, span, next, finale, deadline, chronicle }
    }

    async fn run(mut self) {
        loop {
            let start = self.choose_start();
            if self.one_stream(start).await {
                return;
            }
            if !self.chronicle {
                let members = u64::try_from(self.shared.endpoints.len()).expect("a handful");
                self.slot = usize::try_from(self.rng.below(members)).expect("a handful");
            }
            // Who is away for longer finds that a compaction may have overtaken him.
            let long = !self.chronicle && self.deadline.is_none();
            let long = long && self.rng.chance(Rate::percent(25));
            sleep(Duration::from_millis(self.rng.below(if long { 3_000 } else { 200 }))).await;
        }
    }

    /// On from where it was, most of the time.
    fn choose_start(&mut self) -> Revision {
        let newest = self.shared.recorder.newest();
        let (rng, ending) = (&mut self.rng, self.finale.borrow().is_some());
        if self.next > 0 && (self.chronicle || ending || rng.chance(Rate::percent(60))) {
            return self.next;
        }
        self.span = match rng.below(8) {
            0 => Span::one(&workload::key(rng)),
            1 => Span::prefix(holder::PREFIX),
            2..=4 => Span::prefix(workload::PREFIX),
            _ => Span::all(),
        };
        let some = i64::try_from(rng.below(400)).expect("a few hundred");
        match rng.below(6) {
            0 | 1 => 0,
            2..=4 => (newest - some).max(1),
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
            chronicle: self.chronicle,
            messages: Vec::new(),
            overdue: None,
        };
        self.next = start;
        let some = Duration::from_millis(self.rng.range(1_000..9_000));
        let patience = Instant::now() + if self.chronicle { CHRONICLE } else { some };
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
        let mut forger = Forger::new(Arc::clone(&self.shared.liar), stream.chronicle);
        let ask_often = self.rng.chance(Rate::percent(50));
        let mut doze = self.doze();
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
                    let now = self.shared.recorder.now();
                    let Ok(message) = wire::message(answer, now) else { return false };
                    self.advance(&message);
                    if let (Said::Events(events), true) = (&message.said, stream.chronicle) {
                        let last = events.last().map_or(0, Event::revision);
                        self.shared.recorder.chronicle(stream.start, last);
                    }
                    stream.messages.extend(forger.bend(message));
                    let last = stream.messages.last();
                    if last.is_some_and(|last| matches!(last.said, Said::Canceled { .. })) {
                        return false;
                    }
                    if let (Some(nap), None) = (doze.take(), ending) {
                        sleep(nap).await;
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

    /// How long this stream is not read after its first message. What the server cannot send
    /// meanwhile, a compaction may overtake.
    fn doze(&mut self) -> Option<Duration> {
        let doze = !self.chronicle && self.rng.chance(Rate::percent(25));
        doze.then(|| Duration::from_millis(self.rng.range(500..4_000)))
    }

    /// The revision that the watch must come to, once that is known.
    fn ending(&mut self) -> Option<Revision> {
        let last = *self.finale.borrow();
        if last.is_some() && self.deadline.is_none() {
            self.deadline = Some(Instant::now() + FINALE);
        }
        last
    }

    fn advance(&mut self, message: &Message) {
        let seen = match &message.said {
            Said::Created if self.next == 0 => message.revision,
            Said::Events(events) => events.last().map_or(0, Event::revision),
            Said::Progress => message.revision,
            // The compacted revision itself can be watched.
            Said::Canceled { compacted, .. } => compacted - 1,
            Said::Created => 0,
        };
        self.next = self.next.max(seen + 1).max(1);
    }
}

fn ask(request: RequestUnion) -> WatchRequest {
    WatchRequest { request_union: Some(request) }
}
