//! Runs: one attempt at a task, from the binding to the result.
//!
//! ```text
//!   bound ─► claimed ─► pulling ─► created ─► running ⇄ ready ─► stopping ─► result
//!     │         └──────────────┴───────┴─────────┴────────────────────────────▲
//!     └──────────────── lost: the node's lease is gone ────────────────────────┘
//! ```
//!
//! A run never goes back and never moves to another node; another attempt is another run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::Concurrency;
use crate::types::{Ms, SpecHash, TaskKey, Uid, UnixMs, start_of};

/// A task bound to a node, and what it shall do there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Of which task.
    pub task: TaskKey,
    /// Of which object of that name.
    pub uid: Uid,
    /// The how manieth attempt: 1-based.
    pub attempt: u32,
    /// What it runs.
    pub spec: SpecHash,
    /// What it shall do.
    #[serde(default)]
    pub wish: Wish,
    /// What is promised about two copies.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// How many tasks its job has: `MASON_COUNT`.
    pub count: u32,
    /// Its group, under partition placement: `MASON_PARTITION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Memory in the place of the template's, after a rule of its retries raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// When it was bound, by the leader's clock.
    pub bound_at: UnixMs,
}

/// What a run shall do. It only ever goes down this list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// Run.
    #[default]
    Run,
    /// End: the stop signal, then the grace of its spec.
    Stop {
        /// Less than that grace, when there is less time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<Ms>,
        /// Why, for its result.
        why: Reason,
    },
}

/// How far a run is, by its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRecord {
    /// The start of the agent that claimed it.
    pub epoch: u64,
    /// How far.
    pub phase: RunPhase,
    /// Whether its probe is content; without one, that it runs.
    #[serde(default)]
    pub ready: bool,
    /// When it came to this phase or verdict, by the agent's clock.
    pub since: UnixMs,
    /// When the container was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<UnixMs>,
    /// What it is waiting for, if for something.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How far a run is. It only ever goes down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunPhase {
    /// Its agent has it in its journal.
    Claimed,
    /// Its image is fetched.
    Pulling,
    /// Its container is made.
    Created,
    /// Its container runs.
    Running,
    /// It was told to end.
    Stopping,
}

/// How a run ended. This key is the ledger: it is written once, by whoever is first, and nothing
/// else decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRecord {
    /// Of which task.
    pub task: TaskKey,
    /// Where it was.
    pub node: crate::types::NodeId,
    /// How it ended.
    pub exit: Exit,
}

/// The output under which what a task printed last is kept, if its spec asks for it.
pub const PRINTED: &str = "result";

/// Longest outputs of one run, all together and as the store holds them, bytes. With a message they
/// fit into one value, and so does the record of the attempt that is kept.
pub const OUTPUTS_BYTES_MAX: usize = 36 << 10;

/// Longest message of an end, bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Why.
    pub reason: Reason,
    /// Its exit code; 128 and the signal, if one ended it; none if it never ran or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What went wrong, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When its container was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<UnixMs>,
    /// When it was over.
    pub finished_at: UnixMs,
    /// What it printed last, and files that it left, as far as its spec asks for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
}

impl Exit {
    /// Of something that ended without a code: it never ran, or nobody saw it.
    pub fn without_code(reason: Reason, message: impl Into<String>, at: UnixMs) -> Exit {
        Exit {
            reason,
            code: None,
            signal: None,
            message: message.into(),
            started_at: None,
            finished_at: at,
            outputs: BTreeMap::new(),
        }
    }

    /// It did what it was for.
    pub fn is_success(&self) -> bool {
        self.reason == Reason::Exited && self.code == Some(0)
    }

    /// Makes it fit into a value of the store. What a task printed loses its beginning; a file is
    /// left out, for half of it would be taken for all, and the message says so.
    pub fn bound(&mut self) {
        let mut room = OUTPUTS_BYTES_MAX;
        let mut left_out = Vec::new();
        // What was printed last has what room the files leave.
        let printed = self.outputs.remove(PRINTED);
        self.outputs.retain(|name, text| {
            let bytes = stored_bytes(name) + stored_bytes(text);
            let fits = bytes <= room;
            match fits {
                true => room -= bytes,
                false => left_out.push(format!("output `{name}` is left out: {bytes} bytes")),
            }
            fits
        });
        if let Some(text) = printed {
            let text = last_of(&text, room.saturating_sub(stored_bytes(PRINTED)));
            self.outputs.insert(PRINTED.to_owned(), text.to_owned());
        }
        for why in left_out {
            let separator = if self.message.is_empty() { "" } else { "; " };
            self.message += &format!("{separator}{why}");
        }
        self.message.truncate(start_of(&self.message, MESSAGE_BYTES_MAX).len());
    }
}

