//! Plays stories: golden scripts of a group on a bench.
//!
//! A story says what happens to a group and writes down what its members make of it. Time stands
//! still, and nothing is delivered, until the story says so.
//!
//! ```text
//! A group      group 1 2 3 [election=10 …]       voters with empty disks; options of `Config`
//!              group 1 2p5 3w                    n2 is wanted as a leader, n3 is a witness
//!              node 4                            somebody with an empty disk, and no member yet
//!              config 3 pre_vote=off             one member is set up in another way
//!              disk 1 log=1,2x50 term=3 vote=1 base=4@1     terms of its entries, behind a base
//!
//! Callers      propose 1 x                       x is what the story calls its ticket
//!              propose 1 x times=20              twenty that nobody waits for
//!              read 2 index|lease|log|stale      called read1, read2, … in the order of asking
//!              change 1 +4 -3 ~5                 a voter, a removal, a learner: change1, …
//!              changed 1 ~5                      the same, done and known to all
//!              transfer 1 2                      transfer1, …
//!              campaign 1                        it stands for election
//!              unreachable 2 1                   n2's network says that n1 is out of reach
//!              lead 1                            it stands, all is delivered, and it leads
//!              load on                           from here on, while time passes, writes at
//!                                                leaders and reads everywhere
//!
//! Messages     deliver [1->2 3->* Append …]      what is under way by now, and no more; the words
//!                                                choose links and kinds
//!              settle                            everything, and what comes of it
//!              drop, delay, copy [like deliver]  lost; kept for later; kept, and delivered too
//!              late [like deliver]               what was kept comes
//!              say 2->1 Accepted matched=3       words that no member said
//!              cut 1->2 3--4 1,2--*              links that lose all, one way or both
//!              heal [like cut]                   those, or all
//!
//! Time         tick 3                            passes, nothing is delivered
//!              run 40                            passes, all is delivered
//!              await 40 leader 2,3               the same until that holds, in so many ticks
//!              hold 100 leader 1                 the same, and that holds after every tick
//!              clock 1 950                       shows 950 ticks in a thousand from here on
//!              pause 1, resume 1                 the machine stands still, its clock does not
//!
//! Disks        slow 1, fast 1                    writes complete by hand; by themselves
//!              store 1 2 1                       slow writes (2) and (1) complete
//!              crash 1 [kept=2]                  of the writes under way, the first two are there
//!              restart 1
//!              rot 1 4..7|vote|snapshot          cannot be read any more, as a start finds out
//!              found 1 4..7                      the same, found at work
//!              forget 1 12|all                   a disk that lied has nothing behind 12; nothing
//!              fail 1                            a write fails
//!              force 1 1,2                       recovery by decree, with these members
//!
//! Snapshots    compact 1 20 [must=15]            shorten the log
//!              snapshots slow                    they are opened and carried over by hand:
//!              open 1 2 [at=20]                  n1's, for n2, as of entry 20
//!              fetch 2 [at=20|fails]             the first that n2 fetches is there
//!
//! To see       show [1 2]                        logs, votes, commit indexes
//!              count                             `expect said …` counts from here on
//!              expect [not] leader 2             see `expect.rs`
//!              stale allowed                     old answers to reads are counted, not fatal
//! ```
//!
//! Commands from `tick` to `hold`, and `settle`, tell outcomes only: who leads, what is committed,
//! what is answered, what is wrong. All others tell what is said and written as well, of disks only
//! when they are slow. `UPDATE=1` writes the transcripts anew; `expect`, `await` and `hold` fail
//! even then, and so does the watch over all members (`watch.rs`), after every step.

mod machines;
mod options;

use std::collections::BTreeSet;

use drystone_raft::{Change, Config, Configuration, Input, Member, Message, NodeId, ReadMode};
use drystone_sim::script::{self, Command};

use options::{config, member};

use super::expect::Claim;
use super::mail::Mail;
use super::story::{self, Kind};
use super::{Disk, Lab, say};

/// Plays a script of `tests/scripts`, on a bench of its own.
pub(crate) fn play(name: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut stage = Stage::new();
    script::file(path.join(name).with_extension("txt"), move |command| stage.play(command));
}

/// A bench, and what a story needs beside it.
struct Stage {
    lab: Lab,
    /// Messages that come when the story says so.
    late: Vec<Message>,
    load: bool,
    reads: u64,
    changes: u64,
    transfers: u64,
}

/// Numbers that stand in a word, with commas between them; `7x50` is fifty sevens.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("`{word}` is no number"));
    let words = text.split(',').filter(|word| !word.is_empty());
    let all = words.flat_map(|word| match word.split_once('x') {
        Some((word, times)) => vec![number(word); usize::try_from(number(times)).unwrap()],
        None => vec![number(word)],
    });
    all.collect()
}

