//! The first process in a container: eight things that people rely on `dumb-init` for, asked of
//! ours.

use mason_core::record::Reason;
use mason_core::spec::Stop;
use mason_node::runtime::Launch;

use super::support::Node;

/// A script that says which signals it got, each once.
fn listener(names: &[&str]) -> String {
    let traps = names.iter().map(|name| format!("trap 'echo got {name}' {name}; "));
    format!("{}echo up; while :; do sleep 0.05; done", traps.collect::<String>())
}

fn begin(node: &Node, launch: &Launch) {
    node.start(launch);
    node.wait_for_text(&launch.run, "up");
}

fn end(node: &Node, launch: &Launch) {
    node.runner().kill(&launch.run, Reason::Stopped).unwrap();
    node.wait(&launch.run);
}

/// 1: the kernel drops signals for a first process without a handler; here they arrive.
#[test]
fn signals_are_handed_on() {
    let Some(node) = Node::new("init::signals") else { return };
    let names = ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "WINCH", "CONT"];
    let numbers = [1, 2, 3, 10, 12, 15, 28, 18];
    let launch = node.launch(&listener(&names));
    begin(&node, &launch);
    for (name, number) in names.iter().zip(numbers) {
        node.runner().signal(&launch.run, number).unwrap();
        node.wait_for_text(&launch.run, &format!("got {name}"));
    }
    end(&node, &launch);
    node.finish();
}

/// 2: programs differ in what makes them stop well.
#[test]
fn signals_are_rewritten_and_dropped() {
    let Some(node) = Node::new("init::rewrites") else { return };
    let mut launch = node.launch(&listener(&["HUP", "INT", "QUIT", "TERM"]));
    launch.rewrites = vec![(15, 3), (1, 0)];
    begin(&node, &launch);
    for number in [1, 15, 2] {
        node.runner().signal(&launch.run, number).unwrap();
        if number == 15 {
            node.wait_for_text(&launch.run, "got QUIT");
        }
    }
    node.wait_for_text(&launch.run, "got INT");
    // The shell says of what it waited for how it ended.
    let text = node.text(&launch.run);
    let got: Vec<_> = text.lines().filter(|line| line.starts_with("got")).collect();
    assert_eq!(got, ["got QUIT", "got INT"]);
    end(&node, &launch);
    node.finish();
}

/// 3: a shell does not hand on signals to what it waits for, so the whole group is told.
#[test]
fn the_whole_process_group_is_told() {
    let Some(node) = Node::new("init::group") else { return };
    let inner = "trap 'echo inner; exit' TERM; echo up; while :; do sleep 0.05; done";
    let launch =
        node.launch(&format!("trap 'echo outer; wait; exit 3' TERM; sh -c \"{inner}\" & wait"));
    begin(&node, &launch);
    node.runner().stop(&launch.run, &Stop { signal: 15, grace: 30_000 }, Reason::Stopped).unwrap();
    let ended = node.wait(&launch.run);
    let text = node.text(&launch.run);
    assert!(text.contains("inner") && text.contains("outer"), "{text}");
    assert_eq!(ended.exit.code, Some(3));
    node.finish();
}

/// 4: what the program leaves behind is asked to end, and then ends with the container.
#[test]
fn what_is_left_behind_gets_a_sigterm() {
    let Some(node) = Node::new("init::rest") else { return };
    let rest = "trap 'echo told >&2' TERM; echo up; while :; do sleep 0.02; done";
    let launch = node.launch(&format!("(sh -c \"{rest}\" &); sleep 0.3; exit 6"));
    begin(&node, &launch);
    assert_eq!(node.wait(&launch.run).exit.code, Some(6));
    node.finish();
}

/// 5: the exit code is the program's, or tells the signal.
#[test]
fn the_exit_status_is_the_programs() {
    let Some(node) = Node::new("init::status") else { return };
    for (script, code, signal) in
        [("exit 0", 0, None), ("exit 255", 255, None), ("kill -15 $$", 143, Some(15))]
    {
        let (ended, _) = node.run(script);
        assert_eq!((ended.exit.code, ended.exit.signal), (Some(code), signal), "{script}");
    }
    node.finish();
}

/// 6: orphans become the first process's children, and it must wait for them.
#[test]
fn orphans_are_reaped_while_the_program_runs() {
    let Some(node) = Node::new("init::orphans") else { return };
    let script = "for i in 1 2 3 4 5; do (sh -c 'exit 9' &); done; \
                  while grep -q zombie /proc/[0-9]*/status 2>/dev/null; do :; done; echo clean";
    let (ended, text) = node.run(script);
    assert_eq!((ended.exit.code, text.as_str()), (Some(0), "clean\n"));
    node.finish();
}

/// 7: a stop from a terminal stops the program whole, and it goes on when it is told to.
#[test]
fn a_terminal_stop_stops_and_continues_the_program() {
    let Some(node) = Node::new("init::tstp") else { return };
    let launch = node.launch(
        "echo $$ > /tmp/pid; echo up; i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.02; done",
    );
    begin(&node, &launch);
    let state = || {
        let words = ["sh", "-c", "grep -h ^State /proc/$(cat /tmp/pid)/status"];
        node.exec(&launch.run, &words).unwrap().1
    };
    for signal in [20, 21, 22] {
        node.runner().signal(&launch.run, signal).unwrap();
        super::support::until("it is stopped", || state().contains("T (stopped)"));
        node.runner().signal(&launch.run, 18).unwrap();
        super::support::until("it goes on", || !state().contains("T (stopped)"));
    }
    end(&node, &launch);
    node.finish();
}

/// 8: the program is in a session of its own, with no signal blocked or ignored, and with no
/// descriptor of ours.
#[test]
fn the_program_starts_clean() {
    let Some(node) = Node::new("init::clean") else { return };
    let script = "grep -h '^Sig[BI]' /proc/self/status; ls /proc/$$/fd; \
                  [ $(cut -d' ' -f6 /proc/$$/stat) = $$ ] && echo leads";
    let (_, text) = node.run(script);
    // 32 and 33 are the C library's own, and cannot be set by a program.
    let text = text.replace("SigIgn:\t0000000080000000", "SigIgn:\t0000000000000000");
    let clean = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    let rest = text.strip_prefix(clean).unwrap_or_else(|| panic!("{text}"));
    let fds: Vec<_> = rest.lines().collect();
    // A shell keeps its own above 9.
    assert!(fds.starts_with(&["0", "1", "2"]) && fds.ends_with(&["leads"]), "{text}");
    assert!(!fds.contains(&"3"), "{text}");
    node.finish();
}
