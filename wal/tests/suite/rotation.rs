//! New segments (scenarios 12 and 13): a name is not durable because the file is, and a crash may
//! fall between any two of the calls that make one.

use std::path::Path;
use std::sync::Arc;

use drystone_vfs::SimVfs;
use drystone_wal::{Lsn, Wal};

use crate::hurt::{Hurt, Records, check_all, names};
use crate::spy::Spy;
use crate::support::{dir, disk, options, segment, try_open};

const LEN: usize = 1000;
/// Records of that size in one of the small segments that the tests use.
const PER_SEGMENT: u64 = 12;

fn text(lsn: u64) -> Vec<u8> {
    vec![lsn as u8; LEN]
}

fn texts(last: u64) -> Records {
    (1..=last).map(|lsn| (lsn, text(lsn))).collect()
}

fn fill(wal: &Wal, last: u64) {
    while wal.next_lsn().0 <= last {
        wal.append(&[&text(wal.next_lsn().0)]).unwrap().wait().unwrap();
    }
}

/// The names that changed since the directory was last synced, given every call so far.
fn unsynced_names(calls: &[String]) -> Vec<&String> {
    let synced = calls.iter().rposition(|call| call.starts_with("sync dir"));
    let since = &calls[synced.map_or(0, |at| at + 1)..];
    let changes =
        |call: &&String| ["create", "rename", "remove"].iter().any(|c| call.starts_with(c));
    // The temporary file may lose its name at any time.
    since.iter().filter(changes).filter(|call| !call.ends_with("spare.tmp")).collect()
}

// Scenario 12: no record is acknowledged before the name of its segment is durable. The proof is in
// the order of the calls; the crashes show that it matters.
#[test]
fn no_record_is_acknowledged_before_its_segment_has_a_durable_name() {
    let spy = Spy::over(disk());
    let (wal, _) = Wal::open(spy.tapped.clone(), &dir(), options()).unwrap();
    let mut calls = spy.take();
    let mut names_made = 0;
    for lsn in 1..=5 * PER_SEGMENT {
        let commit = wal.append(&[&text(lsn)]).unwrap();
        let before = spy.take();
        assert!(before.is_empty(), "an append alone touches nothing: {before:?}");
        commit.wait().unwrap();
        let made = spy.take();
        names_made += made.iter().filter(|call| call.starts_with("rename")).count();
        calls.extend(made);
        let open = unsynced_names(&calls);
        assert!(open.is_empty(), "record {lsn} was acknowledged before {open:?} was durable");
        for seed in 0..6 {
            let what = format!("record {lsn}, seed {seed}");
            Hurt::recovers(what, spy.disk.crash_copy(seed), texts(lsn)).check();
        }
    }
    assert!(names_made >= 4, "the log rotated: {names_made}");
}

/// Scenario 12: at every call of the making of a log and of a rotation, any subset of the names.
pub(crate) fn lost_names() -> Vec<Hurt> {
    let mut disks = Vec::new();
    for cut in 0..60 {
        let disk = SimVfs::new(cut);
        disk.power_cut_after(cut);
        let mut acked = 0;
        let done = (|| -> drystone_wal::Result<()> {
            let (wal, _) = try_open(&disk, options())?;
            for lsn in 1..=PER_SEGMENT + 2 {
                wal.append(&[&text(lsn)])?.wait()?;
                acked = lsn;
            }
            std::mem::forget(wal);
            Ok(())
        })();
        let any: Arc<[Records]> = (acked..=acked + 1).map(texts).collect();
        for seed in 0..12 {
            let what = format!("cut before call {cut}, seed {seed}");
            disks.push(Hurt::one_of(what, disk.crash_copy(seed), &any));
        }
        disks.push(Hurt::one_of(format!("killed before call {cut}"), disk.kill_copy(), &any));
        if done.is_ok() {
            return disks;
        }
    }
    panic!("the workload ends");
}

