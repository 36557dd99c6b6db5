//! Finds the system's RocksDB; to build it from source would take an hour here.

use std::path::Path;

/// Debian's place, and that of whoever installs by hand.
const HEADERS: [&str; 2] = ["/usr/include/rocksdb/c.h", "/usr/local/include/rocksdb/c.h"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_ROCKSDB").is_none() {
        return;
    }
    for header in HEADERS {
        println!("cargo:rerun-if-changed={header}");
    }
    assert!(
        HEADERS.iter().any(|header| Path::new(header).exists()),
        "\n\nRocksDB is not installed. On Debian:\n\n    apt-get install librocksdb-dev\n\n\
         To build without it: --no-default-features\n"
    );
    println!("cargo:rustc-link-search=native=/usr/local/lib");
    println!("cargo:rustc-link-lib=dylib=rocksdb");
}
