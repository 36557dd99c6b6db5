//! The differential session: what the real `etcdctl` says to real etcd and to ours.
//!
//! The scripts in `tests/scripts` are transcripts: commands, and below each what real etcd 3.4
//! answered. They can be read as an introduction to etcd. Each is played three ways:
//!
//! * `recorded`: on a fresh real etcd, whose answers must be those in the file. `UPDATE=1` writes
//!   them into it.
//! * `ours`: on a fresh server of ours, whose answers must be those in the file too.
//! * `one_long_session`: all scripts one after another on one real etcd and a server of ours for
//!   each storage engine, compared step by step, so that nothing rests on an empty store or on what
//!   was once recorded.
//!
//! What may differ is hidden by [`crate::support::mask`]. Where our server, which follows etcd 3.6,
//! answers otherwise on purpose, [`exceptions`] says so and why.

mod exceptions;
mod player;
mod script;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use drystone_kv::EngineKind;

use self::player::Player;
use self::script::{Script, Step};
use crate::proxy::running::Proxy;
use crate::support::programs::{self, Real};
use crate::support::server::Server;

/// Every step of a user hashes a password: nobody wants to wait for that.
const CHEAP_HASHES: &str = "--bcrypt-cost=4";

/// A difference at one step.
struct Difference<'a> {
    script: &'a Script,
    step: &'a Step,
    expected: Vec<String>,
    found: Vec<String>,
}

/// Plays all steps of `script` and returns the answers.
fn answers(player: &mut Player, script: &Script) -> Vec<Vec<String>> {
    script.steps.iter().map(|step| player.play(step)).collect()
}

fn fresh(program: &Path, real: &Real) -> Player {
    Player::new(real.etcdctl.clone(), Server::start(program, &[CHEAP_HASHES]))
}

/// Where the two lists of answers differ without an exception that says so.
fn differences<'a>(
    script: &'a Script,
    expected: &[Vec<String>],
    found: &[Vec<String>],
) -> Vec<Difference<'a>> {
    differences_of(script, expected, found, true)
}

/// The same; without exceptions, where both are real etcd's.
fn differences_of<'a>(
    script: &'a Script,
    expected: &[Vec<String>],
    found: &[Vec<String>],
    is_ours: bool,
) -> Vec<Difference<'a>> {
    let mut list = Vec::new();
    for ((step, expected), found) in script.steps.iter().zip(expected).zip(found) {
        let excepted = exceptions::find(&script.name, &step.command).filter(|_| is_ours);
        let expected = excepted.map_or(expected.clone(), |it| it.rewrite(expected));
        if expected != *found {
            list.push(Difference { script, step, expected, found: found.clone() });
        }
    }
    list
}

/// Fails with every difference: the step, its command, and the answers line by line.
fn expect_none(differences: &[Difference<'_>], log: &str) {
    let mut text = String::new();
    for difference in differences {
        text.push_str(&shown(difference));
    }
    let count = differences.len();
    assert!(count == 0, "{count} steps differ (- etcd, + ours){text}\nlog of ours:\n{log}");
}

/// A step, its command, and the answers line by line.
fn shown(difference: &Difference<'_>) -> String {
    let Difference { script, step, expected, found } = difference;
    let path = script.path.display();
    let mut text = format!("\n{path}:{}\n  {}\n", step.line, step.command);
    for line in &step.input {
        writeln!(text, "  < {line:.100}").expect("memory suffices");
    }
    writeln!(text, "{}", diff(expected, found)).expect("memory suffices");
    text
}

/// Lines of both answers; `-` stands in the expected one only, `+` in the found one only.
pub(crate) fn diff(expected: &[String], found: &[String]) -> String {
    let same = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
    let (left, right) = (&expected[same..], &found[same..]);
    let tail = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut text: Vec<String> = expected[..same].iter().map(|l| format!("    {l}")).collect();
    text.extend(left[..left.len() - tail].iter().map(|line| format!("  - {line}")));
    text.extend(right[..right.len() - tail].iter().map(|line| format!("  + {line}")));
    text.extend(left[left.len() - tail..].iter().map(|line| format!("    {line}")));
    text.join("\n")
}

/// The answers in the file are real etcd's, not ours.
fn check_recorded(name: &str) {
    let Some(real) = programs::real_or_skip(&format!("session::recorded::{name}")) else { return };
    let mut script = Script::read(name);
    let found = answers(&mut fresh(&real.etcd, &real), &script);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&script.path, script.with_answers(&found)).expect("scripts can be written");
        script = Script::read(name);
    }
    if !real.recorded_release {
        return;
    }
    for (step, found) in script.steps.iter().zip(&found) {
        let place = format!("{}:{}", script.path.display(), step.line);
        let shown = diff(&step.answer, found);
        assert!(step.answer == *found, "{place}: {}\n{shown}", step.command);
    }
}

/// Our server, fresh, answers what the file says.
fn check_ours(name: &str) {
    let Some(real) = programs::real_or_skip(&format!("session::ours::{name}")) else { return };
    if !real.recorded_release {
        return crate::support::skip(
            name,
            "etcdctl is of another release than the recorded answers",
        );
    }
    let script = Script::read(name);
    let mut player = fresh(&programs::ours(), &real);
    let found = answers(&mut player, &script);
    let expected: Vec<Vec<String>> = script.steps.iter().map(|step| step.answer.clone()).collect();
    expect_none(&differences(&script, &expected, &found), &player.log());
}

