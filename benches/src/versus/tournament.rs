//! A whole measurement: every scenario, round by round, with every contender, and the table.

use std::{
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

use super::{Arena, Contender, Course, Figures, Rounds, Scenario, course, order, table};
use crate::machine::{Machine, ensure_disk};

/// How long killed child processes get to be gone.
const LAST_BREATH: Duration = Duration::from_millis(200);

/// What every comparison can be told on its command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Where to put the data, on a real disk [default: cargo's target directory]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Rounds, each with a run of everyone; one will do for some scenarios
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Factor to the length of every run and to the size of what is filled for it, but for
    /// --many-keys; goals are meant for 1
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Keys of the large key space (range-limited, count, read-all, range-many, range-1000)
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
    /// In the order of the table's columns.
    pub contenders: Vec<Contender>,
    /// Who is divided by whom, by their places among the contenders.
    pub pairs: Vec<(usize, usize)>,
    /// In the order of the table.
    pub scenarios: Vec<Scenario>,
    /// Sizes of clusters; each scenario takes those that make sense for it.
    pub members: Vec<usize>,
    /// What the table shows.
    pub figures: Figures,
    /// Bytes of the database of [`Course::Big`](super::Course::Big).
    pub big_bytes: u64,
    /// Print where the servers spend their CPU under every load that is measured.
    pub profile: bool,
}

/// What a tournament has shown.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The samples.
    pub all: Vec<Rounds>,
    /// What could not be measured, and why.
    pub broken: Vec<String>,
}

impl Tournament {
    /// Measures, with a line a run on standard error, prints the table on standard output, and
    /// returns all samples.
    ///
    /// # Errors
    /// If nothing can be measured here, or a signal ends it. No child process outlives this call.
    pub fn run(&self) -> Result<Results> {
        let Settings { scale, many_keys, .. } = self.settings;
        ensure!(scale > 0.0 && scale.is_finite(), "--scale must be above 0");
        ensure!(many_keys > 0, "--many-keys must be above 0");
        if cfg!(debug_assertions) {
            eprintln!("a build without --release: these figures say nothing");
        }
        let parent = self.settings.dir.clone().map_or_else(target_dir, Ok)?;
        fs::create_dir_all(&parent)?;
        ensure_disk(&parent)?;
        // Removed at the end, however that comes about, after the servers in it are dead.
        let dir = tempfile::Builder::new().prefix("versus-").tempdir_in(&parent)?;
        let mut arena = Arena::new(built("load", "drystone-benches")?, dir.path().to_owned());
        arena.scale = scale;
        arena.many_keys = many_keys;
        (arena.big_bytes, arena.profile) = (self.big_bytes, self.profile);
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

    async fn measure(&self, mut arena: Arena) -> Result<Results> {
        let mut results = Results::default();
        for scenario in &self.scenarios {
            let sizes = self.members.iter().filter(|size| scenario.members.contains(size));
            for &members in sizes {
                let mut rounds = Rounds {
                    scenario: *scenario,
                    members,
                    samples: vec![Vec::new(); self.contenders.len()],
                };
                // An hour of measuring is not thrown away for one scenario.
                if let Err(error) = self.rounds(&mut arena, &mut rounds).await {
                    let text = format!("{}: not measured: {error:#}", rounds.title());
                    eprintln!("{text}");
                    results.broken.push(text);
                } else {
                    results.all.push(rounds);
                }
            }
        }
        ensure!(
            !results.all.is_empty() || !results.broken.is_empty(),
            "none of the scenarios is for clusters of {:?} members",
            self.members
        );
        if self.settings.markdown {
            println!("{}", self.preamble(&Machine::here(&arena.dir)));
        }
        let titles: Vec<String> = self.contenders.iter().map(|one| title(one, &arena)).collect();
        println!("{}", table(&results.all, &titles, &self.pairs, self.figures));
        Ok(results)
    }

    /// All rounds of one scenario on clusters of one size.
    async fn rounds(&self, arena: &mut Arena, rounds: &mut Rounds) -> Result<()> {
        let count = self.contenders.len();
        let title = rounds.title();
        let last = if rounds.scenario.once { 1 } else { self.settings.rounds };
        for round in 0..last {
            for turn in order(round as usize, count) {
                let contender = &self.contenders[turn];
                if rounds.scenario.course == Course::Big && turn + 1 < count {
                    continue;
                }
                let name = &contender.name;
                let sample = course::run(arena, &rounds.scenario.course, contender, rounds.members)
                    .await
                    .with_context(|| name.clone())?;
                eprintln!("{title}, round {}, {name}: {sample}", round + 1);
                rounds.samples[turn].push(sample);
            }
        }
        Ok(())
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
             with freshly started servers and durable defaults; ratios within a round.\n",
            self.settings.rounds,
            command.join(" ")
        )
    }
}

/// A contender with its version, if that does not stand in its name.
fn title(contender: &Contender, arena: &Arena) -> String {
    let (name, version) = (&contender.name, arena.versions.get(&contender.name));
    match version {
        Some(version) if !name.contains(version.as_str()) => format!("{name} {version}"),
        _ => name.clone(),
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
pub(super) fn target_dir() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let target = program.parent().and_then(Path::parent);
    Ok(target.context("this program has no folder")?.to_owned())
}

/// One of our programs: the one beside this one, or else a release build, which cargo makes if it
/// is not there.
///
/// # Errors
/// If cargo cannot.
pub fn built(program: &str, package: &str) -> Result<PathBuf> {
    let beside = env::current_exe()?.with_file_name(program);
    if beside.exists() {
        return Ok(beside);
    }
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
