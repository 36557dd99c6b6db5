//! One seed: a group is built, hurt, healed, and must have kept every promise.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::mem;

use drystone_raft::{
    Change, Configuration, Input, ReadMode, Refused, Role, Suffrage, Term, Ticket,
};
use drystone_sim::history::{History, OpId};
use drystone_sim::linear::{self, list};
use drystone_sim::{NodeId, Rest, Rng, Seed, Shape, Trouble, World};

use crate::disk::Disk;
use crate::machine::{KEYS, Lists};
use crate::member::{Answer, Event, Member};
use crate::plan::{ELECTION, Plan};
use crate::rot;
use crate::watch::Watch;

type Op = list::Op<u8, u32>;
type Ret = list::Ret<u32>;

/// What a run came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Report {
    /// Steps of cores.
    pub steps: u64,
    /// Entries applied.
    pub applied: u64,
    /// Leaders.
    pub elections: u64,
    /// Snapshots installed.
    pub snapshots: u64,
    /// Operations of clients that returned.
    pub returned: u64,
    /// Changes of members that were made.
    pub changes: u64,
    /// Runs whose disks were so damaged in the end that nobody need go on.
    pub hopeless: u64,
}

impl Report {
    /// Adds another run.
    pub fn add(&mut self, other: Report) {
        self.steps += other.steps;
        self.applied += other.applied;
        self.elections += other.elections;
        self.snapshots += other.snapshots;
        self.returned += other.returned;
        self.changes += other.changes;
        self.hopeless += other.hopeless;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { steps, applied, elections, snapshots, returned, changes, hopeless } = self;
        write!(
            f,
            "{steps} steps, {applied} entries applied, {elections} leaders, {snapshots} snapshots \
             installed, {returned} operations returned, {changes} changes of members, \
             {hopeless} runs beyond help"
        )
    }
}

/// Runs a seed.
///
/// # Panics
///
/// If a promise is broken; the world tells the seed and how to replay it.
pub fn run(seed: Seed) -> Report {
    let plan = Plan::draw(&mut seed.rng("plan"));
    run_plan(seed, &plan)
}

/// Runs a seed with a plan of yours.
///
/// # Panics
///
/// If a promise is broken.
pub fn run_plan(seed: Seed, plan: &Plan) -> Report {
    let mut run = Run::new(seed, plan);
    run.safety();
    run.liveness();
    run.conclude()
}

/// A request that is under way.
#[derive(Debug)]
enum Request {
    Operation { op: OpId, key: Option<u8>, client: usize },
    Operator,
}

struct Run<'a> {
    plan: &'a Plan,
    world: World<Member<Lists>>,
    trouble: Trouble,
    watch: Watch<Lists>,
    rng: Rng,
    history: History<Op, Ret>,
    requests: BTreeMap<u64, (Request, NodeId, u64)>,
    next_ticket: u64,
    next_value: u32,
    /// Operations that clients have begun.
    asked: u64,
    /// When each client asks next.
    clients: Vec<u64>,
    operate_at: u64,
    /// Until then the operator waits for the worst moment.
    lurks_until: u64,
    /// For whom each node has voted durably, and in which term.
    votes: BTreeMap<NodeId, (Term, Option<u64>)>,
    /// The node that each client believes to lead.
    hints: Vec<NodeId>,
    /// What each client waits for, and until when. One thing at a time: what many ask at once can
    /// be put in so many orders that no checker would tell in time.
    waits: Vec<Option<(u64, u64)>>,
    lives: HashMap<NodeId, u64>,
    report: Report,
    /// Nodes whose disks were damaged and that are not whole again.
    hurt: BTreeSet<NodeId>,
    /// Members that are witnesses, or were asked to be. They never become anything else: what they
    /// miss they would miss as voters.
    witnesses: BTreeSet<u64>,
    /// When the leader is next cut off, or not any more.
    depose_at: u64,
    deposed: bool,
    /// A leader that was asked to hand over and is cut off next.
    handing_over: Option<NodeId>,
    /// When drivers next report peers that are out of reach.
    report_at: u64,
    /// The nodes that are well in the liveness phase.
    core: Vec<NodeId>,
}

