//! A list of changes that happen together or not at all.

use bytes::Bytes;

use super::{Key, Space};

/// One change to one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Set the value of `key`, whether or not it was there.
    Put {
        /// Where the key lives.
        space: Space,
        /// The key.
        key: Key,
        /// The new value; may be empty.
        value: Bytes,
    },
    /// Remove `key`; no error if it was not there.
    Delete {
        /// Where the key lives.
        space: Space,
        /// The key.
        key: Key,
    },
}

/// Changes that an engine applies atomically, in the order in which they were added: of two
/// changes to one key the later one wins.
///
/// Values are taken as they come. A value that is a slice of a larger buffer keeps all of that
/// buffer in memory for as long as an in-memory engine holds the record, so give a value its own
/// allocation unless all slices of the buffer live and die together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
    bytes: usize,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for `count` changes.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self { changes: Vec::with_capacity(count), bytes: 0 }
    }

    /// The most bytes a key and its value may have together.
    pub const RECORD_BYTES_MAX: usize = 1 << 30;

    /// Adds: set `key` to `value`.
    ///
    /// # Panics
    ///
    /// If the two are longer than [`Batch::RECORD_BYTES_MAX`]; the store bounds its requests far
    /// below that.
    pub fn put(&mut self, space: Space, key: &[u8], value: Bytes) {
        assert!(key.len() + value.len() <= Self::RECORD_BYTES_MAX, "the store bounds its records");
        self.bytes += key.len() + value.len();
        self.changes.push(Change::Put { space, key: Key::new(key), value });
    }

    /// Adds: remove `key`.
    pub fn delete(&mut self, space: Space, key: &[u8]) {
        self.bytes += key.len();
        self.changes.push(Change::Delete { space, key: Key::new(key) });
    }

    /// Forgets all changes and keeps the room.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.bytes = 0;
    }

    /// How many changes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The change that was added as number `at`, from 0. Panics beyond the end, as indexing does.
    #[must_use]
    pub fn change(&self, at: usize) -> &Change {
        &self.changes[at]
    }

    /// The changes, in the order in which they apply.
    pub fn iter(&self) -> std::slice::Iter<'_, Change> {
        self.changes.iter()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Change;
    type IntoIter = std::slice::Iter<'a, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.changes.iter()
    }
}

impl IntoIterator for Batch {
    type Item = Change;
    type IntoIter = std::vec::IntoIter<Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.changes.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_keeps_order_and_counts_bytes() {
        // The order decides which of two changes to one key wins.
        let mut batch = Batch::new();
        batch.put(Space::Meta, b"key", Bytes::from_static(b"value"));
        batch.delete(Space::Meta, b"key");
        assert_eq!((batch.len(), batch.bytes()), (2, 3 + 5 + 3));
        assert!(matches!(batch.iter().next(), Some(Change::Put { .. })));
        assert!(matches!(batch.iter().last(), Some(Change::Delete { .. })));
        batch.clear();
        assert!(batch.is_empty());
        assert_eq!(batch.bytes(), 0);
    }
}
