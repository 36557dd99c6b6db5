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
//! | `target` | which server is asked, and with what token |
//! | `dev` | all of them in one |
//! | `run`, `exec`, `logs`, `follow` | containers and what they print |
//! | `apply`, `change` | what is wanted |
//! | `get`, `show`, `explain`, `events` | what is |
//! | `nodes`, `images`, `secrets` | what an operator sees to |
//! | `object`, `table`, `clock` | names, tables, times |
//! | `exit`, `text`, `log` | how commands end, and what a terminal is given |

mod agent;
mod apply;
mod change;
mod clock;
mod dev;
mod events;
mod exec;
mod exit;
mod explain;
mod follow;
mod get;
mod images;
mod log;
mod logs;
mod nodes;
mod object;
mod run;
mod secrets;
mod server;
mod show;
mod signals;
mod table;
mod target;
mod text;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::api::client::{Client, Path};
use crate::api::wire::Health;

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
    /// Run all of it in this process, to try it
    Dev(Box<dev::DevArgs>),
    /// Run a server: it answers, and leads or waits to
    Server(server::ServerArgs),
    /// Run an agent: it runs on this machine what the store binds to it
    Agent(Box<agent::AgentArgs>),
    /// Run a container, print what it prints, and end as it ends
    Run(run::RunArgs),
    /// Take in manifests: mason's own, Kubernetes' or Argo's
    Apply(apply::ApplyArgs),
    /// Say what an apply would do: exit code 0 nothing, 1 something, 2 an error
    Plan(apply::ApplyArgs),
    /// Show what there is
    Get(get::GetArgs),
    /// Show all that is known of an object
    Describe(show::ShowArgs),
    /// Show an object, its tasks and what it made, as a tree
    Status(show::ShowArgs),
    /// Print what tasks print
    Logs(logs::LogsArgs),
    /// Say why a task is where it is, or why it waits
    Explain(explain::ExplainArgs),
    /// Show what happened
    Events(events::EventsArgs),
    /// Wait until something holds
    Wait(events::WaitArgs),
    /// Run something in a container
    Exec(exec::ExecArgs),
    /// Stop an object and remove it
    #[command(alias = "delete")]
    Stop(change::ChangeArgs),
    /// Try again what failed
    Retry(change::ChangeArgs),
    /// Start all tasks of a service anew, bit by bit
    Restart(change::ChangeArgs),
    /// Stop what runs, and start nothing new
    Suspend(change::ChangeArgs),
    /// Go on
    Resume(change::ChangeArgs),
    /// Give a service another number of replicas
    Scale(change::ScaleArgs),
    /// Show or take back a change of a service
    #[command(subcommand)]
    Rollout(change::Rollout),
    /// Set a field of an object
    #[command(subcommand)]
    Set(change::Set),
    /// Look after nodes
    #[command(subcommand)]
    Node(nodes::Node),
    /// Look after images on nodes
    #[command(subcommand)]
    Image(images::Image),
    /// Look after secrets
    #[command(subcommand)]
    Secret(secrets::Texts),
    /// Look after config maps
    #[command(subcommand)]
    Config(secrets::Texts),
    /// Say how the server is
    Health,
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
    match cli.command {
        Command::Dev(args) => on(multi()?, dev::run(*args, cli.target.token()?)),
        Command::Server(args) => on(multi()?, server::run(args, cli.target.token()?)),
        Command::Agent(args) => on(single()?, agent::run(*args, cli.target.token()?)),
        Command::Version => {
            println!("mason {}", env!("CARGO_PKG_VERSION"));
            Ok(Exit::DONE)
        }
        command => {
            let is_ours = matches!(command, Command::Run(_) | Command::Exec(_));
            match cli.target.client() {
                Ok(client) => on(single()?, ask(client, command)),
                Err(error) if is_ours => {
                    exit::complain(&error);
                    Ok(Exit::OURS)
                }
                Err(error) => Err(error),
            }
        }
    }
}

/// What people ask of a server.
async fn ask(client: Client, command: Command) -> Result<Exit> {
    let client = &client;
    match command {
        Command::Run(args) => run::run(client, args).await,
        Command::Apply(args) => apply::apply(client, args).await,
        Command::Plan(args) => apply::plan(client, args).await,
        Command::Get(args) => get::run(client, args).await,
        Command::Describe(args) => show::describe(client, args).await,
        Command::Status(args) => show::status(client, args).await,
        Command::Logs(args) => logs::run(client, args).await,
        Command::Explain(args) => explain::run(client, args).await,
        Command::Events(args) => events::run(client, args).await,
        Command::Wait(args) => events::wait(client, args).await,
        Command::Exec(args) => exec::run(client, args).await,
        Command::Stop(args) => change::plainly(client, args, "delete").await,
        Command::Retry(args) => change::plainly(client, args, "retry").await,
        Command::Restart(args) => change::plainly(client, args, "restart").await,
        Command::Suspend(args) => change::plainly(client, args, "suspend").await,
        Command::Resume(args) => change::plainly(client, args, "resume").await,
        Command::Scale(args) => change::scale(client, args).await,
        Command::Rollout(rollout) => change::rollout(client, rollout).await,
        Command::Set(set) => change::set(client, set).await,
        Command::Node(node) => nodes::run(client, node).await,
        Command::Image(image) => images::run(client, image).await,
        Command::Secret(texts) => secrets::secret(client, texts).await,
        Command::Config(texts) => secrets::config(client, texts).await,
        Command::Health => health(client).await,
        Command::Dev(_) | Command::Server(_) | Command::Agent(_) | Command::Version => {
            unreachable!("done before")
        }
    }
}

async fn health(client: &Client) -> Result<Exit> {
    let health: Health = client.get(Path::of(&["health"])).await?;
    let leader = health.leader.as_deref().unwrap_or("nobody");
    println!(
        "{}  mason {}, revision {}",
        client.url(),
        text::plain(&health.version),
        health.revision
    );
    println!("leader  {}{}", text::plain(leader), if health.leads { " (this one)" } else { "" });
    for (key, why) in &health.bad {
        println!("bad     {}: {}", text::plain(key), text::plain(why));
    }
    Ok(if health.leader.is_some() && health.bad.is_empty() { Exit::DONE } else { Exit::FAILED })
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

fn on(runtime: Runtime, command: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    let ended = runtime.block_on(command);
    // A thread that reads a terminal, or waits for a container, does not hold the end up.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    ended
}
