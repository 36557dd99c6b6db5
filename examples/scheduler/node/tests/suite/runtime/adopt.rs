//! Agents die, keepers are killed, and each run still has one end.

use std::time::Duration;

use mason_core::record::Reason;
use mason_core::types::RunId;
use mason_node::runtime::{Error, Status};
use mason_shim::settings::KEEPER_LOG;
use mason_shim::state::{self, Step};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::support::{Node, until};

fn steps(node: &Node, run: &RunId) -> Vec<Step> {
    state::read(&node.data().join("runs").join(run.as_str())).unwrap_or_default()
}

fn keeper(node: &Node, run: &RunId) -> Option<Pid> {
    match steps(node, run).first() {
        Some(Step::Kept { pid, .. }) => Pid::from_raw(*pid),
        _ => None,
    }
}

/// An agent that is updated must neither end, lose nor repeat what runs.
#[test]
fn a_new_agent_adopts_what_runs_and_what_has_ended() {
    let Some(mut node) = Node::new("adopt::agent") else { return };
    let runs = node.launch("echo up; sleep 1000");
    let ends = node.launch("exit 7");
    let running = node.start(&runs);
    node.start(&ends);
    let handle = node.runner().handle(&ends.run).unwrap();
    node.agent_dies();
    if let Some(handle) = handle {
        let mut fds = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).unwrap();
    }
    node.agent_starts();
    let found = node.runner().list().unwrap();
    assert_eq!(found.len(), 2);
    let Status::Running(adopted) = &found[0].1 else { panic!("{found:?}") };
    assert_eq!((adopted.pid, adopted.started_at), (running.pid, running.started_at));
    let Status::Ended(ended) = &found[1].1 else { panic!("{found:?}") };
    assert_eq!((ended.exit.reason, ended.exit.code), (Reason::Exited, Some(7)));
    assert!(matches!(node.runner().reap(&runs.run), Err(Error::StillRunning(_))));
    node.runner().kill(&runs.run, Reason::Stopped).unwrap();
    assert_eq!(node.wait(&runs.run).exit.reason, Reason::Stopped);
    node.finish();
}

/// Two agents in one folder would each sweep what the other starts.
#[test]
fn a_second_agent_is_turned_away() {
    let Some(node) = Node::new("adopt::second") else { return };
    let error = mason_node::runtime::Runner::open(node.config.clone()).unwrap_err();
    assert!(error.to_string().contains("another agent"), "{error}");
    node.finish();
}

/// Nobody may run without a keeper: the kernel kills the container, and the end is unknown.
#[test]
fn a_killed_keeper_takes_its_container_along() {
    let Some(node) = Node::new("adopt::keeper") else { return };
    for class in node.config.classes.clone() {
        for init in [true, false] {
            let mut launch = node.launch("trap '' TERM; echo up; while :; do sleep 0.1; done");
            launch.task.init = init;
            launch.task.runtime = Some(class.name.clone());
            let running = node.start(&launch);
            node.wait_for_text(&launch.run, "up");
            kill_process(keeper(&node, &launch.run).unwrap(), Signal::KILL).unwrap();
            let process = format!("/proc/{}/stat", running.pid);
            if init {
                until("the kernel kills the container", || gone(&process));
            }
            let ended = node.wait(&launch.run);
            assert_eq!((ended.exit.reason, ended.exit.code), (Reason::Unknown, None));
            assert!(gone(&process), "{} init {init}", class.name);
            assert!(node.text(&launch.run).contains("its keeper was killed"));
        }
    }
    node.finish();
}

fn gone(stat: &str) -> bool {
    std::fs::read_to_string(stat).map_or(true, |text| text.contains(") Z "))
}

/// A process that is forked holds all that its parent has open until it begins a program of its
/// own: the lock of a keeper can outlive the keeper for a moment.
#[test]
fn a_lock_that_outlives_its_keeper_hides_no_end() {
    let Some(node) = Node::new("adopt::lock") else { return };
    let launch = node.launch("echo up; sleep 1000");
    node.start(&launch);
    kill_process(keeper(&node, &launch.run).unwrap(), Signal::KILL).unwrap();
    let log = node.data().join("runs").join(launch.run.as_str()).join(KEEPER_LOG);
    let log = std::fs::File::open(log).unwrap();
    flock(&log, FlockOperation::LockExclusive).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(log);
        });
        assert_eq!(node.wait(&launch.run).exit.reason, Reason::Unknown);
    });
    node.finish();
}

/// A keeper can die between any two steps. Whatever is reported, a run that is called never started
/// has not run, and nothing of any is left.
#[test]
fn a_keeper_killed_at_each_step_leaves_one_end() {
    let Some(node) = Node::new("adopt::steps") else { return };
    let mut reasons = Vec::new();
    for (count, patience) in (0..5).flat_map(|count| [(count, 0), (count, 3), (count, 9)]) {
        let launch = node.launch("echo ran; sleep 1000");
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                until("the step is made", || steps(&node, &launch.run).len() >= count.max(1));
                std::thread::park_timeout(Duration::from_millis(patience));
                kill_process(keeper(&node, &launch.run).unwrap(), Signal::KILL).unwrap();
            });
            let started = node.runner().start(&launch);
            killer.join().unwrap();
            let ended = node.wait(&launch.run);
            let what = format!("killed after {count} steps: {started:?} {ended:?}");
            let ran = node.text(&launch.run).contains("ran");
            match ended.exit.reason {
                Reason::Start => assert!(!ran && started.is_err(), "{what}"),
                Reason::Unknown => {}
                _ => panic!("{what}"),
            }
            assert_eq!(node.runner().look(&launch.run).unwrap(), Status::Ended(ended.clone()));
            reasons.push(ended.exit.reason);
        });
    }
    assert!(reasons.contains(&Reason::Start) && reasons.contains(&Reason::Unknown), "{reasons:?}");
    node.finish();
}

/// After the machine was started anew, nobody knows what became of what ran.
#[test]
fn another_boot_makes_it_unknown() {
    let Some(node) = Node::new("adopt::boot") else { return };
    let launch = node.launch("echo up; sleep 1000");
    node.start(&launch);
    kill_process(keeper(&node, &launch.run).unwrap(), Signal::KILL).unwrap();
    let path = node.data().join("runs").join(launch.run.as_str()).join("run.json");
    let boot = state::boot().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&boot, "another")).unwrap();
    let ended = node.wait(&launch.run);
    assert_eq!(ended.exit.reason, Reason::Unknown);
    assert!(ended.exit.message.contains("started anew"), "{}", ended.exit.message);
    node.finish();
}
