//! The list against a sorted map, alone and with several writers.

use super::*;

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
