//! Cutting either end, while the log lives and across crashes.

use std::path::PathBuf;
use std::sync::Arc;

use drystone_vfs::{SimVfs, Vfs};
use drystone_wal::{Error, Lsn, Options, Wal};

use crate::hurt::{Hurt, Records, check_all, names};
use crate::support::{dir, disk, hurt, load, open, options, put, segment, try_open};

fn fill(wal: &Wal, count: u64) {
    for _ in 0..count {
        let lsn = wal.next_lsn().0;
        put(wal, &text(lsn));
    }
}

fn text(lsn: u64) -> Vec<u8> {
    let mut text = format!("record {lsn} ").into_bytes();
    text.resize(1000, b'.');
    text
}

fn expected(from: u64, to: u64) -> Vec<(u64, Vec<u8>)> {
    (from..=to).map(|lsn| (lsn, text(lsn))).collect()
}

// A snapshot makes old records useless; whole segments go, the rest stays readable.
#[test]
fn a_prefix_is_let_go_in_whole_segments() {
    let disk = disk();
    let (wal, _) = open(&disk);
    fill(&wal, 50);
    let before = wal.bytes();
    wal.truncate_prefix(Lsn(30)).unwrap();
    assert!(wal.first_lsn() <= Lsn(30) && wal.first_lsn() > Lsn(20), "{}", wal.first_lsn());
    assert!(wal.bytes() < before);
    assert!(matches!(wal.read(Lsn(5)), Err(Error::Missing { .. })));
    assert_eq!(wal.read(Lsn(30)).unwrap(), text(30));
    let first = wal.first_lsn().0;
    fill(&wal, 5);
    let (wal, found) = open(&disk.crash());
    assert_eq!(found, expected(first, 55));
    wal.truncate_prefix(Lsn(3)).unwrap();
    assert_eq!(wal.first_lsn(), Lsn(first), "what is gone cannot go again");
    wal.truncate_prefix(Lsn(9999)).unwrap();
    assert_eq!(wal.next_lsn(), Lsn(56), "the last segment stays, and so do the numbers");
}

/// Scenario 9: every length of a recycled segment, each with old frames right behind its end that
/// have the right lengths everywhere.
pub(crate) fn recycled() -> Vec<Hurt> {
    let disk = disk();
    let (wal, _) = open(&disk);
    fill(&wal, 30);
    wal.truncate_prefix(Lsn(28)).unwrap();
    assert!(names(&disk).contains(&"spare.tmp".into()), "{:?}", names(&disk));
    let (before, first) = (disk.counts(), wal.first_lsn().0);
    fill(&wal, 10);
    assert!(!names(&disk).contains(&"spare.tmp".into()), "the old file is in use again");
    let mut disks = Vec::new();
    for _ in 0..8 {
        fill(&wal, 1);
        let last = wal.durable().0;
        let what = format!("up to record {last}");
        disks.push(Hurt::recovers(what, disk.crash_copy(last), expected(first, last)));
    }
    let written = disk.counts().bytes_written - before.bytes_written;
    assert!(written < 30_000, "18 records and a header, no zeros: {written}");
    disks
}

// What a recycled file held before is no torn tail: a log that was closed is reported as closed,
// and one that was opened again and then torn is not.
#[test]
fn old_frames_behind_a_close_are_not_reported_as_torn() {
    let disk = disk();
    let (wal, _) = open(&disk);
    fill(&wal, 30);
    wal.truncate_prefix(Lsn(28)).unwrap();
    fill(&wal, 12);
    let segment = segment_path(&disk);
    wal.close().unwrap();
    let bytes = load(&disk, &segment);
    let (wal, recovered) = try_open(&disk, options()).unwrap();
    let report = recovered.report();
    assert!(report.closed && report.cut.is_none(), "{report:?}");
    assert_ne!(bytes, load(&disk, &segment), "there was something behind the mark");
    let end = load(&disk, &segment).iter().rposition(|byte| *byte != 0).unwrap() + 1;
    put(&wal, &[9; 700]);
    let torn = hurt(&disk, &segment, |bytes| bytes[end + 500] ^= 1);
    let (_, recovered) = try_open(&torn, options()).unwrap();
    let report = recovered.report();
    assert!(!report.closed && report.cut.is_some(), "{report:?}");
}

/// The newest segment file.
fn segment_path(disk: &SimVfs) -> PathBuf {
    let newest = names(disk).into_iter().filter(|name| name.ends_with(".wal")).max().unwrap();
    dir().join(newest)
}

// Scenario 9: frames of a recycled file never count, though their checksums were right once.
#[test]
fn old_frames_in_a_recycled_segment_never_count() {
    check_all(recycled());
    // And what goes over them byte for byte in the same rhythm does.
    for hurt in recycled() {
        let (wal, found) = open(&hurt.disk);
        let last = found.last().unwrap().0;
        for n in 1..=6 {
            fill(&wal, 1);
            let (_wal, again) = open(&hurt.disk.crash_copy(n));
            assert_eq!(again, expected(found[0].0, last + n), "{}", hurt.what);
        }
    }
}

