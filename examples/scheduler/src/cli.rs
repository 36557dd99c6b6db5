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
//! | `dev`, `site` | all of it in one process, and how the others find it |
//! | `run`, `logs`, `follow`, `exec` | containers: their output, and commands in them |
//! | `apply`, `get`, `status`, `change`, `wait`, `tell` | objects |
//! | `nodes`, `image`, `texts` | machines, images, secrets and config maps |
//! | `ask` | what those that ask have in common |
//! | `exit`, `text`, `table`, `when`, `out`, `log` | how commands end, what a terminal is given |

mod agent;
mod dev;
mod server;
mod site;

mod ask;
mod target;

mod exec;
mod follow;
mod logs;
mod run;

mod apply;
mod change;
mod get;
mod status;
mod tell;
mod wait;

mod image;
mod nodes;
mod texts;

mod exit;
mod gossip;
mod log;
mod out;
mod signals;
mod table;
mod text;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use ask::Asker;
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
    /// Run a store, a server and agents in this process, to try mason out
    Dev(Box<dev::DevArgs>),
    /// Run a server: it answers, and leads or waits to
    Server(server::ServerArgs),
    /// Run an agent: it runs on this machine what the store binds to it
    Agent(Box<agent::AgentArgs>),
    #[command(flatten)]
    Ask(AskCommand),
    /// Measure mason on this machine
    Bench(crate::bench::BenchArgs),
    /// Print a script that lets a shell complete these commands: source <(mason completion bash)
    Completion { shell: clap_complete::Shell },
    /// Print the version
    Version,
}

/// Commands that ask a server.
#[derive(Debug, Subcommand)]
enum AskCommand {
    Run(run::RunArgs),
    Apply(apply::ApplyArgs),
    Plan(apply::PlanArgs),
    Get(get::GetArgs),
    /// Show an object as a tree: what it made, its tasks
    Status(status::StatusArgs),
    /// Show all that is known of an object
    Describe(status::StatusArgs),
    Logs(logs::LogsArgs),
    Explain(tell::ExplainArgs),
    Events(tell::EventsArgs),
    Wait(wait::WaitArgs),
    Exec(exec::ExecArgs),
    /// Stop what runs and remove it, with what it made
    Delete(change::Names),
    /// Stop what runs of jobs and workflows, which stay to be looked at
    Stop(change::Names),
    /// As stop, and of a workflow nothing else runs either
    Terminate(change::Names),
    /// Try again what failed, of a job or a workflow
    Retry(change::Names),
    /// Start all replicas of a service anew, bit by bit
    Restart(change::Names),
    /// Start nothing new; of a job or service, stop what runs
    Suspend(change::Names),
    /// Take that back
    Resume(change::Names),
    /// Set how many replicas a service has
    Scale(change::ScaleArgs),
    #[command(subcommand)]
    Set(change::SetCommand),
    #[command(subcommand)]
    Rollout(change::RolloutCommand),
    #[command(subcommand)]
    Node(nodes::NodeCommand),
    #[command(subcommand)]
    Image(image::ImageCommand),
    #[command(subcommand)]
    Secret(texts::SecretCommand),
    #[command(subcommand)]
    Config(texts::ConfigCommand),
    /// Say how the server is, and who leads
    Health,
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
        Err((error, ours)) => {
            exit::complain(&error);
            ours.unwrap_or_else(|| Exit::of(&error)).into()
        }
    }
}

/// Whether it runs until it is told to end, and says what it does.
fn is_role(command: &Command) -> bool {
    matches!(command, Command::Server(_) | Command::Agent(_))
}

/// An error, and what to end with if not with what it means elsewhere.
type Broken = (anyhow::Error, Option<Exit>);

fn run(cli: Cli) -> Result<Exit, Broken> {
    let ours = match &cli.command {
        // All other codes are the container's.
        Command::Ask(AskCommand::Run(_) | AskCommand::Exec(_)) => Some(Exit::OURS),
        // 1 is an answer.
        Command::Ask(AskCommand::Plan(_)) => Some(Exit(2)),
        _ => None,
    };
    perform(cli).map_err(|error| (error, ours))
}

fn perform(cli: Cli) -> Result<Exit> {
    let token = cli.target.token()?;
    match cli.command {
        Command::Dev(args) => on(&multi()?, dev::run(*args, token)),
        Command::Server(args) => on(&multi()?, server::run(args, token)),
        Command::Agent(args) => on(&single()?, agent::run(*args, token)),
        Command::Bench(args) => {
            Ok(if crate::bench::run(&args)? { Exit::DONE } else { Exit::FAILED })
        }
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "mason", &mut script);
            out::raw(&script);
            Ok(Exit::DONE)
        }
        Command::Version => {
            out::line(&format!("mason {}", env!("CARGO_PKG_VERSION")));
            Ok(Exit::DONE)
        }
        Command::Ask(command) => {
            let client = cli.target.client(token.as_ref())?;
            let asker = Asker { client, namespace: cli.target.namespace };
            let runtime = single()?;
            let ended = on(&runtime, ask(command, &asker));
            // A thread still waits for standard input, which must not keep us here.
            runtime.shutdown_background();
            ended
        }
    }
}

async fn ask(command: AskCommand, asker: &Asker) -> Result<Exit> {
    match command {
        AskCommand::Run(args) => run::run(args, asker).await,
        AskCommand::Apply(args) => apply::apply(args, asker).await,
        AskCommand::Plan(args) => apply::plan(args, asker).await,
        AskCommand::Get(args) => get::run(args, asker).await,
        AskCommand::Status(args) => status::status(args, asker).await,
        AskCommand::Describe(args) => status::describe(args, asker).await,
        AskCommand::Logs(args) => logs::run(args, asker).await,
        AskCommand::Explain(args) => tell::explain(args, asker).await,
        AskCommand::Events(args) => tell::events(args, asker).await,
        AskCommand::Wait(args) => wait::run(args, asker).await,
        AskCommand::Exec(args) => exec::run(args, asker).await,
        AskCommand::Delete(names) => change::each(&names, "delete", asker).await,
        AskCommand::Stop(names) => change::each(&names, "stop", asker).await,
        AskCommand::Terminate(names) => change::each(&names, "terminate", asker).await,
        AskCommand::Retry(names) => change::each(&names, "retry", asker).await,
        AskCommand::Restart(names) => change::each(&names, "restart", asker).await,
        AskCommand::Suspend(names) => change::each(&names, "suspend", asker).await,
        AskCommand::Resume(names) => change::each(&names, "resume", asker).await,
        AskCommand::Scale(args) => change::scale(&args, asker).await,
        AskCommand::Set(command) => change::set(&command, asker).await,
        AskCommand::Rollout(command) => change::rollout(&command, asker).await,
        AskCommand::Node(command) => nodes::run(command, asker).await,
        AskCommand::Image(command) => image::run(command, asker).await,
        AskCommand::Secret(command) => texts::secret(command, asker).await,
        AskCommand::Config(command) => texts::config(command, asker).await,
        AskCommand::Health => tell::health(asker).await,
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
