//! What an agent writes down about a run before it starts it, for the agent after it.
//!
//! The next agent finds containers, and neither their templates nor their images. Both are in the
//! store and the image store by other names: a tag may have moved on meanwhile, and the store may
//! be out of reach for as long as it likes. So what keeping a run takes is in a small file.
//!
//! It need not survive the machine, only the agent: after the machine's restart there is no
//! container to be kept. So it is not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mason_core::record::RunRecord;
use mason_core::spec::{Mount, MountSource, Probe, Stop, Task};
use mason_core::types::{JobKey, RunId, Uid};
use serde::{Deserialize, Serialize};

/// What keeping a run takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memo {
    /// Whose run it is.
    pub(super) job: JobKey,
    /// Which object of that name.
    pub(super) uid: Uid,
    /// Digest of its image's manifest.
    pub(super) image: String,
    /// How it is stopped.
    pub(super) stop: Stop,
    /// Whether it can be sent work.
    pub(super) ready: Option<Probe>,
    /// Whether it should be stopped.
    pub(super) live: Option<Probe>,
    /// So much disk it may take; 0 is as much as there is.
    pub(super) disk: u64,
    /// So much each folder of its own may take, by the number of its mount.
    #[serde(default)]
    pub(super) empty: BTreeMap<u32, u64>,
    /// What its readiness probe found last.
    #[serde(default)]
    pub(super) is_ready: bool,
}

impl Memo {
    pub(super) fn of(record: &RunRecord, task: &Task, image: String) -> Memo {
        Memo {
            job: record.task.job.clone(),
            uid: record.uid.clone(),
            image,
            stop: task.stop.clone(),
            ready: task.ready.clone(),
            live: task.live.clone(),
            disk: task.limit.disk,
            empty: (0..).zip(&task.mounts).filter_map(bounded).collect(),
            is_ready: false,
        }
    }

    /// What its log is of, for whoever removes logs of jobs that are no more.
    pub(super) fn word(&self) -> String {
        format!("{} {}", self.job, self.uid)
    }
}

/// How large a mount may become on the node's disk, if there is a bound to that.
fn bounded((number, mount): (u32, &Mount)) -> Option<(u32, u64)> {
    match mount.source {
        MountSource::Empty { bytes: bytes @ 1.., memory: false } => Some((number, bytes)),
        _ => None,
    }
}

/// The job in such a word.
pub(super) fn job_of(word: &str) -> Option<(JobKey, Uid)> {
    let (job, uid) = word.split_once(' ')?;
    Some((job.parse().ok()?, uid.into()))
}

/// The folder of memos.
#[derive(Clone, Debug)]
pub(super) struct Memos {
    folder: PathBuf,
}

impl Memos {
    /// Opens the folder, and forgets all runs but those that were found.
    pub(super) fn open(data_dir: &Path, found: &BTreeSet<RunId>) -> io::Result<Memos> {
        let folder = data_dir.join("memos");
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&folder)?.flatten() {
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| found.contains(&RunId::from(name))) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Memos { folder })
    }

    pub(super) fn write(&self, run: &RunId, memo: &Memo) -> io::Result<()> {
        let fresh = self.folder.join(format!(".{run}"));
        fs::write(&fresh, serde_json::to_vec(memo)?)?;
        fs::rename(fresh, self.folder.join(run.as_str()))
    }

    /// None if there is none that reads.
    pub(super) fn read(&self, run: &RunId) -> Option<Memo> {
        serde_json::from_slice(&fs::read(self.folder.join(run.as_str())).ok()?).ok()
    }

    pub(super) fn remove(&self, run: &RunId) {
        // Whatever stays is removed at the next start.
        let _ = fs::remove_file(self.folder.join(run.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the next agent reads is what this one wrote, and nothing of runs that are gone stays.
    #[test]
    fn a_memo_outlives_its_agent_and_not_its_run() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, gone) = (RunId::new(1, 2), RunId::new(1, 3));
        let memos = Memos::open(folder.path(), &BTreeSet::new()).unwrap();
        let memo = Memo {
            job: JobKey::new("a", "b"),
            uid: "u".into(),
            image: "sha256:1".to_owned(),
            stop: Stop { signal: 2, grace: 7 },
            ready: None,
            live: None,
            disk: 4,
            empty: BTreeMap::from([(1, 5)]),
            is_ready: true,
        };
        memos.write(&kept, &memo).unwrap();
        memos.write(&gone, &memo).unwrap();
        let memos = Memos::open(folder.path(), &[kept.clone()].into()).unwrap();
        assert_eq!((memos.read(&kept), memos.read(&gone)), (Some(memo.clone()), None));
        memos.remove(&kept);
        assert_eq!(memos.read(&kept), None);
        assert_eq!(job_of(&memo.word()), Some((JobKey::new("a", "b"), "u".into())));
        assert_eq!(job_of("nonsense"), None);
    }
}
