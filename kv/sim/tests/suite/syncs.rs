//! The power fails at every sync.

use drystone_kv_sim::{Changes, Report, run_plan};
use drystone_sim::Seed;

/// Seeds whose every sync is tried: engines differ with the seed.
const SEEDS: u64 = 3;

// Between two syncs a program has said one thing to the disk and not yet the next. Whatever order
// they are in, a crash between any two must lose nothing.
#[test]
fn a_power_cut_at_any_sync_loses_nothing() {
    let slow = if std::env::var_os("SLOW").is_some() { 20 } else { 1 };
    for value in 1..=SEEDS * slow {
        let mut cuts = 0;
        for sync in 1.. {
            if !run_to(value, sync).cut {
                break;
            }
            cuts += 1;
        }
        println!("seed {value}: {cuts} syncs");
        assert!(cuts > 50, "seed {value} has {cuts} syncs");
    }
}

fn run_to(value: u64, sync: u64) -> Report {
    let changes = Changes { sync: Some(sync), ..Changes::default() };
    println!("to replay it: {}", changes.replay(value));
    let seed = Seed::from(value);
    let plan = changes.plan(&seed);
    run_plan(seed, &plan)
}
