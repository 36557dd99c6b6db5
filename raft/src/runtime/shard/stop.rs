//! How a shard ends: it hands over what it leads, and answers everyone who still waits.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::effect::Refused;
use crate::input::Input;
use crate::raft::Role;
use crate::runtime::group::refuse;
use crate::runtime::machine::StateMachine;
use crate::runtime::seat::Seat;
use crate::runtime::shard::backlog::Page;
use crate::runtime::shard::{Ears, Request, Shard, Stopping};
use crate::runtime::tickets::Waiting;

impl<M: StateMachine> Shard<M> {
    /// Hands over what this node leads, and then stops.
    pub(super) fn begin_stop(&mut self, answer: oneshot::Sender<()>) {
        let patience = self.config.tick * u32::try_from(self.config.raft.election).unwrap_or(1000);
        self.stopping = Some(Stopping { answer, until: Instant::now() + patience });
        for slot in 0..self.seats.len() {
            if self.seats[slot].raft.role() == Role::Leader {
                let ticket = self.tickets.issue(Waiting::Nobody);
                self.give(slot as u32, Input::Transfer { ticket, to: None });
            }
        }
        self.round();
    }

    pub(super) fn may_stop(&self) -> bool {
        let Some(stopping) = &self.stopping else { return false };
        let leads = |seat: &Seat| {
            let alone = seat.raft.members().participants() == [seat.raft.id()];
            seat.raft.role() == Role::Leader && !alone
        };
        Instant::now() >= stopping.until || !self.seats.iter().any(leads)
    }

    /// What is known to be committed now, for the heads that the store repeats when it is closed.
    fn note_commits(&self) {
        let mut batch = self.store.batch();
        for seat in &self.seats {
            batch.note_commit(seat.group, seat.raft.commit());
        }
    }

    /// What waits for room in the log is written all the same: it was taken in.
    fn end_backlog(&mut self) {
        let store = Arc::clone(&self.store);
        let mut page = Page::of(&store);
        self.write_whole_backlog(&mut page);
        self.hand_on(page);
    }

    /// Answers everyone who still waits.
    pub(super) async fn end(mut self, mut ears: Ears<M>, left: VecDeque<Request<M>>) {
        // Nobody may wait for room there: the applier is waited for.
        ears.events.close();
        self.end_backlog();
        for request in left.into_iter().chain(ears.requests.close()) {
            refuse(request);
        }
        self.note_commits();
        // What is committed is applied and answered; the rest may be done by the others, or not.
        let jobs = std::mem::take(&mut self.jobs);
        let _ = ears.rounds.send(jobs).await;
        for waiting in self.tickets.drain() {
            let why = match &waiting {
                Waiting::Reply(_) | Waiting::Done(_) => Refused::Unknown,
                Waiting::Applied(_) | Waiting::Nobody => Refused::Stopped,
            };
            waiting.refuse(why);
        }
        if let Some(stopping) = self.stopping {
            let _ = stopping.answer.send(());
        }
    }
}
