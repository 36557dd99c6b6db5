//! The list against a sorted map, alone and with several writers.

use super::*;
use crate::range_del::Fragments;

const SPACE: KeyspaceId = KeyspaceId(3);

fn key(i: u64) -> Vec<u8> {
    // Shared heads, different lengths, and an empty key.
    match i % 5 {
        0 => format!("k{i}").into_bytes(),
        1 => format!("same-head-{i}").into_bytes(),
        2 => vec![0; (i % 11) as usize],
        3 => i.to_be_bytes().to_vec(),
        _ => vec![0xff; (i % 13) as usize],
    }
}

type Model = BTreeMap<(Vec<u8>, std::cmp::Reverse<u64>), u64>;

fn filled(count: u64) -> (Arc<Memtable>, Model) {
    let memtable = Arc::new(Memtable::new(1 << 20, 7));
    let mut model = Model::new();
    for i in 0..count {
        let key = key(i.wrapping_mul(0x9e37_79b9) % 300);
        let seq = i + 1;
        memtable.insert(SPACE, &key, SeqNo(seq), Kind::Put, &i.to_le_bytes());
        model.insert((key, std::cmp::Reverse(seq)), i);
        for other in [KeyspaceId(2), KeyspaceId(4)] {
            memtable.insert(other, b"k1", SeqNo(seq), Kind::Put, b"other");
        }
    }
    (memtable, model)
}

fn said(cursor: &MemtableCursor) -> Option<(Vec<u8>, u64)> {
    cursor.entry().map(|entry| (entry.key.to_vec(), entry.seq.0))
}

// Writers wait for a new memtable. An allocator hands out a block that was used before, and has to
// write zeros over all of it; pages that the system maps are zero when somebody first comes there.
#[test]
fn an_empty_memtable_costs_no_block_of_the_allocator() {
    let memory = allocation_counter::measure(|| drop(Memtable::new(64 << 20, 7)));
    assert!(memory.bytes_total < 64 << 10, "{memory:?}");
}

// A cursor that leaks into the neighbouring keyspace, or loses its way backwards, would show
// strangers' data.
#[test]
fn a_cursor_walks_its_keyspace_both_ways() {
    let (memtable, model) = filled(500);
    let expected: Vec<_> = model.keys().map(|(key, seq)| (key.clone(), seq.0)).collect();
    let mut cursor = MemtableCursor::new(memtable, SPACE);
    let mut found = Vec::new();
    cursor.first().unwrap();
    while let Some(entry) = said(&cursor) {
        found.push(entry);
        cursor.next().unwrap();
    }
    assert!(found == expected, "forwards");
    found.clear();
    cursor.last().unwrap();
    while let Some(entry) = said(&cursor) {
        found.push(entry);
        cursor.prev().unwrap();
    }
    found.reverse();
    assert!(found == expected, "backwards");
}

// Seeking is by key and number; either end of a key's versions may be asked for.
#[test]
fn seeks_find_what_a_sorted_map_finds() {
    let (memtable, model) = filled(400);
    let mut cursor = MemtableCursor::new(memtable, SPACE);
    for i in 0..300 {
        for seq in [0, 1, i, 200, SeqNo::MAX.0] {
            let at = (key(i), std::cmp::Reverse(seq));
            let after = model.range(at.clone()..).next().map(|((k, s), _)| (k.clone(), s.0));
            let before = model.range(..=at.clone()).next_back().map(|((k, s), _)| (k.clone(), s.0));
            cursor.seek(&at.0, SeqNo(seq)).unwrap();
            assert_eq!(said(&cursor), after, "seek {at:?}");
            cursor.seek_back(&at.0, SeqNo(seq)).unwrap();
            assert_eq!(said(&cursor), before, "seek back {at:?}");
        }
    }
}

// A keyspace that comes late shares a rank with others, and must be kept apart from them all the
// same.
#[test]
fn many_keyspaces_are_kept_apart() {
    let memtable = Arc::new(Memtable::new(1 << 20, 3));
    let spaces = [40, 3, 9, 100, 7, 8, 1, 2, 65, 41, 12, 90].map(KeyspaceId);
    let mut seq = 0;
    for i in 0..30_u64 {
        for space in spaces {
            seq += 1;
            memtable.insert(space, &key(i), SeqNo(seq), Kind::Put, &space.0.to_le_bytes());
        }
    }
    for space in spaces {
        let mut cursor = MemtableCursor::new(Arc::clone(&memtable), space);
        let mut count = 0;
        cursor.first().unwrap();
        while let Some(entry) = cursor.entry() {
            assert_eq!(entry.value, space.0.to_le_bytes(), "a stranger's entry");
            count += 1;
            cursor.next().unwrap();
        }
        assert_eq!(count, 30);
        cursor.last().unwrap();
        assert!(cursor.entry().is_some_and(|entry| entry.value == space.0.to_le_bytes()));
    }
    let mut sorted = spaces.to_vec();
    sorted.sort_unstable();
    assert_eq!(memtable.keyspaces(), sorted);
}

