//! What a person sees when a seed fails: the story, the seed, and the one command.
//!
//! The test runs itself in another process, told to fail, and reads what that prints.

use std::env;
use std::process::Command;

use drystone_sim::{Input, InputOf, Link, NodeId, OutboxOf, Process, Rng, Seeds, World};

const TOLD: &str = "DRYSTONE_SIM_FAILS";

/// Counts what it has heard, and passes it on.
struct Node {
    heard: u32,
}

impl Process for Node {
    type Message = u32;
    type Event = ();
    type Disk = ();

    fn start(_: NodeId, (): (), _: u64, _: &mut OutboxOf<'_, Node>) -> Node {
        Node { heard: 0 }
    }

    fn step(&mut self, _: u64, input: InputOf<Node>, out: &mut OutboxOf<'_, Node>) {
        if let Input::Message { from, message } = input {
            self.heard += 1;
            out.note(format_args!("has heard {}", self.heard));
            out.send(from, message + 1);
        }
    }

    fn deadline(&self) -> Option<u64> {
        None
    }

    fn crash(self, _: &mut Rng) {}
}

// The half of the test that fails when it is told to, at the third seed.
#[test]
fn fails_when_told() {
    Seeds::new("cargo test -p drystone-sim --test suite fails_when_told", 5).run(|seed| {
        let bad = env::var_os(TOLD).is_some() && seed.value() == 3;
        let mut world = World::<Node>::new(seed);
        world.network_mut().set_all(Link::stream(10..11));
        let nodes = world.add_all([(), ()]);
        world.with(nodes[0], |_, _, out| out.send(NodeId(2), 700)).unwrap();
        while world.step_until(50).is_some() {
            let heard = world.process(nodes[1]).unwrap().heard;
            assert!(!bad || heard < 2, "{heard} messages are too many");
        }
    });
}

// A seed that fails in CI is all that anyone has of it: what is printed must be enough.
#[test]
fn a_failed_seed_prints_its_story_and_the_command_that_replays_it() {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["failure::fails_when_told", "--exact", "--nocapture"]).env(TOLD, "1");
    for variable in ["SEED", "SEEDS", "SECONDS", "FIRST", "TRACE"] {
        command.env_remove(variable);
    }
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    let story = "\
        0  n1  start
        0  n2  start
        0  n1  called
       10  n2  <- n1  700
       10  n2  has heard 1
       20  n1  <- n2  701
       20  n1  has heard 1
       30  n2  <- n1  702
       30  n2  has heard 2
the world ended at 30, after 3 steps, with seed 3
to replay it: SEED=3 cargo test -p drystone-sim --test suite fails_when_told
";
    assert!(told.contains(story), "{told}");
    assert_eq!(told.matches("the world ended").count(), 1, "{told}");
    assert!(told.contains("2 messages are too many"), "{told}");

    // And that command fails in the same way.
    let output = command.env("SEED", "3").output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains(story));
    assert!(command.env("SEED", "4").output().unwrap().status.success());
}
