//! The clients, who ask for one thing at a time, and the operator.
//!
//! **Linearizable with revisions.** What a client is told names its place: a command its index, a
//! read its revision. The store gives every state one revision, so it is enough that each answer is
//! right at its place, and that its place is behind all that was answered before it was asked.

use drystone_kv::reply::Reply;
use drystone_kv::{Command, LeaseId, Refusal};
use drystone_raft::Index;
use drystone_sim::NodeId;

use crate::disk::Disk;
use crate::member::{Ask, Call, Event, Look, Told};
use crate::plan::ELECTION;
use crate::requests::{Kind, Requests, is_for_ever};
use crate::run::Run;

/// How long a client waits, in ticks.
const PATIENCE: u64 = 3 * ELECTION;

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    /// When it asks next.
    pub(crate) at: u64,
    /// Whom it asks as a rule.
    node: NodeId,
    waits_for: Option<(Call, u64)>,
}

impl Client {
    pub(crate) fn new(node: NodeId) -> Client {
        Client { at: 0, node, waits_for: None }
    }

    /// Gives up what it waits for, and asks this one from now on.
    pub(crate) fn turn_to(&mut self, node: NodeId) {
        (self.node, self.waits_for) = (node, None);
    }
}

/// What somebody knows to be done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Floor {
    pub(crate) index: Index,
    pub(crate) revision: u64,
}

/// A call that is under way.
#[derive(Debug)]
pub(crate) struct Asked {
    what: What,
    at: u64,
    /// What was done before, and known to be.
    floor: Floor,
    pub(crate) node: NodeId,
    pub(crate) life: u64,
}

#[derive(Debug)]
enum What {
    Command(Command),
    Linear(Look),
    Serial(Look),
    KeepAlive(LeaseId),
}

/// An answer that nobody could prove yet when it came.
#[derive(Debug)]
pub(crate) struct Unproven {
    pub(crate) call: Call,
    pub(crate) command: Command,
    pub(crate) index: Index,
    pub(crate) told: Result<Reply, Refusal>,
}

