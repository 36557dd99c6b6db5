//! The operator, who changes members and moves the leadership at the worst moments, and what else
//! is done to leaders from outside.

use std::mem;

use drystone_raft::{Change, Input, Role, Ticket};
use drystone_sim::{NodeId, Shape};

use crate::disk::Disk;
use crate::machine::Lists;
use crate::member::{Event, Member};
use crate::plan::ELECTION;
use crate::run::{Request, Run};

impl<D: Disk<Lists>> Run<'_, D> {
    /// The operator changes members, or moves the leadership, or campaigns out of turn.
    pub(super) fn operate(&mut self) {
        let now = self.world.now();
        let Some(leader) = self.whom_to_operate() else {
            // It lies in wait, or nobody leads.
            self.operate_at = now + if now < self.lurks_until { 2 } else { self.plan.operate };
            return;
        };
        // Every other act is followed at once by another.
        let pause = if self.rng.below(2) == 0 { 20 } else { 2 * self.plan.operate };
        self.operate_at = now + 1 + self.rng.below(pause);
        let lurked = mem::take(&mut self.lurks_until) > now;
        if self.rng.below(2) == 0 {
            self.lurks_until = self.operate_at + 6 * ELECTION;
        }
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let kind = if lurked { 3 } else { self.rng.below(4) };
        let input = match kind {
            0 => Input::Transfer { ticket, to: None },
            1 => Input::Transfer { ticket, to: Some(u64::from(self.any_node().0)) },
            // The copy that is removed may be the only one that is whole.
            _ if !self.hurt.is_empty() => return,
            _ => Input::Change { ticket, change: self.draw_change() },
        };
        let life = self.lives.get(&leader).copied().unwrap_or(0);
        self.requests.insert(ticket.0, (Request::Operator, leader, life));
        self.world.later(leader, 0, Event::Ask(input));
    }

    /// Any of those who lead or believe so. An operator that lies in wait looks for one that has
    /// not yet committed anything of its own: what it knows of the members may be old.
    fn whom_to_operate(&mut self) -> Option<NodeId> {
        let lurks = self.world.now() < self.lurks_until;
        let wanted = |member: &Member<Lists, D>| {
            let raft = &member.raft;
            let own = raft.term_at(raft.commit()) == Some(raft.hard().term);
            raft.role() == Role::Leader && !(lurks && own)
        };
        let all = self.world.processes().filter(|(_, member)| wanted(member));
        let leaders: Vec<NodeId> = all.map(|(id, _)| id).collect();
        if leaders.is_empty() { None } else { Some(*self.rng.pick(&leaders)) }
    }

    /// Cuts off whoever leads, or ends that. What is worst for leases are a leader whose clock is
    /// slow and others whose clocks are fast; one that has just been asked to hand over; and
    /// another that stands at once.
    pub(super) fn depose(&mut self) {
        let now = self.world.now();
        self.depose_at = now + 1 + self.rng.below(2 * self.plan.depose);
        let leads = |(_, member): &(NodeId, &Member<Lists, D>)| member.raft.role() == Role::Leader;
        let leader = self.world.processes().find(leads).map(|(id, _)| id);
        let handed_over = self.handing_over.take();
        let leader = handed_over.or(leader.filter(|_| !self.deposed));
        let asks = handed_over.is_none() && leader.is_some() && self.rng.below(2) == 0;
        if let Some(leader) = leader.filter(|_| asks) {
            self.next_ticket += 1;
            let transfer = Input::Transfer { ticket: Ticket(self.next_ticket), to: None };
            self.world.later(leader, 0, Event::Ask(transfer));
            self.handing_over = Some(leader);
            self.depose_at = now + 1 + self.rng.below(15);
            return;
        }
        self.deposed = leader.is_some();
        let Some(leader) = leader else { return self.world.partition(&Shape::Whole) };
        let off = i32::try_from(self.plan.clocks_off_ppm).expect("no clock is twice as fast");
        for id in self.world.ids() {
            self.world.set_clock_error(id, if id == leader { -off } else { off });
        }
        self.world.partition(&Shape::isolate(leader, self.world.ids()));
        let other = self.any_node();
        if other != leader && self.rng.below(2) == 0 {
            let delay = 1 + self.rng.below(20);
            self.world.later(other, delay, Event::Ask(Input::Campaign));
        }
    }

    fn draw_change(&mut self) -> Change {
        let mut change = Change::new();
        for _ in 0..=self.rng.below(3) {
            let node = self.any_node();
            let id = u64::from(node.0);
            if self.plan.witnesses_come && self.rng.below(10) == 0 {
                self.witnesses.insert(id);
            }
            let witness = self.witnesses.contains(&id);
            change = match self.rng.below(6) {
                0..=3 if witness => change.witness(id),
                0 | 1 => change.voter(id),
                2 => change.learner(id),
                3 if self.plan.members >= 3 => change.learner(id),
                _ => change.remove(id),
            };
        }
        change
    }

    /// Drivers say that a peer is out of reach. In the safety phase some say so now and then,
    /// whether it is true or not: that is all a driver can know. In the liveness phase those in the
    /// core say so of a leader outside of it, as whoever watches nodes must: followers of a group
    /// that has fallen silent look at no clock.
    pub(super) fn report_unreachable(&mut self) {
        let now = self.world.now();
        let mut reports = Vec::new();
        if self.core.is_empty() {
            self.report_at = now + 1 + self.rng.below(2 * self.plan.alarms);
            reports.push((self.any_node(), self.any_node()));
        } else {
            self.report_at = now + 5 * ELECTION;
            for id in &self.core {
                let leader = self.world.process(*id).and_then(|member| member.raft.leader());
                let Some(leader) = leader else { continue };
                let leader = NodeId(u32::try_from(leader).expect("ids are small here"));
                if !self.core.contains(&leader) {
                    reports.push((*id, leader));
                }
            }
        }
        for (id, peer) in reports {
            if self.world.is_up(id) && id != peer {
                let input = Input::Unreachable(u64::from(peer.0));
                self.world.later(id, 0, Event::Ask(input));
            }
        }
    }
}
