//! What ten thousand nodes cost: steps a second, and bytes a node.
//!
//! Method: each node sends to a random other one every 100,000 ticks, and whoever hears answers.
//! Counted are steps; memory is what the process holds at the end of each run beyond what it held
//! at first, so for the later ones a bound: the allocator keeps some of what it had.
//! `cargo run --release -p drystone-sim --example gossip`.

use std::time::Instant;

use drystone_sim::{Input, InputOf, Link, NodeId, OutboxOf, Process, Rate, Rng, World};

const NODES: u64 = 10_000;
const STEPS: u64 = 20_000_000;
const PERIOD_TICKS: u64 = 100_000;

/// As large as a probe that carries some news.
#[derive(Debug, Clone)]
struct Message {
    answer: bool,
    _filler: [u64; 10],
}

struct Node {
    deadline: u64,
}

impl Process for Node {
    type Message = Message;
    type Event = ();
    type Disk = ();

    fn start(_: NodeId, (): (), now: u64, out: &mut OutboxOf<'_, Node>) -> Node {
        Node { deadline: now + out.rng().below(PERIOD_TICKS) }
    }

    fn step(&mut self, now: u64, input: InputOf<Node>, out: &mut OutboxOf<'_, Node>) {
        let message = |answer| Message { answer, _filler: [0; 10] };
        match input {
            Input::Message { from, message: heard } if !heard.answer => {
                out.send(from, message(true));
            }
            Input::Wake => {
                self.deadline = now + PERIOD_TICKS;
                let to = NodeId(1 + out.rng().below(NODES) as u32);
                out.send(to, message(false));
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<u64> {
        Some(self.deadline)
    }

    fn crash(self, _: &mut Rng) {}
}

/// What the process holds, in bytes, where Linux tells.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn main() {
    let datagrams = Link::datagrams(500..50_000);
    let before = resident_bytes();
    for (name, link) in [
        ("datagrams", datagrams.clone()),
        ("hostile datagrams", Link::hostile(500..5_000)),
        ("links that keep order", Link { reorder: Rate::NEVER, ..datagrams }),
    ] {
        let mut world = World::<Node>::new(1);
        world.network_mut().set_all(link);
        world.add_all((0..NODES).map(|_| ()));
        let begin = Instant::now();
        while world.steps() < STEPS {
            let until = world.now() + 1_000_000;
            world.run_until(until);
        }
        let rate = world.steps() as f64 / begin.elapsed().as_secs_f64() / 1e6;
        let bytes = resident_bytes().saturating_sub(before) / NODES;
        println!("{name}: {rate:.1} million steps a second, {bytes} bytes a node");
    }
}
