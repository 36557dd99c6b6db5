//! gVisor, which puts a kernel of its own between a container and the node's.

use mason_core::record::Reason;
use mason_core::spec::Stop;
use mason_node::runtime::{Class, Network};

use super::support::{Node, install, locate, skip};

/// Where `runsc` is. It is installed only if slow tests are asked for.
fn runsc(test: &str) -> Option<std::path::PathBuf> {
    let is_asked = std::env::var("SLOW").as_deref() == Ok("1");
    if let Some(found) = locate("runsc") {
        return Some(found);
    }
    if !is_asked {
        let text = format!("NOT RUN {test}: there is no runsc, which SLOW=1 would install\n");
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        return None;
    }
    if let Err(reason) = install(&["runsc"]) {
        skip(test, &reason);
    }
    locate("runsc")
}

/// The same spec runs there, in either network, and is told, stopped and removed as elsewhere.
#[test]
fn a_container_in_a_sandbox_runs_ends_and_goes() {
    let test = "sandbox::a_container_in_a_sandbox_runs_ends_and_goes";
    let Some(program) = runsc(test) else { return };
    for network in [Network::Private, Network::Host] {
        let change = |config: &mut mason_node::runtime::Config| {
            config.classes = vec![Class::runsc(program.clone())];
            config.network = network;
        };
        let Some(node) = Node::with(test, change) else { return };
        let (ended, text) = node.run("dmesg | grep -c gVisor; echo $0 >&2; exit 3");
        assert_eq!((ended.exit.reason, ended.exit.code), (Reason::Exited, Some(3)), "{ended:?}");
        assert_eq!(text, "1\nsh\n");
        let launch =
            node.launch("trap 'echo told; exit 4' TERM; echo up; while :; do sleep 1; done");
        node.start(&launch);
        node.wait_for_text(&launch.run, "up");
        assert_eq!(node.exec(&launch.run, &["echo", "in"]).unwrap(), (0, "in\n".to_owned()));
        let stop = Stop { signal: 15, grace: 20_000 };
        node.runner().stop(&launch.run, &stop, Reason::Drained).unwrap();
        let ended = node.wait(&launch.run);
        assert_eq!((ended.exit.reason, ended.exit.code), (Reason::Drained, Some(4)), "{ended:?}");
        let held = node.launch("echo up; sleep 1000");
        node.start(&held);
        node.runner().kill(&held.run, Reason::Stopped).unwrap();
        assert_eq!(node.wait(&held.run).exit.reason, Reason::Stopped);
        node.finish();
    }
}
