//! One seed: a group is built, hurt, healed, and must have kept every promise.

mod client;
mod exile;
mod view;
mod watcher;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drystone_kv::engine::Progress;
use drystone_raft::{Index, Input, Role, Term};
use drystone_sim::{NodeId, Rest, Rng, Seed, Trouble, World};
use drystone_vfs::SimVfs;

use crate::disk::Disk;
use crate::member::{Call, Event, Member, node};
use crate::oracle::Oracle;
use crate::plan::{ELECTION, Plan};
use client::{Asked, Client, Unproven};
use exile::Exile;
use watcher::Watcher;

/// Within how many ticks all must be well once nothing goes wrong any more.
const LIVENESS: u64 = 200 * ELECTION;
/// Revisions whose hashes are compared in the end, beside the newest.
const HASHES: u64 = 5;

/// What a run came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Report {
    /// Steps of members.
    pub steps: u64,
    /// Entries applied.
    pub applied: u64,
    /// Leaders.
    pub leaders: u64,
    /// Lives of members beyond the first.
    pub restarts: u64,
    /// States of other members that were taken over.
    pub taken_over: u64,
    /// Calls of clients that were answered.
    pub answered: u64,
    /// Events that watchers have seen.
    pub events: u64,
    /// Leases that ended by themselves.
    pub expired: u64,
    /// Members that came or went.
    pub changes: u64,
    /// Disks that began to fail.
    pub spoiled: u64,
    /// Whether the power failed at the sync that was asked for.
    pub cut: bool,
    /// A number that stands for all that happened.
    pub digest: u64,
}

impl Report {
    /// Adds another run.
    pub fn add(&mut self, other: Report) {
        self.steps += other.steps;
        self.applied += other.applied;
        self.leaders += other.leaders;
        self.restarts += other.restarts;
        self.taken_over += other.taken_over;
        self.answered += other.answered;
        self.events += other.events;
        self.expired += other.expired;
        self.changes += other.changes;
        self.spoiled += other.spoiled;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} steps, {} entries, {} leaders, {} restarts, {} states taken over, {} answers, \
             {} events, {} leases expired, {} changes of members, {} bad disks",
            self.steps,
            self.applied,
            self.leaders,
            self.restarts,
            self.taken_over,
            self.answered,
            self.events,
            self.expired,
            self.changes,
            self.spoiled
        )
    }
}

/// Runs a seed.
///
/// # Panics
/// If a promise is broken; the world tells the seed.
#[must_use]
pub fn run(seed: Seed) -> Report {
    let plan = Plan::draw(&mut seed.rng("plan"));
    run_plan(seed, &plan)
}

/// Runs a seed with a plan of yours.
///
/// # Panics
/// If a promise is broken.
#[must_use]
pub fn run_plan(seed: Seed, plan: &Plan) -> Report {
    let mut run = Run::new(seed, plan);
    run.storm();
    run.calm();
    run.conclude()
}

struct Run<'a> {
    plan: &'a Plan,
    world: World<Member>,
    trouble: Trouble,
    rng: Rng,
    oracle: Oracle,
    clients: Vec<Client>,
    watchers: Vec<Watcher>,
    calls: BTreeMap<Call, Asked>,
    unproven: Vec<Unproven>,
    call_next: Call,
    /// How many calls there were.
    asked: u64,
    leases: Vec<drystone_kv::LeaseId>,
    /// The newest that any client knows of.
    floor: client::Floor,
    leaders: BTreeMap<Term, NodeId>,
    /// The life of each node and the newest revision it has shown in it.
    shown: BTreeMap<NodeId, (u64, u64)>,
    /// Nodes whose disk was told to lose its power.
    armed: BTreeSet<NodeId>,
    /// Nodes whose disk has failed since their last start: an engine that could not be saved may
    /// refuse what is written long after.
    spoiled: BTreeSet<NodeId>,
    restarts: Vec<(u64, NodeId)>,
    cut_at: u64,
    fail_at: u64,
    /// When disks that fail are mended.
    mends: Vec<(u64, NodeId)>,
    /// Syncs of member 1, if they are counted.
    syncs: Arc<AtomicU64>,
    operate_at: u64,
    exile: Exile,
    report: Report,
}

