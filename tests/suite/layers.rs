//! Who may know whom: dependencies point down only.
//!
//! ```text
//!     tools     benches  tests  xtask
//!     layer 4   mason ──► mason-node ──► mason-core     mason ──► etcd ──► etcd-api
//!     layer 3   kv
//!     layer 2   lsm   btree   raft
//!     layer 1   wal   membership
//!     layer 0   vfs
//!     side      sim ──► vfs
//! ```
//!
//! A reader can start at the bottom and never be surprised, and a user who takes one crate gets
//! only those below it. The rules, over what `cargo metadata` and the sources say:
//!
//! * A dependency of a crate of ours on another of ours goes to a lower rank, be it a normal, a
//!   build or a dev dependency. `sim` may be a dev dependency of anyone, and a normal one of tools.
//! * `membership` knows none of ours, so that it can be embedded anywhere. Nor does `raft` without
//!   its features: what it always needs is `bytes` (`docs/decisions/0010-one-raft-crate.md`).
//! * Below layer 4, `tokio` is an optional dependency (feature `runtime`) that only a module called
//!   `runtime` touches; the rest of the network edge (`tonic`, `hyper`, …) is not there at all.

use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use crate::tidy;

/// The order of the crates. A new crate must be given a place here before its tests pass.
const RANKS: [(&str, u32); 29] = [
    ("drystone-vfs", 0),
    ("drystone-sim", SIDE),
    ("drystone-wal", 10),
    ("drystone-wal-cli", 11),
    ("drystone-btree", 20),
    ("drystone-btree-cli", 21),
    ("drystone-raft", 20),
    ("drystone-raft-sim", TOOLS),
    ("drystone-membership", 10),
    ("drystone-membership-cli", EXAMPLES),
    ("drystone-membership-sim", TOOLS),
    ("drystone-lsm", 20),
    ("drystone-lsm-cli", 21),
    ("drystone-kv", 30),
    ("drystone-kv-model", 31),
    ("drystone-kv-sim", TOOLS),
    ("drystone-etcd-api", EXAMPLES),
    ("drystone-etcd-bolt", EXAMPLES),
    ("drystone-etcd", 41),
    ("mason-core", EXAMPLES),
    ("mason-shim", EXAMPLES),
    ("mason-tiny", EXAMPLES),
    ("mason-node", 41),
    ("mason", 42),
    ("mason-sim", TOOLS),
    ("drystone-etcd-faults", TOOLS),
    ("drystone-benches", TOOLS),
    ("drystone-tests", TOOLS),
    ("xtask", TOOLS),
];
const SIDE: u32 = 5;
const EXAMPLES: u32 = 40;
const TOOLS: u32 = 90;

/// Crates with nothing of ours beneath them.
const ALONE: [&str; 1] = ["drystone-membership"];

/// Models that speak the types of the crate whose tests compare it with them.
const MODELS: [(&str, &str); 1] = [("drystone-kv", "drystone-kv-model")];

/// Crates whose core stands on this alone; all else that they know is optional.
const CORES: [(&str, &[&str]); 1] = [("drystone-raft", &["bytes"])];

/// What only layer 4 may use, at any rate of optional.
const NETWORK_EDGE: [&str; 8] =
    ["axum", "hyper", "hyper-util", "tonic", "tonic-prost", "tower", "prost", "tokio-stream"];

/// One dependency of one crate, as much of it as the rules look at.
#[derive(Debug, Clone, Copy)]
struct Arrow<'a> {
    from: &'a str,
    to: &'a str,
    kind: DependencyKind,
    optional: bool,
}

fn rank(name: &str) -> Option<u32> {
    RANKS.iter().find(|(known, _)| *known == name).map(|(_, rank)| *rank)
}

/// What is wrong with one arrow, if anything.
fn complaint(arrow: Arrow<'_>) -> Option<String> {
    let Arrow { from, to, kind, optional } = arrow;
    let Some(from_rank) = rank(from) else {
        return Some(format!("{from} has no place in RANKS of tests/suite/layers.rs"));
    };
    let dev = kind == DependencyKind::Development;
    let core = CORES.iter().find(|(name, _)| *name == from);
    if let Some((_, needs)) = core
        && !dev
        && !optional
        && !needs.contains(&to)
    {
        return Some(format!(
            "{from} -> {to}: its core needs {needs:?} alone, all else is optional"
        ));
    }
    if let Some(to_rank) = rank(to) {
        let side = to_rank == SIDE && (dev || from_rank == TOOLS);
        let model = dev && MODELS.contains(&(from, to));
        if side || model || from == to && dev {
            return None;
        }
        if ALONE.contains(&from) {
            return Some(format!("{from} -> {to}: {from} depends on nothing of ours"));
        }
        let down = to_rank < from_rank && to_rank != SIDE;
        return (!down).then(|| format!("{from} -> {to} ({kind}): an arrow must point down"));
    }
    if from_rank >= EXAMPLES || dev {
        return None;
    }
    if NETWORK_EDGE.contains(&to) {
        return Some(format!("{from} -> {to}: the network edge belongs to layer 4"));
    }
    let bare = to == "tokio" && !optional;
    bare.then(|| format!("{from} -> tokio: below layer 4 it is optional, behind feature `runtime`"))
}

