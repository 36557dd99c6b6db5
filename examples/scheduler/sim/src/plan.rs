//! A day in the life of a mason: what users want, what breaks, and that all is well in the end.

use std::collections::BTreeMap;

use drystone_sim::{
    Harm, Link, NodeId as Place, Profile, Rest as Outside, Rng, Seed, Trouble, Woe, World,
};
use mason_core::agent::Agent;
use mason_core::control::service::ServiceProgress;
use mason_core::keys::{Key, Keys};
use mason_core::mirror::Mirror;
use mason_core::record::{self, JobRecord, Phase, Progress, TaskWait};
use mason_core::spec::Work;
use mason_core::txn::{Compare, Op, Txn};
use mason_core::types::JobKey;

use crate::checks::Checks;
use crate::cluster::{Node, Part, Rest};
use crate::host::{Disk, Machine};
use crate::message::Event;
use crate::store::Store;
use crate::wishes::{DAWN, Wishes, node_record};

/// How much, of what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Servers.
    pub servers: u32,
    /// Machines.
    pub hosts: u32,
    /// Jobs that users make.
    pub jobs: u32,
    /// How long there is trouble, milliseconds.
    pub trouble: u64,
    /// How long it may take afterwards until all is done.
    pub patience: u64,
    /// What the network and the machines do.
    pub profile: Profile,
    /// Agents are killed, stopped, keepers are killed: one of these every so often.
    pub mischief: u64,
}

impl Plan {
    /// A day that is as bad as this seed makes it.
    pub fn of(rng: &mut Rng) -> Plan {
        let every = |rng: &mut Rng, often: u64| if rng.below(3) == 0 { 0 } else { often };
        let profile = Profile {
            crash: Woe { every: every(rng, 20_000), lasting: 1_000..30_000 },
            blackout: Woe { every: every(rng, 200_000), lasting: 1_000..10_000 },
            pause: Woe { every: every(rng, 20_000), lasting: 100..30_000 },
            partition: Woe { every: every(rng, 25_000), lasting: 500..40_000 },
            bad_links: Woe { every: every(rng, 15_000), lasting: 500..20_000 },
            bad_link: Link::hostile(1..2_000),
            drift: Woe { every: every(rng, 30_000), lasting: 1_000..60_000 },
            drift_ppm_max: 45_000,
            jump: Woe::NEVER,
            down_max: 3,
        };
        Plan {
            servers: 1 + u32::try_from(rng.below(3)).expect("small"),
            hosts: 1 + u32::try_from(rng.below(4)).expect("small"),
            jobs: 3 + u32::try_from(rng.below(12)).expect("small"),
            trouble: 120_000,
            patience: 3_600_000,
            profile,
            mischief: if rng.below(4) == 0 { 0 } else { rng.range(1_000..15_000) },
        }
    }
}

/// What a run of a plan did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Steps of the world.
    pub steps: u64,
    /// Results that were written.
    pub results: u64,
    /// Containers that ran.
    pub starts: u64,
    /// Times that a server came to office.
    pub terms: u64,
    /// What broke.
    pub harm: Option<Harm>,
}

/// Lives through it.
///
/// # Panics
/// If a promise is broken, or something does not end.
pub fn live(seed: &Seed) -> Report {
    let mut rng = seed.rng("plan");
    let plan = Plan::of(&mut rng);
    let mut world: World<Node> = World::new(seed.clone());
    world.network_mut().set_all(Link::stream(1..20));
    let places = world.add_all(rests(&plan, &mut rng));
    let store = places[0];
    let Wishes { keys: wishes, flows, mut writes } = Wishes::draw(&plan, &mut rng);
    let mut trouble = Trouble::new(plan.profile.clone(), seed.rng("trouble"));
    let mut checks = Checks::new(flows);
    let mut at = 0;
    while at < plan.trouble {
        let next = match plan.mischief {
            0 => plan.trouble,
            every => (at + 1 + rng.below(2 * every)).min(plan.trouble),
        };
        trouble.run(&mut world, next, |world, _| {
            write_due(world, store, &mut writes);
            checks.look(world);
        });
        do_mischief(&mut world, &places, &mut rng);
        at = next;
    }
    trouble.heal(&mut world, &places, Outside::Well);
    // Gossip refutes what it suspected.
    places.iter().for_each(|&it| world.later(it, 0, Event::Suspect("n1".into(), false)));
    let until = world.now() + plan.patience;
    let mut ends_asked = false;
    while !writes.is_empty() || !ends_asked || !is_done(&world) {
        assert!(world.now() < until, "I7: {}", undone(&world, &wishes));
        if writes.is_empty() && !ends_asked && is_whole(&world) {
            ends_asked = true;
            end_endless(&world, &mut writes);
        }
        let pause = (world.now() + 1_000).min(until);
        write_due(&mut world, store, &mut writes);
        trouble.run(&mut world, pause, |world, _| checks.look(world));
    }
    let terms = world.processes().map(|(_, node)| match &node.part {
        Part::Server(server) => server.terms,
        _ => 0,
    });
    Report {
        steps: world.steps(),
        results: checks.results_count,
        starts: checks.starts_count,
        terms: terms.sum(),
        harm: Some(trouble.harm()),
    }
}

