//! Claims about power cuts, failing calls and full disks.

use std::path::Path;

use drystone_vfs::{Fault, Harm, Op, OpenMode, SimVfs, Vfs};

use super::model::Work;
use super::{Open, Random, applied, assert_equal, dyn_vfs, home, open_sound, put, seeds};
use crate::engine::{Batch, Engine, EngineError, Space};

/// What [`Engine::persist`] covered is there after a power cut, and after a clean restart.
///
/// # Panics
///
/// If the claim does not hold.
pub fn what_was_persisted_is_there_after_reopening<E: Engine>(open: &Open<E>) {
    let mut disk = SimVfs::new(3);
    let mut work = Work::new(3);
    for round in 0..12 {
        let engine = open_sound(open, &disk);
        assert_equal(&engine, work.last());
        for _ in 0..round {
            engine.write(work.batch()).expect("writable");
        }
        engine.persist().expect("the disk is in order");
        engine.persist().expect("persisting twice is no error");
        drop(engine);
        if round % 2 == 0 {
            disk = disk.crash();
        }
    }
}

/// The batches between two calls of `persist` in the workloads below.
const BATCHES_PER_PERSIST: usize = 5;
const PERSISTS: usize = 4;

/// Writes and persists until done or until the disk fails; returns how many batches are surely
/// durable. `work` knows all that were written.
fn run_until_failure<E: Engine>(open: &Open<E>, disk: &SimVfs, work: &mut Work) -> usize {
    let mut durable = 0;
    let mut run = || -> Result<(), EngineError> {
        let engine = open(dyn_vfs(disk), home())?;
        for _ in 0..PERSISTS {
            for _ in 0..BATCHES_PER_PERSIST {
                engine.write(work.batch())?;
            }
            engine.persist()?;
            durable = work.len();
            // Not covered by any persist: may be there after the power cut, or not.
            engine.write(work.batch())?;
        }
        Ok(())
    };
    // How it failed does not matter: the power is gone.
    drop(run());
    durable
}

/// Wherever in a workload the power fails, and wherever in the recovery it fails again, the
/// engine opens and shows a prefix of the batches, whole, with all in it that was persisted.
///
/// # Panics
///
/// If the claim does not hold.
pub fn a_power_cut_at_any_call_leaves_a_prefix<E: Engine>(open: &Open<E>) {
    for seed in seeds(6, "a_power_cut_at_any_call_leaves_a_prefix") {
        let whole = SimVfs::new(seed);
        let durable = run_until_failure(open, &whole, &mut Work::new(seed));
        assert!(durable > 0, "the workload runs through on a sound disk");
        for cut in 0..=whole.counts().changes() {
            println!("seed {seed}, power cut after {cut} calls");
            let disk = SimVfs::new(seed ^ (cut << 32));
            disk.power_cut_after(cut);
            let mut work = Work::new(seed);
            let durable = run_until_failure(open, &disk, &mut work);
            let found = disk.crash();
            let count = work.assert_prefix(&open_sound(open, &found.crash_copy(0)), durable);
            cut_power_in_recovery(open, &found, &work, count);
        }
    }
}

/// Opens `disk` with the power failing after 0, 1, 2... calls: the state must stay the same, and
/// the engine must take writes afterwards.
fn cut_power_in_recovery<E: Engine>(open: &Open<E>, disk: &SimVfs, work: &Work, count: usize) {
    for cut in 0.. {
        // Nothing is unsynced on a disk fresh from a crash, so its copies are all alike.
        let again = disk.crash_copy(cut);
        again.power_cut_after(cut);
        let through = open(dyn_vfs(&again), home()).is_ok();
        let again = again.crash();
        let engine = open_sound(open, &again);
        assert_eq!(applied(&engine), count, "recovery finds the same however often it is tried");
        assert_equal(&engine, work.state(count));
        if through {
            engine.write(put(Space::Alarm, b"after", b"recovery")).expect("writable");
            engine.persist().expect("the disk is in order");
            drop(engine);
            let engine = open_sound(open, &again.crash());
            let found = engine.get(Space::Alarm, b"after").expect("readable");
            assert_eq!(found.as_deref(), Some(&b"recovery"[..]));
            return;
        }
    }
}

/// Whichever call to the disk fails, in whichever way, memory stays right, a restart or a power
/// cut then leaves a prefix, and once the disk works again `persist` does.
///
/// # Panics
///
/// If the claim does not hold.
pub fn a_failed_call_harms_nothing<E: Engine>(open: &Open<E>) {
    let ops = [Op::Write, Op::Sync, Op::SyncDir, Op::SetLen, Op::Create, Op::Rename, Op::Remove];
    let harms = [Harm::Error, Harm::Torn, Harm::Drops];
    for (op, harm) in ops.iter().flat_map(|op| harms.map(|harm| (*op, harm))) {
        for nth in 0.. {
            println!("{harm:?} strikes {op:?} number {nth}");
            if !strike(open, Fault::new(op, harm).after(nth)) {
                break;
            }
        }
    }
}

