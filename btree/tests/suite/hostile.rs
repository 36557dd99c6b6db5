//! Bytes made to kill (scenarios 43 and 48): fields, pointers and counts that no writer wrote, with
//! every checksum right. An answer, always: no panic, no wild allocation, no endless loop.
//!
//! ```text
//!   FUZZ=n cargo test -p drystone-btree hostile            replays one mutated file
//!   FUZZ_CASES=1000000 cargo test -p drystone-btree hostile
//! ```

use drystone_btree::Error;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::forge::{Forge, Kind, Node, put_u32, seal_record, u16_at, u32_at};
use crate::fuzz::entry::survive;
use crate::fuzz::specimens::sound;
use crate::support::RECORD;

/// Mutated files in every run.
const CASES: u64 = 1200;
/// Values at every edge of a field of so many bytes.
fn edges(width: usize) -> Vec<u64> {
    let max = if width == 8 { u64::MAX } else { (1 << (8 * width)) - 1 };
    let mut edges = vec![0, 1, 2, 19, 33, 128, 4095, 4096, 8192, 0x7fff, 0x8010];
    edges.extend([1 << 31, (1 << 31) - 1, 1 << 32, 1 << 63, u64::MAX]);
    edges.retain(|edge| *edge <= max);
    edges.push(max);
    edges.sort_unstable();
    edges.dedup();
    edges
}

fn set(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
}

