//! What containers print, and what is run in them besides.

use std::io::{Read, Write};

use mason_core::record::Reason;
use mason_node::log::{Event, Stream};
use mason_node::runtime::Error;
use mason_shim::request::Exec;

use super::support::Node;

/// Output keeps its bytes, its streams and its order.
#[test]
fn output_is_kept_as_it_was_printed() {
    let Some(node) = Node::new("output::bytes") else { return };
    let launch = node.launch("printf 'a\\000\\377'; sleep 0.05; echo err >&2; sleep 0.05; echo b");
    node.run_launch(&launch);
    let mut cursor = node.runner().logs(&launch.run).from(0);
    let mut found = Vec::new();
    while let Some(Event::Output { stream, bytes, .. }) = cursor.read().unwrap() {
        found.push((stream, bytes));
    }
    assert_eq!(
        found,
        [
            (Stream::Stdout, b"a\0\xff".to_vec()),
            (Stream::Stderr, b"err\n".to_vec()),
            (Stream::Stdout, b"b\n".to_vec()),
        ]
    );
    assert!(cursor.is_over());
    node.finish();
}

/// A container that prints without end must neither fill the disk nor be slowed to a stop.
#[test]
fn a_hundred_megabytes_are_rotated_and_the_end_is_kept() {
    let Some(node) = Node::new("output::much") else { return };
    let launch = node.launch("dd if=/dev/zero bs=1M count=100 2>/dev/null | tr '\\0' x; echo end");
    node.start(&launch);
    let ended = node.wait(&launch.run);
    assert_eq!(ended.exit.code, Some(0));
    let reader = node.runner().logs(&launch.run);
    assert_eq!(reader.tail_bytes(8, true).unwrap(), b"xxxxend\n");
    let oldest = reader.oldest().unwrap().offset();
    let mut cursor = reader.from(0);
    let first = cursor.read().unwrap();
    assert_eq!(first, Some(Event::Gone { offset: 0, bytes: oldest }));
    assert!(oldest > (80 << 20) && oldest < (101 << 20), "{oldest}");
    let log = node.data().join("runs").join(launch.run.as_str()).join("log");
    let files = std::fs::read_dir(log).unwrap().flatten();
    let kept: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(kept <= node.config.log.total_bytes + (1 << 20), "{kept}");
    node.finish();
}

/// People look into a container that runs: streams, code, variables, place.
#[test]
fn something_can_be_run_in_a_container() {
    let Some(node) = Node::new("output::exec") else { return };
    for class in node.config.classes.clone() {
        let mut launch = node.launch("echo up; sleep 1000");
        launch.task.runtime = Some(class.name.clone());
        launch.env = vec![("KEPT".to_owned(), "yes".to_owned())];
        node.start(&launch);
        node.wait_for_text(&launch.run, "up");
        let words = "cat; echo $KEPT $MORE $PWD >&2; exit 5";
        let exec = Exec {
            command: ["sh", "-c", words].map(str::to_owned).into(),
            env: vec!["MORE=too".to_owned()],
            workdir: Some("/tmp".to_owned()),
        };
        let mut process = node.runner().exec(&launch.run, &exec).unwrap();
        process.stdin.take().unwrap().write_all(b"typed").unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        process.stdout.read_to_string(&mut out).unwrap();
        process.stderr.read_to_string(&mut err).unwrap();
        assert_eq!((out.as_str(), err.as_str()), ("typed", "yes too /tmp\n"), "{}", class.name);
        assert_eq!(process.wait().unwrap(), 5);
        let (code, status) = node.exec(&launch.run, &["cat", "/proc/self/status"]).unwrap();
        assert_eq!(code, 0);
        for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(line), "{}: {line} not in {status}", class.name);
        }
        node.runner().kill(&launch.run, Reason::Stopped).unwrap();
        node.wait(&launch.run);
        assert!(matches!(node.exec(&launch.run, &["true"]), Err(Error::NotRunning(_))));
    }
    node.finish();
}

/// Whoever goes away must not leave their shell behind.
#[test]
fn what_was_run_ends_with_its_caller() {
    let Some(node) = Node::new("output::exec_dropped") else { return };
    let launch = node.launch("echo up; sleep 1000");
    node.start(&launch);
    node.wait_for_text(&launch.run, "up");
    let command = ["sh", "-c", "echo here; exec sleep 4321"].map(str::to_owned).into();
    let exec = Exec { command, ..Exec::default() };
    let mut process = node.runner().exec(&launch.run, &exec).unwrap();
    let mut word = [0; 5];
    process.stdout.read_exact(&mut word).unwrap();
    drop(process);
    super::support::until("the shell is gone", || {
        let (_, text) = node.exec(&launch.run, &["ps"]).unwrap();
        !text.contains("sleep 4321")
    });
    node.runner().kill(&launch.run, Reason::Stopped).unwrap();
    node.wait(&launch.run);
    node.finish();
}
