//! Torn tails: bytes that were written and never acknowledged must go, wholly and for good.

use drystone_vfs::SimVfs;
use drystone_wal::{Error, Lsn};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::{
    HEADER, assert_corrupt, assert_recovers, disk, drain, frame, hurt, load, numbered, open,
    options, put, segment, try_open,
};

const LEN: usize = 100;

/// Three records, each its own write. The last one's frame starts at the offset returned.
fn three() -> (SimVfs, u64) {
    let disk = disk();
    let (wal, _) = open(&disk);
    for byte in 1..=3 {
        put(&wal, &[byte; LEN]);
    }
    (disk.crash(), HEADER + 2 * frame(LEN))
}

fn first(count: usize) -> Vec<(u64, Vec<u8>)> {
    let all: [&[u8]; 3] = [&[1; LEN], &[2; LEN], &[3; LEN]];
    numbered(&all[..count])
}

// Scenario 1: the first bytes of the last frame reached the disk, the rest did not. The file's
// length is not at stake: it was durable before the file had a name.
#[test]
fn a_write_torn_anywhere_in_the_last_frame_loses_that_frame_alone() {
    let (disk, start) = three();
    for len in start..start + 16 + LEN as u64 {
        let hurt = hurt(&disk, &segment(1), |bytes| bytes[len as usize..].fill(0));
        assert_recovers(&hurt, &first(2));
    }
}

// Scenario 2: disks write sectors, in any order.
#[test]
fn a_frame_counts_only_if_all_its_sectors_were_written() {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, b"before");
    let before = load(&disk, &segment(1));
    let record: Vec<u8> = (0..3000_u32).map(|i| (i % 251) as u8 + 1).collect();
    put(&wal, &record);
    let after = load(&disk, &segment(1));
    let touched: Vec<usize> =
        (0..after.len() / 512).filter(|s| sector(&before, *s) != sector(&after, *s)).collect();
    assert!((5..=8).contains(&touched.len()), "{}", touched.len());
    let disk = disk.crash();
    for subset in 0..1_u32 << touched.len() {
        let hurt = hurt(&disk, &segment(1), |bytes| {
            for (i, s) in touched.iter().enumerate().filter(|(i, _)| subset & (1 << i) == 0) {
                assert!(i < 8);
                bytes[s * 512..(s + 1) * 512].copy_from_slice(sector(&before, *s));
            }
        });
        let whole = subset + 1 == 1 << touched.len();
        let records: [&[u8]; 2] = [b"before", &record];
        let expected = numbered(&records[..1 + usize::from(whole)]);
        assert_recovers(&hurt, &expected);
    }
}

fn sector(bytes: &[u8], number: usize) -> &[u8] {
    &bytes[number * 512..(number + 1) * 512]
}

// Scenario 3: the file system wrote the length and the pages are still zero.
#[test]
fn a_tail_of_zeros_is_the_end() {
    let (disk, start) = three();
    for from in [start, start + 8, start + 16, start + 60] {
        let hurt = hurt(&disk, &segment(1), |bytes| bytes[from as usize..].fill(0));
        assert_recovers(&hurt, &first(2));
    }
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

// Scenario 4: freshly allocated blocks hold whatever their last owner left, our own frames
// included.
#[test]
fn garbage_behind_the_end_is_cut() {
    let (disk, start) = three();
    let end = (start + frame(LEN)) as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for _ in 0..50 {
        let hurt = hurt(&disk, &segment(1), |bytes| rng.fill(&mut bytes[end..]));
        assert_recovers(&hurt, &first(3));
    }
    // Sound frames of another log, which continue our numbering exactly.
    let other = SimVfs::new(9);
    let (wal, _) = try_open(&other, options().log_id(43)).unwrap();
    for byte in 1..=9 {
        put(&wal, &[byte; LEN]);
    }
    let foreign = load(&other, &segment(1));
    let hurt = hurt(&disk, &segment(1), |bytes| {
        let count = bytes.len().min(foreign.len());
        bytes[end..count].copy_from_slice(&foreign[end..count]);
    });
    assert_recovers(&hurt, &first(3));
}

// Scenario 5: two groups in one write, the second reached the disk, the first did not. It must not
// count now, nor when a record of the first one's size has filled the gap.
#[test]
fn a_sound_group_behind_a_lost_one_never_counts() {
    let disk = disk();
    let (wal, _) = open(&disk);
    put(&wal, b"before");
    drop(wal.append(&[b"afterwardz"]).unwrap());
    let last = wal.append(&[b"stale group"]).unwrap();
    last.wait().unwrap();
    let at = (HEADER + frame(6)) as usize;
    let hurt = hurt(&disk.crash(), &segment(1), |bytes| bytes[at + 20] ^= 1);
    assert_eq!(frame(b"afterwardz".len()), frame(b"afterwards".len()), "the gap is filled exactly");
    assert_recovers(&hurt, &numbered(&[b"before"]));
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
        assert_recovers(&hurt, &numbered(&[b"before"]));
    }
}

