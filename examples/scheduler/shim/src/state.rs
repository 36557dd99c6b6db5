//! What a keeper has done so far: a line a step, in the file `state`.
//!
//! A line is written before the step it names can have any effect, with one call of `write`, so
//! that a keeper killed at any instant leaves whole lines. It survives the keeper, not the machine:
//! it names the boot, and after another boot the last line does not count. That is why nothing here
//! is synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The name of this file in the folder of a run.
pub const FILE: &str = "state";

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// A keeper has taken the run on.
    Kept {
        /// Its process.
        pid: i32,
        /// The start of the machine: `/proc/sys/kernel/random/boot_id`.
        boot: String,
    },
    /// The container is there, and its program is not started.
    Created {
        /// The container's first process, as the node sees it.
        pid: i32,
    },
    /// From here on its program may have run.
    Starting {
        /// When, in milliseconds since 1970.
        at: u64,
    },
    /// Its program runs.
    Started,
    /// Its first process has ended.
    Exited {
        /// With this code.
        code: Option<i32>,
        /// By this signal.
        signal: Option<i32>,
        /// When.
        at: u64,
    },
}

/// The file, open for more.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

impl Journal {
    /// Makes the file.
    ///
    /// # Errors
    /// It is there already: somebody has kept this run before, and nobody may start it again.
    pub fn create(folder: &Path) -> io::Result<Journal> {
        let file = OpenOptions::new().append(true).create_new(true).open(folder.join(FILE))?;
        Ok(Journal { file })
    }

    /// Notes a step that is about to be made.
    ///
    /// # Errors
    /// The file system refuses. The step must not be made then.
    pub fn note(&mut self, step: &Step) -> io::Result<()> {
        let mut line = serde_json::to_vec(step)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// Reads the steps of a run; none if there is no file.
///
/// # Errors
/// The file cannot be read, or a whole line is not in this form.
pub fn read(folder: &Path) -> io::Result<Vec<Step>> {
    let text = match std::fs::read_to_string(folder.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// This start of the machine.
///
/// # Errors
/// There is no `/proc`.
pub fn boot() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that has been kept once is never kept again, and a torn line counts as not written.
    #[test]
    fn steps_are_read_back_and_made_once() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), []);
        let mut journal = Journal::create(folder.path()).unwrap();
        let steps = [Step::Created { pid: 7 }, Step::Starting { at: 5 }, Step::Started];
        for step in &steps {
            journal.note(step).unwrap();
        }
        journal.file.write_all(b"{\"exited\":{\"co").unwrap();
        assert_eq!(read(folder.path()).unwrap(), steps);
        assert!(Journal::create(folder.path()).is_err());
    }
}
