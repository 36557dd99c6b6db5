//! What callers ask of a bench, and what can be seen of it.

use drystone_raft::{Change, Index, Input, NodeId, ReadMode, Refused, Role, Term, Ticket};

use super::{Lab, Seat, story};

impl Lab {
    /// The ticket that comes next.
    pub(crate) fn next_ticket(&self) -> Ticket {
        Ticket(self.tickets + 1)
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(crate) fn propose(&mut self, id: NodeId, data: &str) -> Ticket {
        let ticket = self.ticket();
        self.watch.write(ticket);
        let data = data.as_bytes().to_vec().into();
        self.step(id, vec![Input::Propose { ticket, data }]);
        ticket
    }

    pub(crate) fn read(&mut self, id: NodeId, mode: ReadMode) -> Ticket {
        let ticket = self.ticket();
        self.watch.read(ticket, mode);
        self.step(id, vec![Input::Read { ticket, mode }]);
        ticket
    }

    pub(crate) fn change(&mut self, id: NodeId, change: Change) -> Ticket {
        let ticket = self.ticket();
        self.step(id, vec![Input::Change { ticket, change }]);
        ticket
    }

    pub(crate) fn transfer(&mut self, id: NodeId, to: NodeId) -> Ticket {
        let ticket = self.ticket();
        self.step(id, vec![Input::Transfer { ticket, to: Some(to) }]);
        ticket
    }

    pub(crate) fn answer(&self, id: NodeId, ticket: Ticket) -> Option<Result<Index, Refused>> {
        self.seats[&id].answers.iter().find(|(of, _)| *of == ticket).map(|(_, result)| *result)
    }

    /// Who leads in the latest term in which somebody does.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let leads = |(_, seat): &(&NodeId, &Seat)| seat.up && seat.raft.role() == Role::Leader;
        let leaders = self.seats.iter().filter(leads);
        leaders.max_by_key(|(_, seat)| seat.raft.hard().term).map(|(id, _)| *id)
    }

    /// The commands that a member has applied.
    pub(crate) fn applied(&self, id: NodeId) -> Vec<String> {
        self.seats[&id].applied.iter().filter_map(|entry| story::text(&entry.payload)).collect()
    }

    pub(crate) fn term(&self, id: NodeId) -> Term {
        self.raft(id).hard().term
    }

    /// The terms of a member's log, from 1 or behind its base.
    pub(crate) fn log(&self, id: NodeId) -> Vec<u64> {
        let raft = self.raft(id);
        let range = raft.base().index.0 + 1..=raft.last().index.0;
        range.map(|index| raft.term_at(Index(index)).unwrap().0).collect()
    }
}