fn rests(plan: &Plan, rng: &mut Rng) -> Vec<Rest> {
    let mut store = Store::default();
    let mut rests = Vec::new();
    for _ in 0..plan.servers {
        rests.push(Rest::Server { life: 0, wall_offset: DAWN + rng.below(5_000) });
    }
    for number in 1..=plan.hosts {
        let node: mason_core::types::NodeId = format!("n{number}").into();
        let record = node_record();
        let key = Keys::default().path(&Key::Node(node.clone()));
        store.commit(&Txn::new().put(key, record::encode(&record)));
        let wall_offset = DAWN + rng.below(5_000);
        rests.push(Rest::Host(Disk {
            node,
            notes: Vec::new(),
            machine: Machine::default(),
            epoch: 0,
            boot: 0,
            wall_offset,
        }));
    }
    rests.insert(0, Rest::Store(store));
    rests
}

type Writes = BTreeMap<(u64, usize), Txn>;

fn write_due(world: &mut World<Node>, store: Place, writes: &mut Writes) {
    while let Some(first) = writes.first_entry().filter(|it| it.key().0 <= world.now()) {
        if !world.is_up(store) || world.is_paused(store) {
            return;
        }
        let txn = first.remove();
        world.later(store, 0, Event::Write(txn));
    }
}

/// Something that no network does.
fn do_mischief(world: &mut World<Node>, places: &[Place], rng: &mut Rng) {
    let (store, others) = places.split_first().expect("there is a store");
    if rng.below(4) == 0 {
        // What watchers have not heard of yet is gone, or they are cut off and may find it so.
        let event = match rng.below(3) {
            0 => Event::Cut,
            1 => Event::Compact(0),
            _ => Event::Compact(rng.below(100)),
        };
        if world.is_up(*store) {
            world.later(*store, 0, event);
        }
        return;
    }
    let place = *rng.pick(others);
    if !world.is_up(place) {
        return;
    }
    let event = match rng.below(6) {
        0 | 1 => Event::KillAgent(rng.range(10..30_000)),
        2 => Event::PauseAgent(rng.range(10..40_000)),
        3 => Event::KillKeeper(rng.draw()),
        4 => Event::Jump(*rng.pick(&[-3_600_000, 3_600_000, 10_000, -10_000])),
        _ => Event::Suspect("n1".into(), rng.below(2) == 0),
    };
    world.later(place, 0, event);
}

fn mirror(world: &World<Node>) -> Option<Mirror> {
    world.processes().find_map(|(_, node)| match &node.part {
        Part::Store(store) => {
            let mut mirror = Mirror::new(Keys::default());
            mirror.reset(store.revision(), &store.list("/mason/"));
            Some(mirror)
        }
        _ => None,
    })
}

