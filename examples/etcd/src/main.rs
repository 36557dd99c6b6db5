//! `drystone-etcd`: an etcd v3 server, alone or as a member of a cluster, assembled from drystone
//! crates.
//!
//! **The problem.** Programs that speak etcd v3 exist by the hundred, and what they rely on is not
//! written down in one place: codes, texts, headers, the order of checks, what a flag means.
//!
//! **The idea.** [`drystone_kv`] is the store: revisions, transactions, leases, watches, replicated
//! by consensus. This program is the skin that makes it etcd. It adds no state and no semantics of
//! its own.
//!
//! ```text
//!   TCP, Unix ──► listener ──► worker (one a core) ──► connection (HTTP/1, HTTP/2)
//!                                                         │
//!                        http_routes ◄── dispatch ────────┤ gRPC
//!                                                         ▼
//!         error_text ◄── service::{kv, watch, lease, …} ──► convert ──► drystone_kv
//!                                                                           │
//!   other members ◄──────────────────── peers ◄── consensus, questions ─────┘
//! ```
//!
//! Start reading at [`server`] for its life, at [`dispatch`] for the life of a request, at
//! [`place`] for its place among the others. `README.md` says what is there and what is not.

mod config;
mod dev;
mod logging;
mod version;

mod data_dir;
mod disk;
mod formation;
mod identity;
mod inspect;
mod peers;
mod restore;
mod store;

mod compactor;
mod leaders;
mod member;
mod patience;
mod place;
mod scheduling;
mod server;
mod shutdown;

mod connection;
mod listener;
mod notify;
mod relay;
mod worker;

mod call;
mod dispatch;
mod grpc_head;
mod grpc_method;
mod http_routes;
mod metrics;
mod unary;

mod convert;
mod error_text;
mod service;

use std::process::ExitCode;

use config::{Config, Start};
use rustix::process::{Signal, getpid};

/// Half of what a put costs in memory management is saved by an allocator that frees cheaply what
/// another thread allocated: requests are born on one thread and end on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    if words.first().is_some_and(|word| word == "dev") {
        return dev::run(&words);
    }
    if words.first().is_some_and(|word| word == "snapshot") {
        return restore::run(&words[1..]);
    }
    if words.first().is_some_and(|word| word == "inspect") {
        return inspect::run(&words);
    }
    match config::read(words, std::env::vars_os()) {
        Start::Print(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Start::Refuse(error, status) => {
            eprintln!("{error}");
            ExitCode::from(status)
        }
        Start::Serve(config, warnings) => serve(&config, &warnings),
    }
}

fn serve(config: &Config, warnings: &[String]) -> ExitCode {
    if let Err(error) = logging::start(&config.log) {
        eprintln!("cannot open the log: {error}");
        return ExitCode::FAILURE;
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // Before there are other threads: they inherit it.
    if let Err(error) = scheduling::prefer_throughput() {
        tracing::info!(%error, "threads run under the usual scheduling policy");
    }
    match server::run(config) {
        Ok(Some(signal)) => die_by(signal),
        // Removed from the cluster: there is nothing left to do, and nothing to restart.
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, where whoever started us looks, and in the log if that is elsewhere.
            if !config.log.is_on_stderr() {
                tracing::error!(error = format!("{error:#}"), "failed to start etcd");
            }
            eprintln!("drystone-etcd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the process the way the signal would have: a supervisor sees that it was obeyed. The first
/// process of a container cannot die by a signal, and leaves with success.
fn die_by(signal: Signal) -> ExitCode {
    if getpid().is_init() {
        return ExitCode::SUCCESS;
    }
    match signal_hook::low_level::emulate_default_handler(signal.as_raw()) {
        // It returns only when the signal did not kill us.
        Ok(()) | Err(_) => ExitCode::FAILURE,
    }
}
