//! What clients asked, what they were told, and what they were shown.
//!
//! ```text
//!   client 1   ├─ put ─┤ ok, revision 7            an operation: a call, a return, an outcome
//!   client 2       ├── txn ─ …                     the answer was lost: it may still take effect
//!   client 3   ╞═ created ═ 5 6 ═ 7 ═ progress 7   a stream: a watch from its opening to its end
//!   the end    all keys, all events, hashes, members, leases: asked of every member
//! ```
//!
//! A history is plain data: it is saved as a file of JSON lines, and every checker is a pure
//! function of it. Times are those of one monotonic clock on the side of the clients, so two times
//! can be compared whoever wrote them down.
//!
//! An operation whose answer is lost may take effect at any later time, or never. To write that
//! down as a failure would forbid it, and is the classic mistake of a test.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::request::{Event, Kv, Reply, Request, Revision, Span};

/// Nanoseconds since the run began.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Moment(pub u64);

impl Moment {
    /// So many whole seconds after the run began.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Moment {
        Moment(seconds * 1_000_000_000)
    }

    /// The moment so many seconds later; earlier if negative.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Moment {
        let by = seconds.unsigned_abs() * 1_000_000_000;
        Moment(if seconds < 0 { self.0.saturating_sub(by) } else { self.0 + by })
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}s", self.0 / 1_000_000_000, self.0 / 1_000_000 % 1_000)
    }
}

/// One process of one member, from its start to its end. What it tells never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Life {
    /// The place of the member in the cluster, from 0.
    pub slot: usize,
    /// Counts the starts and the ends in this place.
    pub count: u32,
}

/// What a client knows about an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was answered.
    Done(Reply),
    /// It has not taken effect and never will.
    Refused(String),
    /// Nothing: it may take effect at any time from its call on, or never.
    Unknown(String),
}

/// Why a request that names a revision is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It has been compacted.
    Compacted,
    /// It is not there yet.
    Future,
}

impl Refusal {
    /// What etcd says about a revision that has been compacted.
    pub const COMPACTED: &str = "mvcc: required revision has been compacted";
    /// What etcd says about a revision that is not there yet.
    pub const FUTURE: &str = "mvcc: required revision is a future revision";

    /// Reads the text of [`Outcome::Refused`]; other reasons have nothing to do with revisions.
    #[must_use]
    pub fn of(why: &str) -> Option<Refusal> {
        let says = |words: &str| why.contains(words);
        match () {
            () if says(Refusal::COMPACTED) => Some(Refusal::Compacted),
            () if says(Refusal::FUTURE) => Some(Refusal::Future),
            () => None,
        }
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked.
    pub client: u32,
    /// The process that answered, if the same one was there from the call to the return.
    pub life: Option<Life>,
    /// When it was sent.
    pub called: Moment,
    /// When its outcome was known, or when the client gave up.
    pub returned: Moment,
    /// What for.
    pub request: Request,
    /// What came of it.
    pub outcome: Outcome,
}

impl Operation {
    /// The answer, if there was one.
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        match &self.outcome {
            Outcome::Done(reply) => Some(reply),
            Outcome::Refused(_) | Outcome::Unknown(_) => None,
        }
    }

    /// Whether it may have taken effect although nobody said so.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown(_))
    }
}

/// What a watch stream said, or was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// The watch is there.
    Created,
    /// Events of one or more revisions.
    Events(Vec<Event>),
    /// All events up to the revision of the header have been sent.
    Progress,
    /// The server ended the watch.
    Canceled {
        /// Why, in its words.
        reason: String,
        /// The oldest revision that can be watched, if the one to come has been compacted away.
        compacted: Revision,
    },
}

/// One message of a watch stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// When it came.
    pub at: Moment,
    /// The revision in its header.
    pub revision: Revision,
    /// What it says.
    pub said: Said,
}

/// One watch, from its opening to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Who watched.
    pub client: u32,
    /// The process that was asked, if the same one was there all the time.
    pub life: Option<Life>,
    /// When it was asked for.
    pub opened: Moment,
    /// Which keys.
    pub span: Span,
    /// From which revision on; 0 is from now on.
    pub start: Revision,
    /// Whether events shall show what stood there before.
    pub prev_kv: bool,
    /// Whether it is a part of the chronicle: all keys, from the first revision on, through one
    /// member for the whole run.
    pub chronicle: bool,
    /// What came.
    pub messages: Vec<Message>,
    /// The cluster was well, the watch was asked for long enough, and this revision had not come.
    pub overdue: Option<Revision>,
}

/// A member as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Whether it has no vote.
    pub learner: bool,
}

/// What one member says at the end, when all is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Who.
    pub slot: usize,
    /// At which revision all members were asked.
    pub revision: Revision,
    /// The members of the cluster, ordered.
    pub members: Vec<MemberInfo>,
    /// The oldest revision that its store can read, or 0.
    pub compacted: Revision,
    /// Hashes of the store at several revisions from that one on.
    pub hashes: Vec<(Revision, u32)>,
    /// Every key at that revision.
    pub keys: Vec<Kv>,
    /// The first revision that it still tells.
    pub first: Revision,
    /// Every event from the first to that revision.
    pub events: Vec<Event>,
    /// Leases that live although nobody holds them any more.
    pub leases: Vec<i64>,
}

/// Everything that was seen in a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// All calls, in the order of their returns.
    pub operations: Vec<Operation>,
    /// All watches.
    pub streams: Vec<Stream>,
    /// What every member says at the end. Empty if the cluster did not come back.
    pub audits: Vec<Audit>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
enum Line {
    Operation(Operation),
    Stream(Stream),
    Audit(Audit),
}

impl History {
    /// Writes it to a file, one JSON value a line.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(self, path: &Path) -> Result<()> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut out = BufWriter::new(file);
        let operations = self.operations.into_iter().map(Line::Operation);
        let streams = self.streams.into_iter().map(Line::Stream);
        let audits = self.audits.into_iter().map(Line::Audit);
        for line in operations.chain(streams).chain(audits) {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        Ok(out.flush()?)
    }

    /// Reads what [`save`](History::save) wrote.
    ///
    /// # Errors
    /// If the file cannot be read or holds something else.
    pub fn load(path: &Path) -> Result<History> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut history = History::default();
        for line in BufReader::new(file).lines() {
            match serde_json::from_str(&line?)? {
                Line::Operation(operation) => history.operations.push(operation),
                Line::Stream(stream) => history.streams.push(stream),
                Line::Audit(audit) => history.audits.push(audit),
            }
        }
        Ok(history)
    }
}
