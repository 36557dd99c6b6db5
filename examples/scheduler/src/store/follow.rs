//! A prefix, and then every change to it: what a mirror of it is kept by.
//!
//! ```text
//!   list at R ─► Reset(R, all) ─► watch from R+1 ─► Batch Batch Batch … compacted!
//!      ▲                                                                  │
//!      └──────────────────────────────────────────────────────────────────┘
//! ```

use mason_core::types::Revision;
use tokio::sync::mpsc;

use super::watch::WatchEvent;
use super::{Change, KeyValue, Store, StoreError};

/// What a follower is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    /// Forget what was: at this revision, this is everything.
    Reset(Revision, Vec<KeyValue>),
    /// All that has changed since, up to this revision; may be nothing. No revision is split.
    Batch(Revision, Vec<Change>),
}

/// A prefix that is followed. It ends when this is dropped.
#[derive(Debug)]
pub struct Follow {
    feeds: mpsc::Receiver<Result<Feed, StoreError>>,
}

impl Follow {
    /// What comes next. It may be dropped while it waits, and loses nothing.
    ///
    /// # Errors
    /// If the store refuses, or has become another one. What passes is waited for.
    pub async fn next(&mut self) -> Result<Feed, StoreError> {
        self.feeds.recv().await.unwrap_or(Err(StoreError::Ended))
    }
}

impl Store {
    /// Follows everything under a prefix.
    pub fn follow(&self, prefix: &str) -> Follow {
        let (told, feeds) = mpsc::channel(self.settings().follow_queue);
        let (store, prefix) = (self.clone(), prefix.to_owned());
        tokio::spawn(async move {
            tokio::select! {
                Err(error) = feed(&store, &prefix, &told) => drop(told.send(Err(error)).await),
                () = told.closed() => {}
            }
        });
        Follow { feeds }
    }
}

type Told = mpsc::Sender<Result<Feed, StoreError>>;

/// Ends with an error only: that nobody listens is the caller's to see.
async fn feed(store: &Store, prefix: &str, told: &Told) -> Result<(), StoreError> {
    loop {
        let (revision, all) = list(store, prefix).await?;
        say(told, Feed::Reset(revision, all)).await?;
        let mut watch = store.watch(prefix, revision + 1);
        loop {
            match watch.next().await? {
                WatchEvent::Batch(batch) => {
                    say(told, Feed::Batch(batch.revision, batch.changes)).await?;
                }
                WatchEvent::Progress(revision) => {
                    say(told, Feed::Batch(revision, Vec::new())).await?;
                }
                WatchEvent::Compacted(_) => break,
            }
        }
    }
}

async fn list(store: &Store, prefix: &str) -> Result<(Revision, Vec<KeyValue>), StoreError> {
    let mut pauses = store.calls.pauses();
    loop {
        match store.read_all(prefix).await {
            Err(error) if error.is_passing() || matches!(error, StoreError::Compacted(_)) => {
                pauses.pause().await;
            }
            listed => return listed,
        }
    }
}

async fn say(told: &Told, feed: Feed) -> Result<(), StoreError> {
    told.send(Ok(feed)).await.map_err(|_| StoreError::Ended)
}