impl<'a> Run<'a> {
    fn new(seed: Seed, plan: &'a Plan) -> Run<'a> {
        let mut rng = seed.rng("clients");
        let trouble = Trouble::new(plan.profile.clone(), seed.rng("trouble"));
        let mut world = World::new(seed);
        world.network_mut().set_all(plan.link.clone());
        let founders: Vec<u64> = (1..=plan.founders).collect();
        let syncs: Arc<AtomicU64> = Arc::default();
        let disks: Vec<Disk> = (1..=plan.founders + plan.spares)
            .map(|id| Disk {
                id,
                vfs: SimVfs::new(rng.draw()),
                ways: plan.ways.clone(),
                flaw: plan.flaw,
                founders: if id <= plan.founders { founders.clone() } else { Vec::new() },
                starts: 0,
                failing: false,
                seed: rng.draw(),
                cut_at_sync: plan.cut_at_sync.filter(|_| id == 1),
                syncs: if id == 1 { Arc::clone(&syncs) } else { Arc::default() },
            })
            .collect();
        let first_dies = plan.cut_at_sync.is_some();
        let ids = world.add_all(disks);
        let never = |every: u64| if every == 0 { u64::MAX } else { every };
        Run {
            clients: (0..plan.clients).map(|_| Client::new(node(1))).collect(),
            watchers: (0..plan.watchers).map(|_| Watcher::default()).collect(),
            plan,
            world,
            trouble,
            rng,
            oracle: Oracle::new(),
            calls: BTreeMap::new(),
            unproven: Vec::new(),
            call_next: 0,
            asked: 0,
            leases: Vec::new(),
            floor: client::Floor::default(),
            leaders: BTreeMap::new(),
            shown: BTreeMap::new(),
            armed: if first_dies { ids.into_iter().take(1).collect() } else { BTreeSet::new() },
            spoiled: BTreeSet::new(),
            restarts: Vec::new(),
            cut_at: never(plan.cut),
            fail_at: never(plan.fail),
            mends: Vec::new(),
            syncs,
            operate_at: never(plan.operate),
            exile: Exile::new(plan.exile),
            report: Report::default(),
        }
    }

    fn storm(&mut self) {
        self.trouble.act(&mut self.world);
        let limit = self.plan.operations * ELECTION;
        while self.asked < self.plan.operations && self.world.now() < limit {
            self.go_on(limit);
        }
    }

    /// Lets the next thing happen, of all that may.
    fn go_on(&mut self, limit: u64) {
        let client = self.clients.iter().map(|client| client.at).min().unwrap_or(u64::MAX);
        let watcher = self.watchers.iter().map(|watcher| watcher.at).min().unwrap_or(u64::MAX);
        let restart = self.restarts.iter().map(|(at, _)| *at).min().unwrap_or(u64::MAX);
        let mend = self.mends.iter().map(|(at, _)| *at).min().unwrap_or(u64::MAX);
        let disks = self.cut_at.min(self.fail_at).min(mend);
        let acts = self.operate_at.min(self.exile.next_at());
        let own = client.min(watcher).min(restart).min(disks).min(acts);
        let next = own.min(self.trouble.next_at()).min(limit);
        if let Some(happened) = self.world.step_until(next) {
            return self.look(happened.node);
        }
        let now = self.world.now();
        if now >= self.trouble.next_at() {
            self.trouble.act(&mut self.world);
            self.look_at_all();
        } else if now >= restart {
            let due: Vec<_> = self.restarts.extract_if(.., |(at, _)| *at <= now).collect();
            for (_, id) in due {
                self.world.restart(id);
                self.look(id);
            }
        } else if now >= self.cut_at {
            self.cut_at = now + self.rng.range(1..2 * self.plan.cut);
            let ids: Vec<NodeId> = self.world.ids().collect();
            let id = *self.rng.pick(&ids);
            let calls = self.rng.below(80);
            // Where it has failed already, and nobody has noticed yet, it does not come back.
            let member = self.world.process(id).filter(|member| member.has_power());
            if let Some(member) = member {
                member.cut_after(calls);
                self.armed.insert(id);
            }
        } else if now >= self.fail_at {
            self.fail_at = now + self.rng.range(1..2 * self.plan.fail);
            self.spoil();
        } else if now >= mend {
            let due: Vec<_> = self.mends.extract_if(.., |(at, _)| *at <= now).collect();
            for (_, id) in due {
                self.mend(id);
            }
        } else if now >= self.operate_at {
            self.operate_at = now + self.rng.range(1..2 * self.plan.operate);
            self.operate();
        } else if now >= self.exile.next_at() {
            self.exile();
        } else if now >= client {
            self.ask();
        } else if now >= watcher {
            self.poll();
        }
    }

    /// A disk begins to fail, for a while.
    fn spoil(&mut self) {
        let ids: Vec<NodeId> = self.world.ids().collect();
        let id = *self.rng.pick(&ids);
        let until = self.world.now() + self.rng.range(1..8 * ELECTION);
        if let Some(member) = self.world.process_mut(id) {
            member.spoil(&mut self.rng);
            self.spoiled.insert(id);
            self.mends.push((until, id));
            self.report.spoiled += 1;
        }
    }

    fn mend(&mut self, id: NodeId) {
        if let Some(member) = self.world.process_mut(id) {
            member.mend();
        }
    }

    fn look_at_all(&mut self) {
        for id in self.world.ids() {
            self.look(id);
        }
    }

    /// Compares what a member has just done with what it may do.
    fn look(&mut self, id: NodeId) {
        self.report.steps += 1;
        let now = self.world.now();
        let Some(member) = self.world.process_mut(id) else { return };
        if member.raft.role() == Role::Leader {
            let leader = *self.leaders.entry(member.raft.hard().term).or_insert(id);
            assert_eq!(leader, id, "two leaders in term {}", member.raft.hard().term);
        }
        let (news, answers) =
            (std::mem::take(&mut member.news), std::mem::take(&mut member.answers));
        let taken_over = std::mem::take(&mut member.taken_over);
        self.report.taken_over += taken_over;
        let life = member.life();
        let newer = self.shown.get(&id).is_none_or(|(of, _)| *of != life);
        let changed = !news.is_empty() || newer;
        for entry in news {
            self.oracle.note(entry, now);
        }
        if changed && member.refused.is_none() {
            let (applied, revision) = (member.applied(), member.store.revision());
            let right = self.oracle.moment(applied).revision;
            assert_eq!(revision, right, "{id}: the revision once {applied} is applied");
            let before = self.shown.insert(id, (life, revision));
            let back = before.is_some_and(|(of, shown)| of == life && shown > revision);
            assert!(!back, "{id}: the revision went back to {revision}");
        }
        if newer {
            let through = member.raft.commit();
            for index in (member.raft.base().index.0 + 1..=through.0).map(Index) {
                let (here, right) = (member.raft.term_at(index), self.oracle.term_at(index));
                assert_eq!(here, right, "{id}: starts with a wrong entry {index} as committed");
            }
            self.report.restarts += u64::from(life > 1);
            // Who asked a member that has crashed since never hears of it.
            self.calls.retain(|_, asked| asked.node != id || asked.life == life);
        }
        if let Some(what) = &member.refused {
            let told = self.armed.remove(&id) | self.spoiled.remove(&id);
            assert!(told, "{id}: the disk refused, and nothing was wrong with it: {what}");
            self.crash(id);
        }
        for (call, told) in answers {
            self.answered(call, told);
        }
        if taken_over > 0 && !newer && self.world.is_up(id) {
            self.strike(id);
        }
    }

    /// A process ends, and another starts soon.
    fn crash(&mut self, id: NodeId) {
        self.world.crash(id);
        self.restarts.push((self.world.now() + self.rng.range(1..2 * ELECTION), id));
    }

    /// Nothing goes wrong any more, and all must come to be of one mind.
    fn calm(&mut self) {
        (self.cut_at, self.fail_at, self.operate_at) = (u64::MAX, u64::MAX, u64::MAX);
        self.end_exiles();
        let all: Vec<NodeId> = self.world.ids().collect();
        self.mends.clear();
        for id in &all {
            self.mend(*id);
        }
        for id in &all {
            // A sync that is counted may come as late as it likes.
            let counts = self.plan.cut_at_sync.is_some();
            let Some(member) = self.world.process(*id) else { continue };
            if counts || !self.armed.remove(id) {
                continue;
            }
            if member.has_power() {
                member.cut_after(u64::MAX);
            } else {
                // It has failed already, and nobody has noticed yet.
                self.crash(*id);
            }
        }
        self.trouble.heal(&mut self.world, &all, Rest::Well);
        self.look_at_all();
        let until = self.world.now() + LIVENESS;
        let goal = self.report.answered + 5;
        while self.report.answered < goal || !self.is_of_one_mind() {
            assert!(self.world.now() < until, "no agreement in {LIVENESS}\n{}", self.describe());
            self.go_on(until);
            if self.report.answered >= goal {
                // Whoever has nothing to say lets the others catch up.
                self.clients.iter_mut().for_each(|client| client.at = u64::MAX);
            }
        }
    }

    /// All members of the table have applied all there is, and the group is what the table says.
    fn is_of_one_mind(&self) -> bool {
        let (table, last) = (&self.oracle.model.cluster, self.oracle.last());
        let done = |id: u64| {
            let member = self.world.process(node(id));
            member.is_some_and(|member| {
                member.applied() == last && member.is_settled() && member.refused.is_none()
            })
        };
        table.id.is_some() && table.members.iter().all(|member| done(member.id))
    }

    fn describe(&self) -> String {
        let line = |(id, member): (NodeId, &Member)| {
            let raft = &member.raft;
            format!(
                "{id}: {:?} term {} last {} commit {} base {} applied {} of {} members {} {:?}\n",
                raft.role(),
                raft.hard().term,
                raft.last(),
                raft.commit(),
                raft.base(),
                member.applied(),
                self.oracle.last(),
                raft.members(),
                member.store.cluster().members.iter().map(|m| m.id).collect::<Vec<_>>(),
            )
        };
        self.world.processes().map(line).collect()
    }

    fn conclude(mut self) -> Report {
        for unproven in std::mem::take(&mut self.unproven) {
            let Unproven { call, command, index, told } = unproven;
            self.oracle.check_reply(call, &command, index, &told);
        }
        self.catch_up();
        let store = |id: u64| &self.world.process(node(id)).expect("all are up").store;
        let ids: Vec<u64> = self.oracle.model.cluster.members.iter().map(|m| m.id).collect();
        for id in &ids {
            // Whether the garbage of compactions is still there makes no difference.
            if id % 2 == 0 {
                while store(*id).sweep_step().expect("its disk is well") == Progress::More {}
            }
            self.oracle.check_content(*id, store(*id));
        }
        let newest = self.oracle.model.revision;
        let oldest = self.oracle.model.compacted.unwrap_or(1);
        let mut revisions = vec![newest];
        revisions.extend((0..HASHES).map(|_| self.rng.range(oldest..newest + 1)));
        for revision in revisions {
            let hash = |id: u64| store(id).hash(Some(revision)).expect("it is readable");
            for id in &ids {
                assert_eq!(hash(*id), hash(ids[0]), "member {id} at revision {revision}");
            }
        }
        let syncs = self.syncs.load(Ordering::Relaxed);
        self.report.cut = self.plan.cut_at_sync.is_some_and(|at| at <= syncs);
        self.report.applied = self.oracle.last().0;
        self.report.leaders = self.leaders.len() as u64;
        self.report.expired = self.oracle.expired();
        self.report.digest = self.world.digest() ^ self.oracle.model.revision;
        self.report
    }

    /// Someone outside has something for a member.
    fn hand_in(&mut self, id: NodeId, event: Event) {
        let delay = 1 + self.rng.below(3);
        self.world.later(id, delay, event);
    }

    /// Hands the leadership to anyone.
    fn transfer(&mut self, id: NodeId) {
        let ticket = drystone_raft::Ticket(u64::MAX);
        self.hand_in(id, Event::Feed(Box::new(Input::Transfer { ticket, to: None })));
    }
}
