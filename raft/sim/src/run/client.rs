//! The clients, who ask for one thing at a time and note what they were answered.

use drystone_raft::{Input, ReadMode, Refused, Ticket};
use drystone_sim::NodeId;

use crate::disk::Disk;
use crate::machine::{KEYS, Lists};
use crate::member::{Answer, Event};
use crate::run::{Op, Request, Ret, Run};

impl<D: Disk<Lists>> Run<'_, D> {
    pub(super) fn answered(&mut self, answer: Answer<Lists>) {
        let ticket = answer.ticket.0;
        let Some((request, ..)) = self.requests.remove(&ticket) else { return };
        for wait in &mut self.waits {
            wait.take_if(|(waits_for, _)| *waits_for == ticket);
        }
        match (request, answer.result) {
            (Request::Operation { op, key: None, .. }, Ok(_)) => {
                self.report.returned += 1;
                self.history.returned(op, Ret::Appended);
            }
            (Request::Operation { op, key: Some(key), .. }, Ok(_)) => {
                self.report.returned += 1;
                let state = answer.state.expect("a read is answered with a state");
                self.history.returned(op, Ret::Values(state.read(key).to_vec()));
            }
            (Request::Operation { client, op, .. }, Err(why)) => {
                if let Refused::NotLeader(Some(leader)) = why {
                    self.hints[client] = NodeId(u32::try_from(leader).expect("ids are small here"));
                } else {
                    self.hints[client] = self.any_node();
                }
                if why != Refused::Unknown {
                    self.history.failed(op);
                }
            }
            (Request::Operator, Ok(_)) => self.report.changes += 1,
            (Request::Operator, Err(_)) => {}
        }
    }

    /// Any node; of a healthy core, once there is one: who asks a leader that is cut off, and that
    /// does not look for a quorum, waits for an answer that cannot come.
    pub(super) fn any_node(&mut self) -> NodeId {
        let mut nodes = self.core.clone();
        if nodes.is_empty() {
            nodes.extend(self.world.ids());
        }
        *self.rng.pick(&nodes)
    }

    /// The client whose turn it is asks for something.
    pub(super) fn ask(&mut self) {
        let now = self.world.now();
        let client = self.clients.iter().position(|at| *at <= now).expect("one is due");
        // Whoever waits for a group to go on asks more often than whoever has little to ask.
        let brisk = 5..50.min(self.plan.think.end);
        let think = if self.core.is_empty() { self.plan.think.clone() } else { brisk };
        self.clients[client] = now + self.rng.range(think);
        if let Some((_, until)) = self.waits[client] {
            if now < until {
                return;
            }
            // Whoever was asked says nothing: another may.
            self.waits[client] = None;
            self.hints[client] = self.any_node();
        }
        let node = if self.rng.below(4) == 0 { self.any_node() } else { self.hints[client] };
        if !self.world.is_up(node) {
            self.hints[client] = self.any_node();
            return;
        }
        let key = u8::try_from(self.rng.below(KEYS as u64)).expect("keys are few");
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let number = client as u64;
        let reads = client < self.plan.readers as usize;
        let (op, request, input) = if !reads && self.rng.below(2) == 0 {
            self.next_value += 1;
            let padding = usize::try_from(self.rng.below(60)).expect("it is small");
            let data = Lists::append(key, self.next_value, padding);
            let op = Op::Append(key, self.next_value);
            (op, None, Input::Propose { ticket, data })
        } else {
            let mode = *self.rng.pick(&[ReadMode::Log, ReadMode::Index, ReadMode::Lease]);
            let mode = if reads && mode == ReadMode::Log { ReadMode::Lease } else { mode };
            (Op::Read(key), Some(key), Input::Read { ticket, mode })
        };
        self.asked += 1;
        let op = self.history.invoke(number, op);
        let life = self.lives.get(&node).copied().unwrap_or(0);
        let request = Request::Operation { op, key: request, client };
        self.requests.insert(ticket.0, (request, node, life));
        self.waits[client] = Some((ticket.0, now + self.plan.patience));
        self.world.later(node, 1 + self.rng.below(5), Event::Ask(input));
    }
}
