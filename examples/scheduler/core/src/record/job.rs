//! Jobs: what was asked for, and how far it is.
//!
//! An array of a million tasks is a million rows only while they run. A task that has not begun is
//! no key at all, and one that has ended is two bits of a [`MarksRecord`]:
//!
//! ```text
//!   index        0 … 4095            4096 … 8191            8192 … 999999
//!            ┌─────────────────┬──────────────────────┬──────────────────────
//!   marks    │ all succeeded   │ some succeeded       │ no key yet
//!   task     │ none            │ those under way      │ none
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Exit, Reason};
use crate::spec::Work;
use crate::types::{JobKey, NodeId, RunId, SpecHash, Uid, UnixMs};

/// What a user wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Tells it from an older one of the same name.
    pub uid: Uid,
    /// Counts the changes of `work`: 1-based.
    pub generation: u64,
    /// What.
    pub work: Work,
    /// For people and selectors.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// When it was made, by the server's clock.
    pub created_at: UnixMs,
    /// What made it: a cron or a workflow. It goes when that goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<JobKey>,
    /// It shall go: what runs is stopped, then all its keys are removed.
    #[serde(default)]
    pub deleted: bool,
    /// Counts the times that somebody asked to try its failed tasks again.
    #[serde(default)]
    pub retries: u32,
    /// Counts the times that somebody asked to start all its tasks anew.
    #[serde(default)]
    pub restarts: u32,
    /// A service shall go back to this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_to: Option<u64>,
    /// What somebody asked of it while it ran.
    #[serde(default, skip_serializing_if = "Asks::is_none")]
    pub asks: Asks,
}

impl JobRecord {
    /// Of something that was just made, for its own sake.
    pub fn new(uid: impl Into<Uid>, work: Work, created_at: UnixMs) -> JobRecord {
        JobRecord {
            uid: uid.into(),
            generation: 1,
            work,
            labels: BTreeMap::new(),
            created_at,
            owner: None,
            deleted: false,
            retries: 0,
            restarts: 0,
            rollback_to: None,
            asks: Asks::default(),
        }
    }
}

/// What somebody asked of a job or workflow while it ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    /// It shall end, and stay. Whoever asks to try it again takes this back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Ending>,
    /// Nodes of a workflow that wait to be resumed shall go on: those of this path or name, or all
    /// that wait. Each is obeyed once, in this order, so entries are added and never removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resume: Vec<Option<String>>,
}

impl Asks {
    /// Nothing.
    pub fn is_none(&self) -> bool {
        *self == Asks::default()
    }
}

/// How something shall end that has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// What runs is stopped; the exit handler of a workflow runs.
    Stop,
    /// What runs is stopped, and nothing else runs.
    Terminate,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateRecord {
    /// Of which object of that name.
    pub uid: Uid,
    /// The last generation that was looked at.
    pub generation: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Since when, by the leader's clock.
    pub since: UnixMs,
    /// Why, if there is something to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What people ask about, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What its kind needs to know.
    pub progress: Progress,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It waits for what it depends on.
    Waiting,
    /// Its tasks run, or wait for a place.
    Active,
    /// Somebody said so.
    Suspended,
    /// It has failed, or is deleted, and its last tasks are being stopped.
    Stopping,
    /// All that it was for is done.
    Succeeded,
    /// It is over, and it is not.
    Failed,
    /// What it waited for ended in another way than it asked for.
    Skipped,
}

impl Phase {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed | Phase::Skipped)
    }
}

/// Something that holds or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// `Available`, `Progressing`, …
    pub name: String,
    /// Whether it holds.
    pub holds: bool,
    /// Why, in a word.
    pub reason: String,
    /// Since when.
    pub since: UnixMs,
}

/// What the controller of a kind needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// Of a job.
    Job {
        /// How many ended how.
        counts: Counts,
        /// The spec that its tasks are of.
        spec: SpecHash,
        /// The `retries` of its record that were obeyed.
        #[serde(default)]
        retries: u32,
    },
    /// Of a service: opaque to all but its controller.
    Service(serde_json::Value),
    /// Of a cron.
    Cron(serde_json::Value),
    /// Of a workflow.
    Workflow(serde_json::Value),
}

/// How many of a job's tasks ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Did what they were for.
    pub succeeded: u32,
    /// Did not, for good.
    pub failed: u32,
    /// Were stopped, or never began.
    pub cancelled: u32,
}

/// How a task ended, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mark {
    /// It has not.
    None = 0,
    /// Well.
    Succeeded = 1,
    /// Badly.
    Failed = 2,
    /// It was stopped, or never began.
    Cancelled = 3,
}

