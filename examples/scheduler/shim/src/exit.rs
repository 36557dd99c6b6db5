//! How a run ended: `exit.json`, written once and durable before its keeper leaves.
//!
//! A disk can fill while a container runs, most likely by that container. How it ended must be
//! known all the same, so room for it is taken before the start ([`reserve`]). What does not fit
//! that, its outputs, is left out then, and the exit says so.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The name of this file in the folder of a run.
pub const FILE: &str = "exit.json";

/// What it is called until it is whole.
const DRAFT: &str = "exit.json.new";

/// So much room is taken for it beforehand: a block of most file systems, bytes.
pub const RESERVED_BYTES: usize = 4096;

/// So much of the sentence of what went wrong fits that, whatever letters it is of, bytes.
const ERROR_BYTES: usize = 512;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Why.
    pub why: Why,
    /// Its exit code; 128 and the signal, if one ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How many of its processes were killed because its memory was used up.
    #[serde(default)]
    pub oom_kills: u64,
    /// When its program was started, in milliseconds since 1970; none if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// When it was over.
    pub finished_at: u64,
    /// What went wrong, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Files that it left, as far as its settings ask for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// By itself, with a code.
    Exited,
    /// By a signal that its keeper did not send.
    Signalled,
    /// Killed because its memory was used up.
    OutOfMemory,
    /// It took longer than it may.
    Timeout,
    /// Its agent could not reach the store, and two copies must not run.
    Fenced,
    /// It was told to, for a reason that only who told it knows.
    Stopped(String),
    /// It could not be started.
    Start,
    /// Its keeper was killed: nobody saw how it ended.
    Unknown,
}

impl Exit {
    /// That of a run which never ran.
    pub fn failed_to_start(error: String, finished_at: u64) -> Exit {
        Exit { error, ..Exit::bare(Why::Start, finished_at) }
    }

    /// A reason and a time.
    pub fn bare(why: Why, finished_at: u64) -> Exit {
        let (error, outputs) = (String::new(), BTreeMap::new());
        let (code, signal, started_at) = (None, None, None);
        Exit { why, code, signal, oom_kills: 0, started_at, finished_at, error, outputs }
    }

    /// Reads that in the folder of a run; none while it runs.
    ///
    /// # Errors
    /// The file cannot be read, or is not in this form.
    pub fn read(folder: &Path) -> io::Result<Option<Exit>> {
        match fs::read(folder.join(FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it, whole or not at all, and for good: the next thing may be that the machine stops.
    /// If there is no room left but what was taken for it, it is written without its outputs.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        match self.write_whole(folder) {
            Err(error) if is_full(&error) => self.shortened(&error).write_whole(folder),
            done => done,
        }
    }

    fn write_whole(&self, folder: &Path) -> io::Result<()> {
        let draft = folder.join(DRAFT);
        // Over the blocks that were taken.
        let mut file = File::options().write(true).create(true).truncate(false).open(&draft)?;
        let bytes = serde_json::to_vec(self)?;
        file.write_all(&bytes)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()?;
        fs::rename(&draft, folder.join(FILE))?;
        File::open(folder)?.sync_all()
    }

    /// What of it fits the room that was taken.
    fn shortened(&self, why: &io::Error) -> Exit {
        let lost =
            if self.outputs.is_empty() { String::new() } else { format!("; outputs: {why}") };
        let error = format!("{}{lost}", start_of(&self.error, ERROR_BYTES));
        let why = match &self.why {
            Why::Stopped(why) => Why::Stopped(start_of(why, 64).to_owned()),
            why => why.clone(),
        };
        Exit { error, why, outputs: BTreeMap::new(), ..*self }
    }
}

/// Takes room for the exit of a run that begins, in its folder.
///
/// # Errors
/// The file system refuses.
pub fn reserve(folder: &Path) -> io::Result<()> {
    // A hole would take none.
    fs::write(folder.join(DRAFT), [b' '; RESERVED_BYTES])
}

/// The beginning of a text, so many bytes at most.
fn start_of(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Agents of later versions read what keepers of earlier ones wrote.
    #[test]
    fn an_exit_reads_back_and_its_form_is_fixed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Exit::read(folder.path()).unwrap(), None);
        let why = Why::Stopped("drained".to_owned());
        let exit = Exit { code: Some(137), signal: Some(9), ..Exit::bare(why, 5) };
        exit.write(folder.path()).unwrap();
        assert_eq!(Exit::read(folder.path()).unwrap(), Some(exit));
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        let fixed = r#"{"why":{"stopped":"drained"},"code":137,"signal":9,"oom_kills":0,"#;
        assert!(text.starts_with(fixed), "{text}");
    }

    /// A full disk is no reason to run something again that has ended.
    #[test]
    fn what_is_left_without_room_fits_what_was_taken() {
        let nothing = io::Error::from(io::ErrorKind::StorageFull);
        let outputs = BTreeMap::from([("result".to_owned(), "x".repeat(40_000))]);
        let why = Why::Stopped("\u{1}".repeat(9_000));
        let error = "\u{1}".repeat(9_000);
        let exit = Exit { error, outputs, code: Some(3), ..Exit::bare(why, 5) };
        let short = exit.shortened(&nothing);
        assert!(serde_json::to_vec(&short).unwrap().len() <= RESERVED_BYTES);
        assert_eq!((short.code, short.finished_at), (Some(3), 5));
        assert!(short.error.contains("; outputs: "), "{}", short.error);
    }

    /// What was taken is more than most exits are long: nothing of it may be left behind them.
    #[test]
    fn room_that_was_taken_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        reserve(folder.path()).unwrap();
        assert_eq!(Exit::read(folder.path()).unwrap(), None);
        let exit = Exit { code: Some(0), ..Exit::bare(Why::Exited, 5) };
        exit.write(folder.path()).unwrap();
        let written = fs::read(folder.path().join(FILE)).unwrap();
        assert_eq!(written, serde_json::to_vec(&exit).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