/// Scenario 15: after a cut, each record that replaces an old one.
pub(crate) fn replaced() -> Vec<Hurt> {
    let mut disks = Vec::new();
    for last in [0, 1, 5, 11, 12, 13, 25, 39, 40] {
        let disk = disk();
        let (wal, _) = open(&disk);
        fill(&wal, 40);
        wal.truncate_suffix(Lsn(last)).unwrap();
        assert_eq!((wal.durable(), wal.next_lsn()), (Lsn(last), Lsn(last + 1)));
        let mut wanted = expected(1, last);
        for i in 0..=20 {
            let what = format!("cut to {last}, {i} new");
            disks.push(Hurt::recovers(what, disk.crash_copy(i), wanted.clone()));
            // The same sizes as before, so that every old frame boundary is hit again.
            let text = text(100 + i);
            put(&wal, &text);
            wanted.push((last + i + 1, text));
        }
    }
    disks
}

// Scenario 15: a new leader's records replace the old ones, for ever.
#[test]
fn a_cut_suffix_is_replaced_and_never_comes_back() {
    check_all(replaced());
}

/// Scenario 15: the power fails before each call of a cut through a segment, at the edge of one and
/// to nothing, and of the appends that follow it.
pub(crate) fn cut_suffixes() -> Vec<Hurt> {
    let full = expected(1, 40);
    let mut disks = Vec::new();
    for last in [0, 5, 12, 39] {
        let mut cut = expected(1, last);
        let mut again = vec![cut.clone()];
        for n in 1..=2 {
            cut.push((last + n, text(100 + n)));
            again.push(cut.clone());
        }
        for calls in 0..60 {
            let disk = SimVfs::new(calls);
            let (wal, _) = open(&disk);
            fill(&wal, 40);
            disk.power_cut_after(calls);
            let done = wal.truncate_suffix(Lsn(last)).is_ok();
            let acked = (1..=2)
                .take_while(|n| {
                    let commit = wal.append(&[&text(100 + n)]);
                    commit.and_then(|commit| commit.wait()).is_ok()
                })
                .count();
            let mut any = again[acked..(acked + 2).min(3)].to_vec();
            if !done {
                any = vec![full.clone(), again[0].clone()];
            }
            let any: Arc<[Records]> = any.into();
            for seed in 0..6 {
                let what = format!("cut to {last}, power cut before {calls}, seed {seed}");
                disks.push(Hurt::one_of(what, disk.crash_copy(seed), &any));
            }
            // The new edition may then be in the page cache alone, with or without a name.
            let what = format!("cut to {last}, killed before {calls}");
            disks.push(Hurt::one_of(what, disk.kill_copy(), &any));
            if acked == 2 {
                break;
            }
            assert!(calls < 59, "a cut ends");
        }
    }
    disks
}

// Scenario 15: the log is as it was, or cut; never a mix, and once cut, never as it was.
#[test]
fn an_interrupted_cut_has_happened_or_has_not() {
    let disks = cut_suffixes();
    let mut outcomes = [0, 0];
    for hurt in &disks {
        hurt.check();
        let lasts = open(&hurt.disk.kill_copy()).1.last().map_or(0, |last| last.0);
        outcomes[usize::from(lasts == 40)] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 50), "{outcomes:?}");
}

// Scenario 15 with 45: a recovery that removes the old suffix on the word of a new edition that
// only the page cache holds would lose both to a power cut. The new edition is made durable first.
#[test]
fn nothing_is_removed_on_the_word_of_an_edition_that_is_not_durable() {
    let killed = cut_suffixes().into_iter().filter(|hurt| hurt.what.contains("killed"));
    let cuts: u64 = killed.map(|hurt| hurt.check_cut_again()).sum();
    assert!(cuts > 200, "{cuts}");
}

// Cutting at or behind the end is no change at all.
#[test]
fn cutting_nothing_changes_nothing() {
    let disk = disk();
    let (wal, _) = open(&disk);
    fill(&wal, 3);
    let before = disk.files();
    wal.truncate_suffix(Lsn(3)).unwrap();
    wal.truncate_suffix(Lsn(77)).unwrap();
    assert_eq!(wal.next_lsn(), Lsn(4));
    assert!(disk.files() == before);
}

// Below the first record there is nothing to stand on.
#[test]
fn a_suffix_cannot_be_cut_below_the_prefix() {
    let (wal, _) = try_open(&disk(), options().first_lsn(Lsn(100))).unwrap();
    put(&wal, b"a hundred");
    assert!(matches!(wal.truncate_suffix(Lsn(98)), Err(Error::Missing { first: Lsn(100), .. })));
    wal.truncate_suffix(Lsn(99)).unwrap();
    assert_eq!(put(&wal, b"another"), Lsn(100));
}

