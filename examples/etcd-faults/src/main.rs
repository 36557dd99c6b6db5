//! The command `etcd-faults`: a cluster of real servers, trouble, and a verdict.
//!
//! It exits with 0 if nothing was violated, with 1 if something was, with 2 if there was nothing to
//! test, and with 130 when interrupted; whichever it is, no process, namespace or mount is left.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use drystone_etcd_faults::check::check;
use drystone_etcd_faults::history::History;
use drystone_etcd_faults::lie::Lie;
use drystone_etcd_faults::plan::Family;
use drystone_etcd_faults::session::{Config, replay, run};
use drystone_etcd_faults::violation::Checker;
use tokio::signal::unix::{SignalKind, signal};

/// Puts a cluster of etcd-compatible servers under faults, and checks what its clients saw.
#[derive(Debug, Parser)]
#[command(name = "etcd-faults", version)]
struct Args {
    /// The server's program. It takes etcd's flags.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Members of the cluster.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// How long trouble lasts.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Decides the plan and what clients ask. Without one, a new one.
    #[arg(long)]
    seed: Option<u64>,
    /// Kinds of trouble; all if not given: kill, pause, partition, oneway, slow, disk, replace,
    /// roll; or `none`.
    #[arg(long, value_delimiter = ',')]
    faults: Option<Vec<String>>,
    /// Where data, logs and the history go. Without one, a new folder, which stays only if
    /// something was violated.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A lie to tell in the middle, which must be found: `--lie list` lists them.
    #[arg(long)]
    lie: Option<String>,
    /// Clients that read and write.
    #[arg(long, default_value_t = 8)]
    workers: u32,
    /// Seconds that the cluster may take to be well again once it is left alone.
    #[arg(long, default_value_t = 90)]
    patience: u64,
    /// Violations of these promises are shown and do not fail the run: log, reply, order, member,
    /// watch, progress, compaction, lease, agreement, alive, recovery.
    #[arg(long, value_delimiter = ',')]
    excuse: Vec<String>,
    /// Checks a saved history and runs nothing.
    #[arg(long)]
    check: Option<PathBuf>,
}

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("etcd-faults: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn start(args: &Args) -> Result<ExitCode> {
    if let Some(file) = &args.check {
        let verdict = check(&History::load(file)?);
        print!("{verdict}");
        return Ok(ExitCode::from(u8::from(!verdict.violations.is_empty())));
    }
    if args.lie.as_deref() == Some("list") {
        for (_, name, checker) in Lie::ALL {
            println!("{name:<20} found by {checker}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let excused = excused(&args.excuse)?;
    let folder = tempfile::Builder::new().prefix("etcd-faults-").tempdir()?;
    let config = config(args, folder.path())?;
    let again = replay(&config);
    eprintln!("seed {}; the same plan again: {again}", config.seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // This thread runs the session to its end, so servers are started by one that stays.
    let report = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            report = run(&config) => report.map(Some),
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    })?;
    let Some(report) = report else {
        eprintln!("interrupted");
        return Ok(ExitCode::from(130));
    };
    print!("{report}");
    let is_excused = |checker: &Checker| excused.contains(checker);
    if report.verdict.violations.iter().all(|violation| is_excused(&violation.checker)) {
        return Ok(ExitCode::SUCCESS);
    }
    // What explains a failure must stay.
    let kept = if args.dir.is_none() { folder.keep() } else { config.folder.clone() };
    let file = kept.join("history.jsonl");
    report.history.save(&file)?;
    println!("history and logs are in {}", kept.display());
    println!("check it again: etcd-faults --check {}", file.display());
    println!("the same plan again: {again}");
    Ok(ExitCode::FAILURE)
}

fn config(args: &Args, folder: &std::path::Path) -> Result<Config> {
    let members = args.members;
    ensure!(members <= 9 && members % 2 == 1, "members are 1, 3, 5, 7 or 9");
    ensure!(args.workers > 0, "somebody must work");
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    let seed = args.seed.unwrap_or(u64::try_from(clock % 1_000_000_000)?);
    let faults = match args.faults.as_deref() {
        None => Family::ALL.to_vec(),
        Some([none]) if none == "none" => Vec::new(),
        Some(names) => names.iter().map(|name| name.parse()).collect::<Result<_>>()?,
    };
    let server = args.server.as_ref().context("which server? `--server PATH` says")?;
    let server = server.canonicalize().with_context(|| format!("no {}", server.display()))?;
    let folder = args.dir.clone().unwrap_or_else(|| folder.to_owned());
    let lie = args.lie.as_deref().map(str::parse).transpose()?;
    let (seconds, workers) = (args.seconds, args.workers);
    let patience = Duration::from_secs(args.patience);
    Ok(Config { server, members, seconds, seed, faults, folder, lie, workers, patience })
}

fn excused(names: &[String]) -> Result<Vec<Checker>> {
    let checker = |name: &String| {
        let found = Checker::ALL.into_iter().find(|checker| checker.to_string() == *name);
        found.with_context(|| format!("there is no checker `{name}`"))
    };
    names.iter().map(checker).collect()
}