// Scenario 48: every field of the record at every edge, the checksum right: a forged file, or a bug
// in some other version.
#[test]
fn hostile_records_get_an_answer() {
    let bytes = sound();
    let fields = [
        (12, 4),
        (16, 4),
        (20, 4),
        (24, 8),
        (32, 8),
        (40, 8),
        (48, 4),
        (52, 4),
        (56, 4),
        (60, 1),
        (61, 1),
        (64, 8),
        (72, 4),
        (76, 4),
        (80, 2),
        (82, 2),
        (84, 2),
        (86, 2),
        (96, 4),
        (92, 4),
        (96, 4),
        (100, 4),
    ];
    let mut refused = 0;
    for (at, width) in fields {
        for value in edges(width) {
            for listed in [true, false] {
                let mut forge = Forge::open(bytes.clone());
                let slot = forge.slot;
                if !listed {
                    forge.record();
                }
                let mut hurt = forge.bytes;
                for copy in 0..2 {
                    let record = &mut hurt[slot * 4096 + copy * RECORD..][..RECORD];
                    set(record, at, width, value);
                    seal_record(record);
                }
                let what = format!("record, field at {at} = {value}, listed: {listed}");
                refused += usize::from(survive(&hurt, &what).is_err());
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

/// One of each kind of page.
fn samples(forge: &Forge) -> Vec<Node> {
    let first = |wanted: Kind| forge.of_kind(|kind| kind == wanted).first().copied();
    let leaf_with_runs = forge.nodes.iter().find(|node| {
        let page = &forge.bytes[forge.offset(node.id)..];
        node.kind == Kind::Leaf && u16_at(page, 10) == 1
    });
    [first(Kind::Catalog), first(Kind::Branch), first(Kind::Leaf), leaf_with_runs.copied()]
        .into_iter()
        .flatten()
        .collect()
}

// Scenario 43: every field of a page's header, of its first and last slots and cells, at every
// edge, all the checksums above it right.
#[test]
fn hostile_pages_get_an_answer() {
    let bytes = sound();
    let forge = Forge::open(bytes);
    let samples = samples(&forge);
    assert_eq!(samples.len(), 4);
    for node in samples {
        let page = &forge.bytes[forge.offset(node.id)..][..4096];
        let (count, prefix) = (u16_at(page, 2), u16_at(page, 4));
        let slot = |i: usize| 20 + prefix + 8 * i;
        let cell = |i: usize| u16_at(page, slot(i));
        let mut fields = vec![(0, 1), (1, 1), (2, 2), (4, 2), (6, 2), (8, 2), (10, 2), (12, 4)];
        fields.push((16, 4));
        for i in [1, count - 1] {
            fields.extend([(slot(i), 2), (slot(i) + 2, 2), (slot(i) + 4, 4)]);
            fields.extend([(cell(i), 2), (cell(i), 4), (cell(i) + 4, 4), (cell(i) + 8, 4)]);
            // What follows a key in a leaf: roots and runs are there.
            let tail = cell(i) + 2 + u16_at(page, slot(i) + 2);
            fields.extend((0..28).step_by(4).map(|at| (tail + at, 4)));
        }
        fields.retain(|(at, width)| at + width <= 4096);
        for (at, width) in fields {
            for value in edges(width) {
                let mut forge = forge.clone();
                set(forge.edit(node), at, width, value);
                drop(survive(&forge.seal(), &format!("{node:?}, field at {at} = {value}")));
            }
        }
    }
}

// Scenario 43: a branch whose children are itself, its parent, another tree's, a page that is free,
// the same one twice, swapped; all of it sealed. No endless descent, and what is verified can be
// read.
#[test]
fn hostile_pointers_get_an_answer() {
    let bytes = sound();
    let forge = Forge::open(bytes);
    let branches = forge.of_kind(|kind| kind == Kind::Branch);
    let others: Vec<u32> = forge.nodes.iter().step_by(7).map(|node| node.id).collect();
    let mut noticed = 0;
    for branch in branches.iter().take(3) {
        let page = &forge.bytes[forge.offset(branch.id)..][..4096];
        let (count, prefix) = (u16_at(page, 2), u16_at(page, 4));
        let pointer = |i: usize| u16_at(page, 20 + prefix + 8 * i);
        let targets = others.iter().copied().chain([0, 1, 2, branch.id, u32::MAX]);
        for target in targets {
            for i in [0, count / 2, count - 1] {
                let mut forge = forge.clone();
                let of_target = forge.nodes.iter().find(|node| node.id == target).copied();
                let known = of_target.map(|node| pointer_to(&forge, node));
                let page = forge.edit(*branch);
                match known {
                    Some(known) => page[pointer(i)..pointer(i) + 12].copy_from_slice(&known),
                    None => put_u32(page, pointer(i), target),
                }
                let sealed = forge.seal();
                let what = format!("{branch:?}, child {i} is {target}");
                noticed += usize::from(survive(&sealed, &what).is_err());
            }
        }
        for (i, j) in [(0, 1), (0, count - 1), (1, 2)] {
            let mut forge = forge.clone();
            let page = forge.edit(*branch);
            for byte in 0..12 {
                page.swap(pointer(i) + byte, pointer(j) + byte);
            }
            let outcome = survive(&forge.seal(), &format!("{branch:?}, {i} and {j} swapped"));
            noticed += usize::from(outcome.is_err());
        }
    }
    assert!(noticed > 10, "{noticed}");
}

/// The twelve bytes that point to a node.
fn pointer_to(forge: &Forge, node: Node) -> [u8; 12] {
    let page = &forge.bytes[forge.offset(node.id)..][..4096];
    let mut pointer = [0; 12];
    pointer[..4].copy_from_slice(&node.id.to_le_bytes());
    pointer[4..8].copy_from_slice(&crate::forge::seal_of(node.id, page).to_le_bytes());
    pointer[8..].copy_from_slice(&page[16..20]);
    pointer
}

// Scenario 43: keys that lie outside of what the branch above promises, or not above each other,
// are found by a verification, and the walk over them ends.
#[test]
fn keys_out_of_their_bounds_are_found() {
    let bytes = sound();
    let forge = Forge::open(bytes);
    let leaves = forge.of_kind(|kind| kind == Kind::Leaf);
    let mut checked = 0;
    for leaf in leaves.iter().filter(|leaf| leaf.depth > 2).step_by(2) {
        let page = &forge.bytes[forge.offset(leaf.id)..][..4096];
        let (count, prefix) = (u16_at(page, 2), u16_at(page, 4));
        if count < 3 || prefix == 0 {
            continue;
        }
        // The shared part of the keys is another one: all are in order, none is in place. The first
        // leaf may begin anywhere, and the last end.
        let outcomes = [0x40, 0x14].map(|change| {
            let mut forge = forge.clone();
            forge.edit(*leaf)[20] ^= change;
            survive(&forge.seal(), &format!("{leaf:?} ^ {change}"))
        });
        let found = |outcome: &Result<(), Error>| matches!(outcome, Err(Error::Corrupt { .. }));
        assert!(outcomes.iter().any(found), "{leaf:?}: {outcomes:?}");
        checked += 1;
    }
    assert!(checked > 2, "{checked}");
}

// Scenario 48: a value's pointer names more bytes than the file has, or pages that are others'.
#[test]
fn hostile_values_take_no_memory() {
    let bytes = sound();
    let forge = Forge::open(bytes);
    for run in forge.of_kind(|kind| matches!(kind, Kind::Run(_))) {
        let leaf = forge.nodes.iter().find(|node| Some(node.id) == run.parent()).copied().unwrap();
        for value in [0, 1, 4096, 500_000, 1 << 20, 1 << 30, u32::MAX - 4095, u32::MAX] {
            for first in [run.id, 2, 0, 1, u32::MAX, forge.pages().last().unwrap() - 1] {
                let mut forge = forge.clone();
                let at = run.place_in(&forge);
                let page = forge.edit(leaf);
                put_u32(page, at, first);
                put_u32(page, at + 12, value);
                let what = format!("{value} bytes at page {first}");
                drop(survive(&forge.seal(), &what));
            }
        }
    }
}

/// One mutated file by its number.
fn mutate(forge: &Forge, number: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let mut forge = forge.clone();
    for _ in 0..rng.random_range(1..4) {
        let node = forge.nodes[rng.random_range(0..forge.nodes.len())];
        let other = forge.nodes[rng.random_range(0..forge.nodes.len())];
        let from = forge.bytes[forge.offset(other.id)..][..4096].to_vec();
        let page = forge.edit(node);
        let len = page.len();
        match rng.random_range(0..6) {
            // Bytes that decide something lie at the beginning and in the cells.
            0 => page[rng.random_range(0..len.min(64))] = rng.random(),
            1 => page[rng.random_range(0..len)] ^= 1 << rng.random_range(0..8),
            2 => {
                let at = rng.random_range(0..len - 4);
                let value = edges(4)[rng.random_range(0..edges(4).len())];
                set(page, at, 4, value);
            }
            3 => {
                let (at, count) = (rng.random_range(0..len), rng.random_range(1..64));
                let end = (at + count).min(len);
                let to = rng.random_range(0..len - (end - at));
                page.copy_within(at..end, to);
            }
            4 => {
                let (at, end) = (rng.random_range(0..len.min(4096)), len.min(4096));
                page[at..end].copy_from_slice(&from[at..end]);
            }
            _ => {
                let id = page[12..16].to_vec();
                let end = len.min(4096);
                page[..end].copy_from_slice(&from[..end]);
                page[12..16].copy_from_slice(&id);
            }
        }
    }
    if rng.random_bool(0.15) {
        let record = forge.record();
        let at = [60, 64, 72, 80, 82, 84, 88, 96, 104][rng.random_range(0..9)];
        record[at] = rng.random();
    }
    let mut bytes = forge.seal();
    if rng.random_bool(0.1) {
        let len = rng.random_range(0..bytes.len());
        bytes.truncate(len);
    }
    bytes
}

// Scenario 48: a sound file with a few pages changed, copied over each other, cut, all of it with
// right checksums up to the record.
#[test]
fn mutated_files_get_an_answer() {
    let forge = Forge::open(sound());
    if let Ok(number) = std::env::var("FUZZ") {
        let number = number.parse().unwrap();
        println!("{:?}", survive(&mutate(&forge, number), &format!("file {number}")));
        return;
    }
    let cases = std::env::var("FUZZ_CASES").map_or(CASES, |n| n.parse().unwrap());
    let (mut fine, mut refused) = (0, 0);
    for number in 0..cases {
        let replay = Replay(number);
        match survive(&mutate(&forge, number), &format!("file {number}")) {
            Ok(()) => fine += 1,
            Err(_) => refused += 1,
        }
        drop(replay);
    }
    println!("{fine} answered in full, {refused} refused");
    assert!(fine > cases / 20 && refused > cases / 3, "{fine} {refused}");
}

/// Says how to come back here if a check fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("replay: FUZZ={} cargo test -p drystone-btree hostile", self.0);
        }
    }
}

// Scenario 48: noise of any length, with and without a beginning like ours.
#[test]
fn noise_gets_an_answer() {
    let mut rng = ChaCha8Rng::seed_from_u64(48);
    let sound = sound();
    for round in 0..300 {
        let mut bytes = vec![0; rng.random_range(0..60_000)];
        rng.fill(&mut bytes[..]);
        let head = [0, 8, 100, 1536, 8192][round % 5].min(bytes.len());
        bytes[..head].copy_from_slice(&sound[..head]);
        if head > 100 && round % 2 == 0 {
            let record = &mut bytes[..RECORD];
            let at = rng.random_range(16..RECORD);
            record[at] = rng.random();
            let len = u32_at(record, 12);
            put_u32(record, 12, len.min(RECORD as u32));
            seal_record(record);
        }
        drop(survive(&bytes, &format!("noise {round}")));
    }
}
