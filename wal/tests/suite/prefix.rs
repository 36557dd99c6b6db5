//! Letting go of a prefix (scenario 14): file systems carry removals out in any order.

use std::sync::Arc;

use drystone_vfs::{SimVfs, Vfs};
use drystone_wal::{Lsn, Wal};

use crate::hurt::{Hurt, Records, check_all, names};
use crate::spy::Spy;
use crate::support::{dir, disk, load, options, segment, store};

fn text(lsn: u64) -> Vec<u8> {
    vec![lsn as u8; 1000]
}

fn texts(first: u64, last: u64) -> Records {
    (first..=last).map(|lsn| (lsn, text(lsn))).collect()
}

const LAST: u64 = 58;
const KEEP: u64 = 57;

/// A log of five segments, of which a truncation will let go of four.
fn five() -> (Spy, Wal) {
    let spy = Spy::over(disk());
    let (wal, _) = Wal::open(spy.tapped.clone(), &dir(), options()).unwrap();
    for lsn in 1..=LAST {
        wal.append(&[&text(lsn)]).unwrap().wait().unwrap();
    }
    assert_eq!(names(&spy.disk).len(), 6, "five segments and the lock");
    spy.take();
    (spy, wal)
}

/// What is left of the log when the truncation is done.
fn kept(wal: &Wal) -> Records {
    wal.truncate_prefix(Lsn(KEEP)).unwrap();
    texts(wal.first_lsn().0, LAST)
}

/// Scenario 14: every subset of the old segments is still there, and the one that was to be
/// recycled under either name.
pub(crate) fn removals_in_any_order() -> Vec<Hurt> {
    let (spy, wal) = five();
    let disk = &spy.disk;
    let old: Vec<Vec<u8>> = (1..=4).map(|n| load(disk, &segment(n))).collect();
    let kept = kept(&wal);
    let calls = spy.take();
    let expected = [
        "write 0000000000000005.wal",
        "sync 0000000000000005.wal",
        "rename to spare.tmp",
        "remove 0000000000000002.wal",
        "remove 0000000000000003.wal",
        "remove 0000000000000004.wal",
        "sync dir log",
    ];
    assert_eq!(calls, expected, "the mark is durable before the first name changes");
    let mut disks = Vec::new();
    for left in 0..16_u32 {
        for spare in [None, Some(0), Some(3)] {
            let disk = disk.crash_copy(0);
            for (i, bytes) in old.iter().enumerate().filter(|(i, _)| left & (1 << i) != 0) {
                store(&disk, &segment(i as u64 + 1), bytes);
            }
            let path = dir().join("spare.tmp");
            match spare {
                Some(i) => store(&disk, &path, &old[i]),
                None => disk.remove(&path).and_then(|()| disk.sync_dir(&dir())).unwrap(),
            }
            let what = format!("old segments {left:04b}, spare {spare:?}");
            disks.push(Hurt::recovers(what, disk, kept.clone()));
        }
    }
    disks
}

// Scenario 14: the newer old segment is gone, the older one still there, or any other mixture. The
// log starts where the mark says, and the rest is cleared away.
#[test]
fn old_segments_may_be_removed_in_any_order() {
    for hurt in removals_in_any_order() {
        hurt.check();
        let disk = hurt.disk.kill_copy();
        drop(crate::support::open(&disk));
        assert_eq!(names(&disk), ["0000000000000005.wal", "LOCK"], "{}", hurt.what);
    }
}

/// Scenario 14: the power fails before each call of the truncation, and the disk chooses; or the
/// process is killed there.
pub(crate) fn cut_truncations() -> Vec<Hurt> {
    let whole = {
        let (_, wal) = five();
        kept(&wal)
    };
    let any: Arc<[Records]> = Arc::from([texts(1, LAST), whole.clone()]);
    let mut disks = Vec::new();
    for step in 0..=7 {
        let (spy, wal) = five();
        spy.disk.power_cut_after(step);
        let done = wal.truncate_prefix(Lsn(KEEP)).is_ok();
        assert_eq!(done, step == 7);
        let done = Arc::from([whole.clone()]);
        let any = if step >= 2 { &done } else { &any };
        for seed in 0..24 {
            let what = format!("cut before call {step} of the truncation, seed {seed}");
            disks.push(Hurt::one_of(what, spy.disk.crash_copy(seed), any));
        }
        // The mark may then be in the page cache alone.
        let what = format!("killed before call {step} of the truncation");
        disks.push(Hurt::one_of(what, spy.disk.kill_copy(), any));
    }
    disks
}

// Scenario 14 at every call. From the moment the mark is durable the prefix is gone; before, it is
// whole.
#[test]
fn a_crash_in_a_prefix_truncation_has_two_outcomes() {
    check_all(cut_truncations());
    let mixed = |hurt: &Hurt| {
        let names = names(&hurt.disk);
        let has = |n: u64| names.contains(&format!("{n:016x}.wal"));
        has(2) && !has(4)
    };
    assert!(cut_truncations().iter().any(mixed), "an older one outlived a newer one");
}

// Scenario 14 with 45: a recovery that removes old segments on the word of a mark that only the
// page cache holds would lose both to a power cut. The mark is made durable first.
#[test]
fn nothing_is_removed_on_the_word_of_a_mark_that_is_not_durable() {
    let killed = cut_truncations().into_iter().filter(|hurt| hurt.what.starts_with("killed"));
    let cuts: u64 = killed.map(|hurt| hurt.check_cut_again()).sum();
    assert!(cuts > 40, "{cuts}");
}

// A prefix that was cut stays cut, however often the power fails, and its numbers are not reused.
#[test]
fn a_cut_prefix_never_comes_back() {
    let (spy, wal) = five();
    let kept = kept(&wal);
    let mut disk: SimVfs = spy.disk.crash();
    for round in 0..5 {
        let (wal, found) = crate::support::open(&disk);
        assert_eq!(found[0], kept[0], "round {round}");
        assert_eq!(wal.next_lsn().0, LAST + 1 + round);
        wal.append(&[b"more"]).unwrap().wait().unwrap();
        drop(wal);
        disk = disk.crash();
    }
}
