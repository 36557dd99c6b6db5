//! Builds small static programs that this crate carries inside itself.
//!
//! `cargo run -p mason` builds one binary, so whatever else has to lie on the disk of a node must
//! be in it. Each program is built by a `cargo` of its own into a folder of its own (the outer one
//! holds the lock on the common folder), for a named target, so that the flags that make it static
//! do not reach build scripts and macros.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A program and the package it is in.
pub(crate) struct Program {
    pub(crate) package: &'static str,
    pub(crate) binary: &'static str,
}

/// What the outer build says to its compilers only.
const NOT_INHERITED: [&str; 8] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "LLVM_PROFILE_FILE",
];

/// Builds the programs; where each of them lies, in an environment variable of the crate's
/// compilation: `NESTED_<BINARY>`, in capitals and with `_` for `-`.
pub(crate) fn build(programs: &[Program]) {
    let variable = |name: &str| {
        std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
    };
    let (cargo, target) = (variable("CARGO"), variable("TARGET"));
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../../..");
    let folder = Path::new(&variable("OUT_DIR")).join("nested");
    let mut command = Command::new(cargo);
    command.current_dir(&root).args(["build", "--profile", "small", "--target", &target]);
    command.arg("--target-dir").arg(&folder);
    for program in programs {
        command.args(["-p", program.package, "--bin", program.binary]);
    }
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    command.env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static");
    let status = command.status().expect("the cargo that runs this runs another");
    assert!(status.success(), "the programs inside do not build: see above");
    for program in programs {
        let name = program.binary.to_uppercase().replace('-', "_");
        let path = folder.join(&target).join("small").join(program.binary);
        println!("cargo::rustc-env=NESTED_{name}={}", path.display());
    }
}