/// One workload with a fault in it; says whether any call failed.
fn strike<E: Engine>(open: &Open<E>, fault: Fault) -> bool {
    let disk = SimVfs::new(5);
    let mut work = Work::new(5);
    let engine = open_sound(open, &disk);
    engine.write(work.batch()).expect("writable");
    engine.persist().expect("the disk is in order");
    let mut durable = work.len();
    disk.fail(fault);
    let mut failed = false;
    for _ in 0..2 {
        engine.write(work.batch()).expect("a write does not wait for the disk");
        match engine.persist() {
            Ok(()) => durable = work.len(),
            Err(_) => failed = true,
        }
        assert_equal(&engine, work.last());
    }
    work.assert_prefix(&open_sound(open, &disk.crash_copy(1)), durable);
    disk.heal();
    engine.persist().expect("the disk is in order again");
    assert_equal(&open_sound(open, &disk.crash_copy(2)), work.last());
    engine.write(work.batch()).expect("writable");
    engine.persist().expect("the disk is in order");
    drop(engine);
    assert_equal(&open_sound(open, &disk.crash()), work.last());
    failed
}

/// A process that dies after a failed call, with the machine running on, leaves what was not yet
/// synced where the next process can see it. That process must not build on it: after a power cut
/// the engine still shows a prefix with all that was persisted.
///
/// # Panics
///
/// If the claim does not hold.
pub fn a_restart_does_not_trust_what_is_not_synced<E: Engine>(open: &Open<E>) {
    for op in [Op::Write, Op::Sync, Op::SyncDir, Op::Rename, Op::Remove] {
        for nth in 0.. {
            println!("{op:?} fails from number {nth} on");
            let disk = SimVfs::new(5);
            disk.fail(Fault::new(op, Harm::Error).after(nth).forever());
            let mut work = Work::new(5);
            let durable = run_until_failure(open, &disk, &mut work);
            disk.heal();
            let engine = open_sound(open, &disk);
            work.assert_prefix(&engine, durable);
            for seed in 0..16 {
                let found = open_sound(open, &disk.crash_copy(seed));
                work.assert_prefix(&found, durable);
            }
            if durable == PERSISTS * (BATCHES_PER_PERSIST + 1) - 1 {
                break;
            }
        }
    }
}

/// On a full disk `persist` says so, reads go on, nothing durable is lost, and all is well once
/// there is room.
///
/// # Panics
///
/// If the claim does not hold.
pub fn a_full_disk_harms_nothing<E: Engine>(open: &Open<E>) {
    let disk = SimVfs::new(7);
    let mut work = Work::new(7);
    let engine = open_sound(open, &disk);
    for _ in 0..20 {
        engine.write(work.batch()).expect("writable");
    }
    engine.persist().expect("the disk is in order");
    let durable = work.len();
    let used_before = used_bytes(&disk);
    // Nothing that compression makes small.
    let mut random = Random(7);
    let large: Vec<u8> = (0..500_000).map(|_| random.next() as u8).collect();
    for spare in [0, 1, 100, 1000, 5000, 20_000] {
        disk.set_capacity_bytes(Some(used_before + spare));
        engine.write(put(Space::Alarm, b"large", &large)).expect("writable");
        let result = engine.persist();
        assert!(matches!(result, Err(EngineError::NoSpace { .. })), "{result:?}");
        let mut batch = Batch::new();
        batch.delete(Space::Alarm, b"large");
        engine.write(batch).expect("writable");
        assert_equal(&engine, work.last());
        let found = open_sound(open, &disk.crash_copy(spare));
        work.assert_prefix(&found, durable);
        assert!(used_bytes(&disk) <= used_before + spare);
    }
    disk.set_capacity_bytes(None);
    engine.write(work.batch()).expect("writable");
    engine.persist().expect("there is room again");
    drop(engine);
    assert_equal(&open_sound(open, &disk.crash()), work.last());
}

/// What all files take together; their holes take nothing.
fn used_bytes(disk: &SimVfs) -> u64 {
    let taken = |path: &Path| disk.open(path, OpenMode::Read).and_then(|file| file.allocated());
    disk.files().iter().map(|(path, _)| taken(path).expect("a file that is listed opens")).sum()
}

/// A checkpoint that failed, or in which the power was cut, opens as nothing, as an error, or as
/// the whole: never as a part. The engine itself is not harmed.
///
/// # Panics
///
/// If the claim does not hold.
pub fn a_failed_checkpoint_never_opens_as_a_whole_one<E: Engine>(open: &Open<E>) {
    let dir = Path::new("copies/one");
    for cut in 0.. {
        let disk = SimVfs::new(9 ^ (cut << 32));
        let mut work = Work::new(9);
        let engine = open_sound(open, &disk);
        for _ in 0..20 {
            engine.write(work.batch()).expect("writable");
        }
        engine.persist().expect("the disk is in order");
        disk.power_cut_after(cut);
        let result = engine.checkpoint(dir);
        assert_equal(&engine, work.last());
        drop(engine);
        let disk = disk.crash();
        if let Ok(copy) = open(dyn_vfs(&disk), dir) {
            let count = applied(&copy);
            assert!(count == 0 || count == work.len(), "a part of the state: {count} batches");
            assert_equal(&copy, work.state(count));
            assert!(result.is_err() || count == work.len(), "a checkpoint is durable on return");
        } else {
            assert!(result.is_err(), "a finished checkpoint opens");
        }
        assert_equal(&open_sound(open, &disk), work.last());
        if result.is_ok() {
            return;
        }
    }
}
