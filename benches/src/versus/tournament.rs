//! A whole measurement: every scenario, round by round, with every contender, and the table.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::{Arena, Contender, Figures, Rounds, Scenario, order, table};
use crate::machine::{Machine, ensure_disk};

/// How long killed child processes get to be gone.
const LAST_BREATH: Duration = Duration::from_millis(200);

/// What every comparison can be told on its command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Where to put the data, on a real disk [default: cargo's target directory]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Rounds, each with a run of everyone
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Factor to the length of every run
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Keys of the large key space (scenarios whose name ends in many, limited, 1000 or count)
    #[arg(long, default_value_t = 300_000)]
    pub many_keys: u64,
    /// Put machine, date and method above the table, ready for a README
    #[arg(long)]
    pub markdown: bool,
}

/// Who is compared under what.
#[derive(Clone, Debug)]
pub struct Tournament {
    /// As on the command line.
    pub settings: Settings,
    /// The first is what the others are compared with.
    pub contenders: Vec<Contender>,
    /// In the order of the table.
    pub scenarios: Vec<Scenario>,
    /// What the table shows.
    pub figures: Figures,
}

impl Tournament {
    /// Measures, with a line a run on standard error, prints the table on standard output, and
    /// returns all samples.
    ///
    /// # Errors
    /// If a run fails, or a signal ends it. No child process outlives this call.
    pub fn run(&self) -> Result<Vec<Rounds>> {
        let Settings { scale, many_keys, .. } = self.settings;
        ensure!(scale > 0.0 && scale.is_finite(), "--scale must be above 0");
        let target = target_dir()?;
        let parent = self.settings.dir.clone().unwrap_or_else(|| target.clone());
        fs::create_dir_all(&parent)?;
        ensure_disk(&parent)?;
        // Removed at the end, however that comes about, after the servers in it are dead.
        let dir = tempfile::Builder::new().prefix("versus-").tempdir_in(&parent)?;
        let load = built("load", "drystone-benches")?;
        let dir = dir.path().to_owned();
        let arena = Arena { load, dir, scale, many_keys, versions: HashMap::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (mut int, mut term) =
                (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            // Dropping the measurement kills its child processes.
            let outcome = tokio::select! {
                outcome = self.measure(arena) => outcome,
                _ = int.recv() => Err(anyhow!("interrupted")),
                _ = term.recv() => Err(anyhow!("terminated")),
            };
            if outcome.is_err() {
                // The runtime takes the exit status of those it killed, and none stays a zombie.
                sleep(LAST_BREATH).await;
            }
            outcome
        })
    }

    async fn measure(&self, mut arena: Arena) -> Result<Vec<Rounds>> {
        let count = self.contenders.len();
        let width = self.contenders.iter().map(|contender| contender.name.len()).max();
        let width = width.context("somebody has to be measured")?;
        let mut all = Vec::new();
        for scenario in &self.scenarios {
            let mut samples = vec![Vec::new(); count];
            for round in 0..self.settings.rounds {
                for turn in order(round as usize, count) {
                    let contender = &self.contenders[turn];
                    let (name, scenario_name) = (&contender.name, scenario.name);
                    let sample = arena
                        .run(scenario, contender)
                        .await
                        .with_context(|| format!("{name} in {scenario_name}"))?;
                    let round = round + 1;
                    eprintln!("{scenario_name:<13} round {round:>2}  {name:<width$}  {sample}");
                    samples[turn].push(sample);
                }
            }
            all.push(Rounds { scenario: scenario.name, samples });
        }
        if self.settings.markdown {
            println!("{}", self.preamble(&Machine::here(&arena.dir)));
        }
        let title = |contender: &Contender| {
            let version = arena.versions.get(&contender.name).map_or("?", String::as_str);
            format!("{} {version}", contender.name)
        };
        let titles: Vec<String> = self.contenders.iter().map(title).collect();
        println!("{}", table(&all, &titles, self.figures));
        Ok(all)
    }

    /// What the numbers below it are worth.
    fn preamble(&self, machine: &Machine) -> String {
        let Machine { cpu, cores, kernel, file_system, date, commit } = machine;
        let program = env::args().next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
        let command: Vec<_> =
            env::args().skip(1).map(|argument| without_folders(&argument)).collect();
        format!(
            "{date}, commit {commit}; {cpu}, {cores} cores shared by server and client, \
             Linux {kernel}, {file_system}.\n\
             {} rounds of `{program} {}`: the same load on all, turn by turn, each run \
             with a freshly started server and durable defaults; ratios within a round.\n",
            self.settings.rounds,
            command.join(" ")
        )
    }
}

/// Where things lie on this machine is of no use to a reader of the table.
fn without_folders(argument: &str) -> String {
    match (argument.find('/'), argument.rfind('/')) {
        (Some(first), Some(last)) => [&argument[..first], &argument[last + 1..]].concat(),
        _ => argument.to_owned(),
    }
}

/// Cargo's target directory: this program lies in a folder of it, named after the profile.
fn target_dir() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let target = program.parent().and_then(Path::parent);
    Ok(target.context("this program has no folder")?.to_owned())
}

/// A release build of one of our programs, beside this one; cargo makes it if it is not there.
///
/// # Errors
/// If cargo cannot.
pub fn built(program: &str, package: &str) -> Result<PathBuf> {
    let target = target_dir()?;
    let path = target.join("release").join(program);
    if !path.exists() {
        eprintln!("building {program}");
        let status = Command::new("cargo")
            .args(["build", "--release", "--package", package, "--bin", program])
            .arg("--target-dir")
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()?;
        ensure!(status.success() && path.exists(), "cargo cannot build {program}");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command stands above a published table; the folders of whoever ran it do not.
    #[test]
    fn published_commands_name_programs_without_their_folders() {
        assert_eq!(without_folders("--ours=/home/me/bin/etcd"), "--ours=etcd");
        assert_eq!(without_folders("/home/me/bin/etcd"), "etcd");
        assert_eq!(without_folders("put-100x100"), "put-100x100");
    }
}
