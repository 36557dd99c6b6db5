//! Bytes made to kill (scenarios 10 and 48): lengths, positions and counts that no writer wrote,
//! with every checksum right. An answer, always: no panic, no wild allocation, no endless loop.

use std::io::ErrorKind;

use allocation_counter::measure;
use drystone_vfs::{SimVfs, Vfs};
use drystone_wal::{Error, Wal};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::spy::Spy;
use crate::support::{
    HEADER, dir, disk, drain, frame, hurt, load, numbered, open, options, put, segment, store,
    try_open,
};

/// No buffer for reading is ever larger than this, whatever the bytes say.
const READ_BYTES_MAX: usize = 256 << 10;

/// Room on the disks of these tests.
const DISK_BYTES: u64 = 4 << 20;

/// A killed log of two segments. Each record is its own write.
fn two_segments() -> SimVfs {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 0..15 {
        put(&wal, &[i as u8; 1000]);
    }
    disk.crash()
}

/// Opens and reads everything; the answer does not matter, that there is one does.
fn survive(disk: &SimVfs, what: &str) -> Option<usize> {
    // A forged header may say that its file was made large, and the log makes it so again.
    disk.set_capacity_bytes(Some(DISK_BYTES));
    let spy = Spy::over(disk.clone());
    let outcome = match Wal::open(spy.tapped.clone(), &dir(), options()) {
        Ok((wal, recovered)) => {
            let found = recovered.take_while(Result::is_ok).take(100_000).count();
            // What it says it can do, it does.
            if let Ok(commit) = wal.append(&[b"more"]) {
                drop(commit.wait());
            }
            Some(found)
        }
        Err(Error::Corrupt { .. } | Error::Unsupported { .. }) => None,
        Err(Error::NoSpace { .. }) => None,
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::StorageFull => None,
        Err(error) => panic!("{what}: {error}"),
    };
    assert!(spy.read_bytes_max() <= READ_BYTES_MAX, "{what}: read {}", spy.read_bytes_max());
    outcome
}

/// Values at every edge of every width.
fn edges() -> Vec<u64> {
    let mut edges = vec![0, 1, 2, 3, 7, 8, 15, 16, 4095, 4096, 4097, 16_383, 16_384, 16_385];
    for bits in [7, 8, 15, 16, 27, 28, 29, 30, 31, 32, 33, 48, 63] {
        let power = 1_u64 << bits;
        edges.extend([power - 1, power, power + 1]);
    }
    edges.extend((0..4).map(|n| u64::MAX - n));
    edges
}

