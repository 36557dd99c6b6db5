//! One watch at a member, and the watchers of clients that have their events from it.
//!
//! ```text
//!                  ┌─────────── breaks: again, from `next` ──────────┐
//!                  ▼                                                 │
//!   spawn ──► opening ── created ──► following ── events ──► to each watcher
//!                                        │
//!                 own: caught up? ───────┼──► the topic's feed takes its watcher, or it is one
//!                 shared: no room at ────┘    from now on
//!                 a watcher: it gets a feed of its own, from its `next`
//! ```
//!
//! A feed always asks for the values before and for progress, and leaves out for each watcher what
//! that one did not ask for. So one feed serves them all.
//!
//! The invariants:
//!
//! * no watcher's `next` is below that of the feed once the feed is shared, but for what is being
//!   sent;
//! * a feed of its own has one watcher at most;
//! * a feed that has ended has no watchers, and is not in the hub.

mod watchers;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use drystone_etcd_api::etcdserverpb as pb;
use pb::{ResponseHeader, WatchResponse};
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Status};

use super::hub::{Shared, Topic};
use super::line::Line;
use super::watcher::Watcher;
use crate::proxy::Shared as Proxy;
use crate::proxy::namespace::Leave as _;

/// How long to wait after the first failure; twice as long after each that follows.
const REST_MIN: Duration = Duration::from_millis(20);
const REST_MAX: Duration = Duration::from_secs(1);
/// What stands for a watcher in an answer that is about none.
const NO_WATCHER: i64 = -1;
/// `next` of a feed that does not know it yet.
const UNKNOWN: i64 = i64::MAX;

/// What a feed is told.
pub(crate) enum Command {
    /// Here is one more. It comes back if it would miss something.
    Join {
        watcher: Box<Watcher>,
        /// What a member said when it let the watcher in; nothing, if that is still to come, or it
        /// was said long ago.
        at: Option<ResponseHeader>,
        reply: oneshot::Sender<Option<Box<Watcher>>>,
    },
    /// Somebody has been let go.
    Look,
    /// A client wants to know how far this watcher is.
    Progress { session: u64, id: i64, reply: oneshot::Sender<ResponseHeader> },
}

impl Command {
    /// The watcher that could not be handed over.
    pub(super) fn into_watcher(self) -> Option<Box<Watcher>> {
        match self {
            Command::Join { watcher, .. } => Some(watcher),
            Command::Look | Command::Progress { .. } => None,
        }
    }
}

/// One watch at a member.
pub(super) struct Feed {
    proxy: Proxy,
    topic: Topic,
    /// Where to begin, as the client said; used until the member has said where it began.
    start: i64,
    /// All events below have been seen to.
    next: Arc<AtomicI64>,
    /// The last header of a member.
    header: ResponseHeader,
    watchers: Vec<Watcher>,
    is_shared: bool,
    commands: mpsc::UnboundedReceiver<Command>,
    own: mpsc::UnboundedSender<Command>,
    /// Who waits for the member's word on progress that has been asked for, and who came later.
    asked: Vec<Waiting>,
    to_ask: Vec<Waiting>,
}

/// A client that waits to hear of progress.
struct Waiting {
    session: u64,
    id: i64,
    reply: oneshot::Sender<ResponseHeader>,
}

/// Whether a feed goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    GoesOn,
    Ended,
}

impl Feed {
    /// Begins a feed for a watcher, at the revision `start`.
    pub(super) fn spawn(proxy: &Proxy, topic: Topic, start: i64, watcher: Watcher) {
        let (own, commands) = mpsc::unbounded_channel();
        let next = if watcher.is_new() { UNKNOWN } else { start };
        let next = Arc::new(AtomicI64::new(next));
        let shared = Shared { next: next.clone(), commands: own.clone() };
        // One that begins now has nothing to catch up with.
        let is_shared = start == 0 && proxy.watches.offer(&topic, shared);
        watcher.leash.move_to(own.clone());
        proxy.watches.count(1, 1);
        let feed = Feed {
            proxy: proxy.clone(),
            topic,
            start,
            next,
            header: ResponseHeader::default(),
            watchers: vec![watcher],
            is_shared,
            commands,
            own,
            asked: Vec::new(),
            to_ask: Vec::new(),
        };
        tokio::spawn(feed.run());
    }

    async fn run(mut self) {
        self.let_go();
        let mut rest = REST_MIN;
        while !self.watchers.is_empty() {
            match self.open().await {
                Some(Ok(line)) => {
                    let before = self.next();
                    match self.follow(line).await {
                        Some(status) if !self.survives(&status) => self.fail_all(&status),
                        _ => {}
                    }
                    if self.next() != before {
                        rest = REST_MIN;
                    }
                }
                Some(Err(status)) if !self.survives_unreached(&status) => self.fail_all(&status),
                _ => {}
            }
            if !self.watchers.is_empty() && self.rest(rest).await == Life::Ended {
                break;
            }
            rest = (rest * 2).min(REST_MAX);
        }
        self.end().await;
    }

    fn next(&self) -> i64 {
        self.next.load(Ordering::Acquire)
    }

    fn pass(&self, revision: i64) {
        let before = self.next();
        if before == UNKNOWN || before < revision + 1 {
            self.next.store(revision + 1, Ordering::Release);
        }
    }

