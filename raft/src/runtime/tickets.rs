//! Who waits for what.

use tokio::sync::oneshot;

use crate::effect::Refused;
use crate::types::{Index, Ticket};

pub(crate) type Answer<T> = oneshot::Sender<Result<T, Refused>>;

/// Who waits for a ticket to be answered.
#[derive(Debug)]
pub(crate) enum Waiting<R> {
    /// Whoever proposed a command, and wants the state machine's reply.
    Reply(Answer<R>),
    /// Whoever reads, and wants the answer once that index is applied.
    Applied(Answer<Index>),
    /// Whoever changes the members or hands over.
    Done(Answer<Index>),
    /// Nobody.
    Nobody,
}

impl<R> Waiting<R> {
    pub(crate) fn refuse(self, why: Refused) {
        // Whoever went away does not want to know.
        match self {
            Waiting::Reply(answer) => drop(answer.send(Err(why))),
            Waiting::Applied(answer) | Waiting::Done(answer) => drop(answer.send(Err(why))),
            Waiting::Nobody => {}
        }
    }
}

/// The tickets that are out, each under a number that is free again once it is answered.
#[derive(Debug)]
pub(crate) struct Tickets<R> {
    slots: Vec<Option<Waiting<R>>>,
    free: Vec<u32>,
}

impl<R> Tickets<R> {
    pub(crate) fn new() -> Tickets<R> {
        Tickets { slots: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn issue(&mut self, waiting: Waiting<R>) -> Ticket {
        if let Some(at) = self.free.pop() {
            self.slots[at as usize] = Some(waiting);
            return Ticket(u64::from(at));
        }
        self.slots.push(Some(waiting));
        Ticket(self.slots.len() as u64 - 1)
    }

    /// How many are out.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Who waits for it. Each is asked for once.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Waiting<R>> {
        let at = u32::try_from(ticket.0).ok()?;
        let waiting = self.slots.get_mut(at as usize)?.take()?;
        self.free.push(at);
        Some(waiting)
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Waiting<R>> {
        self.free.clear();
        std::mem::take(&mut self.slots).into_iter().flatten()
    }
}
