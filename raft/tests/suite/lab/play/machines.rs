//! What a story does to machines, their disks and their snapshots.

use drystone_raft::{Configuration, Index, Input, NodeId};
use drystone_sim::script::Command;

use super::{Stage, numbers};
use crate::lab::Disk;
use crate::lab::story::{self, Kind};
use crate::lab::watch::Watch;

/// `4..7`, both included, or `4`.
fn range(command: &Command, text: &str) -> (u64, u64) {
    let number = |word: &str| word.parse().unwrap_or_else(|_| command.refuse("no such range"));
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    (number(from), number(to))
}

impl Stage {
    /// What machines and their disks do.
    pub(super) fn machine(&mut self, command: &Command) -> String {
        let id = command.number::<NodeId>(0);
        match command.name() {
            "slow" => self.lab.at(id).stores = false,
            "fast" => {
                self.lab.at(id).stores = true;
                self.lab.step(id, Vec::new());
            }
            "store" => {
                for word in &command.words()[1..] {
                    let number: u64 = word.parse().unwrap_or_else(|_| command.refuse("no number"));
                    let found = self.lab.seats[&id].writes.iter().find(|it| it.number == number);
                    let write = found.unwrap_or_else(|| command.refuse("no such write")).write.id;
                    self.lab.store(id, write);
                }
            }
            "crash" => self.lab.crash_keeping(id, command.option_as("kept").unwrap_or(0)),
            _ => self.restart(id),
        }
        String::new()
    }

    fn restart(&mut self, id: NodeId) {
        self.lab.restart(id);
        self.lab.step(id, Vec::new());
        let begins =
            |event: &story::Event| event.kind == Kind::News && event.what.starts_with("members");
        self.lab.events.retain(|event| !begins(event));
    }

    /// What disks lose.
    pub(super) fn damage(&mut self, command: &Command) -> String {
        let id = command.number::<NodeId>(0);
        let disk = &mut self.lab.at(id).disk;
        match command.name() {
            "rot" => match command.word(1) {
                "vote" => (disk.lost_vote, disk.hard.vote) = (true, None),
                "snapshot" => {
                    disk.snapshot_damaged = true;
                    disk.state.clear();
                }
                word => {
                    let (from, to) = range(command, word);
                    if to >= disk.last().index.0 {
                        disk.entries.retain(|entry| entry.index.0 < from);
                        disk.lost_end = Some(Index(to));
                    } else {
                        disk.damaged.extend(from..=to);
                    }
                }
            },
            "found" => {
                let (from, to) = range(command, command.word(1));
                disk.damaged.extend(from..=to);
                let input = Input::Damaged { after: Index(from - 1), through: Index(to) };
                self.lab.step(id, vec![input]);
            }
            "forget" if command.word(1) == "all" => {
                *disk = Disk::new(Configuration::clone(&disk.snapshot.configuration));
            }
            "forget" => {
                let last = command.number::<u64>(1);
                disk.entries.retain(|entry| entry.index.0 <= last);
            }
            "fail" => self.lab.step(id, vec![Input::StorageFailed]),
            _ => {
                let mut disk = disk.clone();
                let (hard, entry) = disk.boot(2).force(&numbers(command.word(1)));
                disk.hard = hard;
                disk.entries.push(entry);
                // What the old group had committed beyond this disk is given up.
                self.lab.watch = Watch::default();
                self.begin(id, disk);
            }
        }
        String::new()
    }

    pub(super) fn snapshot(&mut self, command: &Command) -> String {
        if command.name() == "snapshots" {
            self.lab.fetches_at_once = command.word(0) == "fast";
            return String::new();
        }
        let id = command.number::<NodeId>(0);
        match command.name() {
            "compact" => {
                let through = Index(command.number(1));
                let must = Index(command.option_as("must").unwrap_or(0));
                self.lab.step(id, vec![Input::Compact { through, must }]);
            }
            "open" => {
                let at = Index(command.option_as("at").unwrap_or(u64::MAX));
                let meta = self.lab.seats[&id].snapshot(at);
                self.lab.step(id, vec![Input::SnapshotOpen { to: command.number(1), meta }]);
            }
            _ => {
                let found = self.lab.fetches.iter().position(|(by, ..)| *by == id);
                let at = found.unwrap_or_else(|| command.refuse("it fetches none"));
                let mut fetch = self.lab.fetches.remove(at).unwrap();
                if let Some(at) = command.option_as("at") {
                    fetch.2 = self.lab.seats[&fetch.1].snapshot(Index(at));
                }
                self.lab.fetches.push_front(fetch);
                self.lab.fetch(!command.has("fails"));
            }
        }
        String::new()
    }
}
