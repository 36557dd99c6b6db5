//! The run protocol, played through: every order of everything on a small instance.
//!
//! # Problem
//! The protocol must hold whatever is late, lost, paused or killed, and the orders that break such
//! a thing are those that nobody thinks of. Tests play the orders that somebody thought of.
//!
//! # Idea
//! On an instance that is small enough there are few enough states to visit them all: two servers,
//! two nodes, a task or two, two attempts, and so many faults. What is explored is the real thing
//! wherever there is one: the transactions are built by `mason_core::protocol`, and on each node
//! decides the `mason_core::agent::Agent` that also runs on real nodes. Only what surrounds them
//! is a model: the store, the machines with their keepers and containers, and the leader, who may
//! do anything that its view of the store allows.
//!
//! ```text
//!   servers ── bind, lost, wish, done ──► mails ──► store ◄── commits ◄── agents (real)
//!   (may do anything)                     (late)      │                     ▲    │
//!                                                     └── watch (late) ─────┘    ▼
//!   faults: crash, pause, cut, expiry                          journal, keepers, containers
//! ```
//!
//! # Promises
//! Those of `mason_core::protocol`, looked at after every step: 1 no run is started twice; 2 a run
//! has one result, a task one outcome, and what is noted is what the result said; 3 two strict
//! runs of a task are never alive at once; and no transaction of a former leader is done, and
//! nothing refers to a run that is gone. When all states are known: 4 from each, an outcome can
//! be reached with nothing left behind, without any luck or fault.
//!
//! # Teeth
//! A check that finds nothing may be blind. So it is shown protocols that lack one comparison or
//! one rule each ([`table`]), and must find the flaw in each, and print how it comes about.
//!
//! `SLOW=1` explores more faults at once. States are told apart by fingerprints of 64 bits: that
//! two of five million are taken for one has odds of about one in a million.

mod agents;
mod deliver;
mod explore;
mod machines;
mod mail;
mod mutant;
mod names;
mod quick;
mod servers;
mod state;
mod store;
mod table;
mod world;

use mason_core::spec::Concurrency;

use explore::{Report, explore};
use state::Budget;
use table::{FOUND, PLAIN, PROMISES, REDUNDANT, Row, faults};
use world::Config;

/// More than any instance has: to go on for ever would be no answer.
const STATES_MAX: usize = 12_000_000;

fn is_slow() -> bool {
    std::env::var_os("SLOW").is_some()
}

/// Explores, says what there was, and how a promise was broken, if one was.
fn look(name: &str, config: Config) -> Report {
    let report = explore(config, STATES_MAX);
    let Report { states, agents, depth, ends, .. } = report;
    println!("{name}: {states} states, {agents} of agents, {depth} deep, {ends} ends");
    if let Some((broken, trace)) = &report.broken {
        println!("  {broken}");
        for (at, words) in trace.iter().enumerate() {
            println!("  {:3} {words}", at + 1);
        }
    }
    report
}

/// All promises hold, and it comes to an end. Returns how many states there are.
fn holds(name: &str, config: Config) -> usize {
    let report = look(name, config);
    assert!(report.complete, "{name}: all states are looked at");
    assert!(report.broken.is_none(), "{name}: a promise was broken, as printed");
    assert!(report.ends > 0, "{name}: it comes to an end");
    report.states
}

const fn budget(faults: u8, offices: u8, stops: u8) -> Budget {
    Budget { faults, offices, stops, removals: 0 }
}

/// The instances whose promises are the point of it all: any two faults, and leaders that change
/// while everything else goes on.
#[test]
fn strict_runs_keep_all_promises() {
    holds("nothing goes wrong", PLAIN);
    holds("one fault, containers fail", Config { failures: true, ..faults(1) });
    holds("one fault, the leader changes", Config { budget: budget(1, 1, 0), ..faults(1) });
    holds("one fault, a stop", Config { budget: budget(1, 0, 1), failures: true, ..faults(1) });
    holds("two faults", Config { mails: 1, ..faults(2) });
    if is_slow() {
        holds("two faults, more under way", faults(2));
        holds("two faults, a stop", Config { budget: budget(2, 0, 1), mails: 1, ..faults(2) });
        holds(
            "two faults, the leader changes",
            Config { budget: budget(2, 1, 0), mails: 1, ..faults(2) },
        );
    }
}

/// Reports, and answers that change nothing, are most of what there is on the way: one at a time
/// they look harmless.
#[test]
fn slow_words_of_agents_break_nothing() {
    let slow = Config { chatty: true, mails: 1, ..faults(1) };
    let states = holds("one fault, all words are slow", slow);
    // A word that is no longer said shows nowhere else: the model only gets smaller.
    assert!(states >= 400_000, "there is more to say than makes {states} states");
}

/// The transactions alone must do: a leader that tries everything, seen or not, breaks nothing.
#[test]
fn sloppy_leaders_break_nothing() {
    let sloppy = Config { sloppy: true, ..faults(0) };
    let office = Config { budget: budget(0, 1, 0), failures: true, ..sloppy };
    holds("a sloppy leader, replaced", office);
    holds("a sloppy leader, one fault", Config { budget: budget(1, 0, 0), ..sloppy });
    if is_slow() {
        holds("a sloppy leader, replaced, one fault", Config { budget: budget(1, 1, 0), ..sloppy });
    }
}

/// Tasks share their marks.
#[test]
fn tasks_do_not_disturb_each_other() {
    holds("two tasks", Config { tasks: 2, failures: true, ..faults(0) });
    let removed = Budget { removals: 1, ..PLAIN.budget };
    holds("a job that is removed", Config { budget: removed, mails: 2, ..PLAIN });
    if is_slow() {
        holds("two tasks, one fault", Config { tasks: 2, mails: 1, ..faults(1) });
    }
}

/// An agent that is cut off keeps its runs alive on purpose: all else is promised as ever.
#[test]
fn available_runs_keep_all_promises_but_one() {
    let available = Config { concurrency: Concurrency::Available, ..PLAIN };
    let one = Config { budget: budget(1, 1, 0), failures: true, mails: 1, ..available };
    holds("available, one fault, the leader changes", one);
    holds("available, two faults", Config { budget: budget(2, 0, 0), ..available });
}

/// Operators that swear, and registrations of agents that are gone.
#[test]
fn oddities_break_nothing() {
    holds("oddities, two faults", Config { oddities: true, mails: 1, ..faults(2) });
}

/// A check that cannot fail proves nothing.
#[test]
fn weaker_protocols_are_found_out() {
    let mut unbroken = PROMISES.to_vec();
    for &(name, config, mutant, expected) in FOUND {
        let report = look(name, Config { mutant: Some(mutant), ..config });
        let (broken, trace) = report.broken.unwrap_or_else(|| panic!("{name} was not found"));
        assert!(broken.starts_with(expected), "{name} breaks {expected}, and not {broken}");
        assert!(!trace.is_empty(), "{name}: it takes a step at least");
        assert!(PROMISES.contains(&broken), "{broken} is in the list of what is looked at");
        unbroken.retain(|it| *it != broken);
    }
    assert!(unbroken.is_empty(), "no mutant breaks these: {unbroken:?}");
}

/// Not every comparison is needed; which are not is worth knowing, and worth noticing when it
/// changes.
#[test]
fn what_is_redundant_is_known() {
    for &(name, config, mutant, _) in REDUNDANT {
        let row: Row = (name, config, mutant, "");
        let faults = config.budget.faults + u8::from(is_slow() && config.budget.faults == 1);
        let budget = Budget { faults, ..row.1.budget };
        holds(name, Config { mutant: Some(mutant), budget, ..config });
    }
}
