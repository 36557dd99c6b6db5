//! Every way in which a run can end is told from every other.

use std::time::{Duration, Instant};

use mason_core::record::Reason;
use mason_core::spec::Stop;
use mason_node::runtime::{Error, Status};

use super::support::Node;

/// Retry rules look at codes and signals; 137 must not be taken for a kill.
#[test]
fn codes_and_signals_are_told_apart_by_every_runtime() {
    let Some(node) = Node::new("ends::codes") else { return };
    for class in node.config.classes.clone() {
        for (script, reason, code, signal) in [
            ("exit 0", Reason::Exited, 0, None),
            ("exit 7", Reason::Exited, 7, None),
            ("exit 137", Reason::Exited, 137, None),
            ("kill -9 $$", Reason::Signalled, 137, Some(9)),
            ("kill -11 $$", Reason::Signalled, 139, Some(11)),
        ] {
            let mut launch = node.launch(script);
            launch.task.runtime = Some(class.name.clone());
            let (ended, text) = node.run_launch(&launch);
            let exit = &ended.exit;
            let what = format!("{} `{script}`: {exit:?} {text}", class.name);
            assert_eq!(
                (exit.reason, exit.code, exit.signal),
                (reason, Some(code), signal),
                "{what}"
            );
            assert!(exit.started_at.is_some_and(|at| at <= exit.finished_at), "{what}");
            assert_eq!(exit.message, "", "{what}");
        }
    }
    node.finish();
}

/// Without an init of ours the program is the first process itself.
#[test]
fn a_program_can_be_the_first_process() {
    let Some(node) = Node::new("ends::no_init") else { return };
    let mut launch = node.launch("echo pid $$; exit 9");
    launch.task.init = false;
    let (ended, text) = node.run_launch(&launch);
    assert_eq!((ended.exit.code, text.as_str()), (Some(9), "pid 1\n"));
    node.finish();
}

/// A program that cannot be run is a task's fault, and named.
#[test]
fn a_program_that_cannot_be_run_is_named() {
    let Some(node) = Node::new("ends::no_program") else { return };
    for (program, code, word) in
        [("/no/such", 127, "`/no/such`"), ("/etc/passwd", 126, "`/etc/passwd`")]
    {
        let mut launch = node.launch("");
        launch.task.command = vec![program.to_owned()];
        let (ended, text) = node.run_launch(&launch);
        assert_eq!(ended.exit.code, Some(code), "{text}");
        assert!(text.contains(word), "{text}");
    }
    node.finish();
}

/// A stop gives the program its grace and no more, and the result says who wanted it.
#[test]
fn a_stop_asks_and_then_kills() {
    let Some(node) = Node::new("ends::stop") else { return };
    let polite = node.launch("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done");
    node.start(&polite);
    node.wait_for_text(&polite.run, "up");
    node.runner().stop(&polite.run, &Stop { signal: 15, grace: 30_000 }, Reason::Drained).unwrap();
    let ended = node.wait(&polite.run);
    assert_eq!((ended.exit.reason, ended.exit.code), (Reason::Drained, Some(3)));
    let deaf = node.launch("trap '' TERM; echo up; while :; do sleep 0.1; done");
    node.start(&deaf);
    node.wait_for_text(&deaf.run, "up");
    let begun = Instant::now();
    node.runner().stop(&deaf.run, &Stop { signal: 15, grace: 700 }, Reason::Replaced).unwrap();
    let ended = node.wait(&deaf.run);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!((ended.exit.reason, ended.exit.signal), (Reason::Replaced, Some(9)));
    node.finish();
}

