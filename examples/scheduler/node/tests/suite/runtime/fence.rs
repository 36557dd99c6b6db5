//! Strict work ends when its agent's deadline passes, whoever is there to see it.

use std::time::{Duration, Instant};

use mason_core::protocol::fence::{KILL, MARGIN};
use mason_core::record::Reason;
use mason_core::spec::Concurrency;
use mason_node::runtime::{Error, Status};
use mason_shim::fence::boottime;

use super::support::{Node, until};

/// The whole promise of strict work: the agent is dead, and its run ends all the same, at once and
/// without grace; other work goes on.
#[test]
fn a_strict_run_is_killed_at_the_deadline_without_its_agent() {
    let Some(mut node) = Node::new("fence::deadline") else { return };
    let mut strict = node.launch("trap '' TERM; echo up; while :; do sleep 0.1; done");
    strict.concurrency = Concurrency::Strict;
    let available = node.launch("echo up; sleep 1000");
    node.runner().renew(boottime() + 60_000).unwrap();
    let running = node.start(&strict);
    node.start(&available);
    node.wait_for_text(&strict.run, "up");
    // Taken back, so that the test is short; a request wakes the keeper, which sees it.
    let deadline = boottime() + 1_500;
    node.runner().renew(deadline).unwrap();
    node.runner().signal(&strict.run, 28).unwrap();
    node.agent_dies();
    let process = format!("/proc/{}/stat", running.pid);
    until("it is killed", || {
        std::fs::read_to_string(&process).map_or(true, |text| text.contains(") Z "))
    });
    let late = boottime().saturating_sub(deadline);
    assert!(boottime() >= deadline, "killed before the deadline");
    assert!(late < KILL && KILL < MARGIN, "{late} ms late");
    println!("killed {late} ms after the deadline");
    node.agent_starts();
    let ended = node.wait(&strict.run);
    assert_eq!((ended.exit.reason, ended.exit.signal), (Reason::Fenced, Some(9)));
    assert!(matches!(node.runner().look(&available.run), Ok(Status::Running(_))));
    node.runner().kill(&available.run, Reason::Stopped).unwrap();
    node.wait(&available.run);
    node.finish();
}

/// An agent that renews in time keeps its strict runs.
#[test]
fn a_renewed_deadline_keeps_it() {
    let Some(node) = Node::new("fence::renewed") else { return };
    let mut strict = node.launch("sleep 1.5; exit 4");
    strict.concurrency = Concurrency::Strict;
    node.runner().renew(boottime() + 5_000).unwrap();
    node.start(&strict);
    let begun = Instant::now();
    while node.runner().wait(&strict.run, Duration::from_millis(50)).unwrap().is_none() {
        node.runner().renew(boottime() + 2_000).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    let ended = node.wait(&strict.run);
    assert_eq!((ended.exit.reason, ended.exit.code), (Reason::Exited, Some(4)));
    node.finish();
}

/// Without a lease nothing strict begins: the deadline is asked between making and starting.
#[test]
fn nothing_strict_starts_after_the_deadline() {
    let Some(node) = Node::new("fence::late") else { return };
    let mut strict = node.launch("echo ran");
    strict.concurrency = Concurrency::Strict;
    let error = node.runner().start(&strict).unwrap_err();
    assert!(matches!(&error, Error::Start(why) if why.contains("deadline")), "{error}");
    let ended = node.wait(&strict.run);
    assert_eq!((ended.exit.reason, ended.exit.started_at), (Reason::Fenced, None));
    assert!(!node.text(&strict.run).contains("ran"));
    node.finish();
}