impl Run<'_> {
    pub(super) fn answered(&mut self, call: Call, told: Told) {
        let Some(asked) = self.calls.remove(&call) else { return };
        for client in &mut self.clients {
            client.waits_for.take_if(|(of, _)| *of == call);
        }
        if matches!(told, Told::NotDone) {
            // While nobody leads, asking is all that clients do.
            self.asked = self.asked.saturating_sub(1);
        } else {
            self.report.answered += 1;
        }
        let Asked { what, at, floor, .. } = asked;
        match (what, told) {
            (What::Command(command), Told::Applied(index, told)) => {
                assert!(index > floor.index, "command {call} went before what was done before it");
                if let (Command::LeaseGrant(grant), Ok(_)) = (&command, &told) {
                    self.oracle.promise(grant.id, grant.ttl, at);
                    self.leases.push(grant.id);
                }
                if matches!(command, Command::MemberAdd { .. } | Command::MemberRemove { .. }) {
                    self.report.changes += u64::from(told.is_ok());
                }
                self.floor.index = self.floor.index.max(index);
                if index > self.oracle.last() {
                    self.unproven.push(Unproven { call, command, index, told });
                    return;
                }
                self.oracle.check_reply(call, &command, index, &told);
                let revision = self.oracle.moment(index).revision;
                assert!(revision >= floor.revision, "command {call} went before what was read");
                self.know(index);
            }
            (What::Linear(look), Told::Read(at, told)) => {
                let (found, least) = (self.oracle.moment(at).revision, floor.revision);
                assert!(
                    found >= least && at >= floor.index,
                    "read {call} saw revision {found} at {at}, and {least} at {} was known",
                    floor.index
                );
                self.oracle.check_look(call, &look, at, &told);
                self.know(at);
            }
            (What::Serial(look), Told::Read(at, told)) => {
                self.oracle.check_look(call, &look, at, &told);
                self.know(at);
            }
            (What::KeepAlive(lease), Told::KeptAlive(ttl)) => {
                self.oracle.check_kept_alive(lease, ttl, floor.index);
                match ttl {
                    Some(ttl) => self.oracle.promise(lease, ttl, at),
                    None => self.leases.retain(|other| *other != lease),
                }
            }
            _ => {}
        }
    }

    /// Everything up to `at` is known to be done: somebody was shown it.
    fn know(&mut self, at: Index) {
        self.floor.index = self.floor.index.max(at);
        self.floor.revision = self.floor.revision.max(self.oracle.moment(at).revision);
    }

    fn any_node(&mut self) -> NodeId {
        let ids: Vec<NodeId> = self.world.ids().collect();
        *self.rng.pick(&ids)
    }

    /// The client whose turn it is asks for something.
    pub(super) fn ask(&mut self) {
        let now = self.world.now();
        let place = self.clients.iter().position(|client| client.at <= now).expect("one is due");
        self.clients[place].at = now + self.rng.range(1..12);
        if let Some((_, until)) = self.clients[place].waits_for {
            if now < until {
                return;
            }
            self.clients[place].waits_for = None;
            self.clients[place].node = self.any_node();
        }
        let same = self.rng.below(8) > 0;
        let id = if same { self.clients[place].node } else { self.any_node() };
        if !self.world.is_up(id) {
            self.clients[place].node = self.any_node();
            return;
        }
        let what = self.draw();
        let call = self.call(id, what);
        self.clients[place].waits_for = Some((call, now + PATIENCE));
        self.asked += 1;
    }

    fn call(&mut self, id: NodeId, what: What) -> Call {
        self.call_next += 1;
        let call = self.call_next;
        let ask = match &what {
            What::Command(command) => Ask::Command(encode(command)),
            What::Linear(look) => Ask::Linear(look.clone()),
            What::Serial(look) => Ask::Serial(look.clone()),
            What::KeepAlive(lease) => Ask::KeepAlive(*lease),
        };
        let life = self.world.process(id).map_or(0, crate::member::Member::life);
        let asked = Asked { what, at: self.world.now(), floor: self.floor, node: id, life };
        self.calls.insert(call, asked);
        self.hand_in(id, Event::Ask(call, ask));
        call
    }

    fn draw(&mut self) -> What {
        let mut requests = Requests {
            rng: &mut self.rng,
            model: &self.oracle.model,
            leases: &self.leases,
            serial: self.call_next + 1,
        };
        let kind = match requests.rng.below(40) {
            0..13 => Kind::Put,
            13..16 => Kind::Delete,
            16..24 => Kind::Txn,
            24..31 => return What::Linear(requests.look()),
            31..34 => return What::Serial(requests.look()),
            34 => Kind::Grant,
            35 if requests.rng.below(8) == 0 => Kind::Revoke,
            36 if requests.rng.below(4) == 0 => Kind::Compact,
            _ if self.leases.is_empty() => Kind::Put,
            _ => return What::KeepAlive(*requests.rng.pick(&self.leases)),
        };
        let command = requests.command(kind);
        if let Command::LeaseRevoke(revoke) = &command {
            if is_for_ever(revoke.id) {
                return What::KeepAlive(revoke.id);
            }
            self.oracle.given_up.insert(revoke.id);
        }
        What::Command(command)
    }

    /// The operator adds members, removes them, and has the leadership handed on.
    pub(super) fn operate(&mut self) {
        let table = self.oracle.model.cluster.clone();
        let ids: Vec<u64> = (1..=self.plan.founders + self.plan.spares).collect();
        let new = ids.into_iter().find(|id| !table.is_removed(*id) && table.member(*id).is_none());
        let id = self.any_node();
        if table.id.is_none() || !self.world.is_up(id) {
            return;
        }
        match (self.rng.below(3), new) {
            (0, Some(new)) => {
                let member = Disk::entry(new, false);
                let command = Command::MemberAdd { member, learners_max: 1 };
                self.call(id, What::Command(command));
            }
            (1, _) if table.members.len() > 3 => {
                let id_gone = self.rng.pick(&table.members).id;
                self.call(id, What::Command(Command::MemberRemove { id: id_gone }));
            }
            _ => self.transfer(id),
        }
    }
}

fn encode(command: &Command) -> bytes::Bytes {
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    bytes.into()
}
