//! Why a node could not be started or stopped.

use std::io;
use std::sync::Arc;

use crate::store::{self, GroupId};

/// What starting and stopping a node returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a node could not be started or stopped.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] store::Error),

    /// The configuration breaks a rule.
    #[error("the configuration breaks a rule")]
    Core(#[from] crate::Error),

    /// The state machine could not take its snapshot.
    #[error("the state machine could not be restored")]
    Machine(#[source] Arc<io::Error>),

    /// The group runs on this node already.
    #[error("group {0} runs already")]
    Running(GroupId),

    /// The node has stopped already.
    #[error("the node has stopped")]
    Stopped,
}
