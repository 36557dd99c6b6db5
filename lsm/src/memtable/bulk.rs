//! A memtable that is filled by one hand, before anybody reads it: from the journal, at opening.
//!
//! **The problem.** To insert a key where it belongs is to look for the place first: some twenty
//! nodes, half of them not in the processor's cache. That is nearly all the time that reading a
//! journal back takes.
//!
//! **The idea.** Nobody looks for anything before the last entry is in. So entries are only written
//! down as they come, and at the end they are sorted once and linked from the first to the last,
//! without a single search.
//!
//! ```text
//!   insert ──►  c  a  d  b       written, loose
//!   finish ──►  a─►b─►c─►d       sorted, linked
//! ```

use super::skiplist::Loose;
use super::{KeyspaceId, Memtable};
use crate::key::{Kind, SeqNo};

/// See the module.
#[derive(Debug)]
pub(crate) struct Bulk {
    memtable: Memtable,
    loose: Vec<Loose>,
}

impl Bulk {
    /// Of `capacity` bytes; `seed` is for the towers of the list.
    pub(crate) fn new(capacity: u32, seed: u64) -> Bulk {
        Bulk { memtable: Memtable::new(capacity, seed), loose: Vec::new() }
    }

    /// Promises `room`, if there is any.
    pub(crate) fn reserve(&self, room: u64) -> bool {
        self.memtable.reserve(room)
    }

    /// Whether anything was promised room.
    pub(crate) fn is_reserved(&self) -> bool {
        self.memtable.is_reserved()
    }

    /// Takes an entry for which room was reserved.
    pub(crate) fn insert(
        &mut self,
        space: KeyspaceId,
        key: &[u8],
        seq: SeqNo,
        kind: Kind,
        value: &[u8],
    ) {
        self.loose.push(self.memtable.list.write_loose(space.0, key, seq, kind, value));
    }

    /// Takes a range delete.
    pub(crate) fn delete_range(&self, space: KeyspaceId, start: &[u8], end: &[u8], seq: SeqNo) {
        self.memtable.delete_range(space, start, end, seq);
    }

    /// The memtable, with everything in its place.
    pub(crate) fn finish(mut self) -> Memtable {
        self.memtable.list.link_all(self.loose);
        self.memtable
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use rand::{Rng, RngExt, SeedableRng};

    use super::*;
    use crate::cursor::Cursor;
    use crate::memtable::MemtableCursor;

    type Owned = (Vec<u8>, SeqNo, Kind, Vec<u8>);

    fn entries(memtable: &Arc<Memtable>, space: KeyspaceId) -> Vec<Owned> {
        let mut cursor = MemtableCursor::new(Arc::clone(memtable), space);
        let mut found = Vec::new();
        cursor.first().expect("memory can be read");
        while let Some(entry) = cursor.entry() {
            found.push((entry.key.to_vec(), entry.seq, entry.kind, entry.value.to_vec()));
            cursor.next().expect("memory can be read");
        }
        found
    }

    // What is read back from the journal must be found as if it had just been written, by seeks as
    // well as by walks, and writers go on where it ends.
    #[test]
    fn a_bulk_is_a_memtable_like_any_other() {
        let seed = 0x5eed;
        println!("seed {seed}");
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let (mut bulk, plain) = (Bulk::new(1 << 20, 1), Memtable::new(1 << 20, 1));
        assert!(bulk.reserve(1 << 20) && plain.reserve(1 << 20));
        for seq in 1..3000 {
            // More keyspaces than there are ranks; keys that share eight bytes, and that repeat.
            let space = KeyspaceId(random.random_range(0..9));
            let mut key = b"sameheads"[..random.random_range(0..10)].to_vec();
            key.push(random.next_u32() as u8);
            let kind = if seq % 7 == 0 { Kind::Delete } else { Kind::Put };
            let value = [seq as u8; 5];
            bulk.insert(space, &key, SeqNo(seq), kind, &value);
            plain.insert(space, &key, SeqNo(seq), kind, &value);
        }
        bulk.delete_range(KeyspaceId(1), b"a", b"b", SeqNo(3000));
        let (bulk, plain) = (Arc::new(bulk.finish()), Arc::new(plain));
        assert!(bulk.range_dels(KeyspaceId(1)).is_some());
        assert_eq!(bulk.keyspaces(), plain.keyspaces());
        for round in 0..2 {
            bulk.list.check();
            plain.list.check();
            for space in (0..9).map(KeyspaceId) {
                let expected = entries(&plain, space);
                assert_eq!(entries(&bulk, space), expected);
                for (key, seq, ..) in expected {
                    let found = bulk.get(space, &key, seq).expect("it is in the walk");
                    assert_eq!((found.key, found.seq), (&key[..], seq));
                }
            }
            let seq = SeqNo(4000 + round);
            for memtable in [&bulk, &plain] {
                memtable.insert(KeyspaceId(3), b"samehead1", seq, Kind::Put, b"later");
            }
        }
    }

    // A journal without a record for the newest memtable is the common case.
    #[test]
    fn an_empty_bulk_is_an_empty_memtable() {
        assert!(Bulk::new(4096, 1).finish().is_empty());
    }
}
