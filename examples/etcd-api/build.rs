//! Turns `proto/*.proto` into Rust at build time.
//!
//! The usual road needs the `protoc` program on the machine. Here protox, a compiler written in
//! Rust, reads the files, and tonic's generator takes its descriptors over, so that
//! `cargo build` is all anybody needs.

use std::{env, fs, io, path::PathBuf};

use prost::Message as _;

/// Every file, the ones that others import first.
const FILES: [&str; 12] = [
    "mvcc.proto",
    "permission.proto",
    "header.proto",
    "kv.proto",
    "watch.proto",
    "lease.proto",
    "cluster.proto",
    "maintenance.proto",
    "auth.proto",
    "lock.proto",
    "election.proto",
    "health.proto",
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=proto");
    let mut descriptors = protox::compile(FILES, ["proto"]).map_err(io::Error::other)?;

    tonic_prost_build::configure()
        // Keys and values travel from the socket into the store: share them, do not copy them.
        .bytes(".")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors.clone())?;

    // Comments have done their work once the Rust exists; only names and numbers are left to tell.
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    let out_dir = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    fs::write(PathBuf::from(out_dir).join("descriptors.bin"), descriptors.encode_to_vec())
}
