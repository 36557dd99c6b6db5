//! Pages against sorted maps, and against bytes that nobody meant to be a page.
//!
//! To replay one seed: `SEED=n cargo test -p drystone-btree page`.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Bias, Cell, HEADER_BYTES, Item, Key, Page, PageMut, Value, build, built_bytes, check, children,
    runs, separator, split_point,
};
use crate::error::Damage;
use crate::inspect::inspect;
use crate::types::{PageId, PagePtr, RunPtr, TxnId};

const ID: PageId = PageId(7);

fn seeds(count: u64) -> std::ops::Range<u64> {
    match (std::env::var("SEED"), std::env::var("SLOW")) {
        (Ok(seed), _) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        (_, Ok(_)) => 0..count * 50,
        _ => 0..count,
    }
}

fn key(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let letters = [0, b'a', b'b', 255];
    let len = rng.random_range(0..12);
    let front = [&b""[..], b"user/", b"user/profile/"][rng.random_range(0..3)];
    let mut key = front.to_vec();
    key.extend((0..len).map(|_| letters[rng.random_range(0..4)]));
    key
}

/// A leaf of 512 bytes with the first so many records of a map, stamped.
fn leaf(map: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let cells: Vec<_> = map.iter().map(|(key, value)| (key, Cell::value(value))).collect();
    let mut items: Vec<Item<'_>> = cells.iter().map(|(key, cell)| cell.item(key)).collect();
    while built_bytes(0, &items) > 512 {
        items.pop();
    }
    let mut bytes = vec![0; 512];
    build(&mut bytes, 0, &items, 0);
    PageMut(&mut bytes).stamp(ID, TxnId(3));
    bytes
}

fn branch(map: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let ptr = |i| PagePtr { id: PageId(i as u32 + 2), crc: 5, txn: 3 };
    let cells: Vec<_> = map.keys().enumerate().map(|(i, key)| (key, Cell::child(ptr(i)))).collect();
    let mut items: Vec<Item<'_>> = cells.iter().map(|(key, cell)| cell.item(key)).collect();
    while built_bytes(1, &items) > 512 {
        items.pop();
    }
    let mut bytes = vec![0; 512];
    build(&mut bytes, 1, &items, 0);
    PageMut(&mut bytes).stamp(ID, TxnId(3));
    bytes
}

fn map(rng: &mut ChaCha8Rng) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let count = rng.random_range(1..30);
    let mut map = BTreeMap::new();
    for _ in 0..count {
        map.insert(key(rng), vec![7; rng.random_range(0..20)]);
    }
    map
}

// In place or built anew, a page finds each key it holds, and where each other would be.
#[test]
fn a_leaf_agrees_with_a_sorted_map() {
    for seed in seeds(300) {
        println!("replay: SEED={seed} cargo test -p drystone-btree page");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = leaf(&map(&mut rng));
        let page = Page(&bytes);
        let mut model: BTreeMap<Vec<u8>, usize> = (0..page.count())
            .map(|i| {
                let Value::Inline { len, .. } = page.value(i) else { panic!("no runs") };
                (page.key(i).truncated(page.key(i).len()).to_vec(), len)
            })
            .collect();
        for _ in 0..200 {
            let (key, value) = (key(&mut rng), vec![1; rng.random_range(0..30)]);
            let expected = model.keys().position(|k| *k >= key).unwrap_or(model.len());
            let found = Page(&bytes).find(&key);
            let is_there = model.contains_key(&key);
            assert_eq!(found, if is_there { Ok(expected) } else { Err(expected) }, "{key:?}");
            let mut page = PageMut(&mut bytes);
            match found {
                Ok(at) if model.len() > 1 => {
                    page.remove(at);
                    model.remove(&key);
                }
                Err(at) if page.insert(at, &key, &Cell::value(&value)) => {
                    model.insert(key, value.len());
                }
                _ => {}
            }
            check(&bytes, ID).unwrap();
            let items: Vec<_> = (0..Page(&bytes).count()).map(|i| Page(&bytes).item(i)).collect();
            let mut anew = vec![0xee; 512];
            build(&mut anew, 0, &items, 0);
            PageMut(&mut anew).stamp(ID, TxnId(3));
            check(&anew, ID).unwrap();
            assert_eq!(built_bytes(0, &items), HEADER_BYTES + Page(&anew).used_bytes());
            assert!(Page(&anew).used_bytes() <= Page(&bytes).used_bytes(), "never larger");
            if rng.random_bool(0.1) {
                bytes = anew;
            }
        }
    }
}

