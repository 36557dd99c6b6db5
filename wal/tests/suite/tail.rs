//! Torn tails (scenarios 1 to 5): bytes that were written and never acknowledged must go,
//! wholly and for good. Which bytes reached the disk, and in which order, is the disk's choice.

use drystone_vfs::SimVfs;
use drystone_wal::{Lsn, Wal};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::hurt::{AFTERWARDS, Hurt, Records, check_all, names};
use crate::support::{
    HEADER, dir, disk, frame, hurt, load, numbered, open, options, put, segment, try_open,
};

pub(crate) const LEN: usize = 100;

/// Three records, each its own write. The last one's frame starts at the offset returned.
pub(crate) fn three() -> (SimVfs, u64) {
    let disk = disk();
    let (wal, _) = open(&disk);
    for byte in 1..=3 {
        put(&wal, &[byte; LEN]);
    }
    (disk.crash(), HEADER + 2 * frame(LEN))
}

pub(crate) fn first(count: usize) -> Records {
    let all: [&[u8]; 3] = [&[1; LEN], &[2; LEN], &[3; LEN]];
    numbered(&all[..count])
}

/// The newest segment of a log, before and after `write` put something into it.
struct Pair {
    disk: SimVfs,
    before: Vec<u8>,
    after: Vec<u8>,
    kept: Records,
}

impl Pair {
    /// In a segment of zeros, behind one record.
    fn in_zeros(write: impl FnOnce(&Wal)) -> Pair {
        let disk = disk();
        let (wal, _) = open(&disk);
        put(&wal, b"before");
        Pair::of(&disk, &wal, write)
    }

    /// In a recycled segment, which is full of old frames.
    fn in_stale_frames(write: impl FnOnce(&Wal)) -> Pair {
        let disk = disk();
        let (wal, _) = open(&disk);
        for i in 0..90_u8 {
            put(&wal, &[i; 300]);
        }
        wal.truncate_prefix(Lsn(88)).unwrap();
        while names(&disk).contains(&"spare.tmp".into()) {
            put(&wal, &[0xee; 300]);
        }
        let pair = Pair::of(&disk, &wal, write);
        let stale = &pair.before[pair.before.len() / 2..];
        assert!(stale.iter().any(|byte| *byte != 0), "a recycled segment holds old bytes");
        pair
    }

    fn of(disk: &SimVfs, wal: &Wal, write: impl FnOnce(&Wal)) -> Pair {
        let records = wal.iter(wal.first_lsn()).map(|record| record.unwrap());
        let kept = records.map(|(lsn, bytes)| (lsn.0, bytes.to_vec())).collect();
        let newest = newest(disk);
        let before = load(disk, &newest);
        write(wal);
        let after = load(disk, &newest);
        assert!(before != after, "the write went into the same segment");
        Pair { disk: disk.crash_copy(0), before, after, kept }
    }

    /// The disk with `bytes` in place of the newest segment.
    fn with(&self, what: String, bytes: Vec<u8>) -> Hurt {
        let disk = hurt(&self.disk, &newest(&self.disk), |newest| *newest = bytes);
        Hurt::recovers(what, disk, self.kept.clone())
    }

    /// From the first byte that the write changed to behind the last.
    fn span(&self) -> std::ops::Range<usize> {
        let differs = |i: &usize| self.before[*i] != self.after[*i];
        let start = (0..self.after.len()).find(differs).unwrap() & !7;
        start..(0..self.after.len()).rfind(differs).unwrap() + 1
    }
}

pub(crate) fn newest(disk: &SimVfs) -> std::path::PathBuf {
    let names = names(disk);
    dir().join(names.iter().rfind(|name| name.ends_with(".wal")).unwrap())
}

/// Scenario 1: the last frame landed up to byte k, for every k; behind it is what was there before.
pub(crate) fn cut_at_every_byte() -> Vec<Hurt> {
    let record = |wal: &Wal| {
        put(wal, &[3; AFTERWARDS[0]]);
    };
    let group = |wal: &Wal| {
        wal.append(&[&[3; AFTERWARDS[0]], &[4; 300], &[5; 7]]).unwrap().wait().unwrap();
    };
    let pairs = [
        ("zeros", Pair::in_zeros(record)),
        ("old frames", Pair::in_stale_frames(record)),
        ("zeros, a group", Pair::in_zeros(group)),
        ("old frames, a group", Pair::in_stale_frames(group)),
    ];
    let mut disks = Vec::new();
    for (behind, pair) in pairs {
        let span = pair.span();
        for k in span.clone() {
            let bytes = [&pair.after[..k], &pair.before[k..]].concat();
            if bytes != pair.after {
                let what = format!("cut at byte {} of {behind}", k - span.start);
                disks.push(pair.with(what, bytes));
            }
        }
    }
    disks
}

