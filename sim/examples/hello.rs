//! A primary and a backup keep a register, and answer a write before the backup has it.
//!
//! On a good day nobody notices. Under trouble a write that was acknowledged is gone when the
//! backup takes over, or two nodes both believe to be the primary; the checker shows the shortest
//! story.
//!
//! `cargo run -p drystone-sim --example hello`, and `-- 7` for the trace of seed 7.

use drystone_sim::history::History;
use drystone_sim::linear::register::{Op, Register, Ret};
use drystone_sim::linear::{Verdict, check};
use drystone_sim::{Input, InputOf, Link, NodeId, OutboxOf, Process, Profile, Rng, Seed};
use drystone_sim::{Trouble, World};

const HEARTBEAT: u64 = 50;
const PATIENCE: u64 = 400;

struct Node {
    value: Option<u64>,
    /// Since when nothing was heard of a primary; `None` if this is one.
    silent_since: Option<u64>,
    next_beat: u64,
}

impl Process for Node {
    /// "I am the primary, and this is the value."
    type Message = Option<u64>;
    type Event = ();
    type Disk = Option<u64>;

    fn start(id: NodeId, value: Option<u64>, now: u64, _: &mut OutboxOf<'_, Node>) -> Node {
        let silent_since = (id != NodeId(1)).then_some(now);
        Node { value, silent_since, next_beat: now + HEARTBEAT }
    }

    fn step(&mut self, now: u64, input: InputOf<Node>, out: &mut OutboxOf<'_, Node>) {
        match input {
            Input::Message { message: value, .. } => {
                self.value = value;
                self.silent_since = Some(now);
            }
            _ if self.silent_since.is_some() => self.silent_since = None,
            _ => {
                self.next_beat = now + HEARTBEAT;
                out.send(NodeId(3 - out.me().0), self.value);
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        Some(self.silent_since.map_or(self.next_beat, |since| since + PATIENCE))
    }

    fn crash(self, _: &mut Rng) -> Option<u64> {
        self.value
    }
}

/// A client asks whoever believes to be the primary, ten thousand ticks long.
fn run(seed: Seed, profile: Profile) -> (Verdict<Register<(), u64>>, World<Node>) {
    let (mut rng, mut history) = (seed.rng("client"), History::new());
    let mut trouble = Trouble::new(profile, seed.rng("trouble"));
    let mut world = World::<Node>::new(seed);
    world.network_mut().set_all(Link::stream(1..20));
    world.add_all([None, None]);
    for value in 0..100 {
        let until = world.now() + rng.range(50..150);
        trouble.run(&mut world, until, |_, _| {});
        let leads =
            |id: &NodeId| world.process(*id).is_some_and(|node| node.silent_since.is_none());
        let Some(primary) = world.ids().find(leads) else { continue };
        let op = if rng.below(2) == 0 { Op::Write((), value) } else { Op::Read(()) };
        let id = history.invoke(1, op.clone());
        let answer = world.with(primary, |node, _, out| match op {
            Op::Write((), value) => {
                node.value = Some(value);
                out.note(format_args!("takes {value}"));
                Ret::Written
            }
            _ => Ret::Value(node.value),
        });
        // A paused primary does not answer, and nobody knows what it will do.
        if let Some(answer) = answer {
            history.returned(id, answer);
        }
    }
    (check(&history), world)
}

fn main() {
    if let Some(seed) = std::env::args().nth(1).and_then(|word| word.parse::<u64>().ok()) {
        let (_, world) = run(Seed::from(seed).verbose(), Profile::storm(PATIENCE));
        print!("{}", world.trace());
        return;
    }
    for seed in 0..100_u64 {
        let (verdict, _) = run(seed.into(), Profile::calm());
        assert!(matches!(verdict, Verdict::Linearizable));
    }
    println!("A hundred calm days, and nothing was ever lost. Now a storm:\n");
    for seed in 0..100_u64 {
        if let (Verdict::Violation(story), _) = run(seed.into(), Profile::storm(PATIENCE)) {
            println!("seed {seed}: {story}");
            return;
        }
    }
    unreachable!("a protocol like this does not last a hundred storms");
}