/// A second word can shorten the grace, never lengthen it, and does not change the reason.
#[test]
fn a_second_stop_can_only_be_sooner() {
    let Some(node) = Node::new("ends::second_stop") else { return };
    let deaf = node.launch("trap '' TERM; echo up; while :; do sleep 0.1; done");
    node.start(&deaf);
    node.wait_for_text(&deaf.run, "up");
    let stop = |grace| Stop { signal: 15, grace };
    node.runner().stop(&deaf.run, &stop(600_000), Reason::Drained).unwrap();
    let Status::Running(running) = node.runner().look(&deaf.run).unwrap() else { panic!() };
    assert!(running.stopping);
    node.runner().kill(&deaf.run, Reason::Unhealthy).unwrap();
    assert_eq!(node.wait(&deaf.run).exit.reason, Reason::Drained);
    // It is over: told again, it stays as it is.
    node.runner().kill(&deaf.run, Reason::Unhealthy).unwrap();
    assert_eq!(node.wait(&deaf.run).exit.reason, Reason::Drained);
    node.finish();
}

/// An attempt that hangs must not hold its place for ever.
#[test]
fn a_timeout_ends_it() {
    let Some(node) = Node::new("ends::timeout") else { return };
    let mut launch = node.launch("trap '' TERM; while :; do sleep 0.1; done");
    launch.task.timeout = Some(300);
    launch.task.stop.grace = 300;
    let (ended, _) = node.run_launch(&launch);
    assert_eq!((ended.exit.reason, ended.exit.signal), (Reason::Timeout, Some(9)));
    let ran = ended.exit.finished_at - ended.exit.started_at.unwrap();
    assert!((600..10_000).contains(&ran), "{ran} ms");
    node.finish();
}

/// The same run is never started twice, whatever the agent believes.
#[test]
fn a_run_is_started_once() {
    let Some(node) = Node::new("ends::once") else { return };
    let launch = node.launch("true");
    node.run_launch(&launch);
    assert!(matches!(node.runner().start(&launch), Err(Error::Exists(_))));
    node.finish();
}

/// A container that cannot be made is an end with a reason, and leaves nothing.
#[test]
fn a_start_that_fails_is_an_end() {
    let Some(node) = Node::with("ends::start", |config| {
        config.classes[0].args = vec!["--no-such-option".to_owned()];
    }) else {
        return;
    };
    let launch = node.launch("true");
    let error = node.runner().start(&launch).unwrap_err();
    assert!(matches!(error, Error::Start(_)), "{error}");
    let ended = node.wait(&launch.run);
    assert_eq!((ended.exit.reason, ended.exit.started_at), (Reason::Start, None));
    node.finish();
}

/// What a task printed last is what the next step of a workflow is told: the end of it, and nothing
/// of its complaints; and only if somebody asks.
#[test]
fn what_was_printed_last_is_part_of_the_result() {
    assert_eq!(mason_shim::settings::PRINTED, mason_core::record::PRINTED);
    let Some(node) = Node::new("ends::printed") else { return };
    let mut launch = node.launch("echo once; echo no >&2; printf 'the end'");
    launch.task.capture_bytes = 10;
    let (ended, _) = node.run_launch(&launch);
    assert_eq!(ended.exit.outputs["result"], "ce\nthe end");
    let (ended, _) = node.run_launch(&node.launch("echo once"));
    assert_eq!(ended.exit.outputs.len(), 0);
    node.finish();
}

/// Small files that a task leaves are part of its result, links are not followed out, and what is
/// wrong with one is told.
#[test]
fn outputs_are_read_and_cannot_lead_out() {
    let Some(node) = Node::new("ends::outputs") else { return };
    let mut launch =
        node.launch("echo 42 > /tmp/answer; ln -s /etc/shadow /tmp/link; mkfifo /tmp/p");
    for name in ["answer", "link", "p", "missing"] {
        launch.task.outputs.insert(name.to_owned(), format!("/tmp/{name}"));
    }
    let (ended, _) = node.run_launch(&launch);
    assert_eq!(ended.exit.code, Some(0));
    assert_eq!(ended.exit.outputs.get("answer").map(String::as_str), Some("42\n"));
    assert_eq!(ended.exit.outputs.len(), 1, "{:?}", ended.exit.outputs);
    for name in ["link", "p", "missing"] {
        assert!(ended.exit.message.contains(&format!("output `{name}`")), "{}", ended.exit.message);
    }
    node.finish();
}
