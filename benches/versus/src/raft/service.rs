//! Consensus with a runtime around it: clients put, and wait until it is done.

use anyhow::Result;

use super::throughput::Sample;

/// Three nodes in this process, with logs in memory.
pub trait Service: Sized {
    /// What the tables call it.
    const NAME: &'static str;

    /// Starts them on so many threads, and has the first lead.
    ///
    /// # Errors
    /// If it cannot.
    fn start(workers: usize) -> Result<Self>;

    /// So many clients, each a task on the same threads, put one after the other until together
    /// they have put so much, and all nodes have applied it.
    ///
    /// # Errors
    /// If a put fails or is lost.
    fn turn(&mut self, clients: u64, puts: u64) -> Result<Sample>;

    /// Stops everything.
    ///
    /// # Errors
    /// If something does not stop.
    fn stop(self) -> Result<()>;
}