// Scenario 1: a short write. Nothing before it suffers, the log goes on, and what was cut never
// comes back.
#[test]
fn a_last_frame_that_landed_up_to_any_byte_is_cut_for_good() {
    let disks = cut_at_every_byte();
    assert!(disks.len() > 700, "{}", disks.len());
    check_all(disks);
}

/// Scenario 2: every subset of the sectors of one write, and random subsets of a large one.
pub(crate) fn sector_subsets() -> Vec<Hurt> {
    let record: Vec<u8> = (0..3000_u32).map(|i| (i % 251) as u8 + 1).collect();
    let small = |wal: &Wal| {
        put(wal, &record);
    };
    let large = |wal: &Wal| {
        let group: [&[u8]; 4] = [&record[..AFTERWARDS[0]], &record, &record[..700], &record];
        wal.append(&group).unwrap().wait().unwrap();
    };
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut disks = Vec::new();
    for (behind, pair) in [
        ("zeros", Pair::in_zeros(small)),
        ("old frames", Pair::in_stale_frames(small)),
        ("zeros", Pair::in_zeros(large)),
        ("old frames", Pair::in_stale_frames(large)),
    ] {
        let touched: Vec<usize> = (0..pair.after.len() / 512)
            .filter(|s| sector(&pair.before, *s) != sector(&pair.after, *s))
            .collect();
        let count = touched.len();
        assert!(count >= 6, "{count}");
        let all = if count <= 8 { 1_u64 << count } else { 300 };
        for n in 0..all {
            let kept = if count <= 8 { n } else { rng.random::<u64>() % (1 << count) };
            if kept + 1 == 1 << count {
                continue;
            }
            let mut bytes = pair.after.clone();
            for s in touched.iter().enumerate().filter(|(i, _)| kept & (1 << i) == 0) {
                bytes[s.1 * 512..(s.1 + 1) * 512].copy_from_slice(sector(&pair.before, *s.1));
            }
            disks.push(pair.with(format!("sectors {kept:b} of {count} over {behind}"), bytes));
        }
    }
    disks
}

fn sector(bytes: &[u8], number: usize) -> &[u8] {
    &bytes[number * 512..(number + 1) * 512]
}

// Scenario 2: disks write sectors, in any order. A frame counts only if all of them are there, and
// a group only if all its frames are.
#[test]
fn a_frame_counts_only_if_all_its_sectors_were_written() {
    let disks = sector_subsets();
    assert!(disks.len() > 600, "{}", disks.len());
    check_all(disks);
}

/// Scenario 3: the last n sectors or pages of the last write are zero, for every n.
pub(crate) fn zero_tails() -> Vec<Hurt> {
    let (disk, start) = three();
    let end = start + frame(LEN);
    let mut disks: Vec<Hurt> = (start..end - 4)
        .map(|from| {
            let hurt = hurt(&disk, &segment(1), |bytes| bytes[from as usize..].fill(0));
            Hurt::recovers(format!("zeros from byte {}", from - start), hurt, first(2))
        })
        .collect();
    let big = Pair::in_zeros(|wal| {
        put(wal, &[7; 9000]);
    });
    let end = big.span().end;
    for page in [512, 4096] {
        for from in (0..end).step_by(page).filter(|from| *from as u64 > HEADER) {
            let mut bytes = big.after.clone();
            bytes[from..].fill(0);
            disks.push(big.with(format!("zero pages of {page} from {from}"), bytes));
        }
    }
    disks
}

// Scenario 3: the file system wrote the length and the pages are still zero.
#[test]
fn a_tail_of_zeros_is_the_end() {
    check_all(zero_tails());
}

// A log that simply ends must not be reported as cut: operators would learn to ignore the report.
#[test]
fn an_undamaged_tail_is_not_reported_as_cut() {
    let (disk, start) = three();
    let (_wal, recovered) = try_open(&disk.crash_copy(0), options()).unwrap();
    assert_eq!(recovered.report().cut, None);
    let torn = hurt(&disk, &segment(1), |bytes| bytes[start as usize + 20] ^= 1);
    let (_wal, recovered) = try_open(&torn, options()).unwrap();
    let cut = recovered.report().cut.clone().unwrap();
    assert_eq!((cut.file, cut.offset, cut.bytes), (segment(1), start, 16 + LEN as u64));
}

