//! The end of a run whose keeper did not write it: killed, or gone with the machine.
//!
//! First all that may be left is killed, then what is known is written down, so that whoever reads
//! the end knows that nothing runs any more. What is known is the last line of `state`; see the
//! front page of `mason_shim` for what each means.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use mason_core::types::RunId;
use mason_shim::cgroup;
use mason_shim::exit::{Exit, Why};
use mason_shim::fence::unix;
use mason_shim::log::{Stream, Writer};
use mason_shim::settings::{LOG, Settings};
use mason_shim::state::{self, Step};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use super::bundle::group;
use super::error::Context;
use super::groups::Mount;
use super::{Error, Runner, keeper, tree};

/// How long killing may take.
const KILL_MAX: Duration = Duration::from_secs(20);

/// Kills what is left of a run, and writes down how it ended.
pub(crate) fn settle(runner: &Runner, run: &RunId) -> Result<(), Error> {
    let _alone = runner.settling.lock().expect("nobody panics while it is held");
    let folder = runner.folder(run);
    let context = || format!("settle run {run}");
    if Exit::read(&folder).context(context)?.is_some() || keeper::lives(&folder).context(context)? {
        return Ok(());
    }
    let mut exit = read_end(runner, run, &folder);
    kill(runner, run)?;
    remove_traces(runner, run)?;
    exit.finished_at = unix();
    // Not for the run's sake: for who reads its log.
    if let Ok(settings) = Settings::read(&folder)
        && let Ok(mut log) = Writer::open(&folder.join(LOG), settings.log)
    {
        log.append(Stream::Note, exit.finished_at, format!("{}\n", exit.error).as_bytes());
        log.finish(exit.finished_at);
    }
    exit.write(&folder).context(context)
}

/// What is known about the end of a run, before anything is removed.
fn read_end(runner: &Runner, run: &RunId, folder: &Path) -> Exit {
    let mut exit = Exit::bare(Why::Unknown, 0);
    exit.oom_kills = cgroup::oom_kills(&folders(runner, run));
    let steps = state::read(folder).unwrap_or_default();
    for step in &steps {
        if let Step::Starting { at } = step {
            exit.started_at = Some(*at);
        }
    }
    let same_boot = Settings::read(folder)
        .is_ok_and(|settings| state::boot().is_ok_and(|boot| boot == settings.boot));
    match steps.last() {
        Some(Step::Exited { code, signal, .. }) => {
            (exit.code, exit.signal) = (*code, *signal);
            exit.why = match signal {
                _ if exit.oom_kills > 0 && *code == Some(137) => Why::OutOfMemory,
                Some(_) => Why::Signalled,
                None => Why::Exited,
            };
            exit.error = "its keeper was killed after it had ended".to_owned();
        }
        _ if !same_boot => {
            exit.error = "the machine was started anew: nobody saw how it ended".to_owned();
        }
        None | Some(Step::Kept { .. } | Step::Created { .. }) => {
            exit.why = Why::Start;
            exit.error = "its keeper was killed before it started its program".to_owned();
        }
        Some(Step::Starting { .. } | Step::Started) => {
            exit.error = "its keeper was killed: nobody saw how it ended".to_owned();
        }
    }
    exit
}

fn folders(runner: &Runner, run: &RunId) -> Vec<std::path::PathBuf> {
    runner.groups.folders(&group(&runner.config, run.as_str()))
}

/// Kills all that belongs to a run, until there is nothing: what is in its control groups, its
/// keeper, and any runtime that was working on it.
pub(crate) fn kill(runner: &Runner, run: &RunId) -> Result<(), Error> {
    let begun = Instant::now();
    let folders = folders(runner, run);
    loop {
        let mut left: BTreeSet<i32> =
            folders.iter().flat_map(|folder| cgroup::processes(folder)).collect();
        left.extend(named(runner, run));
        if left.is_empty() {
            return Ok(());
        }
        for pid in left.iter().filter_map(|&pid| Pid::from_raw(pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        if begun.elapsed() > KILL_MAX {
            let what = format!("kill run {run}: {left:?} are still there");
            return Err(Error::Io { what, source: io::ErrorKind::TimedOut.into() });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Processes of ours whose command line names the run: keepers and runtimes.
fn named(runner: &Runner, run: &RunId) -> Vec<i32> {
    let data = runner.config.data_dir.to_string_lossy().into_owned();
    let of_run = |words: &[String]| {
        let ours = words.iter().any(|word| word.starts_with(&data));
        let last = |word: &String| Path::new(word).ends_with(run.as_str());
        ours && words.iter().any(last)
    };
    processes().into_iter().filter(|(_, words)| of_run(words)).map(|(pid, _)| pid).collect()
}

/// All processes and their words, without the dead.
pub(crate) fn processes() -> Vec<(i32, Vec<String>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A zombie has no words.
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let words = line.split(|&byte| byte == 0).filter(|word| !word.is_empty());
        let words: Vec<_> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        if !words.is_empty() && pid != std::process::id().cast_signed() {
            found.push((pid, words));
        }
    }
    found
}

/// Removes all that a dead run has outside of its folder, and what is mounted in there.
fn remove_traces(runner: &Runner, run: &RunId) -> Result<(), Error> {
    let data = &runner.config.data_dir;
    unmount_below(&runner.folder(run))?;
    unmount_below(&data.join("net").join(run.as_str()))?;
    for folder in folders(runner, run) {
        cgroup::remove(&folder).context(|| format!("remove {}", folder.display()))?;
    }
    for path in [runner.socket(run), data.join("net").join(run.as_str())] {
        remove_file(&path)?;
    }
    Ok(())
}

/// Removes a dead run whole.
pub(crate) fn remove(runner: &Runner, run: &RunId) -> Result<(), Error> {
    remove_traces(runner, run)?;
    remove_tree(&runner.draft(run))?;
    remove_tree(&runner.folder(run))
}

/// Unmounts what this namespace sees at or below a path, the innermost first. Nothing may be
/// removed below a mount: it would be somebody else's.
pub(crate) fn unmount_below(path: &Path) -> Result<(), Error> {
    let mounts = Mount::list().context(|| "read the mounts".to_owned())?;
    for mount in mounts.iter().rev().filter(|mount| mount.at.starts_with(path)) {
        unmount(&mount.at, UnmountFlags::DETACH)
            .context(|| format!("unmount {}", mount.at.display()))?;
    }
    Ok(())
}

pub(crate) fn remove_tree(path: &Path) -> Result<(), Error> {
    tree::remove(path).context(|| format!("remove {}", path.display()))
}

pub(crate) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.context(|| format!("remove {}", path.display())),
    }
}
