//! The search for a witness, alone.

use std::io::IoSlice;
use std::path::Path;

use drystone_vfs::{MemVfs, OpenMode, Vfs};

use super::*;
use crate::format::{Kind, frame_crc, push_frame, seal};

const SEED: u32 = 7;

fn frame_of(kind: Kind, lsn: u64, durable: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    push_frame(&mut frame, kind, Lsn(lsn), payload);
    seal(&mut frame, Lsn(durable), SEED);
    frame
}

/// A head at which a frame of `bytes` bytes could begin that says "8 was durable", with a checksum
/// that is wrong.
fn lie(bytes: u64) -> [u8; 16] {
    let mut head = [0; 16];
    head[..4].copy_from_slice(&(bytes as u32 - 16).to_le_bytes());
    head[4..8].copy_from_slice(&0xbad_c0de_u32.to_le_bytes());
    head[8..12].copy_from_slice(&((Kind::GroupEnd as u32) << 28 | 9).to_le_bytes());
    head[12..16].copy_from_slice(&1_u32.to_le_bytes());
    head
}

fn window(bytes: &[u8]) -> Window {
    let vfs = MemVfs::new();
    let file = vfs.open(Path::new("f"), OpenMode::Create).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    Window::new(file, bytes.len() as u64)
}

/// Whether there is a witness for a stop at byte 0, where record 7 is lost.
fn testified(bytes: &[u8], waiting_max: usize) -> bool {
    let stop = Stop { offset: 0, lsn: Lsn(7), damage: None };
    find(&mut window(bytes), SEED, stop, waiting_max).unwrap()
}

// The whole difference between losing acknowledged records and refusing to start after every power
// cut lies in this predicate.
#[test]
fn only_frames_written_after_the_lost_one_was_durable_testify() {
    let testifies = |kind, lsn, durable, lost| {
        could_testify(&frame_of(kind, lsn, durable, b""), Lsn(lost), 100).is_some()
    };
    assert!(testifies(Kind::GroupEnd, 9, 8, 7), "8 was durable, so was 7");
    assert!(testifies(Kind::GroupEnd, 8, 7, 7), "7 itself was durable");
    assert!(!testifies(Kind::GroupEnd, 9, 5, 7), "7 to 9 were one write");
    assert!(!testifies(Kind::Record, 8, 6, 7), "7 and 8 were one write");
    assert!(testifies(Kind::GroupEnd, 7, 6, 7), "7 is here, so a mark is lost");
    assert!(testifies(Kind::Close, 7, 7, 7), "a close mark speaks for all before it");
    assert!(testifies(Kind::Next, 7, 7, 7), "and so does a next mark");
    assert!(testifies(Kind::Close, 6, 6, 7), "a mark before this mark is lost");
    assert!(!testifies(Kind::Close, 5, 5, 7), "older than the loss");
    assert!(could_testify(&[0; 16], Lsn(1), 100).is_none());
}

// The trick with the prefixes must agree with the plain checksum, for every length and place.
#[test]
fn a_sound_frame_is_found_wherever_it_stands_and_however_long_it_is() {
    for len in [0, 1, 7, 8, 9, 500, 262_100, 262_144, 262_200, 600_000] {
        let payload: Vec<u8> = (0..len).map(|i| ((i * 31) >> 3) as u8).collect();
        let frame = frame_of(Kind::GroupEnd, 8, 7, &payload);
        for place in [8, 16, 1000, WINDOW_BYTES - 16, WINDOW_BYTES - 8, WINDOW_BYTES] {
            let mut bytes = vec![0xee; place];
            bytes.extend(&frame);
            assert!(testified(&bytes, 1), "{len} bytes at {place}, at the end");
            bytes.extend([0xee; 1000]);
            assert!(testified(&bytes, 1), "{len} bytes at {place}");
            bytes[place + frame.len() - 1] ^= 1;
            assert!(!testified(&bytes, 1), "{len} bytes at {place}, damaged");
        }
        // Record 8 where 7 should be: a write that went to the wrong place.
        let mut first = frame.clone();
        first.extend([0; 64]);
        assert!(testified(&first, 1), "a later frame in the lost one's place is a witness");
        first[frame.len() - 1] ^= 1;
        assert!(!testified(&first, 1), "unless it is damaged");
    }
}

// Thousands of heads that reach over each other, with one sound frame among them or none.
#[test]
fn crafted_heads_neither_hide_a_witness_nor_make_one() {
    let mut bytes = Vec::new();
    while bytes.len() < 700_000 {
        let left = 700_000 - bytes.len() as u64;
        bytes.extend(lie((left - left % 8).min(1000 + bytes.len() as u64 * 7 % 300_000)));
    }
    for waiting_max in [1, 2, 100, 5000, WAITING_MAX] {
        assert!(!testified(&bytes, waiting_max));
    }
    for place in [8, 40_000, 300_000, 699_000] {
        let mut bytes = bytes.clone();
        let frame = frame_of(Kind::GroupEnd, 9, 8, b"the truth");
        bytes[place..place + frame.len()].copy_from_slice(&frame);
        // A lie over the truth must not swallow it; nor must a second frame around it.
        for waiting_max in [1000, 5000, WAITING_MAX] {
            assert!(testified(&bytes, waiting_max), "at {place}");
        }
    }
}

// The formula in the module's documentation, on its own.
#[test]
fn the_checksum_of_a_frame_follows_from_two_prefixes() {
    let frame = frame_of(Kind::GroupEnd, 9, 8, b"some payload");
    let before = b"whatever stands before it";
    let mut running = Hasher::new();
    running.update(before);
    running.update(&frame[..8]);
    let at_head = running.clone().finalize();
    running.update(&frame[8..]);
    let at_end = running.finalize();
    let mut covered = Hasher::new_with_initial(SEED);
    covered.update(&frame[..4]);
    let crc = shift(covered.finalize() ^ at_head, frame.len() as u64 - 8) ^ at_end;
    assert_eq!(crc, frame_crc(&frame, SEED).finalize());
}
