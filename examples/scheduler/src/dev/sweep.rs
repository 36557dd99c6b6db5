//! The end of a `dev`: nothing is left of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mason_core::record::Reason;
use mason_core::spec::Stop;
use mason_node::runtime::{Config, Runner, Status};

/// How long containers are given to end by themselves.
const GRACE: Duration = Duration::from_secs(2);
/// How long all of it may take.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// Stops all runs of a machine and removes every trace of them. Nobody else may start any.
///
/// # Errors
/// If something does not end, or the machine refuses.
pub fn settle(runner: Arc<Runner>) -> Result<()> {
    let begun = Instant::now();
    let runs = runner.list().context("what runs")?;
    let grace = u64::try_from(GRACE.as_millis()).expect("a grace is short");
    let stop = Stop { grace, ..Stop::default() };
    for (run, status) in &runs {
        if !matches!(status, Status::Ended(_))
            && let Err(error) = runner.stop(run, &stop, Reason::Stopped)
        {
            tracing::warn!(%run, "cannot be stopped: {error}");
        }
    }
    for (run, _) in &runs {
        let rest = SETTLE_MAX.saturating_sub(begun.elapsed());
        if runner.wait(run, rest).with_context(|| format!("run {run}"))?.is_none() {
            bail!("run {run} does not end");
        }
        runner.reap(run).with_context(|| format!("remove run {run}"))?;
    }
    match Arc::try_unwrap(runner) {
        Ok(runner) => runner.close(),
        Err(_) => bail!("somebody still works with the containers"),
    }
    Ok(())
}

/// Removes what a `dev` has left that was killed: its containers, then its folder.
///
/// # Errors
/// If something does not go, or the folder is none of a `dev`.
pub fn clear(data_dir: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(data_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| data_dir.display().to_string()),
    };
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    if entries.is_empty() {
        return Ok(());
    }
    let mark = data_dir.join(MARK);
    if !mark.is_file() {
        bail!("{} has something else in it: --data-dir another", data_dir.display());
    }
    let nodes = std::fs::read_to_string(&mark).context("the nodes that were")?;
    for node in nodes.lines().filter(|node| !node.is_empty()) {
        let folder = data_dir.join(node).join("m");
        if folder.is_dir() {
            let runner = Runner::open(Config::new(folder, node));
            settle(Arc::new(runner.with_context(|| format!("node {node}"))?))?;
        }
    }
    std::fs::remove_dir_all(data_dir).with_context(|| format!("remove {}", data_dir.display()))
}

/// The file by which a folder is known as one of a `dev`: the names of its nodes, one a line.
pub const MARK: &str = "mason-dev";
