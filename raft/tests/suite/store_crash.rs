//! The power fails at every call that changes the disk; and the disk refuses at every one.

use std::sync::Arc;

use drystone_vfs::{Fault, Harm, Op, SimVfs};

use crate::store_support::{Hand, Model, open};
use drystone_raft::store::GroupId;
use std::collections::BTreeMap;

/// Runs until the disk fails. Returns what was acknowledged, and what was under way.
fn run(disk: &SimVfs, seed: u64) -> [BTreeMap<GroupId, Model>; 2] {
    let mut hand = Hand::new(seed);
    let mut done = BTreeMap::new();
    let mut work = || {
        let store = open(Arc::new(disk.clone()))?;
        hand.create(&store, 3)?;
        for _ in 0..12 {
            done = hand.models.clone();
            hand.write(&store, 3)?;
        }
        done = hand.models.clone();
        Ok::<(), drystone_raft::store::Error>(())
    };
    // It ends when the power does.
    let _ = work();
    [done, hand.models]
}

/// The promise: what was stored is there after the power fails, whole, with at most the one write
/// that was under way; and a second failure while that is read back changes nothing.
#[test]
fn what_was_stored_survives_a_power_cut_at_every_call() {
    let calls = {
        let disk = SimVfs::new(0);
        run(&disk, 9);
        disk.counts().changes()
    };
    assert!(calls > 30, "{calls} calls are enough to be cut between");
    for cut in 0..calls {
        let disk = SimVfs::new(cut);
        disk.power_cut_after(cut);
        let [done, under_way] = run(&disk, 9);
        let disk = disk.crash();
        disk.power_cut_after(cut % 7);
        let _ = open(Arc::new(disk.clone()));
        let disk = disk.crash();
        let store = open(Arc::new(disk)).unwrap();
        assert!(store.damage().is_none(), "cut {cut}: nothing was damaged");
        let matches = |models: &BTreeMap<GroupId, Model>| {
            models.iter().all(|(group, model)| {
                store.groups().contains(group)
                    && std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        model.check(&store, *group);
                    }))
                    .is_ok()
            })
        };
        assert!(matches(&done) || matches(&under_way), "cut {cut}: neither before nor after");
    }
}

/// Scenario 50: a disk that refuses ends the store, and what was stored before is there.
#[test]
fn failing_sync_ends_the_store() {
    for (op, harm) in [(Op::Sync, Harm::Drops), (Op::Write, Harm::NoSpace)] {
        for after in 0..40 {
            let disk = SimVfs::new(after);
            disk.fail(Fault::new(op, harm).after(after).forever());
            let [done, under_way] = run(&disk, 4);
            disk.heal();
            let store = open(Arc::new(disk.crash())).unwrap();
            for (group, model) in &done {
                let here = store.boot(*group).unwrap();
                let last = crate::store_support::restore(here).last();
                assert!(last == model.last() || last == under_way[group].last(), "after {after}");
            }
        }
    }
}
