//! How a run ended: `exit.json`, written once and durable before its keeper leaves.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The name of this file in the folder of a run.
pub const FILE: &str = "exit.json";

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
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let draft = folder.join("exit.json.new");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&draft, folder.join(FILE))?;
        File::open(folder)?.sync_all()
    }
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
}
