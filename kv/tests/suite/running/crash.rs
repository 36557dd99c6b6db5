//! Power cuts, at any moment, again and again: what was answered is there, and what is there is
//! what the proposals in their order make, up to some point and nothing beyond.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use drystone_kv::command::{Command, Put};
use drystone_kv::{EngineKind, Error, Kv, Options, Outcome, Proposal, Reply};
use parking_lot::Mutex;
use rand::RngExt as _;

use crate::common::{Bench, each_seed, is_slow, refusal};
use crate::requests::Requests;
use crate::running::{Machine, assert_stands, on_every_engine, options};
use drystone_kv_model::Model;

on_every_engine! {
    everything_answered_survives_every_power_cut
    no_call_to_the_disk_is_a_bad_moment_for_a_power_cut
    concurrent_proposals_survive_in_their_order
    a_store_with_its_threads_on_survives_as_well
}

/// What a store was told, in its journal's order, and what it said.
#[derive(Default)]
struct Record {
    commands: Vec<Command>,
    /// The outcome of each command that was answered.
    answers: Vec<Option<Outcome>>,
}

impl Record {
    /// Asserts that `kv` holds everything answered and a prefix of what was proposed; forgets the
    /// proposals that the crash took.
    fn check(&mut self, kv: &Kv) -> Model {
        let applied = kv.status().applied as usize;
        assert!(applied <= self.commands.len(), "nothing was invented");
        let answered = self.answers.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        assert!(answered <= applied, "{answered} were answered, {applied} survive");
        self.commands.truncate(applied);
        self.answers.truncate(applied);
        let mut oracle = Model::new();
        let twin = Bench::new();
        for (command, answer) in self.commands.iter().zip(&self.answers) {
            let outcome = oracle.apply(command);
            assert!(answer.as_ref().is_none_or(|answer| *answer == outcome), "{command:?}");
            assert_eq!(twin.apply(command), outcome);
        }
        assert_stands(kv, &oracle);
        // To the bit, not only to the eye.
        assert_eq!(kv.hash(None).expect("readable"), twin.store.hash(None).expect("readable"));
        oracle
    }
}

/// What a proposal came to; `None` if the disk died first.
fn outcome(result: Result<Reply, Error>) -> Option<Outcome> {
    match result {
        Err(Error::Journal(_) | Error::Engine(_) | Error::Stopped) => None,
        result => Some(refusal(result)),
    }
}

/// Takes a command that an options' limits let through.
fn command(requests: &mut Requests, oracle: &Model) -> Command {
    loop {
        let command = requests.command(oracle);
        if options().limits.check(&command).is_ok() {
            return command;
        }
    }
}

/// Opens, checks, closes, opens again: opening must be repeatable, and change nothing that shows.
fn open_twice(machine: &Machine, record: &mut Record) -> (Kv, Model) {
    let kv = machine.open();
    let oracle = record.check(&kv);
    let (hash, applied) = (kv.hash(None).ok(), kv.status().applied);
    drop(kv);
    let kv = machine.open();
    assert_eq!((kv.hash(None).ok(), kv.status().applied), (hash, applied));
    (kv, oracle)
}

/// Proposes until the disk dies, a few at a time, with upkeep in between.
fn live_until_cut(kv: &Kv, oracle: &Model, requests: &mut Requests, record: &mut Record) {
    let mut oracle = oracle.clone();
    for _ in 0..400 {
        let burst = requests.random.random_range(1..12);
        let mut under_way: Vec<(usize, Proposal)> = Vec::new();
        for _ in 0..burst {
            let command = command(requests, &oracle);
            // Where the store would stand if all went well; only there to aim requests.
            let _ = oracle.apply(&command);
            under_way.push((record.commands.len(), kv.propose(command.clone())));
            record.commands.push(command);
            record.answers.push(None);
        }
        for (position, proposal) in under_way {
            record.answers[position] = outcome(proposal.wait());
        }
        let upkeep = match requests.random.random_range(0..8) {
            0 => kv.persist(),
            1..3 => kv.sweep_step().map(drop),
            _ => Ok(()),
        };
        if upkeep.is_err() || record.answers.last().is_some_and(Option::is_none) {
            return;
        }
    }
}

// Lives and deaths of one store: the power goes at a random call to the disk, while the journal is
// written, a segment is made, the engine persisted, the journal cut, or the store just opened.
fn everything_answered_survives_every_power_cut(kind: EngineKind) {
    each_seed("everything_answered_survives_every_power_cut", 12, 1000, |seed| {
        let mut requests = Requests::new(seed);
        let mut machine = Machine::of(kind, seed);
        let mut record = Record::default();
        for _ in 0..10 {
            let cut_while_opening = requests.percent(25);
            if cut_while_opening {
                machine.disk.power_cut_after(requests.random.random_range(0..12));
                let opened = machine.try_open(options());
                drop(opened);
                machine = machine.with(machine.disk.crash());
            }
            let (kv, oracle) = open_twice(&machine, &mut record);
            machine.disk.power_cut_after(requests.random.random_range(0..200));
            live_until_cut(&kv, &oracle, &mut requests, &mut record);
            let disk = machine.disk.crash();
            drop(kv);
            machine = machine.with(disk);
        }
        open_twice(&machine, &mut record);
    });
}

