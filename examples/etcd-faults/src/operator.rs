//! Whoever looks after the cluster: compacts the store again and again, and defragments members.
//!
//! Only what the chronicle has is compacted, so that at the end all that happened is known. Most
//! compactions keep some hundreds of revisions, which reads of the past and watches may still want;
//! some keep next to nothing, so that those are overtaken. Now and then one is asked for that must
//! be refused, and at times there is none for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drystone_etcd_api::etcdserverpb::DefragmentRequest;
use drystone_sim::{Rate, Rng};
use tokio::time::{Instant, sleep, timeout};

use crate::caller::{Caller, Shared};
use crate::history::Outcome;
use crate::request::{Request, Revision};

/// A compaction at the newest revision keeps fewer than so many.
const FEW_REVISIONS: u64 = 8;
/// Others keep up to so many.
const SOME_REVISIONS: u64 = 800;
/// One that must be refused is so far ahead.
const FUTURE_REVISIONS: i64 = 1_000_000;
/// What it does not wait longer for, since a member may be stopped meanwhile.
const DEFRAGMENT: Duration = Duration::from_secs(5);
/// So that it ends soon when it is told to.
const NAP: Duration = Duration::from_millis(100);

struct Operator {
    caller: Caller,
    rng: Rng,
    stop: Arc<AtomicBool>,
    /// What it has asked for last.
    last: Revision,
}

/// Looks after the cluster until `stop`.
pub(crate) async fn operate(shared: Shared, seed: u64, id: u32, stop: Arc<AtomicBool>) {
    let rng = Rng::new(seed).fork("operator");
    let mut operator = Operator { caller: Caller::new(&shared, id), rng, stop, last: 1 };
    while operator.rests().await {
        operator.act().await;
    }
}

impl Operator {
    /// Waits for a while, at times for long. Whether to go on after that.
    async fn rests(&mut self) -> bool {
        let long = self.rng.chance(Rate::percent(10));
        let range = if long { 2_000..6_000 } else { 100..800 };
        let until = Instant::now() + Duration::from_millis(self.rng.range(range));
        while !self.stop.load(Ordering::Acquire) && Instant::now() < until {
            sleep(NAP).await;
        }
        !self.stop.load(Ordering::Acquire)
    }

    async fn act(&mut self) {
        // Any member will do, and each has its turn.
        self.caller.wander(&mut self.rng);
        let newest = self.caller.shared().recorder.chronicled();
        match self.rng.below(20) {
            0 | 1 => self.defragment().await,
            2 => self.compact(newest + FUTURE_REVISIONS).await,
            3 if self.last > 1 => self.compact(self.last).await,
            4..=6 => self.compact_and_keep(newest, FEW_REVISIONS).await,
            _ => self.compact_and_keep(newest, SOME_REVISIONS).await,
        }
    }

    async fn compact_and_keep(&mut self, newest: Revision, revisions_max: u64) {
        let kept = i64::try_from(self.rng.below(revisions_max)).expect("some hundreds");
        // One that is not ahead of the last would be refused, which has its own turn.
        if newest - kept > self.last {
            self.last = newest - kept;
            self.caller.shared().recorder.compacting(self.last);
            self.compact(self.last).await;
        }
    }

    async fn compact(&mut self, revision: Revision) {
        let physical = self.rng.chance(Rate::percent(50));
        let asked = self.caller.call(Request::Compact { revision, physical }).await;
        // Of unknown outcome it is asked for once more, through another member, at times: then it
        // is done now, or has been done and is refused.
        if matches!(asked, Outcome::Unknown(_)) && self.rng.chance(Rate::percent(50)) {
            self.caller.wander(&mut self.rng);
            self.caller.call(Request::Compact { revision, physical }).await;
        }
    }

    async fn defragment(&mut self) {
        let mut calls = self.caller.raw().maintenance();
        let asked = timeout(DEFRAGMENT, calls.defragment(DefragmentRequest {})).await;
        self.caller.shared().recorder.count("defragmentation", |count| match asked {
            Ok(Ok(_)) => count.done += 1,
            Ok(Err(_)) | Err(_) => count.unknown += 1,
        });
    }
}
