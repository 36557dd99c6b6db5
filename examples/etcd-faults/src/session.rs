//! One run: a cluster, clients, trouble by plan, peace, and the verdict.
//!
//! ```text
//!   start ─► clients work ──────────────────────► stop ─► leases end ─► ask all members ─► check
//!            plan: rest, strike, hold, heal, …  all well
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::audit;
use crate::caller::Shared;
use crate::check::check;
use crate::cluster::Cluster;
use crate::lie::{Liar, Lie};
use crate::namespaces::sweep;
use crate::nemesis::Nemesis;
use crate::network::Network;
use crate::plan::{Family, Step, plan};
use crate::recorder::Recorder;
use crate::report::Report;
use crate::request::Revision;
use crate::server::Server;
use crate::violation::{Checker, Violation};
use crate::{holder, operator, watcher, worker};

/// How long the cluster may take to start.
const START: Duration = Duration::from_secs(90);
/// Clients go on for so long when all is well again.
const PEACE: Duration = Duration::from_secs(2);
const PROGRESS: Duration = Duration::from_secs(5);
/// Longer than a watch may take to come to its end.
const WATCHES_END: Duration = Duration::from_secs(60);

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Config {
    /// The program under test.
    pub server: PathBuf,
    /// Members of the cluster: an odd number, at most 9.
    pub members: usize,
    /// How long trouble lasts.
    pub seconds: u64,
    /// Decides the plan, and what clients ask.
    pub seed: u64,
    /// Kinds of trouble.
    pub faults: Vec<Family>,
    /// Where data, logs and the history go.
    pub folder: PathBuf,
    /// What is lied about.
    pub lie: Option<Lie>,
    /// Clients that read and write.
    pub workers: u32,
    /// How long the cluster may take to be well once it is left alone.
    pub patience: Duration,
}

/// Runs a session. Nothing of it is left but files, however it ends.
///
/// Servers end with the thread that polls this, so it must not move to another one: run it with
/// `block_on`.
///
/// # Errors
/// If there was nothing to test: the cluster did not start, or the network could not be made.
pub async fn run(config: &Config) -> Result<Report> {
    sweep();
    let server = Server::new(&config.server)?;
    std::fs::create_dir_all(&config.folder)?;
    let (network, mut skipped) = Network::new(config.members)?;
    let faults = possible(config, &mut skipped);
    for what in &skipped {
        eprintln!("SKIPPED {what}");
    }
    let disks = faults.contains(&Family::Disk);
    let version = server.version.clone();
    let mut cluster = Cluster::new(server, network, &config.folder, config.members, disks)?;
    for slot in 0..config.members {
        cluster.start(slot)?;
    }
    cluster.wait_until_well(START).await.context("the cluster does not start")?;
    let shared = Shared {
        endpoints: Arc::new(cluster.endpoints()),
        recorder: Arc::new(Recorder::new()),
        lives: cluster.lives(),
        liar: Arc::new(Liar::new(config.lie, config.seed, config.seconds)),
    };
    let steps = plan(config.seed, config.seconds, &faults);
    let mut session = Session { config, cluster, shared, nemesis: Nemesis::new(config.patience) };
    let recovery = session.play(&steps).await;
    let Session { shared, nemesis, cluster, .. } = session;
    let ended = cluster.ended().iter();
    let ended: Vec<Violation> =
        ended.map(|it| Violation::new(Checker::Alive, it.as_str())).collect();
    drop(cluster);
    let history = shared.recorder.take();
    let began = Instant::now();
    let mut verdict = check(&history);
    verdict.violations.extend(ended);
    if let Err(error) = recovery {
        verdict.violations.push(Violation::new(Checker::Recovery, format!("{error:#}")));
    }
    Ok(Report {
        version,
        counts: shared.recorder.counts(),
        faults: nemesis.done,
        failed: nemesis.failed,
        skipped,
        told: config.lie.map(|lie| (lie, shared.liar.told())),
        check_seconds: began.elapsed().as_secs_f32(),
        verdict,
        history,
    })
}

/// The faults that this machine and this cluster can have.
fn possible(config: &Config, skipped: &mut Vec<String>) -> Vec<Family> {
    let impossible = |family: Family| match family {
        Family::Disk if !rustix::process::geteuid().is_root() => {
            Some("only root can mount a small file system")
        }
        Family::Partition | Family::OneWay | Family::Slow | Family::Replace
            if config.members == 1 =>
        {
            Some("a member alone has nobody to talk to")
        }
        _ => None,
    };
    let mut faults = config.faults.clone();
    faults.retain(|family| {
        let why = impossible(*family);
        skipped.extend(why.map(|why| format!("{family}: {why}")));
        why.is_none()
    });
    faults
}

