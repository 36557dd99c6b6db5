//! A client that reads and writes keys until it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drystone_sim::{Rate, Rng};
use tokio::time::sleep;

use crate::caller::{Caller, Shared};
use crate::history::Outcome;
use crate::workload::Workload;

/// Between two calls at most, in microseconds. Without a pause a run is all checking.
const THINK_MICROS_MAX: u64 = 10_000;

/// Works until `stop`.
pub(crate) async fn work(shared: Shared, seed: u64, id: u32, stop: Arc<AtomicBool>) {
    let mut workload = Workload::new(seed, id);
    let mut rng = Rng::new(seed).fork(&format!("worker {id}"));
    let mut caller = Caller::new(&shared, id);
    while !stop.load(Ordering::Acquire) {
        match caller.call(workload.next()).await {
            Outcome::Done(reply) => workload.learn(&reply),
            Outcome::Refused(_) => {}
            // Half of the clients try somewhere else, the others once more where they are.
            Outcome::Unknown(_) => {
                if rng.chance(Rate::percent(50)) {
                    caller.wander(&mut rng);
                }
                sleep(Duration::from_millis(rng.below(100))).await;
            }
        }
        if rng.chance(Rate::percent(1)) {
            caller.wander(&mut rng);
        }
        sleep(Duration::from_micros(rng.below(THINK_MICROS_MAX))).await;
    }
}
