//! Logs that are to take little room: holes for segments, and a small file once no record is left.
//! The disk may be full when a hole is written to, and the power may fail at every step of the
//! beginning anew.

use drystone_vfs::{Fault, Harm, Op, OpenMode, SimVfs, Vfs};
use drystone_wal::{Error, Lsn, Options, Result, Wal};

use crate::enumerate::check;
use crate::hurt::names;
use crate::oracle::Oracle;
use crate::support::{dir, disk, drain, options, put, segment, try_open};

/// Of a segment of 16 KiB a sixteenth is the size of a large group.
const LARGE: usize = 1500;

fn lean() -> Options {
    options().lean(true)
}

fn open(disk: &SimVfs) -> (Wal, Vec<(u64, Vec<u8>)>) {
    let (wal, recovered) = try_open(disk, lean()).unwrap();
    let records = drain(recovered);
    (wal, records)
}

fn text(lsn: u64) -> Vec<u8> {
    vec![lsn as u8 | 1; LARGE]
}

fn texts(first: u64, last: u64) -> Vec<(u64, Vec<u8>)> {
    (first..=last).map(|lsn| (lsn, text(lsn))).collect()
}

fn fill(wal: &Wal, count: u64) {
    for _ in 0..count {
        put(wal, &text(wal.next_lsn().0));
    }
}

/// What the log's files take, holes left out.
fn allocated(disk: &SimVfs) -> u64 {
    let of = |name| disk.open(&dir().join(name), OpenMode::Read).unwrap().allocated().unwrap();
    names(disk).into_iter().map(of).sum()
}

// Zeros that are written over at once are half of all that a load writes. Small groups get theirs,
// a few at a time, and the log knows what it takes.
#[test]
fn large_groups_are_written_once_and_small_ones_find_zeros() {
    let large = options().segment_bytes(64 << 10);
    let written = |options: Options, len: usize| {
        let disk = disk();
        let (wal, _) = try_open(&disk, options).unwrap();
        for _ in 0..(400 << 10) / len {
            put(&wal, &vec![7; len]);
        }
        let taken = allocated(&disk);
        assert!(wal.bytes().abs_diff(taken) <= 10 * 512, "{} of {taken}", wal.bytes());
        (disk.counts().bytes_written >> 10, taken >> 10)
    };
    let (bytes, taken) = written(large.clone().lean(true), 5000);
    assert!((400..460).contains(&bytes), "{bytes} KiB for a load of 400");
    assert!(taken < 460, "{taken} KiB on the disk");
    let (bytes, _) = written(large.clone(), 5000);
    assert!(bytes > 700, "{bytes} KiB if every segment is filled first");
    let (bytes, _) = written(large.lean(true), 1000);
    assert!(bytes > 700, "{bytes} KiB: the groups are small");
}

// After a load single writes go into the hole that it has left: one in many makes it smaller, not
// each.
#[test]
fn small_groups_fill_a_hole_ahead_of_themselves() {
    let disk = disk();
    let (wal, _) = try_open(&disk, options().segment_bytes(1 << 20).lean(true)).unwrap();
    for _ in 0..20 {
        put(&wal, &vec![7; 100_000]);
    }
    let (mut before, mut steps) = (allocated(&disk), 0);
    for _ in 0..1000 {
        put(&wal, &[8; 100]);
        let now = allocated(&disk);
        steps += u64::from(now != before);
        before = now;
    }
    assert!((1..=4).contains(&steps), "{steps} times for 120 KiB");
    let (found, last) = (wal.durable(), wal.next_lsn().previous());
    assert_eq!(found, last);
    drop(wal);
    // Where the hole begins is not known to the next process; it goes on all the same.
    let (wal, found) = open(&disk.crash());
    assert_eq!(found.len() as u64, last.0);
    put(&wal, b"on");
}

