//! Questions reach a container that is in a network of its own.

use std::time::{Duration, Instant};

use mason_core::record::Reason;
use mason_core::spec::Check;
use mason_node::runtime::probe;

use super::support::{LONG, Node, until};

/// A rolling update waits for these answers, and a wrong one sends people to a dead task.
#[test]
fn each_kind_of_probe_tells_good_from_bad() {
    let Some(node) = Node::new("probes") else { return };
    let script = "mkdir /tmp/www; echo hi > /tmp/www/ok; httpd -p 8080 -h /tmp/www; \
                  (while :; do echo junk | nc -l -p 9090; done) & echo up; sleep 1000";
    let launch = node.launch(script);
    let running = node.start(&launch);
    node.wait_for_text(&launch.run, "up");
    let time = Duration::from_secs(5);
    let ask = |check: &Check| probe::check(node.runner(), (&launch.run, &running), check, time);
    let http = |port, path: &str| ask(&Check::Http { port, path: path.to_owned() });
    let exec = |words: &[&str]| {
        ask(&Check::Exec { command: words.iter().map(|&word| word.to_owned()).collect() })
    };
    until("the server listens", || http(8080, "/ok").is_ok());
    assert_eq!(ask(&Check::Tcp { port: 8080 }), Ok(()));
    assert!(ask(&Check::Tcp { port: 8081 }).unwrap_err().contains("refused"));
    assert!(http(8080, "/missing").unwrap_err().contains("404"));
    assert!(http(9090, "/").unwrap_err().contains("no HTTP"));
    assert_eq!(exec(&["test", "-f", "/tmp/www/ok"]), Ok(()));
    assert!(exec(&["false"]).unwrap_err().contains("ended with 1"));
    assert_eq!(exec(&["sh", "-c", "yes | head -c 1000000"]), Ok(()));
    node.runner().kill(&launch.run, Reason::Stopped).unwrap();
    node.wait(&launch.run);
    node.finish();
}

/// A task that hangs must count as bad in time, and its probe must not stay behind.
#[test]
fn a_probe_that_hangs_is_bad_in_time() {
    let Some(node) = Node::new("probes::hang") else { return };
    let mut launch = node.launch("nc -l -p 7070 -e sleep 1000 & echo up; sleep 1000");
    launch.task.limit.pids = 20;
    let running = node.start(&launch);
    node.wait_for_text(&launch.run, "up");
    let time = Duration::from_millis(300);
    let check = |check: &Check| probe::check(node.runner(), (&launch.run, &running), check, time);
    until("it listens", || {
        check(&Check::Http { port: 7070, path: "/".to_owned() })
            .is_err_and(|why| !why.contains("refused"))
    });
    let begun = Instant::now();
    let command = ["sleep", "1000"].map(str::to_owned).into();
    assert!(check(&Check::Exec { command }).unwrap_err().contains("longer"));
    assert!(begun.elapsed() < Duration::from_secs(10) && begun.elapsed() < LONG);
    node.runner().kill(&launch.run, Reason::Stopped).unwrap();
    node.wait(&launch.run);
    node.finish();
}

/// What a probe leaves behind in the container holds its output, perhaps for ever; probed every
/// second, an agent that waited for the end of it would run out of threads and descriptors.
#[test]
fn a_probe_that_leaves_something_behind_leaves_nothing_here() {
    let Some(node) = Node::new("probes::behind") else { return };
    let command = ["sh", "-c", "sleep 1000 & yes | head -c 300000"].map(str::to_owned).into();
    let check = Check::Exec { command };
    let ends = || {
        // Other tests of this process have pipes of their own, a few at a time.
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let pipe =
            |path: std::path::PathBuf| path.to_str().is_some_and(|it| it.starts_with("pipe"));
        all.filter(|it| std::fs::read_link(it.path()).is_ok_and(pipe)).count()
    };
    for class in &node.config.classes {
        let mut launch = node.launch("echo up; sleep 1000");
        launch.task.runtime = Some(class.name.clone());
        let running = node.start(&launch);
        node.wait_for_text(&launch.run, "up");
        let before = ends();
        for _ in 0..20 {
            // Some runtimes wait for what it leaves, some do not: the answer may be either.
            let time = Duration::from_millis(400);
            let _ = probe::check(node.runner(), (&launch.run, &running), &check, time);
        }
        until("its pipes are closed", || ends() < before + 20);
        node.runner().kill(&launch.run, Reason::Stopped).unwrap();
        node.wait(&launch.run);
    }
    node.finish();
}
