//! Questions that an agent asks a running task, over and over.

use serde::{Deserialize, Serialize};

use crate::types::Ms;

/// A question, how often it is asked, and how many answers in a row turn the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is asked.
    pub check: Check,
    /// Not before it has run so long.
    #[serde(default)]
    pub delay: Ms,
    /// So often.
    pub every: Ms,
    /// An answer counts as bad when it takes longer.
    pub timeout: Ms,
    /// So many good ones in a row, and it is well.
    pub successes: u32,
    /// So many bad ones in a row, and it is not.
    pub failures: u32,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Good if it answers with a status of 200 to 399.
    Http {
        /// At this port of the task.
        port: u16,
        /// At this path.
        path: String,
    },
    /// Good if it accepts a connection.
    Tcp {
        /// At this port of the task.
        port: u16,
    },
    /// Good if the command, run in the container, ends with 0.
    Exec {
        /// The words of the command.
        command: Vec<String>,
    },
}
