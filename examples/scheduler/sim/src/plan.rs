//! A day in the life of a mason: what users want, what breaks, and that all is well in the end.

use std::collections::BTreeMap;

use drystone_sim::{
    Harm, Link, NodeId as Place, Profile, Rest as Outside, Rng, Seed, Trouble, Woe, World,
};
use mason_core::keys::{Key, Keys};
use mason_core::record;
use mason_core::txn::Txn;

use crate::checks::{Checks, Reach};
use crate::cluster::{Node, Part, Rest};
use crate::evening::{end_endless, is_done, is_whole, resume_waiting, undone};
use crate::flaw::Flaw;
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
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Steps of the world.
    pub steps: u64,
    /// What was seen to happen.
    pub reach: Reach,
}

/// Lives through it.
///
/// # Panics
/// If a promise is broken, or something does not end.
pub fn live(seed: &Seed) -> Report {
    live_with(seed, Flaw::None)
}

/// Lives through it with something broken.
///
/// # Panics
/// If a promise is broken, or something does not end.
pub fn live_with(seed: &Seed, flaw: Flaw) -> Report {
    let mut rng = seed.rng("plan");
    let plan = Plan::of(&mut rng);
    let mut world: World<Node> = World::new(seed.clone());
    world.network_mut().set_all(Link::stream(1..20));
    let places = world.add_all(rests(&plan, flaw, &mut rng));
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
    // One machine, but not the first, may never come back.
    let lasting = places.len() - usize::from(plan.hosts > 1 && rng.below(3) == 0);
    let places = &places[..lasting];
    trouble.heal(&mut world, places, Outside::Down);
    checks.healed(world.now());
    // Gossip refutes what it suspected.
    places.iter().for_each(|&it| world.later(it, 0, Event::Suspect("n1".into(), false)));
    // What is broken on purpose shows soon.
    let patience = if flaw == Flaw::None { plan.patience } else { plan.patience / 4 };
    let until = world.now() + patience;
    let mut ends_asked = false;
    while !writes.is_empty() || !ends_asked || !is_done(&world) {
        assert!(world.now() < until, "I7: {}", undone(&world, &wishes));
        if writes.is_empty() && !ends_asked && is_whole(&world) {
            ends_asked = true;
            end_endless(&world, &mut writes);
        }
        if writes.is_empty() && (world.now() / 1_000).is_multiple_of(10) {
            resume_waiting(&world, &mut writes);
        }
        let pause = (world.now() + 1_000).min(until);
        write_due(&mut world, store, &mut writes);
        trouble.run(&mut world, pause, |world, _| checks.look(world));
    }
    report(&world, checks, trouble.harm())
}

fn report(world: &World<Node>, mut checks: Checks, harm: Harm) -> Report {
    let mut reach = std::mem::take(&mut checks.reach);
    reach.saw_often("a result is written", checks.results_count());
    reach.saw_often("a container is started", checks.starts_count());
    for (_, node) in world.processes() {
        match &node.part {
            Part::Server(server) => {
                reach.saw_often("a server comes to office", server.terms);
                reach.saw_often("a server has a gap", server.gaps);
            }
            Part::Host(host) => reach.saw_often("an agent is started", host.epoch()),
            Part::Store(store) => {
                for (what, count) in store.refusals() {
                    reach.saw_often(what, count);
                }
            }
        }
    }
    let Harm { crashes, blackouts, pauses, partitions, bad_links, drifts, .. } = harm;
    reach.saw_often("a machine crashes", crashes);
    reach.saw_often("all machines crash", blackouts);
    reach.saw_often("a machine is paused", pauses);
    reach.saw_often("the network is cut", partitions);
    reach.saw_often("links are bad", bad_links);
    reach.saw_often("a clock drifts", drifts);
    Report { steps: world.steps(), reach }
}

fn rests(plan: &Plan, flaw: Flaw, rng: &mut Rng) -> Vec<Rest> {
    let mut store = Store::new(flaw);
    let mut rests = Vec::new();
    for _ in 0..plan.servers {
        rests.push(Rest::Server { life: 0, wall_offset: DAWN + rng.below(5_000), flaw });
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
            machine: Machine::new(flaw),
            epoch: 0,
            boot: 0,
            wall_offset,
            flaw,
        }));
    }
    rests.insert(0, Rest::Store(store));
    rests
}

/// What users do, by when.
pub(crate) type Writes = BTreeMap<(u64, usize), Txn>;

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
        // What watchers have not heard of yet is gone, or they are cut off and may find it so; or
        // the leader is none any more, and has not heard of it; or they hear late.
        let event = match rng.below(5) {
            0 => Event::Cut,
            1 => Event::Compact(0),
            2 => Event::Depose,
            3 => Event::Lag(rng.range(1_000..20_000)),
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
