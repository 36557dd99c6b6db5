//! What nobody knows is found, told and removed; what is known is left alone.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use mason_core::record::Reason;
use mason_core::types::RunId;
use mason_node::runtime::{LeftoverKind, Status};

use super::support::{Node, locate};

/// Each of the five kinds, made by hand, as a crash or a stranger would leave it.
#[test]
fn five_kinds_of_leftovers_are_found_and_removed() {
    let Some(node) = Node::new("sweep::kinds") else { return };
    let data = node.data().to_owned();
    // A control group with a process in it.
    let known = node.launch("echo up; sleep 1000");
    node.start(&known);
    let group = format!("mason/{}/ghost-group", node.config.node);
    let hierarchy = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
        .into_iter()
        .find(|at| std::path::Path::new(at).join("cgroup.procs").exists())
        .unwrap();
    let group = std::path::Path::new(hierarchy).join(group);
    fs::create_dir_all(&group).unwrap();
    let mut ghost =
        Command::new(locate("busybox").unwrap()).args(["sleep", "1000"]).spawn().unwrap();
    fs::write(group.join("cgroup.procs"), ghost.id().to_string()).unwrap();
    // The socket of a keeper, a mount, a namespace.
    drop(std::os::unix::net::UnixListener::bind(data.join("s/ghost-socket")).unwrap());
    let mounted = data.join("runs/ghost-mount/memory");
    fs::create_dir_all(&mounted).unwrap();
    assert!(
        Command::new("mount").args(["-t", "tmpfs", "x"]).arg(&mounted).status().unwrap().success()
    );
    fs::write(data.join("net/ghost-net"), "").unwrap();
    let bind = format!("mount --bind /proc/self/ns/net {}", data.join("net/ghost-net").display());
    assert!(Command::new("unshare").args(["-n", "sh", "-c", &bind]).status().unwrap().success());
    let found = node.runner().sweep(&BTreeSet::from([known.run.clone()])).unwrap();
    assert!(ghost.wait().unwrap().code().is_none(), "the process was killed");
    let kinds: Vec<_> =
        found.iter().map(|leftover| (leftover.run.as_str(), leftover.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("ghost-group", LeftoverKind::ControlGroup),
            ("ghost-mount", LeftoverKind::Mount),
            ("ghost-mount", LeftoverKind::Folder),
            ("ghost-net", LeftoverKind::NetworkNamespace),
            ("ghost-socket", LeftoverKind::Keeper),
        ]
    );
    assert!(found.iter().all(|leftover| leftover.error.is_none()), "{found:?}");
    assert!(matches!(node.runner().look(&known.run), Ok(Status::Running(_))));
    node.runner().kill(&known.run, Reason::Stopped).unwrap();
    node.wait(&known.run);
    node.finish();
}

/// A run that the store does not know is stopped, with its keeper, whether its folder is there or
/// not; and nothing of a neighbour's is touched.
#[test]
fn an_unknown_run_is_stopped_whole() {
    let Some(node) = Node::new("sweep::unknown") else { return };
    let Some(neighbour) = Node::new("sweep::neighbour") else { return };
    let theirs = neighbour.launch("echo up; sleep 1000");
    neighbour.start(&theirs);
    for keeps_folder in [true, false] {
        let ghost = node.launch("echo up; sleep 1000");
        node.start(&ghost);
        if !keeps_folder {
            fs::remove_dir_all(node.data().join("runs").join(ghost.run.as_str())).unwrap();
        }
        let found = node.runner().sweep(&BTreeSet::<RunId>::new()).unwrap();
        let has = |kind| found.iter().any(|leftover| leftover.kind == kind);
        assert!(has(LeftoverKind::Keeper) && has(LeftoverKind::ControlGroup), "{found:?}");
        assert_eq!(has(LeftoverKind::Folder), keeps_folder);
        let left = node.leftovers();
        let of_run: Vec<_> = left.iter().filter(|what| what.contains(ghost.run.as_str())).collect();
        assert!(of_run.is_empty(), "{of_run:?}");
    }
    assert!(matches!(neighbour.runner().look(&theirs.run), Ok(Status::Running(_))));
    neighbour.runner().kill(&theirs.run, Reason::Stopped).unwrap();
    neighbour.wait(&theirs.run);
    neighbour.finish();
    node.finish();
}
