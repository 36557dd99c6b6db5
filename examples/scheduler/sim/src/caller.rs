//! The client's side of a connection to the store: questions that are open, and when to give up.

use std::collections::BTreeMap;

use drystone_sim::{NodeId, Outbox};

use crate::message::{CallId, Event, Message, Request};

/// How long an answer may take.
pub(crate) const PATIENCE: u64 = 3_000;
/// How long an answer to a question about changes may take.
const POLL_PATIENCE: u64 = 8_000;

/// What a process of this simulation acts through.
pub(crate) type Out<'a> = Outbox<'a, Message, Event>;

/// The store.
pub(crate) const STORE: NodeId = NodeId(1);

/// Questions of one asker, each with what it was about.
#[derive(Debug)]
pub(crate) struct Caller<W> {
    next: CallId,
    open: BTreeMap<CallId, (u64, W)>,
}

impl<W> Caller<W> {
    /// Answers to a predecessor's questions have other numbers.
    pub(crate) fn new(life: u64) -> Caller<W> {
        Caller { next: life << 32, open: BTreeMap::new() }
    }

    pub(crate) fn ask(&mut self, now: u64, about: W, request: Request, out: &mut Out<'_>) {
        let patience = if matches!(request, Request::Poll(..)) { POLL_PATIENCE } else { PATIENCE };
        let call = self.next;
        self.next += 1;
        self.open.insert(call, (now + patience, about));
        out.stream(STORE, Message::Ask(call, request));
    }

    /// What an answer is about, if it is still waited for.
    pub(crate) fn answered(&mut self, call: CallId) -> Option<W> {
        self.open.remove(&call).map(|(_, about)| about)
    }

    /// What will not be waited for any longer.
    pub(crate) fn given_up(&mut self, now: u64) -> Vec<W> {
        let over = self.open.iter().filter(|(_, (until, _))| *until <= now);
        let over: Vec<CallId> = over.map(|(call, _)| *call).collect();
        over.into_iter().filter_map(|call| self.answered(call)).collect()
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        self.open.values().map(|(until, _)| *until).min()
    }

    pub(crate) fn is_waiting(&self, which: impl Fn(&W) -> bool) -> bool {
        self.open.values().any(|(_, about)| which(about))
    }
}