// The same short life, cut at each call to the disk in turn, so that no instant is left to luck.
fn no_call_to_the_disk_is_a_bad_moment_for_a_power_cut(kind: EngineKind) {
    let step = if is_slow() { 1 } else { 3 };
    for cut in (0..10_000).step_by(step) {
        let mut requests = Requests::new(99);
        let mut machine = Machine::of(kind, cut);
        let mut record = Record::default();
        machine.disk.power_cut_after(cut);
        let mut lived_on = true;
        for _ in 0..2 {
            let Ok(kv) = machine.try_open(options()) else {
                lived_on = false;
                break;
            };
            let oracle = record.check(&kv);
            for n in 0..48 {
                let command = match n {
                    20 => Command::Put(Put::new("large", vec![7; 20_000])),
                    _ => command(&mut requests, &oracle),
                };
                let outcome = outcome(kv.propose(command.clone()).wait());
                lived_on &= outcome.is_some();
                record.commands.push(command);
                record.answers.push(outcome);
                let upkeep = if n % 20 == 19 { kv.persist() } else { kv.sweep_step().map(drop) };
                lived_on &= upkeep.is_ok();
            }
        }
        let disk = machine.disk.crash();
        machine = machine.with(disk);
        open_twice(&machine, &mut record);
        if lived_on {
            assert!(cut > 50, "the life is long enough to be worth cutting: {cut} calls");
            return;
        }
    }
    panic!("the life never comes to its end");
}

// Many clients at once, and a power cut under their hands.
fn concurrent_proposals_survive_in_their_order(kind: EngineKind) {
    each_seed("concurrent_proposals_survive_in_their_order", 8, 400, |seed| {
        let mut machine = Machine::of(kind, seed);
        let mut requests = Requests::new(seed);
        let record = Mutex::new(Record::default());
        for _ in 0..4 {
            let (kv, _) = open_twice(&machine, &mut record.lock());
            let dead = AtomicBool::new(false);
            machine.disk.power_cut_after(requests.random.random_range(20..300));
            thread::scope(|scope| {
                for client in 0..4 {
                    let (kv, record, dead) = (&kv, &record, &dead);
                    scope.spawn(move || {
                        let mut requests = Requests::new(seed ^ (client << 32));
                        while !dead.load(Ordering::Relaxed) {
                            let command = if requests.percent(30) {
                                // Large, so that the journal turns to a new segment every moment.
                                let bytes = requests.random.random_range(6_000..20_000);
                                Command::Put(Put::new("large", vec![7; bytes]))
                            } else {
                                command(&mut requests, &Model::new())
                            };
                            // The lock makes the record's order the journal's.
                            let mut locked = record.lock();
                            let position = locked.commands.len();
                            let proposal = kv.propose(command.clone());
                            locked.commands.push(command);
                            locked.answers.push(None);
                            drop(locked);
                            let outcome = outcome(proposal.wait());
                            dead.fetch_or(outcome.is_none(), Ordering::Relaxed);
                            record.lock().answers[position] = outcome;
                        }
                    });
                }
                scope.spawn(|| {
                    while !dead.load(Ordering::Relaxed) {
                        let persisted = kv.persist().and_then(|()| kv.sweep_step());
                        dead.fetch_or(persisted.is_err(), Ordering::Relaxed);
                    }
                });
            });
            let disk = machine.disk.crash();
            drop(kv);
            machine = machine.with(disk);
        }
        open_twice(&machine, &mut record.lock());
    });
}

// A store with its threads on, cut without warning: what upkeep does by itself is no worse.
fn a_store_with_its_threads_on_survives_as_well(kind: EngineKind) {
    each_seed("a_store_with_its_threads_on_survives_as_well", 4, 200, |seed| {
        let mut machine = Machine::of(kind, seed);
        let mut record = Record::default();
        let lively = Options { background: true, persist_bytes_min: 4_000, ..options() };
        for life in 0..4 {
            let kv = machine.try_open(lively.clone()).expect("the folder is in order");
            record.check(&kv);
            for n in 0..200 {
                // Keys of its own for each life, and no leases: time stands still, and with it what
                // the house thread proposes by itself.
                let command = Command::Put(Put::new(format!("{life}/{}", n % 7), vec![n; 64]));
                let answer = kv.propose(command.clone()).wait();
                record.commands.push(command);
                record.answers.push(Some(refusal(answer)));
            }
            let disk = machine.disk.crash();
            drop(kv);
            machine = machine.with(disk);
        }
        open_twice(&machine, &mut record);
    });
}
