//! The folder of scripts plays as any user's would, and a script that is wrong says where.

use std::panic::catch_unwind;
use std::path::Path;

use drystone_sim::script::{self, Command};
use drystone_sim::{Fate, Link, Network, NodeId, Rng, Shape};

/// A network of which a script tells.
///
/// ```text
///   nodes COUNT delay=TICKS                streams between them
///   shape groups|mute|deaf|bridge|... N.. that shape of the network; `|` parts groups
///   send FROM TO TEXT                     at the time now
///   run TICKS                             what arrives until then
/// ```
struct Lab {
    network: Network<String>,
    now: u64,
}

impl Lab {
    fn new() -> Lab {
        Lab { network: Network::new(0, Rng::new(1)), now: 0 }
    }

    fn perform(&mut self, command: &Command) -> String {
        match command.name() {
            "nodes" => {
                self.network = Network::new(command.number(0), Rng::new(1));
                let delay = command.option_as("delay").unwrap_or(1);
                self.network.set_all(Link::stream(delay..delay + 1));
                String::new()
            }
            "shape" => {
                let shape = shape(command);
                self.network.partition(&shape);
                format!("{shape}\n")
            }
            "send" => {
                let (from, to) = (NodeId(command.number(0)), NodeId(command.number(1)));
                let text = command.word(2).to_owned();
                match self.network.send(self.now, from, to, text) {
                    Fate::Cut => format!("{from} to {to}: cut\n"),
                    _ => String::new(),
                }
            }
            "run" => self.run(command.number(0)),
            _ => command.refuse("no such command"),
        }
    }

    fn run(&mut self, ticks: u64) -> String {
        let mut out = String::new();
        self.now += ticks;
        while self.network.next_at().is_some_and(|at| at <= self.now) {
            out += &match self.network.arrive().unwrap() {
                Ok((at, one)) => format!("{at}: {} to {}: {}\n", one.from, one.to, one.message),
                Err(at) => format!("{at}: a message is lost on its way\n"),
            };
        }
        out
    }
}

fn shape(command: &Command) -> Shape {
    let words = command.words();
    let groups: Vec<Vec<NodeId>> = words[1..]
        .split(|word| *word == "|")
        .map(|group| group.iter().map(|word| NodeId(word.parse().unwrap())).collect())
        .collect();
    match words[0] {
        "whole" => Shape::Whole,
        "groups" => Shape::Groups(groups),
        "mute" => Shape::Mute(groups[0][0]),
        "bridge" => Shape::Bridge(groups[0].clone(), groups[1][0], groups[2].clone()),
        _ => command.refuse("no such shape"),
    }
}

// What people read, as the reviewer reads it.
#[test]
fn every_script_prints_what_it_says() {
    script::folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts"), || {
        let mut lab = Lab::new();
        move |command: &Command| lab.perform(command)
    });
}

// A folder of which nothing is played must not be green; and all that is wrong is told at once.
#[test]
#[expect(clippy::disallowed_methods, reason = "the scripts are files of this test")]
fn a_wrong_script_and_an_empty_folder_fail() {
    let folder = tempfile::tempdir().unwrap();
    let message = || {
        let path = folder.path().to_owned();
        let played = catch_unwind(|| script::folder(path, || |_: &Command| "no\n".to_owned()));
        *played.unwrap_err().downcast::<String>().unwrap()
    };
    assert!(message().contains("there is no script to play"));
    std::fs::create_dir(folder.path().join("topic")).unwrap();
    for (name, text) in [("a.txt", "say\n----\nyes\n"), ("topic/b.txt", "say\n"), ("c.md", "")] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let message = message();
    assert!(message.contains("a.txt:3: prints something else"), "{message}");
    assert!(message.contains("  - yes\n  + no\n"), "{message}");
    assert!(message.contains("b.txt:1: there is no ruler below the command"), "{message}");
}
