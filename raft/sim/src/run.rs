//! One seed: a group is built, hurt, healed, and must have kept every promise.

mod client;
mod harm;
mod operator;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::mem;

use drystone_raft::{Configuration, Role, Suffrage, Term};
use drystone_sim::history::{History, OpId};
use drystone_sim::linear::{self, list};
use drystone_sim::{NodeId, Rest, Rng, Seed, Trouble, World};

use crate::disk::Disk;
use crate::machine::Lists;
use crate::member::Member;
use crate::model::Model;
use crate::plan::{ELECTION, Plan};
use crate::rot;
use crate::stored::Stored;
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
    run_on(seed, plan, |_, members| Model::new(members))
}

/// Runs a seed with a plan drawn from it, on disks with the real store on them.
///
/// # Panics
///
/// If a promise is broken.
pub fn run_stored(seed: Seed) -> Report {
    let mut plan = Plan::draw(&mut seed.rng("plan"));
    let mut rng = seed.rng("store");
    plan.faults = *rng.pick(&[0, 0, 10, 30]);
    run_on(seed, &plan, |id, members| Stored::new(members, &mut rng.fork(&id.to_string())))
}

/// Runs a seed with a plan of yours, on disks that `make` makes.
///
/// # Panics
///
/// If a promise is broken.
pub fn run_on<D: Disk<Lists>>(
    seed: Seed,
    plan: &Plan,
    make: impl Fn(u32, Configuration) -> D,
) -> Report {
    let mut run = Run::new(seed, plan, make);
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

struct Run<'a, D: Disk<Lists>> {
    plan: &'a Plan,
    world: World<Member<Lists, D>>,
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

impl<'a, D: Disk<Lists>> Run<'a, D> {
    fn new(seed: Seed, plan: &'a Plan, make: impl Fn(u32, Configuration) -> D) -> Run<'a, D> {
        let rng = seed.rng("clients");
        let trouble = Trouble::new(plan.profile.clone(), seed.rng("trouble"));
        let mut world = World::new(seed);
        world.network_mut().set_all(plan.link.clone());
        let founders = plan.founders.clone();
        let disks = (1..=plan.nodes).map(|id| {
            let members =
                if id <= plan.members { founders.clone() } else { Configuration::default() };
            (plan.ways.clone(), make(id, members))
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
        self.fail();
        self.trouble.act(&mut self.world);
        for id in self.world.ids().collect::<Vec<_>>() {
            self.look(id);
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

    /// A core of voters is made well, and the group must go on, whatever becomes of the others.
    fn liveness(&mut self) {
        (self.operate_at, self.depose_at) = (u64::MAX, u64::MAX);
        self.heal();
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
        let leads = |member: &Member<Lists, D>| member.raft.role() == Role::Leader;
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
        let line = |(id, member): (NodeId, &Member<Lists, D>)| {
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
