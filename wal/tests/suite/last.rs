//! The last write changed (scenarios 7, 8 and 10): by a flipped bit, or to a length that was never
//! written. Whether that is a torn tail or corruption depends on who else knows of the write.

use drystone_vfs::SimVfs;
use drystone_wal::{Error, Lsn};

use crate::hurt::{Hurt, check_all};
use crate::support::{HEADER, assert_corrupt, frame, hurt, open, options, segment};
use crate::tail::{LEN, first, three};

/// Scenario 7, and the first half of 8: every bit of the last write, which was synced, and after
/// which nothing was written.
pub(crate) fn flips_in_the_last_write() -> Vec<Hurt> {
    let (disk, start) = three();
    let flip = |bit: u64| {
        let at = (start + bit / 8) as usize;
        let hurt = hurt(&disk, &segment(1), |bytes| bytes[at] ^= 1 << (bit % 8));
        Hurt::recovers(format!("bit {bit}"), hurt, first(2))
    };
    (0..8 * frame(LEN)).map(flip).collect()
}

// Scenario 7: damage to a write that nobody was promised is a torn tail, and the log opens.
#[test]
fn any_flipped_bit_in_the_last_write_cuts_it() {
    check_all(flips_in_the_last_write());
}

/// Scenario 8, second half: the same damage after a clean close, or with the last LSN known.
pub(crate) fn flips_that_are_known_to_matter() -> Vec<Hurt> {
    let (disk, start) = three();
    let (wal, _) = open(&disk);
    wal.close().unwrap();
    let closed = disk;
    let (killed, _) = three();
    let mut disks = Vec::new();
    for at in start..start + frame(LEN) {
        let flip = |disk: &SimVfs| hurt(disk, &segment(1), |bytes| bytes[at as usize] ^= 1);
        disks.push(Hurt::refused(format!("closed, byte {at}"), flip(&closed)));
        let known = options().min_lsn(Lsn(3));
        disks.push(Hurt::refused(format!("known, byte {at}"), flip(&killed)).with(known));
        let known = options().min_lsn(Lsn(2));
        let fine = Hurt::recovers(format!("known to 2, byte {at}"), flip(&killed), first(2));
        disks.push(fine.with(known));
    }
    disks
}

// Scenario 8: from the log alone, rot in the very last write cannot be told from a torn tail. A
// clean close, or knowledge from elsewhere, decides it.
#[test]
fn a_close_mark_or_a_known_lsn_turns_a_lost_tail_into_corruption() {
    check_all(flips_that_are_known_to_matter());
    let (disk, start) = three();
    let torn = hurt(&disk, &segment(1), |bytes| bytes[start as usize + 20] ^= 1);
    let error = assert_corrupt(&torn, options().min_lsn(Lsn(3)));
    assert!(error.to_string().contains("ends at record 2, but record 3"), "{error}");
    let (wal, _) = open(&disk);
    wal.close().unwrap();
    // Before the last write the close mark is one witness of two.
    for at in HEADER..start {
        assert_corrupt(&hurt(&disk, &segment(1), |b| b[at as usize] ^= 1), options());
    }
    // The mark itself takes nothing with it.
    let mark = start + frame(LEN);
    for at in mark..mark + frame(0) {
        let hurt = hurt(&disk, &segment(1), |bytes| bytes[at as usize] ^= 1);
        Hurt::recovers(format!("mark, byte {at}"), hurt, first(3)).check();
    }
}

/// Scenario 10: rotten lengths, in the last frame and before it.
pub(crate) fn rotten_lengths() -> Vec<Hurt> {
    let (disk, start) = three();
    let mut disks = Vec::new();
    // 100 is right; 104 to 108 and 220 to 228 point at sound frames or just behind.
    let near = (0..=260).filter(|len| *len != LEN as u32);
    let far = [5000, 1 << 14, 1 << 20, 1 << 28, (1 << 29) + 1, 1 << 30, 1 << 31];
    for len in near.chain(far).chain((0..40).map(|n| u32::MAX - n)) {
        let rot = |at: u64| {
            hurt(&disk, &segment(1), |bytes| {
                bytes[at as usize..at as usize + 4].copy_from_slice(&u32::to_le_bytes(len));
            })
        };
        disks.push(Hurt::recovers(format!("last length {len}"), rot(start), first(2)));
        disks.push(Hurt::refused(format!("length {len}"), rot(HEADER + frame(LEN))));
    }
    disks
}

// Scenario 10: a length is the most dangerous number on a disk. Neither the last frame's nor an
// earlier one's misleads.
#[test]
fn a_rotten_length_never_misleads() {
    check_all(rotten_lengths());
    let (disk, _) = three();
    let hurt = hurt(&disk, &segment(1), |bytes| bytes[(HEADER + frame(LEN)) as usize] ^= 0xff);
    let error = assert_corrupt(&hurt, options());
    assert!(matches!(error, Error::Corrupt { lsn: Lsn(2), .. }), "{error}");
}
