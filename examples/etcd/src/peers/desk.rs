//! Answers the questions of other members.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use drystone_kv::runtime::{Replica, Told};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::{compare, pb, wire};
use pb::peer_server;

/// Questions of one member that are being answered; no more are read meanwhile.
const UNDER_WAY_MAX: usize = 50_000;
/// Answers in one message.
const ANSWERS_MAX: usize = 4096;
/// How long a quorum has to confirm who is in the cluster.
const CONFIRM_MAX: Duration = Duration::from_secs(2);

/// Answers the questions of other members, once there is somebody to ask.
#[derive(Default)]
pub(crate) struct Desk {
    replica: OnceLock<Replica>,
    /// Held while something is compared: one after the other, whoever asks.
    comparing: tokio::sync::Mutex<()>,
}

impl Desk {
    /// From now on this one answers.
    pub(crate) fn open(&self, replica: Replica) {
        // It is opened once.
        let _ = self.replica.set(replica);
    }

    /// Who answers, if anybody does yet.
    pub(crate) fn replica(&self) -> Option<&Replica> {
        self.replica.get()
    }

    fn answering(&self) -> Result<Replica, Status> {
        let starting = || Status::unavailable("drystone-etcd: the member is starting");
        self.replica.get().cloned().ok_or_else(starting)
    }
}

#[tonic::async_trait]
impl peer_server::Peer for std::sync::Arc<Desk> {
    type AskStream = Conversation;

    async fn ask(
        &self,
        request: Request<Streaming<pb::Questions>>,
    ) -> Result<Response<Conversation>, Status> {
        let (replica, questions) = (self.answering()?, Some(request.into_inner()));
        let under_way = FuturesUnordered::new();
        Ok(Response::new(Conversation { replica, questions, under_way }))
    }

    async fn members(
        &self,
        request: Request<pb::MembersRequest>,
    ) -> Result<Response<pb::MembersResponse>, Status> {
        let replica = self.answering()?;
        let confirmed = request.into_inner().confirm
            && timeout(CONFIRM_MAX, replica.linearize()).await.is_ok_and(|read| read.is_ok());
        // In this order: the members may be newer than what is said of them, and not older.
        let (as_of, cluster) = (replica.applied(), replica.cluster());
        if cluster.id.is_none() {
            return Err(Status::unavailable("drystone-etcd: there is no cluster yet"));
        }
        Ok(Response::new(wire::members(&cluster, as_of, confirmed)))
    }

    async fn compare(
        &self,
        request: Request<pb::CompareRequest>,
    ) -> Result<Response<pb::CompareResponse>, Status> {
        let replica = self.answering()?;
        let _turn = self.comparing.lock().await;
        let asked = request.into_inner();
        let answered = tokio::task::spawn_blocking(move || compare::answer(&replica, asked)).await;
        let broken = |error| Status::internal(format!("drystone-etcd: it broke off: {error}"));
        answered.map(Response::new).map_err(broken)
    }
}

/// One stream of questions and answers.
pub(crate) struct Conversation {
    replica: Replica,
    /// Gone when no more will come.
    questions: Option<Streaming<pb::Questions>>,
    under_way: FuturesUnordered<BoxFuture<'static, pb::Answer>>,
}

impl Conversation {
    fn take(&self, message: pb::Questions) {
        for question in message.questions {
            let (id, replica) = (question.id, self.replica.clone());
            let ask = wire::ask(question);
            let answering = async move {
                let told = match ask {
                    Some(ask) => replica.serve(ask).await,
                    None => Told::NotLeader,
                };
                wire::answer(id, told)
            };
            self.under_way.push(answering.boxed());
        }
    }

    fn poll_questions(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        while self.under_way.len() < UNDER_WAY_MAX
            && let Some(questions) = &mut self.questions
        {
            match std::task::ready!(Pin::new(questions).poll_next(cx)) {
                Some(Ok(message)) => self.take(message),
                Some(Err(status)) => return Poll::Ready(Err(status)),
                None => self.questions = None,
            }
        }
        Poll::Pending
    }
}

impl Stream for Conversation {
    type Item = Result<pb::Answers, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(Err(status)) = this.poll_questions(cx) {
            return Poll::Ready(Some(Err(status)));
        }
        let mut answers = Vec::new();
        while answers.len() < ANSWERS_MAX
            && let Poll::Ready(Some(answer)) = Pin::new(&mut this.under_way).poll_next(cx)
        {
            answers.push(answer);
        }
        if !answers.is_empty() {
            return Poll::Ready(Some(Ok(pb::Answers { answers })));
        }
        let is_over = this.questions.is_none() && this.under_way.is_empty();
        if is_over { Poll::Ready(None) } else { Poll::Pending }
    }
}