impl<'a> Run<'a> {
    fn new(seed: Seed, plan: &'a Plan) -> Run<'a> {
        let rng = seed.rng("clients");
        let trouble = Trouble::new(plan.profile.clone(), seed.rng("trouble"));
        let mut world = World::new(seed);
        world.network_mut().set_all(plan.link.clone());
        let founders = plan.founders.clone();
        let disks = (1..=plan.nodes).map(|id| {
            let members =
                if id <= plan.members { founders.clone() } else { Configuration::default() };
            (plan.ways.clone(), Disk::new(members))
        });
        let ids = world.add_all(disks);
        Run {
            plan,
            world,
            trouble,
            watch: Watch::new(ids.len()),
            rng,
            history: History::new(),
            requests: BTreeMap::new(),
            next_ticket: 0,
            next_value: 0,
            asked: 0,
            clients: vec![0; plan.clients as usize],
            operate_at: if plan.operate == 0 { u64::MAX } else { plan.operate },
            lurks_until: 0,
            votes: BTreeMap::new(),
            hints: vec![NodeId(1); plan.clients as usize],
            waits: vec![None; plan.clients as usize],
            lives: HashMap::new(),
            report: Report::default(),
            hurt: BTreeSet::new(),
            witnesses: plan.witness().into_iter().collect(),
            depose_at: if plan.depose == 0 { u64::MAX } else { plan.depose },
            deposed: false,
            handing_over: None,
            report_at: if plan.alarms == 0 { u64::MAX } else { plan.alarms },
            core: Vec::new(),
        }
    }

    fn safety(&mut self) {
        self.trouble.act(&mut self.world);
        while self.world.now() < self.plan.safety && self.asked < self.plan.operations {
            self.go_on(self.plan.safety);
        }
    }

    /// Lets the next thing happen, of all that may.
    fn go_on(&mut self, limit: u64) {
        let client = self.clients.iter().copied().min().unwrap_or(u64::MAX);
        let own = client.min(self.operate_at).min(self.report_at).min(self.depose_at);
        let next = own.min(self.trouble.next_at()).min(limit);
        match self.world.step_until(next) {
            Some(happened) => self.look(happened.node),
            None if self.world.now() >= self.trouble.next_at() => self.suffer(),
            None if self.world.now() >= self.operate_at => self.operate(),
            None if self.world.now() >= self.depose_at => self.depose(),
            None if self.world.now() >= self.report_at => self.report_unreachable(),
            None if self.world.now() >= client => self.ask(),
            None => {}
        }
    }

    fn suffer(&mut self) {
        self.rot();
        self.trouble.act(&mut self.world);
        for id in self.world.ids().collect::<Vec<_>>() {
            self.look(id);
        }
    }

    /// Damages a disk, of a node that is down or at work, as long as the group can bear it.
    fn rot(&mut self) {
        let (world, most) = (&self.world, self.watch.commit_max());
        self.hurt.retain(|id| {
            // A node is whole again when nothing is missing and it keeps up.
            let member = world.process(*id);
            !member.is_some_and(|member| member.is_sound() && member.raft.commit() >= most)
        });
        // A change that is asked for may yet remove the whole copy.
        let operated =
            |(request, ..): &(Request, NodeId, u64)| matches!(request, Request::Operator);
        if self.rng.below(100) >= self.plan.rot || self.requests.values().any(operated) {
            return;
        }
        let at_work = self.rng.below(3) == 0;
        let nodes = self.world.ids().filter(|id| self.world.is_up(*id) == at_work);
        let nodes: Vec<NodeId> = nodes.collect();
        if nodes.is_empty() {
            return;
        }
        let id = *self.rng.pick(&nodes);
        let mut rng = self.rng.fork("rot");
        self.rng.draw();
        let mut damaged = match self.world.process(id) {
            Some(member) => member.disk().clone(),
            None => self.world.disk(id).expect("it is down").1.clone(),
        };
        if !damaged.rot(&mut rng) || !rot::is_bearable(&self.world, id, &damaged) {
            return;
        }
        self.world.note(format_args!("the disk of {id} is damaged"));
        self.watch.excuse(id);
        self.hurt.insert(id);
        if let Some(member) = self.world.process_mut(id) {
            *member.disk_mut() = damaged;
        } else if let Some((_, disk)) = self.world.disk_mut(id) {
            *disk = damaged;
        }
    }

    fn look(&mut self, id: NodeId) {
        self.report.steps += 1;
        self.watch.look(&mut self.world, id);
        let Some(member) = self.world.process_mut(id) else { return };
        let life = member.life();
        let answers = mem::take(&mut member.answers);
        let stopped = member.raft.role() == Role::Stopped;
        if self.lives.insert(id, life).is_some_and(|old| old != life) {
            // Who asked a node that has crashed since never hears of it.
            self.requests.retain(|_, (_, node, asked)| *node != id || *asked == life);
        }
        for answer in answers {
            self.watch.answer(&answer);
            self.answered(answer);
        }
        if stopped {
            // Whoever runs it starts it anew: it then knows what its disk has lost.
            self.world.crash(id);
            self.world.restart(id);
        }
        if self.plan.rot > 0 && self.world.now() < self.plan.safety {
            self.forget_vote(id);
        }
    }

    /// Now and then a node that has just voted for another crashes, and its vote is lost with it
    /// while the election goes on: nothing else can make it vote twice.
    fn forget_vote(&mut self, id: NodeId) {
        let Some(vote) = self.world.process(id).map(|member| member.disk().vote()) else { return };
        let old = self.votes.insert(id, vote);
        let given = vote.1.is_some_and(|to| to != u64::from(id.0));
        if old == Some(vote) || !given || self.rng.below(20) > 0 {
            return;
        }
        self.world.note(format_args!("{id} crashes, and its vote is lost"));
        self.world.crash(id);
        if let Some((_, disk)) = self.world.disk_mut(id) {
            disk.lose_vote();
        }
        self.watch.excuse(id);
        self.hurt.insert(id);
        self.world.restart(id);
    }

    fn answered(&mut self, answer: Answer<Lists>) {
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
    fn any_node(&mut self) -> NodeId {
        let mut nodes = self.core.clone();
        if nodes.is_empty() {
            nodes.extend(self.world.ids());
        }
        *self.rng.pick(&nodes)
    }

    /// The client whose turn it is asks for something.
    fn ask(&mut self) {
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

    /// The operator changes members, or moves the leadership, or campaigns out of turn.
    fn operate(&mut self) {
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
        let wanted = |member: &Member<Lists>| {
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
    fn depose(&mut self) {
        let now = self.world.now();
        self.depose_at = now + 1 + self.rng.below(2 * self.plan.depose);
        let leads = |(_, member): &(NodeId, &Member<Lists>)| member.raft.role() == Role::Leader;
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
    fn report_unreachable(&mut self) {
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

    /// A core of voters is made well, and the group must go on, whatever becomes of the others.
    fn liveness(&mut self) {
        (self.operate_at, self.depose_at) = (u64::MAX, u64::MAX);
        if !self.hurt.is_empty() && !rot::can_go_on(&self.world) {
            self.report.hopeless += 1;
            return;
        }
        let voters = self.voters();
        let core = self.trouble.draw_core(&voters);
        let joint = self.world.processes().any(|(_, member)| member.raft.members().is_joint());
        // While a change of members is under way, two sets are needed: all are made well.
        let all: Vec<NodeId> = self.world.ids().collect();
        // What a witness has acknowledged may be on one other disk alone.
        let witness = self.plan.witness().is_some();
        let everyone = joint || witness || !self.hurt.is_empty() || self.plan.operate > 0;
        let core = if everyone { all } else { core };
        let config = &self.plan.ways.config;
        // Without these a leader that hears nobody is obeyed for ever.
        let deaf = if config.pre_vote && config.check_quorum { Rest::Deaf } else { Rest::Cut };
        let rest = *self.rng.pick(&[Rest::Well, Rest::Down, Rest::Cut, deaf, Rest::Troubled]);
        let rest = if everyone { Rest::Well } else { rest };
        self.trouble.heal(&mut self.world, &core, rest);
        let quick = self.plan.liveness <= 40 * ELECTION;
        if rest == Rest::Deaf && self.rng.below(2) == 0 && quick {
            // Well, but for their disks: who leads among them has to be replaced. Where writes take
            // as long as an election, those who cannot finish one spoil the luck of the others.
            self.trouble.heal(&mut self.world, &core, Rest::Well);
            for id in self.world.ids().filter(|id| !core.contains(id)).collect::<Vec<_>>() {
                self.world.process_mut(id).into_iter().for_each(|member| member.stalls = true);
            }
        }
        (self.core, self.report_at) = (core.clone(), self.world.now());
        let until = self.world.now() + self.plan.liveness;
        let goal = self.report.returned + 5;
        for (at, hint) in self.clients.iter_mut().zip(&mut self.hints) {
            *at = self.world.now();
            *hint = core[0];
        }
        while self.report.returned < goal || (everyone && self.is_changing()) {
            assert!(
                self.world.now() < until,
                "no progress in {} ticks on a healthy core {core:?}, others {rest:?}\n{}",
                self.plan.liveness,
                self.describe()
            );
            self.go_on(until);
        }
    }

    /// Whether a change of members is halfway: a leader must go on with it, whoever began it.
    fn is_changing(&self) -> bool {
        let leads = |member: &Member<Lists>| member.raft.role() == Role::Leader;
        self.world.processes().any(|(_, member)| leads(member) && member.raft.members().is_joint())
    }

    /// The voters of whoever is most up to date.
    fn voters(&self) -> Vec<NodeId> {
        let best = self.world.processes().max_by_key(|(_, member)| member.raft.last());
        let members = best.map(|(_, member)| member.raft.members());
        let ids = members.into_iter().flat_map(Configuration::members).filter_map(|member| {
            let votes = member.suffrage == Suffrage::Voter;
            votes.then(|| NodeId(u32::try_from(member.id).expect("ids are small here")))
        });
        let mut voters: Vec<NodeId> = ids.collect();
        if voters.is_empty() {
            voters = (1..=self.plan.members).map(NodeId).collect();
        }
        voters
    }

    fn describe(&self) -> String {
        let line = |(id, member): (NodeId, &Member<Lists>)| {
            let raft = &member.raft;
            format!(
                "{id}: {:?} term {} leader {:?} last {} commit {} base {} members {} sound {}\n",
                raft.role(),
                raft.hard().term,
                raft.leader(),
                raft.last(),
                raft.commit(),
                raft.base(),
                raft.members(),
                member.is_sound()
            )
        };
        self.world.processes().map(line).collect()
    }

    fn conclude(mut self) -> Report {
        linear::expect::<list::List<u8, u32>>(&self.history);
        self.report.applied = self.watch.applied() as u64;
        self.report.elections = self.watch.elections();
        self.report.snapshots = self.watch.installed();
        self.report
    }
}
