//! A promise that a batch will be durable.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::core::Core;
use crate::error::Result;
use crate::key::SeqNo;

/// A batch that is visible, and on its way to the disk. Block on [`wait`](Commit::wait), or
/// `.await` it on any runtime: it is a plain [`Future`]. Dropping it does not take the batch back.
///
/// Without a journal there is nothing on its way: waiting flushes the memtables, as
/// [`Db::persist`](crate::Db::persist) does, and awaiting blocks the poll while it does so.
#[must_use = "a batch is not durable until the commit resolves"]
pub struct Commit {
    pub(crate) seq: SeqNo,
    pub(crate) way: Way,
}

pub(crate) enum Way {
    Journal(drystone_wal::Commit),
    Flush(Arc<Core>),
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Commit({})", self.seq)
    }
}

impl Commit {
    /// The number of the batch's last change.
    pub fn seq(&self) -> SeqNo {
        self.seq
    }

    /// Blocks until the batch is durable, and with it all that came before.
    ///
    /// # Errors
    /// [`Poisoned`](crate::Error::Poisoned) or [`NoSpace`](crate::Error::NoSpace) if the journal
    /// failed first; whether the batch survives is then unknown.
    pub fn wait(&self) -> Result<()> {
        match &self.way {
            Way::Journal(commit) => Ok(commit.wait().map(drop)?),
            Way::Flush(core) => core.persist(),
        }
    }
}

impl Future for Commit {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.way {
            Way::Journal(commit) => {
                Pin::new(commit).poll(cx).map(|outcome| outcome.map(drop).map_err(Into::into))
            }
            Way::Flush(core) => Poll::Ready(core.persist()),
        }
    }
}
