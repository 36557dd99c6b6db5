//! Keep-alives of leases: of all clients, on one stream to a member.
//!
//! ```text
//!   client ── keep 7 ──┐                              ┌── 7 has 30 s ──► client
//!   client ── keep 7 ──┼──► Line ── keep 7 ──► member ┤
//!   client ── keep 9 ──┘         └─ keep 9 ──►        └── 9 has 60 s ──► client
//! ```
//!
//! One line for each asker. A lease that is being kept alive already when somebody else asks for it
//! is kept once, and the answer is for both. No answer is given twice: the time to live that a
//! client is told is what a member gave while it asked.
//!
//! A line whose member dies goes on at another one, and asks again what was not answered. It ends
//! when nobody has asked for a while.

use std::collections::HashMap;
use std::time::Duration;

use drystone_etcd_api::etcdserverpb as pb;
use futures_util::StreamExt as _;
use http::Request;
use hyper::body::Incoming;
use parking_lot::Mutex;
use pb::lease_client::LeaseClient;
use pb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status, Streaming};

use super::asker::{self, Asker};
use super::upstream::AnsweredBy;
use super::{Shared, streaming};
use crate::error_text;

/// Questions of one client that may wait for their answers.
const ASKED_MAX: usize = 64;
/// Questions that may wait to be sent.
const QUEUED_MAX: usize = 256;
/// How long a line waits for somebody to ask.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How often a question is asked of members that break off.
const ATTEMPTS_MAX: u32 = 3;
const ENDED: &str = "the member has ended the stream";

type Answer = Result<LeaseKeepAliveResponse, Status>;

/// A question, and where the answer goes.
type Question = (i64, oneshot::Sender<Answer>);

/// The lines that there are.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<HashMap<Asker, mpsc::Sender<Question>>>);

/// Serves a call of LeaseKeepAlive.
pub(crate) async fn serve(proxy: Shared, request: Request<Incoming>) -> http::Response<Body> {
    let max = proxy.sizes.received_max;
    streaming::serve(
        request,
        max,
        move |request: tonic::Request<Streaming<LeaseKeepAliveRequest>>| {
            let asker = Asker::of(request.metadata().as_ref());
            let mut stop = proxy.shutdown.clone();
            let questions = request.into_inner().map(move |question| {
                let (proxy, asker) = (proxy.clone(), asker.clone());
                async move {
                    let question = question
                        .map_err(|status| error_text::too_large(&status).unwrap_or(status))?;
                    keep_alive(&proxy, &asker, question.id).await
                }
            });
            // In the order of the questions.
            let answers = questions.buffered(ASKED_MAX);
            let stopped = Box::pin(async move { stop.fired().await });
            let answers = ended_by_error(answers).take_until(stopped);
            Response::new(answers)
        },
    )
    .await
}

/// Nothing comes after an error.
fn ended_by_error<T>(
    answers: impl futures_util::Stream<Item = Result<T, Status>>,
) -> impl futures_util::Stream<Item = Result<T, Status>> {
    answers.scan(false, |ended, answer| {
        let over = std::mem::replace(ended, answer.is_err());
        std::future::ready((!over).then_some(answer))
    })
}

async fn keep_alive(proxy: &Shared, asker: &Asker, id: i64) -> Answer {
    let mut question = id;
    for _ in 0..ATTEMPTS_MAX {
        let (reply, answer) = oneshot::channel();
        let line = proxy.leases.line(proxy, asker);
        match line.send((question, reply)).await {
            Ok(()) => {
                // A line that ends has answered whom it heard.
                if let Ok(answer) = answer.await {
                    return answer;
                }
            }
            Err(unsent) => question = unsent.0.0,
        }
        proxy.leases.forget(asker, &line);
    }
    Err(error_text::stopped())
}

impl Lines {
    fn line(&self, proxy: &Shared, asker: &Asker) -> mpsc::Sender<Question> {
        let mut lines = self.0.lock();
        if let Some(line) = lines.get(asker).filter(|line| !line.is_closed()) {
            return line.clone();
        }
        let (line, questions) = mpsc::channel(QUEUED_MAX);
        lines.insert(asker.clone(), line.clone());
        let proxy = proxy.clone();
        let waiting = HashMap::new();
        let line_of = Line { proxy, asker: asker.clone(), questions, waiting, failures: 0 };
        tokio::spawn(line_of.run(line.clone().downgrade()));
        line
    }

