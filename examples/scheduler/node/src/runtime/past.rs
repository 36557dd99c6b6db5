//! Logs of runs that are over, kept when nothing else of them is.
//!
//! # Problem
//! A job has ended, and its user asks what it printed. By then its run is reaped: its folder, with
//! the log in it, is gone. Logs cannot be kept for ever either: a node runs a thousand jobs a day.
//!
//! # Idea
//! Before a run is reaped its log is moved out of its folder, by one rename. What lies there goes
//! by age, and the oldest goes when all together are too large.
//!
//! ```text
//!   <data dir>/past-logs/<run>/<base>.log      the segments, as the keeper wrote them
//!                              of              what it was a log of, as the agent says
//! ```
//!
//! # Promises
//! * A crash between the move and the reaping loses nothing: the move is done once, by whoever
//!   comes first.
//! * What lies there is never more than the limit after [`Runner::prune_logs`], except for the
//!   newest log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mason_core::types::RunId;
use mason_shim::settings::LOG;

use super::error::Context;
use super::{Error, Runner};
use crate::log::Reader;

/// The folder of logs of runs that are over.
const PAST: &str = "past-logs";
/// The file that says what a log is of.
const OF: &str = "of";
/// Longest such file, bytes.
const OF_BYTES_MAX: u64 = 4 << 10;

/// How long logs of runs that are over are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastLimits {
    /// One that is older goes.
    pub age: Duration,
    /// Of all together; the oldest go first.
    pub bytes: u64,
}

impl Default for PastLimits {
    /// A week, and a gibibyte.
    fn default() -> PastLimits {
        PastLimits { age: Duration::from_secs(7 * 24 * 3600), bytes: 1 << 30 }
    }
}

/// A log of a run that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastLog {
    /// Which run.
    pub run: RunId,
    /// What it was a log of, as the agent said; empty if that does not read.
    pub of: String,
    /// What it takes.
    pub bytes: u64,
    /// When it was put there.
    pub since: SystemTime,
}

impl Runner {
    fn past(&self) -> PathBuf {
        self.config.data_dir.join(PAST)
    }

    /// Moves the log of a run that is over to where it outlives it, with a word about what it is
    /// of. One that is there already, or never was, is no error.
    ///
    /// # Errors
    /// The file system refuses; the log is where it was then.
    pub fn keep_log(&self, run: &RunId, of: &str) -> Result<(), Error> {
        let (from, past) = (self.folder(run).join(LOG), self.past());
        let context = || format!("keep the log of run {run}");
        match fs::read_dir(&from).map(|mut segments| segments.next().is_some()) {
            Ok(true) => {}
            // It printed nothing, or is moved, or there is no such run.
            Ok(false) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context(context),
        }
        fs::create_dir_all(&past).context(context)?;
        // The word comes first: a full disk may have no room for it, and the log counts more.
        let _ = fs::write(from.join(OF), of);
        fs::rename(&from, past.join(run.as_str())).context(context)
    }

    /// The log of a run, wherever it lies now; none if there is none.
    pub fn any_log(&self, run: &RunId) -> Option<Reader> {
        let places = [self.folder(run).join(LOG), self.past().join(run.as_str())];
        places.into_iter().find(|place| place.is_dir()).map(Reader::new)
    }

    /// All that lie there, oldest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn past_logs(&self) -> Result<Vec<PastLog>, Error> {
        let past = self.past();
        let context = || format!("read {}", past.display());
        let entries = match fs::read_dir(&past) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context(context)?,
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Somebody else removes it at this moment: it is gone then.
            let Ok(since) = entry.metadata().and_then(|it| it.modified()) else { continue };
            let (bytes, of) = (bytes_in(&entry.path()), word_of(&entry.path()));
            found.push(PastLog { run: name.into(), of, bytes, since });
        }
        found.sort_by(|a, b| (a.since, &a.run).cmp(&(b.since, &b.run)));
        Ok(found)
    }

    /// Removes logs of runs that are over: those that are too old, the oldest of too many, and
    /// those that nobody wants. Which it removed.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn prune_logs(
        &self,
        limits: PastLimits,
        is_wanted: impl Fn(&PastLog) -> bool,
    ) -> Result<Vec<RunId>, Error> {
        let logs = self.past_logs()?;
        let mut left: u64 = logs.iter().map(|log| log.bytes).sum();
        let (mut removed, newest) = (Vec::new(), logs.len().saturating_sub(1));
        for (at, log) in logs.into_iter().enumerate() {
            // A clock that was set back makes nothing older.
            let age = log.since.elapsed().unwrap_or_default();
            let too_many = left > limits.bytes && at < newest;
            if age <= limits.age && !too_many && is_wanted(&log) {
                continue;
            }
            left -= log.bytes;
            super::settle::remove_tree(&self.past().join(log.run.as_str()))?;
            removed.push(log.run);
        }
        Ok(removed)
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|it| it.len()).sum()
}

fn word_of(folder: &Path) -> String {
    use std::io::Read;
    let mut text = String::new();
    let read = fs::File::open(folder.join(OF))
        .and_then(|file| file.take(OF_BYTES_MAX).read_to_string(&mut text));
    read.map(|_| text).unwrap_or_default()
}
