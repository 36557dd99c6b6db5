//! A lease that is kept alive, and what its holder may count on.
//!
//! ```text
//!   holder   asked t0 ──────────── asked t1 ─────────── asked t2 ── ✗
//!                 \    ▲ granted        \    ▲ granted        \
//!   store          ──┘                   ──┘                   ✗ lost on the way
//!   pulse          asked: t0            asked: t1              asked: t1, still
//! ```
//!
//! The store counts from when a request arrives, which is after it was sent. So a holder who counts
//! from when it *asked* stops counting on the lease before the store lets go of it
//! ([`mason_core::protocol::fence`]). A renewal that was not acknowledged may have been granted; it
//! does not count.
//!
//! The session is lost when the store says that the lease is gone, and not before: until then it
//! tries to renew, at one endpoint after the other. What a holder must not do any more when it
//! could not renew for long is its own to know, by the pulse.
//!
//! One weakness is the store's: a leader of etcd before 3.4.26 or 3.5.9 that was cut off goes on
//! granting renewals until it notices, up to its election timeout (a second) later. The margin of
//! the fence covers that.

use std::time::Duration;

use drystone_etcd_api::etcdserverpb as pb;
use mason_core::types::Ms;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::answer::is_lease_gone;
use super::calls::{Chosen, led};
use super::clock::now;
use super::lease::Lease;
use super::{Store, StoreError};

/// What is known of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// When the last renewal that was granted was asked for, by [`now`].
    pub asked: Ms,
    /// How long the lease lasts from a renewal on.
    pub ttl: Ms,
    /// How many renewals were granted; the grant itself is the first.
    pub count: u64,
    /// The store says that the lease is gone.
    pub lost: bool,
}

/// A lease that is kept alive as long as this is held. When it is dropped the lease runs out by
/// itself; [`Session::close`] ends it at once.
#[derive(Debug)]
pub struct Session {
    store: Store,
    lease: Lease,
    pulse: watch::Receiver<Pulse>,
    keeper: JoinHandle<()>,
}

impl Session {
    /// Has a lease granted, and renews it so often.
    ///
    /// # Errors
    /// If nobody grants it.
    pub async fn open(
        store: &Store,
        ttl: Duration,
        every: Duration,
    ) -> Result<Session, StoreError> {
        let asked = now();
        let lease = store.grant(ttl).await?;
        let first = Pulse { asked, ttl: lease.ttl, count: 1, lost: false };
        let (told, pulse) = watch::channel(first);
        let keeper = Keeper { store: store.clone(), lease, every, told };
        let keeper = tokio::spawn(keeper.run());
        Ok(Session { store: store.clone(), lease, pulse, keeper })
    }

    /// The lease.
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// What is known of it; changes with each renewal that is granted.
    pub fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.clone()
    }

    /// Resolves when the store says that the lease is gone.
    pub fn lost(&self) -> impl Future<Output = StoreError> + Send + use<> {
        let (mut pulse, id) = (self.pulse.clone(), self.lease.id);
        async move {
            // An error is that the keeper has ended, which it does with the session.
            let _ = pulse.wait_for(|pulse| pulse.lost).await;
            StoreError::LeaseGone(id)
        }
    }

    /// Ends the lease, and all keys with it, at once.
    ///
    /// # Errors
    /// If nobody does it; the lease then runs out by itself.
    pub async fn close(self) -> Result<(), StoreError> {
        self.keeper.abort();
        self.store.revoke(self.lease.id).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Why renewing over one stream ended.
enum Broken {
    /// Another endpoint may do; whether this one has.
    Off(bool),
    /// The lease is gone.
    Gone,
}

struct Keeper {
    store: Store,
    lease: Lease,
    every: Duration,
    told: watch::Sender<Pulse>,
}

impl Keeper {
    async fn run(self) {
        let (mut pauses, mut failures) = (self.store.calls.pauses(), 0_usize);
        loop {
            let chosen = self.store.calls.choose();
            match self.renew(&chosen).await {
                Broken::Gone => {
                    self.told.send_modify(|pulse| pulse.lost = true);
                    return;
                }
                Broken::Off(true) => (pauses, failures) = (self.store.calls.pauses(), 0),
                Broken::Off(false) => failures += 1,
            }
            self.store.calls.leave(&chosen);
            if failures > 0 && failures.is_multiple_of(self.store.calls.count()) {
                pauses.pause().await;
            }
        }
    }

    /// Renews over one stream until it breaks. One request is under way at a time, so an answer can
    /// only be to the last one.
    async fn renew(&self, chosen: &Chosen) -> Broken {
        let (ask, asks) = mpsc::channel(1);
        let mut answers = None::<Streaming<pb::LeaseKeepAliveResponse>>;
        let (mut asks, mut has_renewed) = (Some(asks), false);
        loop {
            let asked = now();
            if ask.try_send(pb::LeaseKeepAliveRequest { id: self.lease.id }).is_err() {
                return Broken::Off(has_renewed);
            }
            let answer = tokio::time::timeout(self.store.settings().call_max, async {
                if let Some(asks) = asks.take() {
                    let mut client = chosen.client.lease();
                    let stream = client.lease_keep_alive(led(ReceiverStream::new(asks))).await?;
                    answers = Some(stream.into_inner());
                }
                answers.as_mut().expect("the stream was opened first").message().await
            });
            match answer.await {
                Ok(answer) => match self.hear(answer, asked, chosen) {
                    None => has_renewed = true,
                    Some(Broken::Gone) => return Broken::Gone,
                    Some(Broken::Off(_)) => return Broken::Off(has_renewed),
                },
                Err(_) => return Broken::Off(has_renewed),
            }
            tokio::time::sleep(self.every).await;
        }
    }

    /// Takes note of an answer; what broke, if it is none.
    fn hear(
        &self,
        answer: Result<Option<pb::LeaseKeepAliveResponse>, Status>,
        asked: Ms,
        chosen: &Chosen,
    ) -> Option<Broken> {
        match answer {
            Ok(Some(answer)) => {
                // Another cluster knows nothing of this lease.
                if self.store.calls.revision(answer.header.as_ref(), chosen).is_err() {
                    return Some(Broken::Off(false));
                }
                let Ok(ttl @ 1..) = Ms::try_from(answer.ttl) else { return Some(Broken::Gone) };
                self.told.send_modify(|pulse| {
                    *pulse = Pulse { asked, ttl: ttl * 1000, count: pulse.count + 1, lost: false };
                });
                None
            }
            Err(status) if is_lease_gone(&status) => Some(Broken::Gone),
            Ok(None) | Err(_) => Some(Broken::Off(false)),
        }
    }
}
