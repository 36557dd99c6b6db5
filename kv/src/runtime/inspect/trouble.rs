//! What is wrong, and where.

use std::path::{Path, PathBuf};

use drystone_raft::runtime::Error as NodeError;
use drystone_raft::store::{Error as LogError, Inspection as LogInspection, SnapshotState};
use drystone_wal::{Error as WalError, Hole};

use super::Inspection;
use crate::engine::EngineError;
use crate::error::Error;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The file, or the folder if no file is to blame.
    pub file: PathBuf,
    /// Where in it, in bytes, if that is known.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl Trouble {
    fn new(file: &Path, offset: Option<u64>, what: impl Into<String>) -> Trouble {
        Trouble { file: file.to_path_buf(), offset, what: what.into() }
    }

    /// What a failure says; the folder `store` is to blame if it names no file.
    pub(super) fn of(error: &Error, store: &Path) -> Trouble {
        match error {
            Error::Engine(EngineError::Corrupt { file, offset, reason }) => {
                Trouble::new(file, Some(*offset), reason.clone())
            }
            Error::Damaged { file, reason } => Trouble::new(file, None, *reason),
            Error::Unsupported { file, .. }
            | Error::Engine(EngineError::Unsupported { file, .. })
            | Error::Log(NodeError::Store(LogError::Log(WalError::Unsupported { file, .. }))) => {
                Trouble::new(file, None, chain(error))
            }
            Error::Log(NodeError::Store(error)) => Trouble::of_log(error, store),
            error => Trouble::new(store, None, chain(error)),
        }
    }

    fn of_log(error: &LogError, store: &Path) -> Trouble {
        match error {
            LogError::Log(WalError::Corrupt { file, offset, reason, .. }) => {
                Trouble::new(file, Some(*offset), reason.to_string())
            }
            LogError::Corrupt { file, offset, what } => {
                Trouble::new(file, None, format!("record {offset}: {what}"))
            }
            error => Trouble::new(store, None, chain(error)),
        }
    }
}

impl Inspection {
    /// All that is wrong with what was looked at.
    pub fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        let store = &self.dir;
        match &self.engine {
            Ok(Some(_)) => {}
            Ok(None) => troubles.push(Trouble::new(store, None, "there is no store")),
            Err(error) => troubles.push(Trouble::of(error, store)),
        }
        match &self.state {
            Ok(Some(state)) => {
                let failed = state.census.as_ref().and_then(|census| census.as_ref().err());
                troubles.extend(failed.map(|error| Trouble::of(error, &state.dir)));
            }
            Ok(None) => {}
            Err(error) => troubles.push(Trouble::of(error, store)),
        }
        match &self.log {
            Ok(Some(log)) => self.log_troubles(log, &mut troubles),
            Ok(None) if self.applied() > 0 => {
                troubles.push(Trouble::new(&self.log_place(), None, "the log is missing"));
            }
            Ok(None) => {}
            Err(error) => troubles.push(Trouble::of(error, store)),
        }
        troubles
    }

    fn log_troubles(&self, log: &LogInspection, troubles: &mut Vec<Trouble>) {
        troubles.extend(log.holes().iter().map(of_hole));
        troubles.extend(log.nonsense().iter().map(|error| Trouble::of_log(error, &self.dir)));
        let end = log.end().map(|(file, offset)| (file, Some(offset)));
        let (file, offset) = end.unwrap_or((log.log(), None));
        if let Some((found, noted)) = log.ends_early() {
            let what = format!(
                "the log ends here with record {found}, but it went as far as record {noted} when \
                 it was last opened or closed: what came behind is lost"
            );
            troubles.push(Trouble::new(file, offset, what));
        }
        for snapshot in log.snapshots() {
            if snapshot.state == SnapshotState::Damaged {
                troubles.push(Trouble::new(&snapshot.path, None, "the snapshot is damaged"));
            }
        }
        let Some(group) = self.group() else { return };
        for (first, last) in group.missing() {
            let what = format!("entries {first} to {last} are missing");
            troubles.push(Trouble::new(log.log(), None, what));
        }
        let (last, applied) = (group.last().index.0, self.applied());
        if applied > last {
            let what = format!(
                "the log ends here with entry {last}, but the engine has the effect of entry \
                 {applied}: the entries between are lost"
            );
            troubles.push(Trouble::new(file, offset, what));
        }
    }
}

fn of_hole(hole: &Hole) -> Trouble {
    let lost = match (hole.first_lost, hole.last_lost) {
        (Some(first), Some(last)) if first > last => "no record lost".to_owned(),
        (Some(first), Some(last)) => format!("records {first} to {last} lost"),
        (Some(first), None) => format!("records from {first} on in doubt"),
        (None, Some(last)) => format!("records up to {last} lost"),
        (None, None) => "nobody knows which records lost".to_owned(),
    };
    let what = format!("{}, {} bytes unusable, {lost}", hole.reason, hole.bytes);
    Trouble::new(&hole.file, Some(hole.offset), what)
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
