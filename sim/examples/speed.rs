//! How many messages a second the world carries: five nodes that answer each other.
//!
//! Method: each node has a few messages under way, answers every one, and moves its deadline with
//! each, as a follower does with its election timeout. Counted are steps, so a send and a delivery
//! each. `cargo run --release -p drystone-sim --example speed`. After `--` may follow how many
//! steps and of which world only (0, 1 or 2), for a tool that counts instructions.

use std::time::Instant;

use drystone_sim::{Input, InputOf, Link, NodeId, OutboxOf, Process, Profile, Rate, Rng};
use drystone_sim::{Trouble, World};

const STEPS: u64 = 20_000_000;

/// As large as a message of a protocol is.
#[derive(Debug, Clone)]
struct Message {
    hops: u64,
    _filler: [u64; 10],
}

struct Node {
    deadline: u64,
}

impl Process for Node {
    type Message = Message;
    type Event = ();
    type Disk = ();

    fn start(id: NodeId, (): (), now: u64, out: &mut OutboxOf<'_, Node>) -> Node {
        for to in NodeId::first(5).filter(|to| *to != id) {
            out.send(to, Message { hops: 0, _filler: [0; 10] });
        }
        Node { deadline: now + 1000 }
    }

    fn step(&mut self, now: u64, input: InputOf<Node>, out: &mut OutboxOf<'_, Node>) {
        self.deadline = now + 1000;
        match input {
            Input::Message { from, mut message } => {
                message.hops += 1;
                out.send(from, message);
            }
            _ => out.send(NodeId(out.me().0 % 5 + 1), Message { hops: 0, _filler: [0; 10] }),
        }
    }

    fn deadline(&self) -> Option<u64> {
        Some(self.deadline)
    }

    fn crash(self, _: &mut Rng) {}
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn main() {
    let ppm = Rate::ppm(2000);
    let clean = Link::stream(50..150);
    let bad = Link { loss: ppm, duplicate: ppm, reorder: Rate::percent(50), ..clean.clone() };
    let storm = Profile::storm(1000);
    let mut asked = std::env::args().skip(1).map(|word| word.parse().expect("a number"));
    let steps: u64 = asked.next().unwrap_or(STEPS);
    let only = asked.next();
    for (number, (name, link, profile)) in (0..).zip([
        ("clean streams", clean, Profile::calm()),
        ("bad links", bad.clone(), Profile::calm()),
        ("a storm, all nodes looked at after each step", bad, storm),
    ]) {
        if only.is_some_and(|only| only != number) {
            continue;
        }
        let mut world = World::<Node>::new(1);
        let mut trouble = Trouble::new(profile, world.seed().rng("trouble"));
        world.network_mut().set_all(link);
        world.add_all([(); 5]);
        let (begin, mut late) = (Instant::now(), 0_u64);
        while world.steps() < steps {
            let until = world.now() + 1_000_000;
            trouble.run(&mut world, until, |world, _| {
                // As an invariant would: something is read of every node.
                late += world.processes().filter(|(_, node)| node.deadline < 1000).count() as u64;
            });
        }
        let seconds = begin.elapsed().as_secs_f64();
        let rate = world.steps() as f64 / seconds / 1e6;
        println!("{name}: {rate:.1} million steps a second, {:?}", world.network().traffic());
        assert!(late < steps, "the look at the nodes is not optimised away");
    }
}