/// So many tasks share one [`MarksRecord`].
pub const MARKS_CHUNK: u32 = 4096;

/// How the tasks of one chunk ended: two bits each, the first task in the lowest bits of the first
/// byte, in base64; bytes of zeros at the end are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarksRecord {
    /// Of which object of that name.
    pub uid: Option<Uid>,
    /// The bits.
    #[serde(with = "bits")]
    pub bits: Vec<u8>,
}

impl MarksRecord {
    /// How the task at this place in the chunk ended.
    pub fn get(&self, place: u32) -> Mark {
        assert!(place < MARKS_CHUNK, "a place is within its chunk");
        let byte = self.bits.get(place as usize / 4).copied().unwrap_or(0);
        match byte >> (place % 4 * 2) & 3 {
            0 => Mark::None,
            1 => Mark::Succeeded,
            2 => Mark::Failed,
            _ => Mark::Cancelled,
        }
    }

    /// Notes how the task at this place in the chunk ended.
    pub fn set(&mut self, place: u32, mark: Mark) {
        assert!(place < MARKS_CHUNK, "a place is within its chunk");
        let (at, shift) = (place as usize / 4, place % 4 * 2);
        if self.bits.len() <= at {
            self.bits.resize(at + 1, 0);
        }
        self.bits[at] = self.bits[at] & !(3 << shift) | (mark as u8) << shift;
        while self.bits.last() == Some(&0) {
            self.bits.pop();
        }
    }
}

/// Bytes as base64.
mod bits {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use super::MARKS_CHUNK;

    pub(super) fn serialize<S: Serializer>(bits: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD_NO_PAD.encode(bits))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let bits = STANDARD_NO_PAD.decode(text).map_err(de::Error::custom)?;
        match bits.len() <= MARKS_CHUNK as usize / 4 {
            true => Ok(bits),
            false => Err(de::Error::custom("more marks than a chunk has tasks")),
        }
    }
}

/// A slot with an attempt under way, or one due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Of which object of that name.
    pub uid: Uid,
    /// The attempt that is under way or due: 1-based.
    pub attempt: u32,
    /// Of these so many count against its retries.
    pub counted: u32,
    /// What it runs.
    pub spec: SpecHash,
    /// The revision of its service that this is of; 0 of any other kind.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: u64,
    /// What it is doing.
    #[serde(flatten)]
    pub wait: TaskWait,
    /// Memory in the place of the template's, after a rule of its retries raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// How the attempt before ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<PastRecord>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// What a slot is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum TaskWait {
    /// It has no run, and may have one from then on.
    Due {
        /// Not before, by the leader's clock.
        not_before: UnixMs,
    },
    /// It has this run.
    Bound {
        /// Where.
        node: NodeId,
        /// Which.
        run: RunId,
    },
}

/// One attempt that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRecord {
    /// Which.
    pub run: RunId,
    /// Where.
    pub node: NodeId,
    /// The how manieth.
    pub attempt: u32,
    /// How it ended.
    pub exit: Exit,
}

impl PastRecord {
    /// Why it ended.
    pub fn reason(&self) -> Reason {
        self.exit.reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The marks are the only memory of a task that has ended: each must keep to its own two bits.
    #[test]
    fn marks_keep_to_their_places() {
        let mut marks = MarksRecord::default();
        let all = [Mark::Succeeded, Mark::Failed, Mark::Cancelled, Mark::None];
        for place in 0..MARKS_CHUNK {
            marks.set(place, all[place as usize % 4]);
        }
        for place in 0..MARKS_CHUNK {
            assert_eq!(marks.get(place), all[place as usize % 4]);
        }
        marks.set(5, Mark::None);
        let text = serde_json::to_string(&marks).unwrap();
        assert!(text.len() < 1500, "a chunk is small: {} bytes", text.len());
        assert_eq!(serde_json::from_str::<MarksRecord>(&text).unwrap(), marks);
    }

    /// A job whose tasks were all forgotten leaves nothing behind.
    #[test]
    fn marks_of_nothing_are_empty() {
        let mut marks = MarksRecord::default();
        marks.set(4095, Mark::Failed);
        assert_eq!(marks.bits.len(), 1024);
        marks.set(4095, Mark::None);
        assert!(marks.bits.is_empty());
    }

    /// Marks come from a store that others can write to.
    #[test]
    fn marks_for_more_than_a_chunk_are_refused() {
        let text = format!("{{\"uid\":null,\"bits\":\"{}\"}}", "AAAA".repeat(400));
        assert!(serde_json::from_str::<MarksRecord>(&text).is_err());
    }
}
