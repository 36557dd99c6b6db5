//! Turns `proto/peer.proto` into Rust at build time, without `protoc`.

use std::io;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["peer.proto"], ["proto"]).map_err(io::Error::other)?;
    tonic_prost_build::configure()
        // Commands travel from the socket into the log: share them, do not copy them.
        .bytes(".")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
}