/// Lines outside a `runtime` module that mention tokio, in the sources of a crate below layer 4.
fn tokio_outside_runtime(path: &Path, text: &str) -> Vec<String> {
    let runtime = path
        .components()
        .any(|part| part.as_os_str() == "runtime" || part.as_os_str() == "runtime.rs");
    if runtime {
        return Vec::new();
    }
    let mentions = |line: &str| {
        let code = line.trim_start();
        !code.starts_with("//") && code.contains("tokio::")
    };
    let lines = text.lines().enumerate().filter(|(_, line)| mentions(line));
    lines
        .map(|(i, _)| format!("{}:{}: tokio outside a runtime module", path.display(), i + 1))
        .collect()
}

fn packages() -> Vec<Package> {
    let mut command = MetadataCommand::new();
    command.manifest_path(crate::root().join("Cargo.toml")).no_deps();
    command.exec().expect("cargo metadata reads this workspace").packages
}

/// The map in ARCHITECTURE.md is worth something only while it is true.
#[test]
fn dependencies_point_down() {
    let packages = packages();
    assert!(packages.len() >= 8, "cargo metadata lists the workspace");
    let mut complaints = Vec::new();
    for package in &packages {
        let from = package.name.as_str();
        if rank(from).is_none() {
            complaints.push(format!("{from} has no place in RANKS of tests/suite/layers.rs"));
        }
        for dependency in &package.dependencies {
            let (to, optional) = (dependency.name.as_str(), dependency.optional);
            complaints.extend(complaint(Arrow { from, to, kind: dependency.kind, optional }));
        }
    }
    crate::expect_none("layers", &complaints);
}

/// A pure core that reaches for a runtime can no longer be simulated.
#[test]
fn cores_do_not_touch_the_runtime() {
    let mut complaints = Vec::new();
    let below = |package: &&Package| rank(&package.name).is_some_and(|rank| rank < EXAMPLES);
    for package in packages().iter().filter(below) {
        let home = package.manifest_path.parent().expect("a manifest lies in a folder");
        for file in tidy::files(&home.join("src").into_std_path_buf(), "rs") {
            complaints.extend(tokio_outside_runtime(&file.path, &file.text));
        }
    }
    crate::expect_none("runtime", &complaints);
}

fn arrow<'a>(from: &'a str, to: &'a str) -> Arrow<'a> {
    Arrow { from, to, kind: DependencyKind::Normal, optional: false }
}

/// The rule must see each kind of wrong arrow, or a green run says nothing.
#[test]
fn arrow_up_or_sideways_is_refused() {
    let bad = [
        arrow("drystone-wal", "drystone-kv"),
        arrow("drystone-wal", "drystone-btree"),
        arrow("drystone-raft", "drystone-vfs"),
        arrow("drystone-raft", "parking_lot"),
        Arrow { optional: true, ..arrow("drystone-raft", "drystone-kv") },
        Arrow { optional: true, ..arrow("drystone-raft", "drystone-lsm") },
        arrow("drystone-membership", "drystone-vfs"),
        arrow("drystone-kv", "drystone-sim"),
        arrow("drystone-kv", "tonic"),
        arrow("drystone-raft", "tokio"),
        arrow("drystone-unheard-of", "bytes"),
        Arrow { kind: DependencyKind::Build, ..arrow("drystone-vfs", "drystone-wal") },
        Arrow { kind: DependencyKind::Development, ..arrow("drystone-wal", "drystone-kv") },
        Arrow { optional: true, ..arrow("drystone-kv", "hyper") },
    ];
    for arrow in bad {
        assert!(complaint(arrow).is_some(), "{arrow:?} was let through");
    }
}

/// And it must not stand in the way of what the map allows.
#[test]
fn arrow_down_is_allowed() {
    let good = [
        arrow("drystone-kv", "drystone-wal"),
        arrow("drystone-etcd", "drystone-etcd-api"),
        arrow("drystone-etcd", "tonic"),
        arrow("drystone-benches", "drystone-sim"),
        arrow("drystone-vfs", "rustix"),
        arrow("drystone-raft", "bytes"),
        Arrow { optional: true, ..arrow("drystone-raft", "tokio") },
        Arrow { optional: true, ..arrow("drystone-raft", "drystone-wal") },
        Arrow { kind: DependencyKind::Development, ..arrow("drystone-raft", "drystone-sim") },
        Arrow { kind: DependencyKind::Development, ..arrow("drystone-wal", "tokio") },
    ];
    for arrow in good {
        assert_eq!(complaint(arrow), None, "{arrow:?}");
    }
}

/// The source rule looks at code, not at comments, and knows where the runtime lives.
#[test]
fn tokio_is_seen_outside_the_runtime_only() {
    let text = "//! Runs on tokio::spawn.\nuse tokio::net::TcpStream;\n";
    let seen = tokio_outside_runtime(Path::new("raft/src/election.rs"), text);
    assert_eq!(seen, ["raft/src/election.rs:2: tokio outside a runtime module"]);
    assert!(tokio_outside_runtime(Path::new("raft/src/runtime.rs"), text).is_empty());
    assert!(tokio_outside_runtime(Path::new("raft/src/runtime/net.rs"), text).is_empty());
}