// A key goes to the child whose separator is the last that is not above it.
#[test]
fn a_branch_agrees_with_a_sorted_map() {
    for seed in seeds(300) {
        println!("replay: SEED={seed} cargo test -p drystone-btree page");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let map = map(&mut rng);
        let bytes = branch(&map);
        check(&bytes, ID).unwrap();
        let count = Page(&bytes).count();
        let separators: Vec<&Vec<u8>> = map.keys().take(count).collect();
        for _ in 0..50 {
            let key = key(&mut rng);
            let expected = (1..count).rev().find(|i| *separators[*i] <= key).unwrap_or(0);
            assert_eq!(Page(&bytes).find_child(&key), expected);
        }
        for (i, child) in children(Page(&bytes)).enumerate() {
            assert_eq!(child.id, PageId(i as u32 + 2));
        }
    }
}

// When neighbours share their records the separator between them is replaced in place; a wrong
// length or offset here would send look-ups to the wrong child.
#[test]
fn a_replaced_separator_is_all_that_changes() {
    for seed in seeds(300) {
        println!("replay: SEED={seed} cargo test -p drystone-btree page");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let map = map(&mut rng);
        let mut bytes = branch(&map);
        let mut separators: Vec<Vec<u8>> = map.into_keys().take(Page(&bytes).count()).collect();
        for _ in 0..50 {
            let key = key(&mut rng);
            let at = separators.partition_point(|separator| *separator <= key);
            if at == 0 || at == separators.len() || (at > 1 && separators[at - 1] == key) {
                continue;
            }
            let before = bytes.clone();
            if PageMut(&mut bytes).replace_key(at, &key) {
                separators[at] = key;
            } else {
                assert_eq!(bytes, before, "it is all or nothing");
            }
            check(&bytes, ID).unwrap();
            for (i, child) in children(Page(&bytes)).enumerate() {
                assert_eq!(child.id, PageId(i as u32 + 2));
                assert!(i == 0 || Page(&bytes).key(i).cmp(&separators[i]).is_eq());
            }
        }
    }
}

// The separator tells neighbours apart and is as short as can be.
#[test]
fn a_separator_is_short_and_between() {
    let check = |left: &[u8], right: &[u8], expected: &[u8]| {
        for cut in 0..=left.len().min(right.len()) {
            let left = Key::new(&left[..cut], &left[cut..]);
            let right = Key::new(&right[..cut], &right[cut..]);
            assert_eq!(separator(left, right).as_slice(), expected);
        }
    };
    check(b"", b"a", b"a");
    check(b"abc", b"abd", b"abd");
    check(b"abc", b"b", b"b");
    check(b"ab", b"abc", b"abc");
    check(b"anna", b"berta", b"b");
}

// Both halves fit, whatever the sizes and wherever the new item is.
#[test]
fn a_full_page_can_always_be_split() {
    for seed in seeds(500) {
        println!("replay: SEED={seed} cargo test -p drystone-btree page");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut keys: Vec<Vec<u8>> = (0..40)
            .map(|_| {
                let mut key = key(&mut rng);
                let len = rng.random_range(0..=128);
                key.resize(len.max(key.len()), b'z');
                key
            })
            .collect();
        keys.sort();
        keys.dedup();
        let values: Vec<Vec<u8>> = keys
            .iter()
            .map(|key| vec![1; rng.random_range(0..=(192 - key.len()).min(128))])
            .collect();
        let cells: Vec<Cell<'_>> = values.iter().map(|value| Cell::value(value)).collect();
        let items: Vec<Item<'_>> =
            cells.iter().zip(&keys).map(|(cell, key)| cell.item(key)).collect();
        let start = rng.random_range(0..items.len() - 1);
        let mut end = start + 1;
        while end < items.len() && built_bytes(0, &items[start..end]) <= 512 {
            end += 1;
        }
        let items = &items[start..end];
        if items.len() < 2 || built_bytes(0, items) <= 512 {
            continue;
        }
        for bias in [Bias::Left, Bias::Middle, Bias::Right] {
            let split = split_point(512, 0, items, bias);
            assert!(built_bytes(0, &items[..split]) <= 512);
            assert!(built_bytes(0, &items[split..]) <= 512);
        }
    }
}

/// Asks a page everything; answers may be wrong and must be answers.
fn ask(bytes: &[u8], keys: &[Vec<u8>]) -> Result<(), Damage> {
    check(bytes, ID)?;
    let page = Page(bytes);
    for key in keys {
        if page.is_leaf() {
            let at = page.find(key).unwrap_or_else(|at| at);
            assert!(at <= page.count());
        } else {
            assert!(page.find_child(key) < page.count());
        }
    }
    for i in 0..page.count() {
        let _ = page.item(i);
        if page.is_leaf() {
            // Who passes is in order, so that it finds its own keys.
            let key = page.key(i);
            assert_eq!(page.find(&key.truncated(key.len())), Ok(i));
            let _ = page.value(i);
        }
    }
    let _ = (runs(page).count(), children(page).count(), page.is_sparse());
    let items: Vec<Item<'_>> = (0..page.count()).map(|i| page.item(i)).collect();
    let mut anew = vec![0; bytes.len()];
    build(&mut anew, page.level(), &items, 0);
    PageMut(&mut anew).stamp(ID, TxnId(3));
    check(&anew, ID)
}

