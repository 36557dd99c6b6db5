//! Bytes that nobody should trust.

use std::path::Path;

use drystone_etcd_bolt::{Error, File};
use rand::RngExt;

use crate::support::{Content, random, read, write};

const PAGE: usize = 4096;
const FLIPS: usize = 4000;

fn sample() -> Content {
    let records = |count: u32| {
        let record = |n: u32| (format!("key {n:08}").into_bytes(), vec![n as u8; 40]);
        (0..count).map(record).collect()
    };
    [(b"alarm".to_vec(), records(0)), (b"key".to_vec(), records(600)), (b"z".to_vec(), records(3))]
        .into()
}

fn sample_bytes(folder: &Path) -> Vec<u8> {
    let path = folder.join("sample");
    write(&path, &sample());
    std::fs::read(path).expect("files of a test can be used")
}

/// What reading these bytes says.
fn refusal(path: &Path, bytes: &[u8]) -> Option<String> {
    std::fs::write(path, bytes).expect("files of a test can be used");
    read(path).err().map(|error| error.to_string())
}

// A file that was cut in copying is the most common damage of all.
#[test]
fn a_file_that_is_cut_is_refused_wherever_it_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = sample_bytes(folder.path());
    let path = folder.path().join("cut");
    // The last page is the freelist, which nobody reads.
    for length in (0..bytes.len() - PAGE).step_by(509) {
        let refusal = refusal(&path, &bytes[..length]);
        let refusal = refusal.unwrap_or_else(|| panic!("cut at {length}: it was read"));
        assert!(refusal.contains("cut") && refusal.contains("page"), "{length}: {refusal}");
    }
}

// Whatever bit is flipped, the reader ends and does not panic; what it reads then has either the
// same records, or others of the same number (a changed byte of a key or value), or is refused.
#[test]
fn a_flipped_bit_is_no_panic_and_no_endless_loop() {
    let folder = tempfile::tempdir().unwrap();
    let sound = sample_bytes(folder.path());
    let path = folder.path().join("flipped");
    let mut rng = random();
    let mut refused = 0;
    for _ in 0..FLIPS {
        let mut bytes = sound.clone();
        // Most of the file is values; what leads to them is in the first bytes of pages.
        let page = rng.random_range(0..bytes.len() / PAGE) * PAGE;
        let within = if rng.random() { 200 } else { PAGE };
        for _ in 0..rng.random_range(1..4) {
            bytes[page + rng.random_range(0..within)] ^= 1 << rng.random_range(0..8);
        }
        refused += usize::from(refusal(&path, &bytes).is_some());
    }
    assert!(FLIPS / 10 < refused && refused < FLIPS, "{refused} of {FLIPS} were refused");
}

/// Reads a file whose first leaf of the large bucket was turned into what `make` says.
#[track_caller]
fn check(make: impl FnOnce(&mut [u8]), expected: &str) {
    let folder = tempfile::tempdir().expect("files of a test can be used");
    let mut bytes = sample_bytes(folder.path());
    // Page 2 is the empty bucket's, page 3 the first leaf of the next.
    make(&mut bytes[3 * PAGE..4 * PAGE]);
    let refusal = refusal(&folder.path().join("made-up"), &bytes).expect("it is refused");
    assert!(refusal.contains("page 3") && refusal.contains(expected), "{refusal}");
}

// Each rule of the reader once: a rule that is never broken may as well not be there.
#[test]
fn each_rule_has_a_file_that_breaks_it() {
    check(|page| page[0] = 9, "another page");
    check(|page| page[8] = 16, "neither a branch nor a leaf");
    check(|page| page[10..12].fill(0xff), "more elements than fit");
    check(|page| page[10..12].fill(0), "it is empty");
    check(|page| page[12..16].fill(0xff), "beyond the end of the file");
    check(|page| page[16] = 2, "unknown flags");
    check(|page| page[24..28].fill(0), "a key is empty");
    check(|page| page[20..24].fill(0), "reaches beyond it");
    check(|page| page[28..32].fill(0xff), "reaches beyond it");
    // The second record where the first is.
    check(|page| page.copy_within(16..32, 32), "do not ascend");
}

// A branch that leads to itself must not lead anywhere else than to an error.
#[test]
fn a_tree_that_bites_its_tail_ends() {
    let turn = |page: &mut [u8]| {
        page[8] = 1;
        page[10..12].copy_from_slice(&2_u16.to_le_bytes());
        for element in [16, 32] {
            page[element..element + 4].copy_from_slice(&64_u32.to_le_bytes());
            page[element + 4..element + 8].copy_from_slice(&1_u32.to_le_bytes());
            page[element + 8..element + 16].copy_from_slice(&3_u64.to_le_bytes());
        }
    };
    check(turn, "too high");
}

// The two meta pages are there so that one may be torn.
#[test]
fn one_of_two_meta_pages_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let sound = sample_bytes(folder.path());
    let path = folder.path().join("torn");
    for torn in [0, PAGE] {
        let mut bytes = sound.clone();
        bytes[torn..torn + PAGE].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), sample(), "{torn}");
    }
    let refusal = refusal(&path, &vec![0; sound.len()]).expect("it is refused");
    assert!(refusal.contains("magic"), "{refusal}");
    let missing = File::open(&folder.path().join("missing")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}
