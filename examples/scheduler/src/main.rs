//! `mason`, as a program. The library of the same name is what it does.

use std::process::ExitCode;

/// Frees cheaply what another thread allocated: requests are born on one thread and end on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mason::cli::main()
}
