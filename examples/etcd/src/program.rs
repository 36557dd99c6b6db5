//! What the command line does.
//!
//! ```text
//!   words ──┬── dev … ────────► `dev`: processes of this program, a cluster to try things on
//!           ├── snapshot … ───► `restore`: a data directory; or what a copy holds
//!           ├── backup … ─────► `backup`: a copy and what came since, and any moment of it back
//!           ├── migrate … ────► `migrate`: a data directory from one of etcd's
//!           ├── inspect … ────► `inspect`: what a data directory or a member holds
//!           ├── bench … ──────► `bench`: what this machine, or any etcd, can do
//!           ├── check … ──────► `check`: whether this machine, or that cluster, is good enough
//!           ├── gateway … ────► `forward`: hands TCP connections on to members
//!           ├── grpc-proxy … ─► `proxy`: a proxy in front of members
//!           └── flags ────────► log, scheduling policy, signals ──► `server`: a member
//! ```
//!
//! All that concerns the whole process is done here, and not in the member: one that is embedded
//! ([`crate::embed`]) leaves it to its host. What cannot be undone, the memory allocator, is in
//! `main.rs`.

use std::ffi::OsString;
use std::process::ExitCode;

use rustix::process::{Signal, getpid};

use crate::config::{self, Config, Start};
use crate::server::{self, End};
use crate::signalled::Process;
use crate::{
    backup, bench, check, dev, forward, inspect, logging, migrate, proxy, restore, scheduling,
};

/// Says what is wrong with the words behind a command, or helps, as they ask.
pub(crate) fn misread(error: &clap::Error) -> ExitCode {
    // To print is all that can be done about it.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// The words of `gateway` or `grpc-proxy` with `start` before its flags. etcd takes it behind them
/// as well: `gateway --endpoints=a:2379 start`.
fn start_first(words: &[OsString]) -> Vec<OsString> {
    let mut words = words.to_vec();
    let is_flag = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
    // What is neither a flag nor may be the value of the one before it is another command.
    let is_other = |at: usize| !is_flag(&words[at]) && (at == 1 || !is_flag(&words[at - 1]));
    let stop = (1..words.len()).find(|&at| words[at] == "start" || is_other(at));
    if let Some(at) = stop.filter(|&at| words[at] == "start") {
        words[1..=at].rotate_right(1);
    }
    words
}

/// Does what the command line says: `words` are what follows the program's name, `env` is where
/// flags that it does not have are looked for. Returns when all is done, or dies by the signal that
/// ended it.
pub fn run(words: Vec<OsString>, env: impl IntoIterator<Item = (OsString, OsString)>) -> ExitCode {
    match words.first().and_then(|word| word.to_str()) {
        Some("dev") => return dev::run(&words),
        Some("snapshot") => return restore::run(&words[1..]),
        Some("backup") => return backup::run(&words),
        Some("migrate") => return migrate::run(&words),
        Some("inspect") => return inspect::run(&words),
        Some("bench") => return bench::run(&words),
        Some("check") => return check::run(&words),
        Some("gateway") => return forward::run(&start_first(&words)),
        Some("grpc-proxy") => return proxy::run(&start_first(&words)[1..]),
        _ => {}
    }
    match config::read(words, env) {
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
    if let Some(path) = &config.file {
        let loaded = "loaded server configuration, other configuration command line flags and \
            environment variables will be ignored if provided";
        tracing::info!(path = %path.display(), "{loaded}");
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    // Before there are other threads: they inherit it.
    if let Err(error) = scheduling::prefer_throughput() {
        tracing::info!(%error, "threads run under the usual scheduling policy");
    }
    match server::run(config.clone(), Process) {
        Ok(End::Signal(signal)) => die_by(signal),
        // Removed from the cluster: there is nothing left to do, and nothing to restart.
        Ok(End::Removed | End::Asked) => ExitCode::SUCCESS,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_may_stand_behind_its_flags() {
        let check = |words: &str, wanted: &str| {
            let words: Vec<_> = words.split(' ').map(OsString::from).collect();
            let wanted: Vec<_> = wanted.split(' ').map(OsString::from).collect();
            assert_eq!(start_first(&words), wanted);
        };
        check("gateway start --a=b", "gateway start --a=b");
        check("gateway --a=b start --c d", "gateway start --a=b --c d");
        check("gateway --a b --on start", "gateway start --a b --on");
        check("gateway halt start", "gateway halt start");
        check("gateway --a", "gateway --a");
        check("gateway", "gateway");
    }
}