/// Whether every service has all its replicas, ready, and is not about to change any of them.
fn is_whole(world: &World<Node>) -> bool {
    let Some(mirror) = mirror(world) else { return false };
    mirror.jobs().all(|(_, job)| {
        let Some(record) = job.record.as_ref() else { return false };
        let Work::Service(service) = &record.value.work else { return true };
        let Some(state) = &job.state else { return false };
        let Progress::Service(progress) = &state.value.progress else { return false };
        let progress = ServiceProgress::read(progress).expect("progress reads");
        let ready = job.tasks.values().filter(|task| match &task.value.wait {
            TaskWait::Bound { run, .. } => mirror.run(run).is_some_and(|run| {
                run.result.is_none() && run.seen.as_ref().is_some_and(|seen| seen.value.ready)
            }),
            TaskWait::Due { .. } => false,
        });
        let all = ready.count() == service.replicas as usize;
        // No update of a service of none ends before there are some.
        let settled = progress.rollout.is_none() || service.replicas == 0;
        let settled = settled && job.tasks.len() == service.replicas as usize;
        record.value.deleted || all && settled
    })
}

/// What never ends by itself is deleted.
fn end_endless(world: &World<Node>, writes: &mut Writes) {
    let Some(mirror) = mirror(world) else { return };
    for (key, job) in mirror.jobs() {
        let Some(entry) = &job.record else { continue };
        if !matches!(entry.value.work, Work::Service(_) | Work::Cron(_)) {
            continue;
        }
        let path = mirror.keys().path(&Key::Job(key.clone()));
        let gone = JobRecord { deleted: true, ..entry.value.clone() };
        let when = vec![Compare::Present(path.clone())];
        let put = Op::Put { key: path, value: record::encode(&gone), lease: None };
        let count = writes.len();
        writes.insert((0, count), Txn { when, then: vec![put] });
    }
}

/// Whether every job is at its end or gone, and nothing is left of any run anywhere.
fn is_done(world: &World<Node>) -> bool {
    let Some(mirror) = mirror(world) else { return false };
    let over = mirror.jobs().all(|(key, job)| {
        let is_final = job.state.as_ref().is_some_and(|it| it.value.phase.is_final());
        (is_final || waits_in_vain(&mirror, key)) && job.tasks.is_empty()
    });
    let left = world.processes().any(|(_, node)| match &node.part {
        Part::Host(host) => host.machine().folders().next().is_some(),
        _ => false,
    });
    over && !left && mirror.nodes().all(|(_, node)| node.runs.is_empty())
}

/// Whether a job waits for one that is not there: somebody deleted it, and may make it again.
fn waits_in_vain(mirror: &Mirror, key: &JobKey) -> bool {
    let Some(record) = mirror.job(key).and_then(|job| job.record.as_ref()) else { return true };
    let Work::Job(job) = &record.value.work else { return record.value.deleted };
    job.depends_on.iter().any(|it| {
        let on = JobKey::new(&key.namespace, &it.job);
        let phase = mirror.job(&on).and_then(|on| on.state.as_ref()).map(|it| it.value.phase);
        !phase.is_some_and(Phase::is_final) && waits_in_vain(mirror, &on)
    })
}

fn undone(world: &World<Node>, wishes: &[JobKey]) -> String {
    let Some(mirror) = mirror(world) else { return "there is no store".to_owned() };
    let mut text = String::from("not all has ended:\n");
    let children = mirror.jobs().map(|(key, _)| key).filter(|key| !wishes.contains(key));
    for key in wishes.iter().chain(children) {
        if let Some(job) = mirror.job(key) {
            let phase = job.state.as_ref().map(|it| it.value.phase);
            let tasks: Vec<_> = job.tasks.iter().map(|(at, it)| (at, &it.value.wait)).collect();
            text += &format!("{key} {phase:?} {:?} {tasks:?}\n", job.counts);
            if !key.name.starts_with("job") {
                text += &format!("  {:?}\n", job.state.as_ref().map(|state| &state.value));
                text += &format!("  {:?}\n", job.record.as_ref().map(|it| &it.value.work));
            }
        }
    }
    for (id, node) in mirror.nodes() {
        text += &format!("{id} alive {}\n", node.alive.is_some());
        for run in &node.runs {
            text += &format!("  {run} {:?}\n", mirror.run(run).and_then(|it| it.seen.as_ref()));
        }
    }
    for (_, node) in world.processes() {
        if let Part::Host(host) = &node.part {
            let left: Vec<_> = host.machine().folders().map(|(run, it)| (run, &it.state)).collect();
            text += &format!("on {}: {left:?}\n", host.node());
            for (run, _, seen) in host.agent().into_iter().flat_map(Agent::runs) {
                text += &format!("  agent: {run} {seen:?}\n");
            }
        }
    }
    text
}
