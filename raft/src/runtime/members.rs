//! Several nodes of one group in this process: calls find the one that leads.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use crate::effect::Refused;
use crate::raft::Role;
use crate::runtime::group::Group;
use crate::runtime::machine::StateMachine;
use crate::types::NodeId;

/// How long to wait before everybody is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// Handles to one group on several nodes of this process, as tests and examples have them. Across
/// processes, the network that clients come by takes their place.
///
/// A call goes from node to node until one that leads has taken it. It is tried again only while
/// nothing can have come of it, and for as long as it takes: put a time limit around it if there
/// may be no quorum.
#[derive(Debug, Clone)]
pub struct Members<M: StateMachine> {
    groups: Vec<Group<M>>,
}

impl<M: StateMachine> FromIterator<Group<M>> for Members<M> {
    fn from_iter<I: IntoIterator<Item = Group<M>>>(groups: I) -> Members<M> {
        Members { groups: groups.into_iter().collect() }
    }
}

impl<M: StateMachine> Members<M> {
    /// Proposes a command where somebody leads, and returns the state machine's reply.
    ///
    /// # Errors
    /// [`Refused::Unknown`]: it may yet be done, or not, so only the caller can say whether it may
    /// be proposed again. [`Refused::Stopped`] if all nodes have stopped; [`Refused::Invalid`].
    pub async fn propose(&self, command: impl Into<Bytes>) -> Result<M::Reply, Refused> {
        let command = command.into();
        loop {
            let mut stopped = 0;
            for group in &self.groups {
                match group.propose(command.clone()).await {
                    Err(Refused::Stopped) => stopped += 1,
                    Err(Refused::NotLeader(_) | Refused::Overloaded | Refused::Transferring) => {}
                    done => return done,
                }
            }
            self.pause(stopped).await?;
        }
    }

    /// The node that leads, once one says so of itself.
    ///
    /// # Errors
    /// [`Refused::Stopped`] if all nodes have stopped.
    pub async fn leader(&self) -> Result<NodeId, Refused> {
        loop {
            let mut stopped = 0;
            for group in &self.groups {
                match group.status().await {
                    Ok(status) if status.role == Role::Leader => {
                        return Ok(status.leader.expect("a leader knows who leads"));
                    }
                    Ok(status) => stopped += usize::from(status.role == Role::Stopped),
                    Err(_) => stopped += 1,
                }
            }
            self.pause(stopped).await?;
        }
    }

    async fn pause(&self, stopped: usize) -> Result<(), Refused> {
        if stopped == self.groups.len() {
            return Err(Refused::Stopped);
        }
        sleep(PAUSE).await;
        Ok(())
    }
}