struct Session<'a> {
    config: &'a Config,
    cluster: Cluster,
    shared: Shared,
    nemesis: Nemesis,
}

impl Session<'_> {
    /// Lets clients work through the whole plan. An error is what the cluster did not come back
    /// from.
    async fn play(&mut self, steps: &[Step]) -> Result<()> {
        let stop = Arc::new(AtomicBool::new(false));
        let (finale, finale_seen) = watch::channel(None);
        let (mut clients, mut watchers) = (JoinSet::new(), JoinSet::new());
        let (shared, seed, workers) = (&self.shared, self.config.seed, self.config.workers);
        let some = u32::try_from(self.config.members.max(3)).expect("a handful");
        for id in 0..workers {
            clients.spawn(worker::work(shared.clone(), seed, id, Arc::clone(&stop)));
        }
        for id in workers..workers + some {
            clients.spawn(holder::hold(shared.clone(), seed, id, Arc::clone(&stop)));
        }
        for id in workers + some..workers + 2 * some {
            watchers.spawn(watcher::watch(shared.clone(), seed, id, finale_seen.clone()));
        }
        for (id, slot) in (workers + 2 * some..).zip(0..self.config.members) {
            let finale_seen = finale_seen.clone();
            watchers.spawn(watcher::chronicle(shared.clone(), seed, id, slot, finale_seen));
        }
        let id = workers + 3 * some;
        clients.spawn(operator::operate(shared.clone(), seed, id, Arc::clone(&stop)));
        self.trouble(steps).await?;
        eprintln!("all faults are over; waiting for the cluster to be well");
        self.cluster.heal()?;
        self.cluster.wait_until_well(self.config.patience).await?;
        sleep(PEACE).await;
        stop.store(true, Ordering::Release);
        join(&mut clients).await?;
        eprintln!("clients have stopped; waiting for leases to end");
        let revision = audit::last_revision(&self.shared).await.context("the last write")?;
        finale.send_replace(Some(revision));
        timeout(WATCHES_END, join(&mut watchers)).await.context("watches do not end")??;
        self.audit(id + 1, revision).await
    }

    /// Performs the plan, and says how things go.
    async fn trouble(&mut self, steps: &[Step]) -> Result<()> {
        let Session { config, cluster, shared, nemesis } = self;
        let began = Instant::now();
        let end = began + Duration::from_secs(config.seconds);
        let mut ticks = interval(PROGRESS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let plan = async {
            for step in steps {
                if Instant::now() >= end {
                    break;
                }
                eprintln!("{:>6.1} s  {step}", began.elapsed().as_secs_f32());
                nemesis.perform(cluster, step).await?;
            }
            tokio::time::sleep_until(end).await;
            anyhow::Ok(())
        };
        tokio::pin!(plan);
        loop {
            tokio::select! {
                done = &mut plan => return done,
                _ = ticks.tick() => {
                    let counts = shared.recorder.counts();
                    let done: u64 = counts.values().map(|count| count.done).sum();
                    let unknown: u64 = counts.values().map(|count| count.unknown).sum();
                    eprintln!(
                        "{:>6.1} s  {done} answers, {unknown} lost, revision {}",
                        began.elapsed().as_secs_f32(),
                        shared.recorder.newest()
                    );
                }
            }
        }
    }

    async fn audit(&self, id: u32, revision: Revision) -> Result<()> {
        for slot in 0..self.config.members {
            let audit = audit::audit(&self.shared, id, slot, revision).await;
            self.shared.recorder.audit(audit.with_context(|| format!("m{slot} at the end"))?);
        }
        Ok(())
    }
}

/// Waits for all of them; one that panicked is an error of ours.
async fn join(tasks: &mut JoinSet<()>) -> Result<()> {
    while let Some(done) = tasks.join_next().await {
        done.context("a client has failed")?;
    }
    Ok(())
}

/// The command that plays the same plan again.
#[must_use]
pub fn replay(config: &Config) -> String {
    let mut faults: Vec<String> = config.faults.iter().map(ToString::to_string).collect();
    if faults.is_empty() {
        faults.push("none".to_owned());
    }
    let lie = config.lie.map(|lie| format!(" --lie {lie}")).unwrap_or_default();
    format!(
        "etcd-faults --server {} --members {} --seconds {} --seed {} --faults {}{lie}",
        Path::display(&config.server),
        config.members,
        config.seconds,
        config.seed,
        faults.join(",")
    )
}