/// Scenario 4: garbage of every origin right behind the end.
pub(crate) fn garbage_tails() -> Vec<Hurt> {
    let (disk, start) = three();
    let end = (start + frame(LEN)) as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut disks = Vec::new();
    let mut push = |what: String, edit: &mut dyn FnMut(&mut Vec<u8>)| {
        disks.push(Hurt::recovers(what, hurt(&disk, &segment(1), |b| edit(b)), first(3)));
    };
    for n in 0..50 {
        push(format!("random bytes {n}"), &mut |bytes| rng.fill(&mut bytes[end..]));
    }
    // Sound frames of another log, which continue our numbering exactly.
    let other = SimVfs::new(9);
    let (wal, _) = try_open(&other, options().log_id(43)).unwrap();
    for byte in 1..=9 {
        put(&wal, &[byte; LEN]);
    }
    let foreign = load(&other, &segment(1));
    push("another log's frames".into(), &mut |bytes| {
        let count = bytes.len().min(foreign.len());
        bytes[end..count].copy_from_slice(&foreign[end..count]);
    });
    // Sound frames of this very segment, in the wrong place, once and over and over.
    for from in 0..3 {
        for times in [1, 40] {
            push(format!("own frame {from}, {times} times"), &mut |bytes| {
                let size = frame(LEN) as usize;
                let own = HEADER as usize + from * size;
                for n in 0..times {
                    bytes.copy_within(own..own + size, end + n * size);
                }
            });
        }
    }
    // A whole segment file of this log, header and all.
    push("a header".into(), &mut |bytes| {
        bytes.copy_within(0..HEADER as usize, end);
    });
    // Frames that a suffix cut took away: the right numbers in the right places, of an edition that
    // is no more. Its blocks were freed, and may be handed out again.
    disks.push(cut_away());
    disks
}

/// A log cut to three records, with the old edition's bytes behind its end.
fn cut_away() -> Hurt {
    let disk = disk();
    let (wal, _) = open(&disk);
    for byte in 1..=6 {
        put(&wal, &[byte; AFTERWARDS[0]]);
    }
    let old = load(&disk, &segment(1));
    wal.truncate_suffix(Lsn(3)).unwrap();
    let end = (HEADER + 3 * frame(AFTERWARDS[0])) as usize;
    let hurt = hurt(&disk.crash(), &segment(1), |bytes| bytes[end..].copy_from_slice(&old[end..]));
    let kept: Records = (1..=3).map(|lsn| (lsn, vec![lsn as u8; AFTERWARDS[0]])).collect();
    Hurt::recovers("frames that were cut away", hurt, kept)
}

// Scenario 4: freshly allocated blocks hold whatever their last owner left, our own frames
// included.
#[test]
fn garbage_behind_the_end_is_cut() {
    check_all(garbage_tails());
}

/// Scenario 5: five groups in one write; every subset of them is lost.
pub(crate) fn lost_groups() -> Vec<Hurt> {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, b"before");
    let texts: Vec<[u8; AFTERWARDS[0]]> = (0..5).map(|i| [b'a' + i; AFTERWARDS[0]]).collect();
    for text in &texts {
        drop(wal.append(&[text]).unwrap());
    }
    let syncs = disk.counts().syncs;
    wal.wait_durable(Lsn(6)).unwrap();
    assert_eq!(disk.counts().syncs, syncs + 1, "one write");
    let (disk, start) = (disk.crash(), HEADER + frame(6));
    let size = frame(AFTERWARDS[0]);
    let mut disks = Vec::new();
    for lost in 1..32_u32 {
        for zeros in [false, true] {
            let hurt = hurt(&disk, &segment(1), |bytes| {
                for i in (0..5_u64).filter(|i| lost & (1 << i) != 0) {
                    let at = (start + i * size) as usize;
                    match zeros {
                        true => bytes[at..at + size as usize].fill(0),
                        false => bytes[at + 20] ^= 1,
                    }
                }
            });
            let mut kept: Vec<&[u8]> = vec![b"before"];
            kept.extend(texts[..lost.trailing_zeros() as usize].iter().map(|text| &text[..]));
            disks.push(Hurt::recovers(format!("lost {lost:05b}"), hurt, numbered(&kept)));
        }
    }
    disks
}

// Scenario 5: the later group reached the disk, the earlier did not. It must not count now, nor
// when a record of the lost one's size has filled the gap.
#[test]
fn a_sound_group_behind_a_lost_one_never_counts() {
    check_all(lost_groups());
}

// A group is all there or not at all, wherever the tear.
#[test]
fn a_torn_group_is_dropped_whole() {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, b"before");
    wal.append(&[b"one", b"two", b"three"]).unwrap().wait().unwrap();
    let disk = disk.crash();
    let start = HEADER + frame(6);
    for at in start..start + 3 * frame(3) {
        let hurt = hurt(&disk, &segment(1), |bytes| bytes[at as usize] ^= 0x10);
        Hurt::recovers(format!("byte {at}"), hurt, numbered(&[b"before"])).check();
    }
}