// A store that has put all of its log into tables keeps nothing of it but the numbers.
#[test]
fn a_log_without_records_begins_anew() {
    let disk = disk();
    let (wal, _) = open(&disk);
    fill(&wal, 30);
    let mut old = wal.iter(Lsn(3));
    wal.truncate_prefix(Lsn(31)).unwrap();
    assert!(allocated(&disk) <= 8192 + 512 && wal.bytes() <= 8192, "{}", wal.bytes());
    let left = names(&disk);
    assert_eq!(left.iter().filter(|name| name.ends_with(".wal")).count(), 1, "{left:?}");
    assert!(!left.contains(&"spare.tmp".into()), "{left:?}");
    assert_eq!((wal.first_lsn(), wal.next_lsn(), wal.durable()), (Lsn(31), Lsn(31), Lsn(30)));
    assert!(matches!(wal.read(Lsn(5)), Err(Error::Missing { .. })));
    assert!(matches!(old.next(), Some(Err(Error::Missing { .. }))));
    let empty = disk.crash_copy(1);
    let (other, found) = open(&empty);
    assert!(found.is_empty() && other.next_lsn() == Lsn(31));
    fill(&wal, 1);
    let files = names(&disk);
    wal.truncate_prefix(Lsn(32)).unwrap();
    assert_eq!(names(&disk), files, "it takes little as it is");
    assert_eq!(open(&disk.crash()).1, texts(31, 31));
}

// What has been appended and not yet written is no reason to stay, but must not be lost either.
#[test]
fn records_on_their_way_keep_the_log_as_it_is() {
    let disk = disk();
    let (wal, _) = open(&disk);
    fill(&wal, 30);
    let commit = wal.append(&[&text(31)]).unwrap();
    wal.truncate_prefix(Lsn(32)).unwrap();
    commit.wait().unwrap();
    let (wal, found) = open(&disk.crash());
    assert!(wal.first_lsn() < Lsn(31), "{}", wal.first_lsn());
    assert_eq!(found.last().unwrap(), &texts(31, 31)[0]);
}

// The mark of a clean close stood in the segment that went: a new one is due, or damage to the end
// would pass for a torn write.
#[test]
fn a_log_that_began_anew_is_closed_anew() {
    let disk = disk();
    let (wal, _) = open(&disk);
    fill(&wal, 30);
    wal.close().unwrap();
    let (wal, _) = open(&disk);
    wal.truncate_prefix(Lsn(31)).unwrap();
    wal.close().unwrap();
    let (wal, recovered) = try_open(&disk, lean()).unwrap();
    assert!(recovered.report().closed);
    assert_eq!(wal.next_lsn(), Lsn(31));
}

/// Fills some segments, lets go of all, writes on, twice, and closes.
fn workload(disk: &SimVfs, oracle: &mut Oracle) -> Result<()> {
    let (wal, _) = try_open(disk, lean())?;
    for round in 0..2 {
        for _ in 0..15 {
            let first = oracle.last() + 1;
            let commit = oracle.append(&wal, &[text(first), text(first + 100)])?;
            oracle.wait(&commit)?;
        }
        oracle.cut_prefix(&wal, oracle.last() + 1)?;
        assert_eq!(wal.first_lsn(), wal.next_lsn(), "round {round} begins anew");
        for small in 0..4 {
            let commit = oracle.append(&wal, &[vec![small; 50]])?;
            oracle.wait(&commit)?;
        }
    }
    oracle.close(wal)
}

// I1 to I3 and I6 while a log begins anew: every call is the last one somewhere, with many crashes,
// and the power fails once more at every call of the recovery.
#[test]
fn a_crash_at_any_step_of_beginning_anew_leaves_a_log() {
    let whole = disk();
    workload(&whole, &mut Oracle::default()).unwrap();
    let calls = whole.counts().changes();
    assert!(calls > 100, "{calls} calls");
    for cut in 0..=calls {
        let disk = SimVfs::new(cut);
        disk.power_cut_after(cut);
        let mut oracle = Oracle::default();
        let done = workload(&disk, &mut oracle);
        assert_eq!(done.is_ok(), cut == calls);
        for seed in 0..10 {
            let what = format!("power cut before call {cut} of {calls}, seed {seed}");
            check(&disk.crash_copy(seed), &oracle, &what);
            for (how, once) in [("cut", disk.crash_copy(seed)), ("killed", disk.kill_copy())] {
                once.power_cut_after(seed);
                drop(try_open(&once, lean()));
                check(&once.crash_copy(seed), &oracle, &format!("{what}, {how}, and again"));
            }
        }
    }
}