// Writers share the list without a lock; an entry lost between two of them is lost for good.
#[test]
fn threads_lose_no_entry() {
    let memtable = Arc::new(Memtable::new(8 << 20, 1));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let memtable = &memtable;
            scope.spawn(move || {
                for i in 0..2000 {
                    let seq = SeqNo(thread * 2000 + i + 1);
                    let key = (seq.0.wrapping_mul(0x9e37_79b9) % 5000).to_be_bytes();
                    memtable.insert(SPACE, &key, seq, Kind::Put, &seq.0.to_le_bytes());
                    let found = memtable.get(SPACE, &key, seq).unwrap();
                    assert_eq!((found.seq, found.value), (seq, &seq.0.to_le_bytes()[..]));
                }
            });
        }
    });
    let mut cursor = MemtableCursor::new(memtable, SPACE);
    cursor.first().unwrap();
    let mut count = 0;
    let mut before = None;
    while let Some((key, seq)) = said(&cursor) {
        let at = (key, std::cmp::Reverse(seq));
        assert!(before < Some(at.clone()), "in order");
        before = Some(at);
        count += 1;
        cursor.next().unwrap();
    }
    assert_eq!(count, 8000);
}

// The writer who is told that there is room must find it.
#[test]
fn reserved_room_suffices() {
    let memtable = Memtable::new(4096, 5);
    let mut seq = 0;
    while memtable.reserve(Memtable::room(1, 3 + seq % 20)) {
        seq += 1;
        memtable.insert(SPACE, b"key", SeqNo(seq), Kind::Put, &vec![1; (seq as usize - 1) % 20]);
    }
    assert!(seq > 20, "most of the arena was used");
    assert_eq!(memtable.keyspaces(), [SPACE]);
}

// A range delete is found by the keyspace it was made in, and by no other.
#[test]
fn range_deletes_belong_to_their_keyspace() {
    let memtable = Memtable::new(4096, 5);
    assert!(memtable.is_empty());
    memtable.delete_range(SPACE, b"b", b"d", SeqNo(3));
    memtable.delete_range(SPACE, b"x", b"x", SeqNo(4));
    let ranges = memtable.range_dels(SPACE).unwrap();
    assert_eq!(ranges.covering(b"c", SeqNo(3)).map(|cover| cover.seq), Some(SeqNo(3)));
    assert!(ranges.covering(b"x", SeqNo(9)).is_none());
    assert!(memtable.range_dels(KeyspaceId(1)).is_none());
    assert!(!memtable.is_empty());
    assert_eq!(memtable.keyspaces(), [SPACE]);
}

// Whoever deletes range after range, and reads between, must not pay for all of them each time.
// Counted in fragments made, for a clock would say something else each time.
#[test]
fn range_deletes_with_reads_between_cost_little_each() {
    const COUNT: u64 = 1 << 12;
    type Shape = fn(u64) -> (u64, u64);
    let shapes: [(&str, Shape); 3] = [
        ("one behind the other", |i| (2 * i, 2 * i + 1)),
        ("scattered", |i| {
            let start = i.wrapping_mul(0x9e37_79b9) % (1 << 20);
            (start, start + 3)
        }),
        ("always the same", |_| (7, 9)),
    ];
    for (name, shape) in shapes {
        let memtable = Memtable::new(1 << 20, 5);
        for i in 0..COUNT {
            let (start, end) = shape(i);
            let (start, end) = (start.to_be_bytes(), end.to_be_bytes());
            memtable.delete_range(SPACE, &start, &end, SeqNo(i + 1));
            let ranges = memtable.range_dels(SPACE).unwrap();
            let cover = ranges.covering(&start, SeqNo::MAX).map(|cover| cover.seq);
            assert_eq!(cover, Some(SeqNo(i + 1)), "{name}: the last delete is seen at once");
        }
        let cut = memtable.ranges.lock()[&SPACE].cut as u64;
        // A delete makes two cuts at most, and is merged once for each doubling.
        let most = 2 * COUNT * u64::from(COUNT.ilog2());
        assert!(cut <= most, "{name}: {cut} fragments were made for {COUNT} deletes");
        assert!(name == "always the same" || cut >= COUNT, "{name}: nothing was counted");
    }
}

// In tiers, gathered from them, or built at once: the same keys are deleted by the same writes.
#[test]
fn tiers_say_what_all_range_deletes_say() {
    for seed in crate::testing::seeds("memtable-ranges", 200) {
        let mut state = seed;
        let mut draw = move |below: u64| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 33) % below
        };
        let memtable = Memtable::new(1 << 20, 5);
        let mut list = Vec::new();
        for seq in 1..=draw(40) {
            let (start, end) = ([draw(20) as u8], [draw(20) as u8]);
            memtable.delete_range(SPACE, &start, &end, SeqNo(seq));
            list.push(RangeDelete {
                start: Bytes::copy_from_slice(&start),
                end: Bytes::copy_from_slice(&end),
                seq: SeqNo(seq),
            });
            let Some(tiers) = memtable.range_dels(SPACE) else { continue };
            let built = Fragments::build(list.iter().cloned());
            assert_eq!(tiers.gather(), built);
            let (key, at) = ([draw(20) as u8], SeqNo(draw(42)));
            let found = tiers.covering(&key, at);
            let expected = built.covering(&key, at);
            assert_eq!(found.map(|cover| cover.seq), expected.map(|cover| cover.seq));
            assert!(found.is_none_or(|c| *c.start <= key[..] && key[..] < *c.end));
        }
    }
}
