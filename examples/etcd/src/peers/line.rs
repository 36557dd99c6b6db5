//! A line to one other member: questions go out in batches, answers come back in any order.
//!
//! ```text
//!   ask ──► queue ──► take all that has gathered ──► one message ──► desk over there
//!    ▲                                                                │
//!    └── by number ◄── waiting questions ◄── one message ◄────────────┘
//! ```
//!
//! Commands wait in one queue, all other questions in another, which goes first: the renewal of a
//! lease does not stand behind everything that is to be written.
//!
//! The queues are bounded in count and bytes. While there is no connection nothing is held: what is
//! asked then has certainly not come through, and is told so. When a connection breaks, what was
//! asked on it may have come through or not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use drystone_kv::members::Cluster;
use drystone_kv::runtime::{Ask, Told};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::dialler::Dialler;
use super::{pb, wire};
use pb::peer_client::PeerClient;

/// Questions that wait for their answers.
const QUESTIONS_MAX: usize = 50_000;
/// Bytes of questions that wait to be sent.
const BYTES_MAX: usize = 64 << 20;
/// Bytes of one message of questions, but for a single large one.
const MESSAGE_BYTES: usize = 1 << 20;
/// Messages on their way into the connection.
const MESSAGES_MAX: usize = 4;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait before the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long a silent connection is believed in.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A line to one other member. The last clone to go ends it.
#[derive(Clone)]
pub(super) struct Line {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Default)]
struct State {
    /// Whether there is a connection.
    open: bool,
    /// To be sent first.
    first: Vec<pb::Question>,
    /// Commands, to be sent.
    queue: Vec<pb::Question>,
    queue_bytes: usize,
    waiting: HashMap<u64, oneshot::Sender<Told>>,
    next: u64,
}

impl Line {
    /// A line to the member at `urls`, which are dialled in turn for as long as the line lives.
    pub(super) fn new(urls: &[String], dialler: Dialler) -> Line {
        let shared = Arc::new(Shared { state: Mutex::default(), bell: Notify::new() });
        let weak = Arc::downgrade(&shared);
        let urls = urls.to_owned();
        tokio::spawn(async move {
            for url in urls.iter().cycle() {
                let Some(shared) = weak.upgrade() else { return };
                let ended = talk(&dialler, url, &shared).await;
                shared.hang_up();
                drop(shared);
                if let Err(error) = ended {
                    tracing::debug!(%error, url, "the line to a member is down");
                }
                sleep(RETRY_PAUSE).await;
            }
        });
        Line { shared }
    }

    /// Asks; the receiver closes without an answer when the connection breaks.
    pub(super) fn ask(&self, ask: Ask) -> Result<oneshot::Receiver<Told>, Told> {
        let bytes = match &ask {
            Ask::Propose(command) => command.len(),
            _ => 0,
        };
        let mut state = self.shared.state.lock();
        if !state.open {
            return Err(Told::NotLeader);
        }
        let crowded = !state.queue.is_empty() && state.queue_bytes + bytes > BYTES_MAX;
        if crowded || state.waiting.len() >= QUESTIONS_MAX {
            return Err(Told::Busy);
        }
        let (answer, told) = oneshot::channel();
        let id = state.next;
        state.next += 1;
        state.waiting.insert(id, answer);
        state.queue_bytes += bytes;
        let is_command = matches!(ask, Ask::Propose(_));
        let queue = if is_command { &mut state.queue } else { &mut state.first };
        queue.push(wire::question(id, ask));
        let rings = queue.len() == 1;
        drop(state);
        if rings {
            self.shared.bell.notify_one();
        }
        Ok(told)
    }
}

