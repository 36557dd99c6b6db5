//! `drystone-etcd`: an etcd v3 server, as a program. The library of the same name is what it does.

use std::env;
use std::process::ExitCode;

/// Half of what a put costs in memory management is saved by an allocator that frees cheaply what
/// another thread allocated: requests are born on one thread and end on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    drystone_etcd::program::run(env::args_os().skip(1).collect(), env::vars_os())
}
