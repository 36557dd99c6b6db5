//! Whole groups from many seeds, and proof that what they are checked for would be found.

mod hunt;
mod replay;
mod storm;
mod syncs;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use drystone_kv_sim::{Changes, Plan, Report, run_plan};
use drystone_sim::Seed;

/// Runs seeds `1..=count` on both cores; the first that fails is told, with how to replay it.
fn run_seeds(count: u64) -> Report {
    let (next, total) = (AtomicU64::new(1), Mutex::new(Report::default()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let value = next.fetch_add(1, Ordering::Relaxed);
                    if value > count {
                        return;
                    }
                    let seed = Seed::from(value);
                    let plan = Plan::draw(&mut seed.rng("plan"));
                    let ran = catch_unwind(AssertUnwindSafe(|| run_plan(seed, &plan)));
                    let Ok(report) = ran else {
                        panic!("seed {value} failed: {}", Changes::default().replay(value));
                    };
                    total.lock().expect("whoever adds does not panic").add(report);
                }
            });
        }
    });
    total.into_inner().expect("whoever adds does not panic")
}

/// How many seeds, or a hundred times as many when there is time.
fn seeds(count: u64) -> u64 {
    if std::env::var_os("SLOW").is_some() { 100 * count } else { count }
}