// Scenarios 16 to 18 in the same place: whichever call is refused, the log goes on or says that it
// does not, and nothing that was not let go of is lost.
#[test]
fn a_refused_call_while_a_log_begins_anew_loses_nothing() {
    let ops = [Op::Write, Op::Sync, Op::SetLen, Op::Create, Op::Rename, Op::Remove, Op::SyncDir];
    let (mut went_on, mut poisoned) = (0, 0);
    for (op, n) in ops.into_iter().flat_map(|op| (0..5).map(move |n| (op, n))) {
        for harm in [Harm::Error, Harm::NoSpace, Harm::Torn, Harm::Drops, Harm::Forgets] {
            let disk = disk();
            let mut oracle = Oracle::default();
            let (wal, _) = open(&disk);
            for lsn in 1..=30 {
                let commit = oracle.append(&wal, &[text(lsn)]).unwrap();
                oracle.wait(&commit).unwrap();
            }
            disk.fail(Fault::new(op, harm).after(n));
            let what = format!("{op:?} {n} {harm:?}");
            if oracle.cut_prefix(&wal, 31).is_ok() {
                disk.heal();
                let commit = oracle.append(&wal, &[text(31)]).unwrap();
                oracle.wait(&commit).unwrap_or_else(|e| panic!("{what}: {e}"));
                went_on += 1;
            } else {
                assert!(wal.append(&[b"x"]).is_err(), "{what}: neither refused nor gone on");
                poisoned += 1;
            }
            drop(wal);
            disk.heal();
            for seed in 0..6 {
                check(&disk.crash_copy(seed), &oracle, &what);
            }
            check(&disk, &oracle, &what);
        }
    }
    assert!(went_on > 20 && poisoned > 20, "{went_on} {poisoned}");
}

// Scenario 18 for holes, which the disk may refuse to fill: an error to the caller, everything that
// was acknowledged stays, and the prefix can be cut, for marks have their room.
#[test]
fn a_hole_that_cannot_be_filled_is_a_full_disk() {
    for (kib, len) in (9..70).flat_map(|kib| [(kib, LARGE), (kib, 700), (kib, 72)]) {
        let disk = disk();
        disk.set_capacity_bytes(Some(kib * 1024 + 200));
        let what = format!("{kib} KiB, records of {len}");
        let (wal, _) = open(&disk);
        loop {
            match wal.append(&[&vec![1; len]]).unwrap().wait() {
                Ok(lsn) => assert!(lsn.0 < 5000, "{what}: the disk is never full"),
                Err(error) => {
                    assert!(matches!(error, Error::NoSpace { .. }), "{what}: {error}");
                    break;
                }
            }
        }
        let stored = wal.durable().0;
        drop(wal);
        let cut = disk.crash_copy(kib);
        for disk in [disk, cut] {
            let used = allocated(&disk);
            disk.set_capacity_bytes(Some(used));
            let (mut wal, found) = open(&disk);
            assert!((stored..=stored + 1).contains(&(found.len() as u64)), "{what}");
            disk.set_capacity_bytes(Some(allocated(&disk)));
            wal.truncate_prefix(wal.durable()).unwrap_or_else(|e| panic!("{what}: {e}"));
            let several = disk.open(&segment(1), OpenMode::Read).is_err();
            if several {
                assert!(wal.first_lsn() > Lsn(1), "{what}");
                // What went may lie ready for the next segment, and this one be a hole. Whoever
                // opens the log has its room.
                if wal.append(&[&vec![1; len]]).unwrap().wait().is_err() {
                    drop(wal);
                    wal = open(&disk).0;
                    put(&wal, &vec![1; len]);
                }
            }
            wal.truncate_prefix(wal.next_lsn()).unwrap_or_else(|e| panic!("{what}: {e}"));
            wal.close().unwrap_or_else(|e| panic!("{what}: {e}"));
        }
    }
}