    /// Opens a watch at a member; nothing, if nobody waits for it any more.
    async fn open(&mut self) -> Option<Result<Line, Status>> {
        let next = self.next();
        let start = if next == UNKNOWN { self.start } else { next };
        let mut opening = std::pin::pin!(Line::open(self.proxy.clone(), self.topic.clone(), start));
        loop {
            tokio::select! {
                opened = &mut opening => return Some(opened),
                command = self.commands.recv() => {
                    if self.take(command) == Life::Ended {
                        return None;
                    }
                }
            }
        }
    }

    /// Follows a watch for as long as it lasts. The status that it ended with, unless the feed ends
    /// by itself.
    async fn follow(&mut self, mut line: Line) -> Option<Status> {
        self.to_ask.append(&mut self.asked);
        loop {
            if self.asked.is_empty() && !self.to_ask.is_empty() && self.next() != UNKNOWN {
                self.asked = std::mem::take(&mut self.to_ask);
                line.ask_progress();
            }
            tokio::select! {
                message = line.message() => match message {
                    Ok(message) => {
                        if self.hear(message).await == Life::Ended {
                            return None;
                        }
                    }
                    Err(status) => {
                        self.proxy.upstream.heed(line.at.clone(), &status);
                        return Some(status);
                    }
                },
                command = self.commands.recv() => {
                    if self.take(command) == Life::Ended {
                        return None;
                    }
                }
            }
        }
    }

    /// Whether the feed goes on after its watch has ended in this way: what the member said to this
    /// asker it would say again, and what concerns the member itself is no matter.
    fn survives(&self, status: &Status) -> bool {
        let leaderless = status.message().ends_with("no leader");
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument => false,
            Code::ResourceExhausted | Code::OutOfRange | Code::Unimplemented => false,
            _ => !(leaderless && self.topic.asker.wants_leader),
        }
    }

    /// The same if none was reached. Whoever has been told nothing yet is told now, and so is who
    /// wants to hear when there is no leader.
    fn survives_unreached(&self, status: &Status) -> bool {
        let waits = self.watchers.iter().any(Watcher::is_new);
        self.survives(status) && !waits && !self.topic.asker.wants_leader
    }

    async fn rest(&mut self, rest: Duration) -> Life {
        let mut rested = std::pin::pin!(tokio::time::sleep(rest));
        loop {
            tokio::select! {
                () = &mut rested => return Life::GoesOn,
                command = self.commands.recv() => {
                    if self.take(command) == Life::Ended {
                        return Life::Ended;
                    }
                }
            }
        }
    }

    /// A message of the member.
    async fn hear(&mut self, mut message: WatchResponse) -> Life {
        if let Some(header) = message.header {
            self.header = header;
            self.proxy.newest.note(message.header);
        }
        let revision = self.header.revision;
        if message.canceled {
            self.cancel_all(&message);
            return Life::Ended;
        }
        if message.created {
            return self.begin(&message).await;
        }
        if message.watch_id == NO_WATCHER {
            for Waiting { session, id, reply } in self.asked.drain(..) {
                // Of a watcher that has been sent elsewhere meanwhile, nothing is known here.
                if self.watchers.iter().any(|it| it.session == session && it.id == id) {
                    // The client may be gone.
                    let _ = reply.send(self.header);
                }
            }
            return Life::GoesOn;
        }
        for event in &mut message.events {
            event.leave(&self.proxy.namespace);
        }
        let last = message.events.last().and_then(|event| event.kv.as_ref());
        let last = last.map_or(revision, |kv| kv.mod_revision);
        self.proxy.watches.spare(self.watchers.len());
        match self.is_shared {
            true => self.spread(&message),
            false => self.deliver(&message).await,
        }
        self.pass(last);
        let caught_up = revision < self.next();
        self.merge(caught_up).await;
        self.life()
    }

    /// The member has begun the watch.
    async fn begin(&mut self, message: &WatchResponse) -> Life {
        let revision = self.header.revision;
        if self.next() == UNKNOWN {
            let next = if self.start > 0 { self.start } else { revision + 1 };
            self.next.store(next, Ordering::Release);
        }
        let next = self.next();
        for watcher in self.watchers.iter_mut().filter(|watcher| watcher.is_new()) {
            watcher.next = watcher.next.max(next);
            watcher.be_created(WatchResponse { watch_id: watcher.id, ..message.clone() });
        }
        self.merge(revision < next).await;
        self.life()
    }

    fn take(&mut self, command: Option<Command>) -> Life {
        match command {
            Some(Command::Join { watcher, at, reply }) => {
                let back = self.join(watcher, at);
                // Whoever asks waits for the answer.
                let _ = reply.send(back);
            }
            Some(Command::Look) | None => {}
            Some(Command::Progress { session, id, reply }) => {
                let is_here = |it: &Watcher| it.session == session && it.id == id;
                if self.watchers.iter().any(is_here) {
                    self.to_ask.push(Waiting { session, id, reply });
                }
            }
        }
        self.let_go();
        self.life()
    }

    fn life(&self) -> Life {
        if self.watchers.is_empty() { Life::Ended } else { Life::GoesOn }
    }

    /// Whoever was about to join is sent away.
    async fn end(mut self) {
        assert!(self.watchers.is_empty(), "a feed ends without its watchers");
        self.proxy.watches.withdraw(&self.topic, &self.next);
        self.proxy.watches.count(-1, 0);
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            if let Command::Join { watcher, reply, .. } = command {
                // Whoever asks waits for the answer.
                let _ = reply.send(Some(watcher));
            }
        }
    }
}
