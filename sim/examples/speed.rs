//! How many messages a second the world carries: five nodes that answer each other.
//!
//! Method: each node has a few messages under way, answers every one, and moves its deadline with
//! each, as a follower does with its election timeout. Counted are steps, so a send and a delivery
//! each. `cargo run --release -p drystone-sim --example speed`.

use std::time::Instant;

use drystone_sim::{Input, InputOf, Link, NodeId, OutboxOf, Process, Rate, Rng, World};

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
    let lossy =
        Link { loss: ppm, duplicate: ppm, reorder: Rate::percent(50), ..Link::stream(50..150) };
    for (name, link) in [("clean streams", Link::stream(50..150)), ("bad links", lossy)] {
        let mut world = World::<Node>::new(1);
        world.network_mut().set_all(link);
        world.add_all([(); 5]);
        let begin = Instant::now();
        while world.steps() < STEPS {
            world.step();
        }
        let seconds = begin.elapsed().as_secs_f64();
        let rate = STEPS as f64 / seconds / 1e6;
        println!("{name}: {rate:.1} million messages a second, {:?}", world.network().traffic());
    }
}
