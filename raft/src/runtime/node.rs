//! One group on one node: what most programs want.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use drystone_vfs::Vfs;

use crate::runtime::config::NodeConfig;
use crate::runtime::error::Result;
use crate::runtime::group::Group;
use crate::runtime::machine::StateMachine;
use crate::runtime::multi::{Layout, MultiNode};
use crate::runtime::transport::Link;
use crate::store::{GroupId, Store};

/// A member of one group. It is used like its [`Group`], which can be cloned and handed around.
#[derive(Debug)]
pub struct Node<M: StateMachine> {
    host: MultiNode<M>,
    group: Group<M>,
}

impl<M: StateMachine> Node<M> {
    /// The name of its group, for the network and the store.
    pub const GROUP: GroupId = GroupId(0);

    /// Opens the store in `dir`, restores the state machine, and starts the node. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Store`](crate::runtime::Error::Store) and its like.
    pub async fn spawn(
        config: NodeConfig,
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        link: Link,
        machine: M,
    ) -> Result<Node<M>> {
        let layout = Layout { router: false, grid: 1 };
        let host = MultiNode::lay_out(config, vfs, dir, link, layout)?;
        let group = host.start(Node::<M>::GROUP, machine).await?;
        Ok(Node { host, group })
    }

    /// A handle that can be cloned and outlives the node: calls are refused then.
    pub fn group(&self) -> &Group<M> {
        &self.group
    }

    /// The store beneath, to look at.
    pub fn store(&self) -> &Store {
        self.host.store()
    }

    /// Hands over the leadership if this node has it, answers everyone, and closes the store.
    ///
    /// # Errors
    /// [`Error::Store`](crate::runtime::Error::Store) if what was not durable could not be made so.
    pub async fn shutdown(self) -> Result<()> {
        self.host.shutdown().await
    }

    /// Stops at once, as if the process had been killed.
    pub async fn kill(self) {
        self.host.kill().await;
    }
}

impl<M: StateMachine> Deref for Node<M> {
    type Target = Group<M>;

    fn deref(&self) -> &Group<M> {
        &self.group
    }
}
