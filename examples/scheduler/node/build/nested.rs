//! Small static programs, built by a cargo of their own while this crate is built.
//!
//! A container's file system holds no C library that we could count on, so what runs in it must be
//! static; and a node needs these programs before it has any other file. So they are built here and
//! embedded: `include_bytes!(concat!(env!("OUT_DIR"), "/<binary>"))`.
//!
//! * A target folder of its own: the outer cargo holds the lock of the one that it works in.
//! * An explicit `--target`, so that `+crt-static` reaches the programs and not build scripts or
//!   procedure macros, which cannot be static.
//! * Variables that the outer cargo, clippy or a coverage tool left in the environment are taken
//!   out: they speak of the outer build.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the outer build says of itself and the inner one must not hear.
const NOT_OURS: [&str; 11] = [
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "LLVM_PROFILE_FILE",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "__CARGO_DEFAULT_LIB_METADATA",
];

/// Builds each (package, binary) and puts the binary into `OUT_DIR` under its own name.
///
/// # Panics
/// If one cannot be built: cargo shows what the inner cargo said.
pub(crate) fn build(programs: &[(&str, &str)]) {
    let out = PathBuf::from(variable("OUT_DIR"));
    let target = variable("TARGET");
    let nested = out.join("nested");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    for (package, binary) in programs {
        watch(package);
        let mut cargo = Command::new(variable("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--profile", "small"]);
        cargo.args(["--package", package, "--bin", binary, "--target", &target, "--target-dir"]);
        cargo.arg(&nested);
        for name in NOT_OURS {
            cargo.env_remove(name);
        }
        // Paths of this machine would get into the bytes, and with them into the image's digest.
        let root = workspace();
        let remap = format!("--remap-path-prefix={}=/mason", root.display());
        // Not moved about in memory: what needs no relocation is shared by all keepers.
        let flags = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static", &remap];
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        let status = cargo.current_dir(&root).status();
        let status = status.unwrap_or_else(|error| panic!("cannot run the inner cargo: {error}"));
        assert!(status.success(), "the inner build of {package} failed: {status}");
        let built = nested.join(&target).join("small").join(binary);
        std::fs::copy(&built, out.join(binary))
            .unwrap_or_else(|error| panic!("no program at {}: {error}", built.display()));
    }
}

/// Has cargo run this again when the package's sources change.
fn watch(package: &str) {
    let name = package.strip_prefix("mason-").unwrap_or(package);
    let folder = Path::new(&variable("CARGO_MANIFEST_DIR")).join("..").join(name);
    println!("cargo::rerun-if-changed={}", folder.join("src").display());
    println!("cargo::rerun-if-changed={}", folder.join("Cargo.toml").display());
}

/// The root of the repository: this crate is three folders below it.
fn workspace() -> PathBuf {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(3).expect("this crate is three folders below the root").to_owned()
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
