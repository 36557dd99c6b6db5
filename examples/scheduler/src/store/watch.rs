//! Every change from a revision on.
//!
//! ```text
//!   watch(from 8) ─► member a: 8 9 10 ✗ killed
//!                    member b: resume at 11 ─► 11 12 13 …
//! ```
//!
//! The place to resume at is the revision after the last that was told, so nothing is left out and
//! nothing told twice, whichever member goes on. That the history from there is gone is told as
//! [`WatchEvent::Compacted`]: the caller lists, and watches from there ([`super::Follow`]).
//!
//! The stream asks for a leader, so that a member that was cut off from the others, and would be
//! silent for ever, ends it.

use std::sync::Arc;

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;
use mason_core::types::Revision;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::answer::{Fate, fate};
use super::calls::{Chosen, led};
use super::joiner::Joiner;
use super::value::{Batch, end_of};
use super::{Store, StoreError};

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// Changes.
    Batch(Batch),
    /// Nothing has changed up to this revision since the last event.
    Progress(Revision),
    /// History before this revision is gone, and with it changes that were not told. It ends.
    Compacted(Revision),
}

/// A watch that stands. It ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::Receiver<Result<WatchEvent, StoreError>>,
}

impl Watch {
    /// What comes next. It may be dropped while it waits, and loses nothing.
    ///
    /// A watch goes on over everything that passes, for as long as it takes.
    ///
    /// # Errors
    /// If the store refuses to be watched, or the watch has ended.
    pub async fn next(&mut self) -> Result<WatchEvent, StoreError> {
        self.events.recv().await.unwrap_or(Err(StoreError::Ended))
    }
}

impl Store {
    /// Watches everything under a prefix, from a revision on.
    pub fn watch(&self, prefix: &str, from: Revision) -> Watch {
        let start = if prefix.is_empty() { b"\0" } else { prefix.as_bytes() };
        self.watch_range(Bytes::copy_from_slice(start), end_of(prefix), from)
    }

    /// Watches one key, from a revision on.
    pub fn watch_key(&self, key: &str, from: Revision) -> Watch {
        self.watch_range(Bytes::copy_from_slice(key.as_bytes()), Bytes::new(), from)
    }

    fn watch_range(&self, key: Bytes, range_end: Bytes, from: Revision) -> Watch {
        let (told, events) = mpsc::channel(self.settings().watch_queue);
        let joiner = Joiner::new(from.max(1));
        let watcher = Watcher { store: self.clone(), key, range_end, joiner, told };
        tokio::spawn(watcher.run());
        Watch { events }
    }
}

/// How one stream of a watch ended.
enum Broken {
    /// It may be resumed; whether it had told anything.
    Off(bool),
    /// The watch is over, with these last words.
    Over(Result<WatchEvent, StoreError>),
    /// Nobody listens any more.
    Unheard,
}

struct Watcher {
    store: Store,
    key: Bytes,
    range_end: Bytes,
    joiner: Joiner,
    told: mpsc::Sender<Result<WatchEvent, StoreError>>,
}

impl Watcher {
    async fn run(mut self) {
        let (mut pauses, mut failures) = (self.store.calls.pauses(), 0_usize);
        let told = self.told.clone();
        loop {
            let chosen = self.store.calls.choose();
            let broken = tokio::select! {
                broken = self.stream(&chosen) => broken,
                () = told.closed() => return,
            };
            self.joiner.broke_off();
            match broken {
                Broken::Over(last) => return drop(self.told.send(last).await),
                Broken::Unheard => return,
                Broken::Off(true) => (pauses, failures) = (self.store.calls.pauses(), 0),
                Broken::Off(false) => failures += 1,
            }
            self.store.calls.leave(&chosen);
            if failures > 0 && failures.is_multiple_of(self.store.calls.count()) {
                tokio::select! {
                    () = pauses.pause() => {}
                    () = told.closed() => return,
                }
            }
        }
    }

    fn create(&self) -> pb::WatchRequest {
        let create = pb::WatchCreateRequest {
            key: self.key.clone(),
            range_end: self.range_end.clone(),
            start_revision: self.joiner.next(),
            progress_notify: true,
            fragment: true,
            ..pb::WatchCreateRequest::default()
        };
        pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    }

    /// One stream, from its creation until it breaks.
    async fn stream(&mut self, chosen: &Chosen) -> Broken {
        // It says one thing only, but as long as it is open the watch stands.
        let (ask, asks) = mpsc::channel(1);
        if ask.try_send(self.create()).is_err() {
            return Broken::Off(false);
        }
        let max = self.store.settings().call_max;
        let mut client = chosen.client.watch();
        let open = tokio::time::timeout(max, async {
            let mut stream = client.watch(led(ReceiverStream::new(asks))).await?.into_inner();
            let first = stream.message().await?;
            Ok::<_, Status>((stream, first))
        });
        let (mut stream, mut message) = match open.await {
            Ok(Ok((stream, Some(first)))) => (stream, first),
            Ok(Err(status)) => return self.failed(chosen, status),
            Ok(Ok((_, None))) | Err(_) => return Broken::Off(false),
        };
        let mut has_told = false;
        loop {
            match self.take(message, chosen) {
                Ok(None) => {}
                Ok(Some(event)) => {
                    has_told = true;
                    if self.told.send(Ok(event)).await.is_err() {
                        return Broken::Unheard;
                    }
                }
                Err(broken) => return broken,
            }
            message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Broken::Off(has_told),
                Err(status) => match self.failed(chosen, status) {
                    Broken::Off(_) => return Broken::Off(has_told),
                    over => return over,
                },
            };
        }
    }

    /// What a message tells, if anything.
    fn take(
        &mut self,
        message: pb::WatchResponse,
        chosen: &Chosen,
    ) -> Result<Option<WatchEvent>, Broken> {
        let header = message.header.as_ref();
        let revision = match self.store.calls.revision(header, chosen) {
            Ok(revision) => revision,
            Err(error) => return Err(Broken::Over(Err(error))),
        };
        if message.compact_revision > 0 {
            return Err(Broken::Over(Ok(WatchEvent::Compacted(message.compact_revision))));
        }
        if message.canceled {
            let reason = message.cancel_reason;
            let status = match reason.contains("permission denied") {
                true => Status::permission_denied(reason),
                false => Status::unavailable(reason),
            };
            return Err(self.failed(chosen, status));
        }
        if message.created {
            return Ok(None);
        }
        if message.events.is_empty() && !message.fragment {
            let is_news = self.joiner.progress(revision);
            return Ok(is_news.then_some(WatchEvent::Progress(revision)));
        }
        Ok(self.joiner.take(message.events, message.fragment).map(WatchEvent::Batch))
    }

    /// What an error means: the next endpoint may do better, or nobody will.
    fn failed(&self, chosen: &Chosen, status: Status) -> Broken {
        match fate(&status) {
            Fate::Refused => Broken::Over(Err(StoreError::Refused {
                endpoint: chosen.url.clone(),
                what: "watch",
                source: Arc::new(status),
            })),
            Fate::NotDone | Fate::Unknown => Broken::Off(false),
        }
    }
}