// Scenario 12: the directory entry of a synced file can be lost all the same.
#[test]
fn lost_directory_entries_cost_nothing_acknowledged() {
    check_all(lost_names());
}

/// What a rotation asks of the disk, the mark that it leaves in the old segment, and the first
/// append after it.
const STEPS: [&str; 11] = [
    "create spare.tmp",
    "write spare.tmp",
    "sync spare.tmp",
    "write spare.tmp",
    "sync spare.tmp",
    "rename to 0000000000000002.wal",
    "sync dir log",
    "write 0000000000000001.wal",
    "sync 0000000000000001.wal",
    "write 0000000000000002.wal",
    "sync 0000000000000002.wal",
];

/// Scenario 13: the power fails before each of those steps, and after the last.
pub(crate) fn cut_rotations() -> Vec<Hurt> {
    let mut disks = Vec::new();
    for step in 0..=STEPS.len() as u64 {
        let disk = disk();
        let spy = Spy::over(disk.clone());
        let (wal, _) = Wal::open(spy.tapped.clone(), &dir(), options()).unwrap();
        fill(&wal, PER_SEGMENT);
        spy.take();
        disk.power_cut_after(step);
        let mut acked = PER_SEGMENT;
        for lsn in PER_SEGMENT + 1..=PER_SEGMENT + 2 {
            match wal.append(&[&text(lsn)]).and_then(|commit| commit.wait()) {
                Ok(_) => acked = lsn,
                Err(_) => break,
            }
        }
        let calls = spy.take();
        let tried = STEPS.len().min(step as usize + 1);
        assert_eq!(calls[..tried], STEPS[..tried], "the steps of a rotation");
        assert_eq!(acked - PER_SEGMENT, u64::from(step > 6) + u64::from(step > 10));
        // Whatever was begun may be there: the record of the rotation, and the one after.
        let any: Arc<[Records]> = (acked..=acked + 1).map(texts).collect();
        for seed in 0..20 {
            let next = STEPS.get(step as usize).unwrap_or(&"nothing");
            let what = format!("before {next}, seed {seed}");
            disks.push(Hurt::one_of(what, disk.crash_copy(seed), &any));
        }
        disks.push(Hurt::one_of(format!("killed before {step}"), disk.kill_copy(), &any));
    }
    disks
}

// Scenario 13: a crash at each step of a rotation. The log opens, and the temporary file is gone.
#[test]
fn a_crash_at_any_step_of_a_rotation_leaves_a_log() {
    let mut leftovers = 0;
    for hurt in cut_rotations() {
        hurt.check();
        let disk = hurt.disk.kill_copy();
        leftovers += u32::from(names(&disk).contains(&"spare.tmp".into()));
        let (_wal, _) = try_open(&disk, options()).unwrap();
        let names = names(&disk);
        assert!(!names.contains(&"spare.tmp".into()), "{}: {names:?}", hurt.what);
    }
    assert!(leftovers > 20, "the case has come up: {leftovers}");
}

// Scenario 13 with the threads at work: the segment is prepared ahead, and the crash finds it in
// any state.
#[test]
fn a_crash_while_a_segment_is_prepared_ahead_costs_nothing() {
    let disk = disk();
    let options = options().writer(drystone_wal::Writer::Thread);
    let (wal, _) = Wal::open(Arc::new(disk.clone()), &dir(), options).unwrap();
    let mut states = std::collections::BTreeSet::new();
    for lsn in 1..=8 * PER_SEGMENT {
        wal.append(&[&text(lsn)]).unwrap().wait().unwrap();
        let after = disk.crash_copy(lsn);
        states.insert(names(&after).contains(&"spare.tmp".into()));
        Hurt::recovers(format!("record {lsn}"), after, texts(lsn)).check();
    }
    println!("spares seen: {states:?}");
    assert!(Path::new(&segment(7)).extension().is_some() && wal.durable() == Lsn(8 * PER_SEGMENT));
}