impl Stage {
    fn new() -> Stage {
        let mut lab = Lab::new(Config::new(10), &[]);
        lab.tells = true;
        Stage { lab, late: Vec::new(), load: false, reads: 0, changes: 0, transfers: 0 }
    }

    fn play(&mut self, command: &Command) -> String {
        let shown = match command.name() {
            "group" | "node" | "config" | "disk" => self.set_up(command),
            "deliver" | "drop" | "delay" | "copy" | "late" => self.carry(command),
            "settle" | "say" | "cut" | "heal" => self.connect(command),
            "tick" | "run" | "await" | "hold" | "clock" | "pause" | "resume" => self.pass(command),
            "load" => {
                self.load = command.word(0) == "on";
                String::new()
            }
            "slow" | "fast" | "store" | "crash" | "restart" => self.machine(command),
            "rot" | "found" | "forget" | "fail" | "force" => self.damage(command),
            "compact" | "snapshots" | "open" | "fetch" => self.snapshot(command),
            "show" | "expect" | "count" | "stale" => self.look(command),
            _ => self.ask(command),
        };
        self.lab.watch.logs(&self.lab.seats);
        let events = std::mem::take(&mut self.lab.events);
        let told = match command.name() {
            "settle" | "tick" | "run" | "await" | "hold" => story::outcomes(&events, !self.load),
            _ => story::lines(&events),
        };
        told + &shown
    }

    /// What is so before anything happens.
    fn set_up(&mut self, command: &Command) -> String {
        let id = || command.number::<NodeId>(0);
        match command.name() {
            "group" => {
                let config = config(command, Config::new(10));
                let members: Vec<Member> = command.words().iter().map(|it| member(it)).collect();
                *self = Stage::new();
                self.lab.config = config;
                for Member { id, .. } in &members {
                    self.begin(*id, Disk::new(Configuration::new(members.iter().copied(), [])));
                }
            }
            "config" => {
                let (id, config) = (id(), config(command, self.lab.config.clone()));
                self.lab.configs.insert(id, config);
                self.begin(id, self.lab.seats[&id].disk.clone());
            }
            "node" => self.begin(id(), Disk::new(Configuration::default())),
            _ => {
                let id = id();
                let members = self.lab.seats[&id].disk.snapshot.configuration.clone();
                let mut disk = Disk::new(Configuration::clone(&members));
                if let Some(base) = command.option("base") {
                    disk.snapshot.last = say::position(base);
                    disk.hard.term = disk.snapshot.last.term;
                }
                disk = disk.with_log(&numbers(command.option("log").unwrap_or_default()));
                if let Some(term) = command.option_as("term") {
                    disk.hard.term = drystone_raft::Term(term);
                }
                disk.hard.vote = command.option_as("vote");
                self.begin(id, disk);
            }
        }
        String::new()
    }

    /// A member starts for the first time. What it says of itself is no news.
    fn begin(&mut self, id: NodeId, disk: Disk) {
        self.lab.seat(id, disk);
        self.lab.step(id, Vec::new());
        self.lab.events.clear();
    }

    /// What callers want.
    fn ask(&mut self, command: &Command) -> String {
        let id = command.number::<NodeId>(0);
        let name = match command.name() {
            "campaign" => {
                self.lab.step(id, vec![Input::Campaign]);
                return String::new();
            }
            "unreachable" => {
                self.lab.step(id, vec![Input::Unreachable(command.number(1))]);
                return String::new();
            }
            "lead" => {
                self.lab.tells = false;
                self.lab.elect(id);
                self.lab.tells = true;
                return format!("n{id} leads in term {}\n", self.lab.term(id));
            }
            "changed" => {
                self.lab.tells = false;
                let ticket = self.lab.change(id, change(command));
                self.lab.deliver_all();
                self.lab.run(3);
                self.lab.tells = true;
                let done = self.lab.answer(id, ticket).is_some_and(|answer| answer.is_ok());
                assert!(done, "{} is not done", command.text());
                return format!("members {}\n", self.lab.raft(id).members());
            }
            "propose" => command.word(1).to_owned(),
            "read" => {
                self.reads += 1;
                format!("read{}", self.reads)
            }
            "change" => {
                self.changes += 1;
                format!("change{}", self.changes)
            }
            "transfer" => {
                self.transfers += 1;
                format!("transfer{}", self.transfers)
            }
            _ => command.refuse("no such command"),
        };
        if let Some(times) = command.option_as::<u64>("times") {
            for _ in 0..times {
                self.lab.propose(id, &name);
            }
            self.lab.events.retain(|event| event.kind != Kind::Message);
            return String::new();
        }
        let taken = self.lab.names.values().any(|other| *other == name);
        assert!(!taken, "{name} is the name of something else");
        self.lab.names.insert(self.lab.next_ticket(), name);
        match command.name() {
            "propose" => self.lab.propose(id, command.word(1)),
            "change" => self.lab.change(id, change(command)),
            "transfer" => self.lab.transfer(id, command.number(1)),
            _ => self.lab.read(id, mode(command)),
        };
        String::new()
    }