/// Plays scripts through our proxy in front of `program`, each on a fresh one: the answers must be
/// those of that program without a proxy.
pub(crate) fn through_proxy(program: &Path, real: &Real, names: &[&str]) {
    let mut list = String::new();
    for name in names {
        let (script, found, log) = played_through(&programs::ours(), program, real, name);
        let recorded = script.steps.iter().map(|step| step.answer.clone()).collect::<Vec<_>>();
        // etcd may be of another release than the recorded answers; ours is compared with those.
        let expected = match program == real.etcd {
            true => answers(&mut fresh(program, real), &script),
            false => recorded,
        };
        for it in differences_of(&script, &expected, &found, program != real.etcd) {
            writeln!(list, "{}\nlog of the proxy:\n{log}", shown(&it)).expect("memory suffices");
        }
    }
    assert!(list.is_empty(), "{list}");
}

/// The answers to a script through a proxy of `proxy`'s make in front of a fresh `program`.
pub(crate) fn played_through(
    proxy: &Path,
    program: &Path,
    real: &Real,
    name: &str,
) -> (Script, Vec<Vec<String>>, String) {
    let script = Script::read(name);
    let server = Server::start(program, &[CHEAP_HASHES]);
    // Without an address MemberList is the members'; and what is too large they are to say.
    let flags = ["--advertise-client-url=", "--max-send-bytes=4194304"];
    let proxy = Proxy::start_as(proxy, &[server.client_url()], &flags);
    let mut player = Player::new(real.etcdctl.clone(), server).through(proxy);
    let found = answers(&mut player, &script);
    let log = player.log_of_proxy();
    (script, found, log)
}

/// One test a script, twice: against real etcd and against ours.
macro_rules! scripts {
    ($($name:ident)*) => {
        pub(crate) const SCRIPTS: &[&str] = &[$(stringify!($name)),*];

        /// The scripts are what etcd says, or they teach something false.
        mod recorded {
            $(#[test] fn $name() { super::check_recorded(stringify!($name)); })*
        }

        /// A client of etcd must not notice that it talks to us.
        mod ours {
            $(#[test] fn $name() { super::check_ours(stringify!($name)); })*
        }
    };
}

scripts! {
    put get range_options delete txn txn_errors watch lease lease_expiry
    compaction maintenance members auth endpoint_url errors restart
}

/// A script that no test plays says nothing.
#[test]
fn every_script_is_played() {
    let known: BTreeSet<String> = SCRIPTS.iter().map(|name| (*name).to_owned()).collect();
    let there: BTreeSet<String> = script::names().into_iter().collect();
    assert_eq!(known, there, "the list in session.rs and the folder agree");
}

/// The session is long enough to mean something.
#[test]
fn session_has_five_hundred_steps() {
    let count: usize = SCRIPTS.iter().map(|name| Script::read(name).steps.len()).sum();
    assert!(count >= 500, "{count} steps");
}

/// All scripts on one store, whatever its engine: answers agree also after thousands of revisions
/// of history.
#[test]
fn one_long_session() {
    let Some(real) = programs::real_or_skip("session::one_long_session") else { return };
    long_session(&real.etcd, &real.etcdctl, &EngineKind::ALL);
}

/// The same with the programs of etcd 3.5, which ask and answer in other words.
#[test]
fn one_long_session_of_3_5() {
    let test = "session::one_long_session_of_3_5";
    let Some(later) = programs::later_or_skip(test) else { return };
    long_session(&later.etcd, &later.etcdctl, &[EngineKind::default()]);
}

fn long_session(etcd: &Path, etcdctl: &Path, engines: &[EngineKind]) {
    let all: Vec<Script> = SCRIPTS.iter().map(|name| Script::read(name)).collect();
    let play = &|program: &Path, flags: &[&str]| {
        let flags = [flags, &[CHEAP_HASHES]].concat();
        let mut player = Player::new(etcdctl.to_owned(), Server::start(program, &flags));
        let answers: Vec<_> = all.iter().map(|script| answers(&mut player, script)).collect();
        (answers, player.log())
    };
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| play(etcd, &[]));
        let ours = |&kind: &EngineKind| {
            (kind, scope.spawn(move || play(&programs::ours(), programs::flags_of(kind))))
        };
        let ours: Vec<_> = engines.iter().map(ours).collect();
        let played = |(kind, played): (_, std::thread::ScopedJoinHandle<'_, _>)| {
            (kind, played.join().expect("ours plays"))
        };
        let ours: Vec<(EngineKind, _)> = ours.into_iter().map(played).collect();
        (theirs.join().expect("real etcd plays"), ours)
    });
    for (kind, (answers, log)) in &ours {
        let mut list = Vec::new();
        for ((script, expected), found) in all.iter().zip(&theirs.0).zip(answers) {
            list.extend(differences(script, expected, found));
        }
        expect_none(&list, &format!("(the engine is {kind})\n{log}"));
    }
}

/// The comparison must see a difference in any line, or agreement says nothing.
#[test]
fn difference_is_seen() {
    let script = Script::read("put");
    let expected: Vec<Vec<String>> = script.steps.iter().map(|step| step.answer.clone()).collect();
    assert!(differences(&script, &expected, &expected).is_empty());
    for i in 0..expected.len() {
        let mut found = expected.clone();
        found[i].push("one line more".to_owned());
        assert_eq!(differences(&script, &expected, &found).len(), 1, "step {i}");
    }
}
