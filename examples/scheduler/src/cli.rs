//! The command line: `mason dev`, `server`, `agent`, and all that people ask of a server.
//!
//! ```text
//!   mason dev ──────────────► a store, a server and agents in one process
//!   mason server, agent ────► one role, until it is told to end
//!   mason run, apply, get … ► asks a server: --server, MASON_URL, or the `dev` of this user
//! ```
//!
//! | module | holds |
//! |---|---|
//! | `server`, `agent` | the roles, as processes |
//! | `gossip` | where they gossip |
//! | `target` | which server is asked, and with what token |
//! | `exit`, `text`, `log` | how commands end, and what a terminal is given |

mod agent;
mod exit;
mod gossip;
mod log;
mod server;
mod signals;
mod target;
mod text;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use exit::Exit;

/// A scheduler that runs container jobs, over any etcd v3.
#[derive(Debug, Parser)]
#[command(name = "mason", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Begin with `mason dev`, and read docs/cli.md.")]
struct Cli {
    #[command(flatten)]
    log: log::LogArgs,
    #[command(flatten)]
    target: target::TargetArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a server: it answers, and leads or waits to
    Server(server::ServerArgs),
    /// Run an agent: it runs on this machine what the store binds to it
    Agent(Box<agent::AgentArgs>),
    /// Print the version
    Version,
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = cli.log.begin(is_role(&cli.command)) {
        exit::complain(&error);
        return Exit(2).into();
    }
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            exit::complain(&error);
            Exit::of(&error).into()
        }
    }
}

/// Whether it runs until it is told to end, and says what it does.
fn is_role(command: &Command) -> bool {
    matches!(command, Command::Server(_) | Command::Agent(_))
}

fn run(cli: Cli) -> Result<Exit> {
    let token = cli.target.token()?;
    match cli.command {
        Command::Server(args) => on(&multi()?, server::run(args, token)),
        Command::Agent(args) => on(&single()?, agent::run(*args, token)),
        Command::Version => {
            println!("mason {}", env!("CARGO_PKG_VERSION"));
            Ok(Exit::DONE)
        }
    }
}

/// What a role that mostly waits runs on.
fn single() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("start the runtime")
}

/// What a server runs on: its leader decides while it answers.
fn multi() -> Result<Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all().build().context("start the runtime")
}

fn on(runtime: &Runtime, command: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    runtime.block_on(command)
}