    /// What becomes of messages that are under way.
    fn carry(&mut self, command: &Command) -> String {
        let chosen = say::chosen(&self.lab, command);
        let all: Vec<Message> = match command.name() {
            "late" => std::mem::take(&mut self.late),
            _ => self.lab.mail.drain(..).map(|mail| mail.message).collect(),
        };
        let (taken, left): (Vec<_>, Vec<_>) = all.into_iter().partition(chosen);
        assert!(!taken.is_empty(), "there is no such message: {}", command.text());
        match command.name() {
            "late" => self.late = left,
            _ => {
                let due = self.lab.now;
                self.lab.mail = left.into_iter().map(|message| Mail { due, message }).collect();
            }
        }
        match command.name() {
            "drop" => return format!("{} lost\n", taken.len()),
            "delay" => self.late.extend(taken),
            "copy" => {
                self.late.extend(taken.iter().cloned());
                taken.into_iter().for_each(|message| self.lab.deliver(message));
            }
            _ => taken.into_iter().for_each(|message| self.lab.deliver(message)),
        }
        String::new()
    }

    fn connect(&mut self, command: &Command) -> String {
        match command.name() {
            "settle" => self.lab.deliver_all(),
            "say" => self.lab.deliver(say::message(&self.lab, command)),
            "cut" => {
                let links = say::links(&self.lab, command);
                self.lab.cut.extend(links);
            }
            _ if command.count() == 0 => self.lab.heal(),
            _ => {
                let links = say::links(&self.lab, command);
                self.lab.cut.retain(|link| !links.contains(link));
            }
        }
        String::new()
    }

    /// Time passes.
    fn pass(&mut self, command: &Command) -> String {
        let number = command.number::<u64>(0);
        match command.name() {
            "tick" => (0..number).for_each(|_| self.lab.pass_tick()),
            "run" => (0..number).for_each(|_| self.run()),
            "await" => {
                let claim = Claim::new(command, 1);
                let ticks = (0..=number).find(|tick| {
                    if *tick > 0 {
                        self.run();
                    }
                    claim.fails(&self.lab).is_none()
                });
                let why = claim.fails(&self.lab).unwrap_or_default();
                let ticks = ticks.unwrap_or_else(|| panic!("{}: {why}", command.text()));
                let news = story::outcomes(&std::mem::take(&mut self.lab.events), !self.load);
                let unit = if ticks == 1 { "tick" } else { "ticks" };
                return format!("{news}({ticks} {unit})\n");
            }
            "hold" => {
                let claim = Claim::new(command, 1);
                for tick in 1..=number {
                    self.run();
                    let why = claim.fails(&self.lab);
                    assert!(why.is_none(), "{} after {tick} ticks: {why:?}", command.text());
                }
            }
            "clock" => {
                let (now, rate) = (self.lab.now, command.number(1));
                self.lab.at(number).clock.set_rate(now, rate);
            }
            "pause" => self.lab.at(number).paused = true,
            _ => self.lab.at(number).paused = false,
        }
        String::new()
    }

    /// A tick, under load if there is any.
    fn run(&mut self) {
        if self.load {
            for id in self.lab.ids() {
                if self.lab.raft(id).role() == drystone_raft::Role::Leader {
                    self.lab.propose(id, "w");
                }
                self.lab.read(id, ReadMode::Index);
            }
        }
        self.lab.run(1);
    }

    fn look(&mut self, command: &Command) -> String {
        match command.name() {
            "show" => {
                let all = self.lab.ids();
                let named: BTreeSet<NodeId> =
                    command.words().iter().map(|id| id.parse().unwrap()).collect();
                let shown = all.iter().filter(|id| named.is_empty() || named.contains(id));
                return shown.map(|id| story::portrait(&self.lab, *id)).collect();
            }
            "count" => self.lab.said.clear(),
            "stale" => self.lab.watch.tolerates_stale_reads = command.word(0) == "allowed",
            _ => {
                let why = Claim::new(command, 0).fails(&self.lab);
                assert!(why.is_none(), "{}: {}", command.text(), why.unwrap_or_default());
            }
        }
        String::new()
    }
}

fn change(command: &Command) -> Change {
    command.words()[1..].iter().fold(Change::new(), |change, word| {
        let id = |text: &str| text.parse().unwrap();
        match (&word[..1], &word[1..]) {
            ("+", rest) => change.voter(id(rest)),
            ("-", rest) => change.remove(id(rest)),
            ("~", rest) => change.learner(id(rest)),
            _ => command.refuse("a change is +4, -4 or ~4"),
        }
    })
}

fn mode(command: &Command) -> ReadMode {
    match command.word(1) {
        "index" => ReadMode::Index,
        "lease" => ReadMode::Lease,
        "log" => ReadMode::Log,
        "stale" => ReadMode::Stale,
        _ => command.refuse("no such mode"),
    }
}