// Scenarios 43 and 48: whatever the bytes, a page is refused or can be used, and never panics.
#[test]
fn hostile_pages_are_refused_or_harmless() {
    let (mut refused, mut passed) = (0, 0);
    for seed in seeds(3000) {
        println!("replay: SEED={seed} cargo test -p drystone-btree page");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let map = map(&mut rng);
        let mut bytes = if rng.random_bool(0.5) { leaf(&map) } else { branch(&map) };
        let slots_end = HEADER_BYTES + Page(&bytes).count() * 8;
        let region = [HEADER_BYTES, slots_end, bytes.len()][rng.random_range(0..3)];
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..region);
            match rng.random_range(0..3) {
                0 => bytes[at] ^= 1 << rng.random_range(0..8),
                1 => bytes[at] = [0, 1, 127, 128, 255][rng.random_range(0..5)],
                _ => bytes[at] = bytes[rng.random_range(0..region)],
            }
        }
        if rng.random_bool(0.05) {
            bytes.iter_mut().for_each(|byte| *byte = rng.random_range(0..=255));
        }
        let keys: Vec<Vec<u8>> = (0..10).map(|_| key(&mut rng)).collect();
        match ask(&bytes, &keys) {
            Ok(()) => passed += 1,
            Err(_) => refused += 1,
        }
        let _ = inspect(&bytes);
    }
    let is_one = std::env::var("SEED").is_ok();
    assert!(is_one || refused > 100 && passed > 100, "{refused} refused, {passed} passed");
}

/// Each rule of the check, broken alone.
#[test]
fn the_check_names_what_is_wrong() {
    let map = BTreeMap::from([(b"aa".to_vec(), vec![1; 3]), (b"ab".to_vec(), vec![2; 3])]);
    let expect = |what: Damage, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = leaf(&map);
        change(&mut bytes);
        assert_eq!(check(&bytes, ID), Err(what));
    };
    let slots = HEADER_BYTES + 1;
    expect(Damage::Header, &|bytes| bytes.fill(0));
    expect(Damage::Header, &|bytes| bytes[0] = 2);
    expect(Damage::Header, &|bytes| bytes[1] = 1);
    expect(Damage::Header, &|bytes| bytes[2] = 200);
    expect(Damage::Header, &|bytes| bytes[8] = 1);
    expect(Damage::Header, &|bytes| bytes[10] = 2);
    expect(Damage::Misplaced(PageId(8)), &|bytes| bytes[12] = 8);
    expect(Damage::Slot(0), &|bytes| bytes[slots] = 0);
    expect(Damage::Slot(1), &|bytes| bytes[slots + 8] = 0xff);
    expect(Damage::Head(0), &|bytes| bytes[slots + 4] ^= 1);
    expect(Damage::Order(1), &|bytes| {
        bytes.copy_within(slots..slots + 8, slots + 8);
    });
    let run = RunPtr { id: PageId(1), crc: 0, txn: 0, bytes: 9 };
    let cell = Cell::run(run);
    let mut bytes = vec![0; 512];
    build(&mut bytes, 0, &[cell.item(b"k")], 0);
    PageMut(&mut bytes).stamp(ID, TxnId(3));
    assert_eq!(check(&bytes, ID), Err(Damage::Pointer(PageId(1))));
}

// What people look at when something is wrong.
#[test]
fn a_page_is_shown_as_text() {
    let map = BTreeMap::from([
        (b"user/anna".to_vec(), b"5 credits".to_vec()),
        (b"user/ben".to_vec(), vec![0; 40]),
    ]);
    assert_eq!(
        inspect(&leaf(&map)),
        "leaf page 7, level 0, txn 3, 2 records, prefix \"user/\", 81 bytes used, 0 dead\n    \
         0  616e6e61  \"anna\"  9 bytes \"5 credits\"\n    \
         1  62656e00  \"ben\"  40 bytes \"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\
         \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\
         \\x00\\x00\\x00\"..\n"
    );
    assert_eq!(
        inspect(&branch(&map)),
        "branch page 7, level 1, txn 3, 2 children, prefix \"\", 48 bytes used, 0 dead\n    \
         0  00000000  \"\"  page 2 crc 00000005 txn 3\n    \
         1  75736572  \"user/ben\"  page 3 crc 00000005 txn 3\n"
    );
    let mut bytes = leaf(&map);
    bytes[2] = 200;
    assert_eq!(inspect(&bytes), "damaged: page header makes no sense\n");
}
