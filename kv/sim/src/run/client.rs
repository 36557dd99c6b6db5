//! The clients, who ask for one thing at a time, and the operator.
//!
//! **Linearizable with revisions.** What a client is told names its place: a command its index, a
//! read its revision. The store gives every state one revision, so it is enough that each answer is
//! right at its place, and that its place is behind all that was answered before it was asked.

use drystone_kv::command::{
    Compact, Compare, CompareTarget, DeleteRange, LeaseGrant, LeaseRevoke, Put, RangeRequest,
    Relation, Txn, TxnOp,
};
use drystone_kv::reply::Reply;
use drystone_kv::{Command, KeyRange, LeaseId, Refusal};
use drystone_raft::Index;
use drystone_sim::NodeId;

use crate::disk::Disk;
use crate::member::{Ask, Call, Event, Told};
use crate::plan::ELECTION;
use crate::run::Run;

/// How many keys there are.
pub(crate) const KEYS: u64 = 12;
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
    Linear(RangeRequest),
    Serial(RangeRequest),
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
                let revision = self.oracle.revision_at(index);
                assert!(revision >= floor.revision, "command {call} went before what was read");
                self.floor.revision = self.floor.revision.max(revision);
            }
            (What::Linear(request), Told::Read(Ok(reply))) => {
                let (found, least) = (reply.revision, floor.revision);
                assert!(found >= least, "read {call} saw revision {found}, not {least}");
                self.floor.revision = self.floor.revision.max(found);
                self.oracle.check_read(&request, &reply);
            }
            (What::Serial(request), Told::Read(Ok(reply))) => {
                self.oracle.check_read(&request, &reply);
            }
            (What::KeepAlive(lease), Told::KeptAlive(Some(ttl))) => {
                self.oracle.promise(lease, ttl, at);
            }
            (What::KeepAlive(lease), Told::KeptAlive(None)) => {
                self.leases.retain(|other| *other != lease);
            }
            _ => {}
        }
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
            What::Linear(request) => Ask::Linear(request.clone()),
            What::Serial(request) => Ask::Serial(request.clone()),
            What::KeepAlive(lease) => Ask::KeepAlive(*lease),
        };
        let life = self.world.process(id).map_or(0, crate::member::Member::life);
        let asked = Asked { what, at: self.world.now(), floor: self.floor, node: id, life };
        self.calls.insert(call, asked);
        self.hand_in(id, Event::Ask(call, ask));
        call
    }

    fn key(&mut self) -> String {
        format!("k{:02}", self.rng.below(KEYS))
    }

    fn range(&mut self) -> KeyRange {
        match self.rng.below(3) {
            0 => KeyRange::all(),
            1 => KeyRange { start: self.key().into(), end: Some(self.key().into()) },
            _ => KeyRange::single(self.key()),
        }
    }

    fn put(&mut self) -> Put {
        let value = format!("{}{}", self.call_next + 1, "x".repeat(self.rng.below(40) as usize));
        let mut put = Put::new(self.key(), value);
        put.prev_kv = self.rng.below(4) == 0;
        if self.rng.below(4) == 0 && !self.leases.is_empty() {
            put.lease = Some(*self.rng.pick(&self.leases));
        }
        put
    }

    fn request(&mut self) -> RangeRequest {
        let mut request = RangeRequest::new(self.range());
        if request.range.start.is_empty() {
            request.range.start = "k".into();
        }
        if self.rng.below(4) == 0 {
            request.limit = 3;
        }
        request
    }

    fn draw(&mut self) -> What {
        match self.rng.below(40) {
            0..14 => What::Command(Command::Put(self.put())),
            14..17 => {
                let range = KeyRange::single(self.key());
                let prev_kv = self.rng.below(2) == 0;
                What::Command(Command::DeleteRange(DeleteRange { range, prev_kv }))
            }
            17..24 => What::Command(Command::Txn(self.txn())),
            24..31 => What::Linear(self.request()),
            31..34 => What::Serial(self.request()),
            34 => {
                let id = LeaseId(i64::try_from(self.call_next + 1).expect("calls are few"));
                let ttl = 1 + i64::try_from(self.rng.below(6)).expect("it is small");
                What::Command(Command::LeaseGrant(LeaseGrant { id, ttl }))
            }
            35 if self.rng.below(8) == 0 && !self.leases.is_empty() => {
                let place = self.rng.below(self.leases.len() as u64) as usize;
                let id = self.leases.swap_remove(place);
                self.oracle.given_up.insert(id);
                What::Command(Command::LeaseRevoke(LeaseRevoke { id }))
            }
            36 if self.rng.below(4) == 0 => {
                let revision = self.oracle.model.revision.saturating_sub(self.rng.below(60));
                What::Command(Command::Compact(Compact { revision }))
            }
            _ if !self.leases.is_empty() => What::KeepAlive(*self.rng.pick(&self.leases)),
            _ => What::Command(Command::Put(self.put())),
        }
    }

    /// Compares one key with what somebody has seen, and writes several.
    fn txn(&mut self) -> Txn {
        let key = self.key();
        let seen = self.oracle.model.present().get(key.as_bytes()).cloned();
        let target = match (self.rng.below(3), seen) {
            (0, Some(kv)) => CompareTarget::Value(kv.value),
            (1, Some(kv)) => CompareTarget::Version(i64::try_from(kv.version).unwrap_or(0)),
            (_, Some(kv)) => CompareTarget::Mod(i64::try_from(kv.mod_revision).unwrap_or(0)),
            (_, None) => CompareTarget::Create(0),
        };
        let range = KeyRange::single(key.clone());
        let relation = *self.rng.pick(&[Relation::Equal, Relation::Equal, Relation::Greater]);
        let put = |run: &mut Run<'_>, key: String| TxnOp::Put(Put { key: key.into(), ..run.put() });
        let (one, other) = (put(self, key.clone()), put(self, "k99".to_owned()));
        let read = TxnOp::Range(self.request());
        Txn {
            compares: vec![Compare { range, relation, target }],
            success: vec![one, other, read.clone()],
            failure: vec![read],
        }
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