fn set_field(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    bytes[12..16].fill(0);
    let crc = crc32fast::hash(&bytes[..HEADER as usize]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

// Scenario 48: every field of every header at every edge, the checksum right: a forged file, or a
// bug in some other version.
#[test]
fn hostile_headers_get_an_answer() {
    let disk = two_segments();
    for n in 1..=2 {
        for at in (16..96).step_by(8) {
            for value in edges() {
                // A file that says it was made so long is made so again: not on a disk in memory.
                if at == 72 && (1 << 26..1 << 32).contains(&value) {
                    continue;
                }
                let what = format!("segment {n}, field at {at} = {value}");
                survive(&hurt(&disk, &segment(n), |bytes| set_field(bytes, at, value)), &what);
            }
        }
    }
}

// Scenario 48: a file whose name is the largest there can be, and one whose header agrees.
#[test]
fn the_largest_segment_number_gets_an_answer() {
    for number in [0, u64::MAX, u64::MAX - 1] {
        for first_lsn in [1, u64::MAX, u64::MAX - 20] {
            let disk = disk();
            let (wal, _) = open(&disk);
            put(&wal, b"one");
            let disk = disk.crash();
            let mut bytes = load(&disk, &segment(1));
            set_field(&mut bytes, 24, number);
            set_field(&mut bytes, 32, first_lsn);
            set_field(&mut bytes, 56, number);
            disk.remove(&segment(1)).unwrap();
            store(&disk, &segment(number), &bytes);
            survive(&disk, &format!("segment {number}, first record {first_lsn}"));
        }
    }
}

// Scenario 48: every field of every kind of frame at every edge, the checksum right.
#[test]
fn hostile_frames_get_an_answer() {
    let disk = disk();
    let (wal, _) = open(&disk);
    for i in 0..5 {
        put(&wal, &[i; 40]);
    }
    let disk = disk.crash();
    let bytes = load(&disk, &segment(1));
    let seed = frame_seed(&bytes);
    let size = frame(40) as usize;
    for index in [0, 2, 4] {
        let start = HEADER as usize + index * size;
        for kind in 0..16_u32 {
            for value in edges() {
                for field in ["len", "lsn", "behind", "payload"] {
                    let hurt = hurt(&disk, &segment(1), |bytes| {
                        let word =
                            u32::from_le_bytes(bytes[start + 8..start + 12].try_into().unwrap());
                        put_u32(bytes, start + 8, kind << 28 | word & 0x0fff_ffff);
                        match field {
                            "len" => put_u32(bytes, start, value as u32),
                            "lsn" => {
                                put_u32(bytes, start + 8, kind << 28 | value as u32 & 0x0fff_ffff);
                            }
                            "behind" => put_u32(bytes, start + 12, value as u32),
                            _ => {
                                put_u32(bytes, start, 8);
                                bytes[start + 16..start + 24].copy_from_slice(&value.to_le_bytes());
                            }
                        }
                        reseal(bytes, start, seed);
                    });
                    survive(&hurt, &format!("frame {index}, kind {kind}, {field} = {value}"));
                }
            }
        }
    }
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// The checksum's start for the frames of a segment, from its header, as the format has it.
fn frame_seed(segment: &[u8]) -> u32 {
    let field = |at: usize| u64::from_le_bytes(segment[at..at + 8].try_into().unwrap());
    let (log_id, creation) = (field(16), field(40));
    (log_id ^ (log_id >> 32)) as u32 ^ (creation as u32).wrapping_mul(0x9e37_79b1)
}

/// Makes the frame at `start` pass its checksum, if its length leaves it in the file.
fn reseal(bytes: &mut [u8], start: usize, seed: u32) {
    let len = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap()) as usize;
    let end = (start + 16 + len).next_multiple_of(8);
    if end > bytes.len() {
        return;
    }
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&bytes[start..start + 4]);
    hasher.update(&bytes[start + 8..end]);
    let crc = hasher.finalize();
    put_u32(bytes, start + 4, crc);
}

// The forging above is only worth something if it forges what the log would write.
#[test]
fn a_resealed_frame_is_what_was_there() {
    let disk = two_segments();
    for n in 1..=2 {
        let before = load(&disk, &segment(n));
        let mut after = before.clone();
        let seed = frame_seed(&before);
        after[HEADER as usize + 4] ^= 1;
        reseal(&mut after, HEADER as usize, seed);
        assert!(after == before, "segment {n}");
        set_field(&mut after, 32, u64::from_le_bytes(before[32..40].try_into().unwrap()));
        assert!(after == before, "segment {n}, header");
    }
}

/// Memory that opening a log of these sizes may hold at once: some windows, and what the simulated
/// disk itself needs.
const OPEN_BYTES_MAX: u64 = 4 << 20;

// Scenario 10, the memory: no length on the disk decides how much is read at once or set aside, and
// none is believed beyond the file's end.
#[test]
fn no_length_on_disk_decides_how_much_is_allocated() {
    let disk = two_segments();
    for len in [1 << 20, 1 << 28, 1 << 30, u32::MAX - 16, u32::MAX] {
        for at in [HEADER, HEADER + frame(1000), HEADER + 2 * frame(1000)] {
            for n in 1..=2 {
                let hurt = hurt(&disk, &segment(n), |bytes| put_u32(bytes, at as usize, len));
                let what = format!("segment {n}, byte {at}, length {len}");
                survive(&hurt.kill_copy(), &what);
                let used = measure(|| drop(try_open(&hurt, options())));
                assert!(used.bytes_max < OPEN_BYTES_MAX, "{what}: {} bytes", used.bytes_max);
            }
        }
    }
}

// Scenario 48: whatever the bytes, an answer. To replay one seed: SEED=n cargo test -p drystone-wal
// arbitrary
#[test]
fn arbitrary_bytes_are_refused_or_read_but_never_fatal() {
    let seeds: Vec<u64> = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..300).collect(),
    };
    let disk = two_segments();
    for seed in seeds {
        println!("replay: SEED={seed} cargo test -p drystone-wal arbitrary");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let hurt = hurt(&disk, &segment(rng.random_range(1..=2)), |bytes| {
            for _ in 0..rng.random_range(1..20) {
                let at = rng.random_range(0..bytes.len());
                let end = (at + rng.random_range(1..600)).min(bytes.len());
                match rng.random_range(0..5) {
                    0 => rng.fill(&mut bytes[at..end]),
                    1 => bytes[at..end].fill(0),
                    2 => bytes[at] ^= 1 << rng.random_range(0..8),
                    3 => bytes.truncate(at.max(1)),
                    _ => {
                        let to = rng.random_range(0..=bytes.len() - (end - at));
                        bytes.copy_within(at..end, to);
                    }
                }
            }
        });
        if let Ok((_wal, recovered)) = try_open(&hurt, options()) {
            let found = drain(recovered);
            let written: Vec<Vec<u8>> = (0..15_u8).map(|i| vec![i; 1000]).collect();
            let written: Vec<&[u8]> = written.iter().map(|r| &r[..]).collect();
            let expected = numbered(&written[..found.len()]);
            assert_eq!(found, expected, "seed {seed}: nothing is invented");
        }
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
