//! What a keeper is told and asked on its socket: a line of JSON each way.
//!
//! ```text
//!   {"state":null}                                          {"state":{…}}
//!   {"stop":{"signal":15,"grace":30000,"why":"drained"}}    {"done":null}
//!   {"exec":{"command":["sh"],…}} + three descriptors       {"pid":71}, later {"code":0}
//! ```
//!
//! For `exec` the caller sends the ends of three pipes along (`SCM_RIGHTS`): what the process reads
//! and prints never passes through the keeper. If the connection closes first, it is killed.

use serde::{Deserialize, Serialize};

/// Longest line of a request.
pub const LINE_BYTES_MAX: usize = 256 << 10;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// How is it?
    State,
    /// End: a signal now, SIGKILL after the grace. A second one can only shorten the grace.
    Stop {
        /// The signal, by number.
        signal: i32,
        /// In milliseconds.
        grace: u64,
        /// Why, for `exit.json`.
        why: String,
    },
    /// A signal to the container's first process, and nothing more.
    Signal {
        /// Which, by number.
        number: i32,
    },
    /// Run something in the container.
    Exec(Exec),
}

/// Something to run in a container, as the user and with the rights of its program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Its words.
    pub command: Vec<String>,
    /// Variables besides those of the program, `NAME=value`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Where, if not where the program starts.
    #[serde(default)]
    pub workdir: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// How it is.
    State(State),
    /// It is done, or on its way.
    Done,
    /// It runs in the container: the runtime's process that waits for it.
    Pid(i32),
    /// It has ended with this code; 128 and the signal, if one ended it.
    Code(i32),
    /// It cannot be done.
    Error(String),
}

/// How a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The container's first process, as the node sees it.
    pub pid: i32,
    /// When its program was started, in milliseconds since 1970.
    pub started_at: u64,
    /// It was told to stop, for this reason.
    #[serde(default)]
    pub stopping: Option<String>,
    /// How many bytes of what it printed could not be written down.
    #[serde(default)]
    pub log_bytes_lost: u64,
}

/// The first and only word of a keeper on its stdout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Begun {
    /// Its program runs.
    Started(State),
    /// It could not be started; `exit.json` says the same.
    Failed(String),
}
