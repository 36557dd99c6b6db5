//! What a member does by itself while it leads, and what it does for leases.

use drystone_kv::command::LeaseRevoke;
use drystone_kv::runtime::parts::{Renewal, next_step};
use drystone_kv::{Command, LeaseId};
use drystone_raft::{Input, ReadMode, Term};
use drystone_sim::NodeId;

use crate::disk::Disk;
use crate::flaw::Flaw;
use crate::member::{Call, Event, Member, Out, Parcel, Told, Waiting};
use crate::plan::ELECTION;

/// How often it looks, in ticks.
const PERIOD: u64 = 7;
/// Leases that are revoked at once.
const EXPIRIES_MAX: usize = 500;
/// The group's name.
const CLUSTER: u64 = 77;

impl Member {
    pub(super) fn duty(&mut self, now: u64, out: &mut Out<'_>) {
        out.later(PERIOD, Event::Duty);
        self.clear();
        let swept = self.store.sweep_step();
        self.heed("sweep", swept);
        if out.rng().below(100) == 0 {
            let maintained = self.store.maintain(std::time::Duration::from_millis(5));
            self.heed("maintain", maintained);
        }
        match self.office() {
            None => self.lessor.lay_down(None),
            Some(term) if self.lessor.term() == Some(term) => self.expire(now, out),
            Some(term) => {
                self.lessor.lay_down(Some(term));
                let ticket = self.ticket(Some(Waiting::TakeUp(term)));
                self.feed(now, Some(Input::Read { ticket, mode: ReadMode::Index }), out);
            }
        }
        if self.office().is_some() {
            self.keep_roster(now, out);
        }
    }

    fn expire(&mut self, now: u64, out: &mut Out<'_>) {
        for id in self.lessor.take_due(EXPIRIES_MAX) {
            let ticket = self.ticket(Some(Waiting::Revoke(id)));
            let data = encode(&Command::LeaseRevoke(LeaseRevoke { id }));
            self.feed(now, Some(Input::Propose { ticket, data }), out);
        }
    }

    /// Takes the next step from the group to the table of members.
    fn keep_roster(&mut self, now: u64, out: &mut Out<'_>) {
        let table = self.store.cluster();
        if table.id.is_none() {
            // What a group that cannot commit is told at every turn it has to catch up with later.
            if now < self.found_at {
                return;
            }
            self.found_at = now + ELECTION;
            let founders = self.disk.founders.iter();
            let members = founders.map(|id| Disk::entry(*id, false)).collect();
            let command = Command::ClusterInit { cluster: CLUSTER, members };
            let ticket = self.ticket(None);
            let data = encode(&command);
            return self.feed(now, Some(Input::Propose { ticket, data }), out);
        }
        let raft = &self.raft;
        let (followers, last) = (raft.followers(), raft.last().index);
        if let Some(change) = next_step(&table, raft.members(), last, &followers) {
            let ticket = self.ticket(None);
            self.feed(now, Some(Input::Change { ticket, change }), out);
        }
    }

    /// Begins to renew a lease: a quorum must confirm that this member is the lessor.
    pub(super) fn keep_alive(
        &mut self,
        now: u64,
        call: Call,
        asker: NodeId,
        lease: LeaseId,
        out: &mut Out<'_>,
    ) {
        if let Some(term) = self.lessor.term() {
            let ticket = self.ticket(Some(Waiting::Office(call, asker, lease, term)));
            self.feed(now, Some(Input::Read { ticket, mode: ReadMode::Index }), out);
        }
    }

    /// A quorum has confirmed, and what had to be applied is.
    pub(super) fn serve(&mut self, _now: u64, waiting: Waiting, out: &mut Out<'_>) {
        match waiting {
            Waiting::Linear(call, look) => self.read(call, &look),
            Waiting::Office(call, asker, lease, term) if self.office() == Some(term) => {
                let ttl = match self.lessor.renew(lease, term) {
                    Some(Renewal::Renewed(ttl)) => Some(ttl),
                    Some(Renewal::Missing) => None,
                    // It is answered once it is gone: whoever asked asks again.
                    Some(Renewal::Dying) | None => return,
                };
                if asker == out.me() {
                    self.answers.push((call, Told::KeptAlive(ttl)));
                } else {
                    out.send(asker, Parcel::Kept(call, ttl));
                }
            }
            Waiting::TakeUp(term) if self.office() == Some(term) => self.take_up(term),
            _ => {}
        }
    }

    fn take_up(&mut self, term: Term) {
        let hasty = self.disk.flaw == Some(Flaw::EarlyExpiry);
        self.lessor.take_up(term, || {
            let leases = self.store.leases();
            leases.into_iter().map(|(id, ttl)| (id, if hasty { ttl / 4 } else { ttl })).collect()
        });
    }
}

/// A command's bytes.
pub(crate) fn encode(command: &Command) -> bytes::Bytes {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    bytes.into()
}
