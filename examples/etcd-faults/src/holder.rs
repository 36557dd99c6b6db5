//! A client that holds leases: it makes one, hangs keys on it, renews it for a while, and then ends
//! it or lets it go.
//!
//! Nobody else touches these keys, so what deletes them is the end of the lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drystone_etcd_api::etcdserverpb::LeaseRevokeRequest;
use drystone_sim::{Rate, Rng};
use tokio::time::sleep;

use crate::caller::{Caller, Shared};
use crate::history::Outcome;
use crate::lie::Lie;
use crate::request::{Body, Op, Reply, Request};

/// The prefix of the keys that hang on leases.
pub(crate) const PREFIX: &str = "l/";
/// Seconds; etcd grants no less than two.
const TTL_SECONDS: std::ops::Range<u64> = 2..5;

struct Holder {
    caller: Caller,
    rng: Rng,
    id: u32,
    leases: i64,
    values: u64,
}

/// Holds leases, one after another, until `stop`.
pub(crate) async fn hold(shared: Shared, seed: u64, id: u32, stop: Arc<AtomicBool>) {
    let rng = Rng::new(seed).fork(&format!("holder {id}"));
    let mut holder = Holder { caller: Caller::new(&shared, id), rng, id, leases: 0, values: 0 };
    while !stop.load(Ordering::Acquire) {
        holder.one_lease(&stop).await;
    }
}

impl Holder {
    async fn one_lease(&mut self, stop: &AtomicBool) {
        let ttl = i64::try_from(self.rng.range(TTL_SECONDS)).expect("a few seconds");
        self.leases += 1;
        let lease = i64::from(self.id) << 32 | self.leases;
        if !matches!(self.call(Request::Grant { lease, ttl }).await, Outcome::Done(_)) {
            sleep(Duration::from_millis(100)).await;
            return;
        }
        self.put(lease, lease).await;
        let third = u64::try_from(ttl).expect("positive") * 1_000 / 3;
        for _ in 0..self.rng.below(12) {
            sleep(Duration::from_millis(self.rng.range(third / 4..third))).await;
            if stop.load(Ordering::Acquire) {
                return;
            }
            self.betray(lease).await;
            let renewed = self.call(Request::KeepAlive { lease }).await;
            if matches!(&renewed, Outcome::Done(reply) if is_gone(reply)) {
                return;
            }
            if self.rng.chance(Rate::percent(40)) {
                self.put(lease, lease).await;
            }
            // Without its lease a key outlives it.
            if self.rng.chance(Rate::percent(10)) {
                self.put(lease, 0).await;
            }
            if self.rng.chance(Rate::percent(20)) {
                self.call(Request::TimeToLive { lease }).await;
            }
        }
        match self.rng.below(3) {
            0 => drop(self.call(Request::Revoke { lease }).await),
            // Let go, and nobody looks at it again before the end.
            1 => {}
            _ => self.see_it_end(lease, ttl).await,
        }
    }

    /// Looks at a lease without renewing it.
    async fn see_it_end(&mut self, lease: i64, ttl: i64) {
        for _ in 0..=ttl {
            sleep(Duration::from_millis(self.rng.range(300..1_000))).await;
            let told = self.call(Request::TimeToLive { lease }).await;
            if matches!(&told, Outcome::Done(reply) if is_gone(reply)) {
                return;
            }
        }
    }

    async fn put(&mut self, lease: i64, on: i64) {
        self.values += 1;
        let key = format!("{PREFIX}{lease:x}/{}", self.rng.below(3));
        let value = format!("h{}.{}", self.id, self.values);
        self.call(Request::One(Op::Put { key, value, lease: on, prev_kv: true })).await;
    }

    async fn call(&mut self, request: Request) -> Outcome {
        let outcome = self.caller.call(request).await;
        if matches!(outcome, Outcome::Unknown(_)) {
            let Holder { caller, rng, .. } = self;
            caller.wander(rng);
        }
        outcome
    }

    /// The lie that a lease ends early: it is ended behind everybody's back.
    async fn betray(&mut self, id: i64) {
        let (liar, now) = (&self.caller.shared().liar, self.caller.shared().recorder.now());
        if liar.strikes(Lie::ExpireEarly, now) {
            let mut calls = self.caller.raw().lease();
            // If it fails the lie was not told, and the run will say that it found nothing.
            let _ = calls.lease_revoke(LeaseRevokeRequest { id }).await;
        }
    }
}

/// Whether an answer says that the lease is no more.
fn is_gone(reply: &Reply) -> bool {
    matches!(reply.body, Body::Lease { left: ..=0, .. })
}