// Scenario 7: nobody was promised the last write, so damage to it is a torn tail; and scenario 8,
// first half: from the log alone this cannot be told from rot.
#[test]
fn any_flipped_bit_in_the_last_write_cuts_it() {
    let (disk, start) = three();
    for bit in 0..8 * frame(LEN) {
        let at = (start + bit / 8) as usize;
        let hurt = hurt(&disk, &segment(1), |bytes| bytes[at] ^= 1 << (bit % 8));
        let (_wal, found) = open(&hurt);
        assert_eq!(found, first(2), "bit {bit}");
    }
}

// Scenario 8, second half: a clean close, or knowledge from elsewhere, decides it.
#[test]
fn a_close_mark_or_a_known_lsn_turns_a_lost_tail_into_corruption() {
    let (disk, start) = three();
    let torn = hurt(&disk, &segment(1), |bytes| bytes[start as usize + 20] ^= 1);
    let error = assert_corrupt(&torn, options().min_lsn(Lsn(3)));
    assert!(error.to_string().contains("ends at record 2, but record 3"), "{error}");
    try_open(&torn.crash_copy(0), options().min_lsn(Lsn(2))).unwrap();

    let (wal, _) = open(&disk);
    wal.close().unwrap();
    for at in HEADER..start + frame(LEN) {
        let hurt = hurt(&disk, &segment(1), |bytes| bytes[at as usize] ^= 1);
        assert_corrupt(&hurt, options());
    }
}

// Scenario 10: a length is the most dangerous number on a disk.
#[test]
fn a_rotten_length_neither_allocates_nor_misleads() {
    let (disk, start) = three();
    for len in [0, 1, 99, 101, 108, 116, 5000, 1 << 20, 1 << 28, u32::MAX - 15, u32::MAX] {
        let rot = |at: u64| {
            hurt(&disk, &segment(1), |bytes| {
                bytes[at as usize..at as usize + 4].copy_from_slice(&u32::to_le_bytes(len));
            })
        };
        assert_recovers(&rot(start), &first(2));
        let error = assert_corrupt(&rot(HEADER + frame(LEN)), options());
        assert!(matches!(error, Error::Corrupt { lsn: Lsn(2), .. }), "{error}");
    }
}

// Scenario 48: a torn record may hold what a stranger sent, such as fifty thousand heads that each
// reach to the end. Judging the tail must not cost more than reading it a few times.
#[test]
fn a_torn_record_full_of_crafted_heads_is_judged_in_one_pass() {
    let disk = disk();
    let options = || options().segment_bytes(1 << 20);
    let (wal, _) = try_open(&disk, options()).unwrap();
    put(&wal, b"before");
    let size = 900 << 10;
    let mut record = Vec::new();
    while record.len() < size {
        record.extend(((size - record.len() - 16) as u32).to_le_bytes());
        record.extend(0xbad_c0de_u32.to_le_bytes());
        // The record after the torn one, which says that the torn one was durable.
        record.extend((2_u32 << 28 | 3).to_le_bytes());
        record.extend(1_u32.to_le_bytes());
    }
    put(&wal, &record);
    let at = (HEADER + frame(6) + 17) as usize;
    let torn = hurt(&disk.crash(), &segment(1), |bytes| bytes[at] ^= 1);
    let before = torn.counts().reads;
    let (_wal, recovered) = try_open(&torn, options()).unwrap();
    let reads = torn.counts().reads - before;
    assert!(reads < 50, "{reads} reads for a file of 1 MiB");
    assert_eq!(drain(recovered), numbered(&[b"before"]));
}