// A group cut through keeps its head: the caller asked for exactly that.
#[test]
fn a_cut_may_go_through_a_group() {
    let disk = disk();
    let (wal, _) = open(&disk);
    wal.append(&[&text(1), &text(2), &text(3)]).unwrap().wait().unwrap();
    wal.truncate_suffix(Lsn(2)).unwrap();
    assert_eq!(open(&disk.crash()).1, expected(1, 2));
}

// Both ends, again and again: numbers of files and records must not drift apart.
#[test]
fn both_ends_can_be_cut_in_turn() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for _ in 0..8 {
        fill(&wal, 40);
        let last = wal.durable().0;
        wal.truncate_prefix(Lsn(last - 20)).unwrap();
        wal.truncate_suffix(Lsn(last - 5)).unwrap();
        let (_again, found) = open(&disk.crash_copy(last));
        assert_eq!(found, expected(wal.first_lsn().0, last - 5));
    }
    assert!(disk.open(&segment(1), drystone_vfs::OpenMode::Read).is_err());
}

// A commit made before a cut had its answer then, whatever becomes of the record.
#[test]
fn a_commit_from_before_a_cut_resolves() {
    let (wal, _) = open(&disk());
    fill(&wal, 3);
    let commit = wal.append(&[b"overruled"]).unwrap();
    wal.truncate_suffix(Lsn(2)).unwrap();
    commit.wait().unwrap();
    assert_eq!(wal.next_lsn(), Lsn(3));
}

// A reader in the middle of a segment that is let go of finishes undisturbed, even though the file
// would have been recycled under it.
#[test]
fn a_reader_is_not_disturbed_by_prefix_truncation() {
    let options = options().segment_bytes(1 << 20);
    let (wal, _) = try_open(&disk(), options).unwrap();
    // Larger than what a reader takes in at once.
    let big = |lsn: u64| vec![lsn as u8; 100_000];
    for lsn in 1..=30 {
        put(&wal, &big(lsn));
    }
    let mut iter = wal.iter(Lsn(1));
    assert_eq!(iter.next().unwrap().unwrap().1, big(1));
    wal.truncate_prefix(Lsn(30)).unwrap();
    for lsn in 31..=60 {
        put(&wal, &big(lsn));
    }
    for lsn in 2..=10 {
        assert_eq!(iter.next().unwrap().unwrap(), (Lsn(lsn), big(lsn).into()));
    }
    let rest: Result<Vec<_>, _> = iter.collect();
    assert!(matches!(rest, Err(Error::Missing { .. })), "the segments after that one are gone");
}

// A follower keeps its place across a cut and gets the records that replace the old ones.
#[test]
fn a_follower_goes_on_with_the_replacing_records() {
    let (wal, _) = open(&disk());
    fill(&wal, 30);
    let mut iter = wal.iter(Lsn(20));
    for lsn in 20..25 {
        assert_eq!(iter.next().unwrap().unwrap(), (Lsn(lsn), text(lsn).into()));
    }
    wal.truncate_suffix(Lsn(24)).unwrap();
    assert!(iter.next().is_none());
    put(&wal, b"replaced");
    assert_eq!(iter.next().unwrap().unwrap(), (Lsn(25), b"replaced"[..].into()));
    assert!(iter.next().is_none());
}

// With the writer's thread and appenders at work, a cut is a point in one order of events.
#[test]
fn cuts_and_appends_from_many_threads_agree_on_an_order() {
    let disk = disk();
    let options = Options::default().segment_bytes(16 << 10);
    let (wal, _) = Wal::open(Arc::new(disk.clone()), &dir(), options).unwrap();
    std::thread::scope(|scope| {
        for i in 0..4_u8 {
            let wal = wal.clone();
            scope.spawn(move || {
                for _ in 0..100 {
                    wal.append(&[&[i; 300]]).unwrap().wait().unwrap();
                }
            });
        }
        for _ in 0..20 {
            let durable = wal.durable();
            wal.truncate_suffix(Lsn(durable.0.saturating_sub(3)).max(wal.first_lsn())).unwrap();
            wal.truncate_prefix(Lsn(durable.0 / 2)).unwrap();
        }
    });
    let (first, last) = (wal.first_lsn(), wal.durable());
    assert_eq!(wal.next_lsn(), last.next());
    drop(wal);
    let (_wal, found) = open(&disk.crash());
    let lsns: Vec<u64> = found.iter().map(|(lsn, _)| *lsn).collect();
    assert_eq!(lsns, (first.0..=last.0).collect::<Vec<_>>());
}