    fn forget(&self, asker: &Asker, line: &mpsc::Sender<Question>) {
        let mut lines = self.0.lock();
        if lines.get(asker).is_some_and(|known| known.same_channel(line)) {
            lines.remove(asker);
        }
    }
}

/// One stream to a member.
struct Line {
    proxy: Shared,
    asker: Asker,
    questions: mpsc::Receiver<Question>,
    /// Who waits for which lease.
    waiting: HashMap<i64, Vec<oneshot::Sender<Answer>>>,
    /// How often members broke off without an answer in between.
    failures: u32,
}

/// A stream while it lasts.
struct Ends {
    to: mpsc::Sender<LeaseKeepAliveRequest>,
    from: Streaming<LeaseKeepAliveResponse>,
    at: Option<AnsweredBy>,
}

impl Line {
    async fn run(mut self, own: mpsc::WeakSender<Question>) {
        loop {
            if self.waiting.is_empty() {
                match tokio::time::timeout(IDLE_MAX, self.questions.recv()).await {
                    Ok(Some((id, reply))) => self.note(id, reply),
                    Ok(None) | Err(_) => break,
                };
            }
            match self.serve().await {
                Ok(()) => break,
                Err(status) => self.fail(&status),
            }
        }
        if let Some(own) = own.upgrade() {
            self.proxy.leases.forget(&self.asker, &own);
        }
        // Whoever was about to ask finds another line.
        self.questions.close();
    }

    /// Notes who asks; whether nobody has asked for that lease before him.
    fn note(&mut self, id: i64, reply: oneshot::Sender<Answer>) -> bool {
        let waiting = self.waiting.entry(id).or_default();
        waiting.push(reply);
        waiting.len() == 1
    }

    /// Asks and answers until nobody has asked for a while.
    async fn serve(&mut self) -> Result<(), Status> {
        let asked: Vec<i64> = self.waiting.keys().copied().collect();
        let mut ends = self.open(asked).await?;
        loop {
            let idle = tokio::time::sleep(IDLE_MAX);
            tokio::select! {
                question = self.questions.recv() => {
                    let Some((id, reply)) = question else { return Ok(()) };
                    if self.note(id, reply) {
                        send(&ends, id).await?;
                    }
                }
                answer = ends.from.message() => {
                    let answer = match answer {
                        Ok(Some(answer)) => answer,
                        Ok(None) => return Err(Status::unavailable(ENDED)),
                        Err(status) => {
                            self.proxy.upstream.heed(ends.at.clone(), &status);
                            return Err(status);
                        }
                    };
                    self.failures = 0;
                    for reply in self.waiting.remove(&answer.id).unwrap_or_default() {
                        // The client may be gone.
                        let _ = reply.send(Ok(answer));
                    }
                }
                () = idle, if self.waiting.is_empty() => return Ok(()),
            }
        }
    }

    async fn open(&self, asked: Vec<i64>) -> Result<Ends, Status> {
        let (to, questions) = mpsc::channel(QUEUED_MAX);
        // They go ahead: etcd begins to answer only when it has something to say.
        let asked = asked.into_iter().map(|id| LeaseKeepAliveRequest { id });
        let questions = futures_util::stream::iter(asked).chain(ReceiverStream::new(questions));
        let mut request = tonic::Request::new(questions);
        *request.metadata_mut() = MetadataMap::from_headers(asker::own(&self.asker));
        let mut client = LeaseClient::new(self.proxy.upstream.clone());
        let opened = client.lease_keep_alive(request).await?;
        let at = opened.extensions().get().cloned();
        Ok(Ends { to, from: opened.into_inner(), at })
    }

    /// A member broke off. Who waits goes on waiting for another one, unless that will not help.
    fn fail(&mut self, status: &Status) {
        self.failures += 1;
        let may_pass = matches!(
            status.code(),
            tonic::Code::Unavailable
                | tonic::Code::Unknown
                | tonic::Code::Internal
                | tonic::Code::Cancelled
        );
        let is_leaderless = status.message().ends_with("no leader");
        if may_pass && self.failures < ATTEMPTS_MAX && !(is_leaderless && self.asker.wants_leader) {
            return;
        }
        self.failures = 0;
        for reply in self.waiting.drain().flat_map(|(_, waiting)| waiting) {
            // The client may be gone.
            let _ = reply.send(Err(status.clone()));
        }
    }
}

async fn send(ends: &Ends, id: i64) -> Result<(), Status> {
    let asked = ends.to.send(LeaseKeepAliveRequest { id }).await;
    asked.map_err(|_| Status::unavailable(ENDED))
}
