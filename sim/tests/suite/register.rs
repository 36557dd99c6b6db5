//! A replicated register under all the trouble there is, and with rules broken on purpose.
//!
//! This is the test of the whole: world, network, clocks, trouble, history and checker must
//! together find every planted bug, and find nothing where there is none. It is also what a test of
//! a protocol looks like.

use std::collections::BTreeMap;

use drystone_sim::history::{History, OpId};
use drystone_sim::linear::register::{Op, Register, Ret};
use drystone_sim::linear::{self, Verdict};
use drystone_sim::{Happened, Link, NodeId, Profile, Rest, Rng, Seed, Seeds, Trouble, World};

use crate::quorum::{Bug, Disk, NODES, Node, PATIENCE};

type Past = History<Op<u8, u64>, Ret<u64>>;

/// Clients that each ask a node for something, wait a while for the answer, and give up.
struct Clients {
    rng: Rng,
    history: Past,
    /// What each waits for, and until when.
    waits: Vec<Option<(OpId, u64)>>,
    jobs: BTreeMap<u64, (usize, OpId)>,
    asked: u64,
    next_at: u64,
}

impl Clients {
    fn new(count: usize, rng: Rng) -> Clients {
        let (history, waits, jobs) = (History::new(), vec![None; count], BTreeMap::new());
        Clients { rng, history, waits, jobs, asked: 0, next_at: 0 }
    }

    /// Each client that waits for nothing, or no longer, asks one of `nodes`.
    fn act(&mut self, world: &mut World<Node>, nodes: &[NodeId]) {
        self.next_at = world.now() + self.rng.range(1..PATIENCE);
        for client in 0..self.waits.len() {
            if self.waits[client].is_some_and(|(_, until)| until > world.now()) {
                continue;
            }
            let (job, node) = (self.asked, *self.rng.pick(nodes));
            let op = if self.rng.below(2) == 0 { Op::Write(0, job) } else { Op::Read(0) };
            if world.with(node, |process, _, out| process.ask(job, op.clone(), out)).is_some() {
                let id = self.history.invoke(client as u64, op);
                self.waits[client] = Some((id, world.now() + 8 * PATIENCE));
                self.jobs.insert(job, (client, id));
                self.asked += 1;
            }
        }
    }

    /// Takes the answers that a step has brought.
    fn listen(&mut self, world: &mut World<Node>, happened: Happened) {
        let Some(process) = world.process_mut(happened.node) else { return };
        for (job, ret) in process.done.drain(..) {
            let (client, id) = self.jobs[&job];
            self.history.returned(id, ret);
            if self.waits[client].is_some_and(|(other, _)| other == id) {
                self.waits[client] = None;
            }
        }
    }

    fn run(
        &mut self,
        world: &mut World<Node>,
        trouble: &mut Trouble,
        until: u64,
        nodes: &[NodeId],
    ) {
        while world.now() < until {
            self.act(world, nodes);
            let pause = self.next_at.min(until);
            trouble.run(world, pause, |world, happened| self.listen(world, happened));
        }
    }
}

/// What one run has shown.
struct Outcome {
    verdict: Verdict<Register<u8, u64>>,
    /// Whether everything that was asked for when the core was well was answered.
    live: bool,
    digest: u64,
}

fn simulate(seed: Seed, bug: Bug) -> Outcome {
    let mut rng = seed.rng("clients");
    let mut trouble = Trouble::new(Profile::storm(PATIENCE), seed.rng("trouble"));
    let mut clients = Clients::new(3, seed.rng("requests"));
    let mut world = World::<Node>::new(seed);
    world.network_mut().set_all(Link::datagrams(1..PATIENCE / 10));
    let nodes = world.add_all(vec![Disk::new(bug); NODES]);
    clients.run(&mut world, &mut trouble, 200 * PATIENCE, &nodes);

    let core = trouble.draw_core(&nodes);
    let rest = *rng.pick(&[Rest::Well, Rest::Down, Rest::Cut, Rest::Troubled]);
    trouble.heal(&mut world, &core, rest);
    let before = clients.asked;
    clients.waits.fill(None);
    clients.run(&mut world, &mut trouble, 220 * PATIENCE, &core);
    let asked = clients.history.operations().len();
    trouble.run(&mut world, 240 * PATIENCE, |world, happened| clients.listen(world, happened));
    let late = &clients.history.operations()[before as usize..asked];
    let answered = |returned: &drystone_sim::history::Outcome<_>| {
        matches!(returned, drystone_sim::history::Outcome::Returned { .. })
    };
    Outcome {
        verdict: linear::check(&clients.history),
        live: late.len() > 20 && late.iter().all(|operation| answered(&operation.outcome)),
        digest: world.digest(),
    }
}

// Whatever the seed brings: a sound protocol stays sound, and makes progress when a majority is
// well.
#[test]
fn a_sound_register_is_linearizable_and_live() {
    Seeds::new("cargo test -p drystone-sim --test suite sound_register", 60).run(|seed| {
        let outcome = simulate(seed, Bug::None);
        match outcome.verdict {
            Verdict::Linearizable => assert!(outcome.live, "a request was not answered"),
            Verdict::Violation(violation) => panic!("{violation}"),
            Verdict::Unknown { configurations } => panic!("unknown after {configurations}"),
        }
    });
}

// A simulation that finds no planted bug would find no real one.
#[test]
fn every_broken_rule_is_found() {
    let bugs = [
        Bug::NoWriteBack,
        Bug::SmallQuorum,
        Bug::EarlyStored,
        Bug::TagOfNode,
        Bug::AnyAnswer,
        Bug::BlindWrite,
    ];
    for bug in bugs {
        let broken =
            |seed: &u64| matches!(simulate(Seed::from(*seed), bug).verdict, Verdict::Violation(_));
        let found = (1..2000).find(broken);
        println!("{bug:?}: seed {found:?}");
        assert!(found.is_some(), "{bug:?} was not found");
    }
}

// A protocol that waits for everybody is safe, and dead as soon as somebody is.
#[test]
fn a_protocol_that_needs_everybody_is_found_by_the_liveness_phase() {
    let dead = (1..20).filter(|seed| {
        let outcome = simulate(Seed::from(*seed), Bug::WaitsForAll);
        assert!(matches!(outcome.verdict, Verdict::Linearizable));
        !outcome.live
    });
    assert!(dead.count() > 5);
}

// Everything of a run hangs on its seed: protocol, trouble and clients.
#[test]
fn a_run_is_the_same_whenever_it_is_run() {
    let digest = |seed: u64| simulate(Seed::from(seed), Bug::None).digest;
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}