/// How long a text is in the store, with its quotes and what follows it.
fn stored_bytes(text: &str) -> usize {
    text.chars().map(stored_bytes_of).sum::<usize>() + 3
}

fn stored_bytes_of(one: char) -> usize {
    match one {
        '"' | '\\' | '\n' | '\r' | '\t' | '\x08' | '\x0c' => 2,
        one if u32::from(one) < 0x20 => 6,
        one => one.len_utf8(),
    }
}

/// The end of a text, as much as fits.
fn last_of(text: &str, room: usize) -> &str {
    let mut bytes = 3;
    let fits = text.char_indices().rev().take_while(|(_, one)| {
        bytes += stored_bytes_of(*one);
        bytes <= room
    });
    let from = fits.last().map_or(text.len(), |(at, _)| at);
    &text[from..]
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// By itself, with a code.
    Exited,
    /// By a signal that we did not send.
    Signalled,
    /// It asked for more memory than it may have.
    OutOfMemory,
    /// It took longer than its spec allows.
    Timeout,
    /// Its image cannot be had.
    ImagePull,
    /// Something that its spec names is not there: a config map, a secret, a key of it.
    Config,
    /// Its container could not be made or started.
    Start,
    /// Its probe found it dead.
    Unhealthy,
    /// Somebody stopped it: its job was deleted, suspended, has failed or is over its deadline.
    Stopped,
    /// A newer version took its place.
    Replaced,
    /// Its node was drained.
    Drained,
    /// Its node was taken away with a notice.
    Interrupted,
    /// Its agent could not reach the store, and two copies must not run.
    Fenced,
    /// Its keeper was killed, or the machine restarted: nobody saw how it ended.
    Unknown,
    /// Its node fell silent.
    Lost,
}

impl Reason {
    /// No fault of the task: such an attempt is not counted.
    pub fn is_innocent(self) -> bool {
        matches!(
            self,
            Reason::Drained
                | Reason::Interrupted
                | Reason::Fenced
                | Reason::Lost
                | Reason::Replaced
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{self, VALUE_BYTES_MAX};

    fn exit(outputs: &[(&str, String)]) -> Exit {
        let mut exit = Exit::without_code(Reason::Exited, "", 0);
        exit.outputs =
            outputs.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect();
        exit
    }

    /// A result that the store refuses is a run that never ends: whatever a task prints, it fits.
    #[test]
    fn any_outputs_fit_into_a_value() {
        for one in ["x", "\u{1}", "\"", "ä", "\u{1f980}"] {
            let long = one.repeat(40_000);
            let mut it = exit(&[("a", long.clone()), ("b", "small".to_owned()), (PRINTED, long)]);
            it.message = one.repeat(10_000);
            it.bound();
            assert!(record::encode(&it).len() <= VALUE_BYTES_MAX, "{one:?}");
            assert_eq!(it.outputs["b"], "small");
            assert!(!it.outputs[PRINTED].is_empty());
        }
    }

    /// Half a file would be taken for all of it; of what was printed the end is asked for.
    #[test]
    fn files_are_whole_or_missing_and_prints_lose_their_beginning() {
        let printed = format!("{}the end", "x".repeat(OUTPUTS_BYTES_MAX));
        let mut it = exit(&[("a", "y".repeat(OUTPUTS_BYTES_MAX)), (PRINTED, printed)]);
        it.bound();
        assert!(it.outputs[PRINTED].ends_with("xthe end"));
        assert!(!it.outputs.contains_key("a"));
        assert!(it.message.contains("output `a` is left out"), "{}", it.message);
        let mut small = exit(&[("a", "y\n".to_owned()), (PRINTED, "z".to_owned())]);
        let before = small.clone();
        small.bound();
        assert_eq!(small, before);
    }
}