impl Shared {
    fn hang_up(&self) {
        let mut state = self.state.lock();
        state.open = false;
        state.queue_bytes = 0;
        let (first, queue) = (std::mem::take(&mut state.first), std::mem::take(&mut state.queue));
        for question in first.into_iter().chain(queue) {
            // It was never sent.
            if let Some(waiting) = state.waiting.remove(&question.id) {
                let _ = waiting.send(Told::NotLeader);
            }
        }
        // The others see their channels close.
        state.waiting.clear();
    }

    /// Some of what has gathered.
    fn take(&self) -> Vec<pb::Question> {
        let mut state = self.state.lock();
        let (mut count, mut bytes) = (0, 0);
        for question in &state.queue {
            bytes += question_bytes(question);
            if bytes > MESSAGE_BYTES && count > 0 {
                break;
            }
            count += 1;
        }
        let mut taken = std::mem::take(&mut state.first);
        taken.extend(state.queue.drain(..count));
        let bytes: usize = taken.iter().map(question_bytes).sum();
        state.queue_bytes -= bytes;
        taken
    }

    fn answered(&self, answers: pb::Answers) {
        let mut state = self.state.lock();
        for answer in answers.answers {
            let id = answer.id;
            // An answer that this build does not know is as good as none.
            if let (Some(waiting), Some(told)) = (state.waiting.remove(&id), wire::told(answer)) {
                // Whoever went away does not want to know.
                let _ = waiting.send(told);
            }
        }
    }
}

fn question_bytes(question: &pb::Question) -> usize {
    match &question.ask {
        Some(pb::question::Ask::Propose(command)) => command.len(),
        _ => 0,
    }
}

pub(super) async fn connect(dialler: &Dialler, url: &str) -> anyhow::Result<PeerClient<Channel>> {
    // What the library is told is what it writes into requests; the dialler knows better.
    let endpoint = Endpoint::from_shared(Dialler::authority(url)?)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    let (dialler, url) = (dialler.clone(), url.to_owned());
    let dial = tower::service_fn(move |_: http::Uri| {
        let (dialler, url) = (dialler.clone(), url.clone());
        async move { dialler.connect(&url).await.map(TokioIo::new) }
    });
    let client = PeerClient::new(endpoint.connect_with_connector(dial).await?);
    Ok(client.max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX))
}

/// What a member says of who is in the cluster.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) cluster: Cluster,
    /// The position in the log up to which it had applied it.
    pub(crate) as_of: u64,
    /// A quorum was asked: nothing done before the question is missing.
    pub(crate) confirmed: bool,
}

/// Asks the member at `url` who is in the cluster; with `confirm`, it asks a quorum first if there
/// is one.
///
/// # Errors
///
/// If it does not answer, or is in none.
pub(crate) async fn members_at(
    dialler: &Dialler,
    url: &str,
    confirm: bool,
) -> anyhow::Result<Heard> {
    let members = connect(dialler, url).await?.members(pb::MembersRequest { confirm }).await;
    let members = members.map_err(|status| anyhow!("{}", status.message()))?.into_inner();
    let (as_of, confirmed) = (members.as_of, members.confirmed);
    Ok(Heard { cluster: wire::cluster(members), as_of, confirmed })
}

/// Keeps one connection for as long as it holds.
async fn talk(dialler: &Dialler, url: &str, shared: &Shared) -> anyhow::Result<()> {
    let mut client = connect(dialler, url).await?;
    let (messages, outgoing) = mpsc::channel(MESSAGES_MAX);
    let asked = client.ask(ReceiverStream::new(outgoing));
    let mut answers = timeout(CONNECT_TIMEOUT, asked).await??.into_inner();
    shared.state.lock().open = true;
    let sending = async {
        loop {
            let questions = shared.take();
            if questions.is_empty() {
                shared.bell.notified().await;
                continue;
            }
            if messages.send(pb::Questions { questions }).await.is_err() {
                return Ok(());
            }
        }
    };
    let receiving = async {
        while let Some(message) = answers.next().await {
            shared.answered(message?);
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = sending => ended,
        ended = receiving => ended,
    }
}
