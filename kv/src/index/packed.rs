//! A short sorted list of byte strings in one piece of memory.
//!
//! Keys that are neighbours in order mostly begin alike (`/registry/pods/default/...`). A node of
//! the index therefore stores what all its keys have in common once, and the differing ends back to
//! back. Besides the memory, this saves the search a cache miss for each key it looks at.
//!
//! ```text
//!   bytes   /registry/pods/ a/web-0 a/web-1 kube-system/dns     <- prefix, then suffixes
//!   ends                           22      29              44   <- one u32 per key
//! ```

use std::cmp::Ordering;

/// See the module. Positions count from 0.
///
/// Invariants:
/// - the strings ascend strictly
/// - `ends` ascend, the last is `bytes.len()`, none is below `prefix`
#[derive(Debug, Default)]
pub(super) struct Packed {
    prefix: u32,
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Packed {
    /// How many strings.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Where `key` is, or where it belongs.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let prefix = self.prefix();
        let Some(rest) = key.strip_prefix(prefix) else {
            return Err(if key < prefix { 0 } else { self.len() });
        };
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            match self.suffix(middle).cmp(rest) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// How many strings are below `key`.
    pub(super) fn below(&self, key: &[u8]) -> usize {
        match self.search(key) {
            Ok(at) | Err(at) => at,
        }
    }

    /// How many strings are not above `key`.
    pub(super) fn up_to(&self, key: &[u8]) -> usize {
        match self.search(key) {
            Ok(at) => at + 1,
            Err(at) => at,
        }
    }

    /// Sets `key` to the string at `at`.
    pub(super) fn read(&self, at: usize, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(self.prefix());
        key.extend_from_slice(self.suffix(at));
    }

    /// A copy of the string at `at`.
    pub(super) fn get(&self, at: usize) -> Vec<u8> {
        [self.prefix(), self.suffix(at)].concat()
    }

    /// What all strings begin with, and what the one at `at` goes on with.
    pub(super) fn parts(&self, at: usize) -> (&[u8], &[u8]) {
        (self.prefix(), self.suffix(at))
    }

    /// Puts `key` at `at`, where [`Packed::search`] said that it belongs.
    pub(super) fn insert(&mut self, at: usize, key: &[u8]) {
        debug_assert_eq!(self.search(key), Err(at), "a string goes where it belongs");
        if self.ends.is_empty() {
            self.bytes.clear();
            self.prefix = 0;
        }
        let shared = common(self.prefix(), key);
        if shared < self.prefix as usize {
            *self = self.with_prefix(shared, 0..self.len());
        }
        let suffix = &key[shared..];
        let (start, old_end) = (self.start(at), self.bytes.len());
        grow(&mut self.bytes, suffix.len());
        self.bytes.resize(old_end + suffix.len(), 0);
        self.bytes.copy_within(start..old_end, start + suffix.len());
        self.bytes[start..start + suffix.len()].copy_from_slice(suffix);
        // Offsets fit: a node splits at NODE_KEY_BYTES_MAX, and the longest key is far below 4 GiB.
        let width = u32::try_from(suffix.len()).expect("a key is shorter than 4 GiB");
        grow(&mut self.ends, 1);
        self.ends.insert(at, width_end(start) + width);
        for end in &mut self.ends[at + 1..] {
            *end += width;
        }
    }

    /// Takes the string at `at` out.
    pub(super) fn remove(&mut self, at: usize) {
        let (start, end) = (self.start(at), self.ends[at] as usize);
        self.bytes.copy_within(end.., start);
        self.bytes.truncate(self.bytes.len() - (end - start));
        self.ends.remove(at);
        for later in &mut self.ends[at..] {
            *later -= width_end(end - start);
        }
    }

    /// A list of the strings in `span` alone, packed anew.
    pub(super) fn slice(&self, span: std::ops::Range<usize>) -> Packed {
        if span.is_empty() {
            return Packed::default();
        }
        // In a sorted list, what the first and the last share is shared by all between.
        let more = common(self.suffix(span.start), self.suffix(span.end - 1));
        self.with_prefix(self.prefix as usize + more, span)
    }

    /// Adds the strings of `other`, all of which are above.
    pub(super) fn append(&mut self, other: &Packed) {
        let mut key = Vec::new();
        for at in 0..other.len() {
            other.read(at, &mut key);
            self.insert(self.len(), &key);
        }
    }

    /// Asserts the invariants.
    pub(super) fn check(&self) {
        for at in 1..self.len() {
            assert!(self.suffix(at - 1) < self.suffix(at), "strings ascend strictly");
        }
        if let Some(&last) = self.ends.last() {
            assert_eq!(last as usize, self.bytes.len(), "every byte belongs to a string");
            assert!(self.prefix <= self.ends[0], "the prefix comes first");
        }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    fn prefix(&self) -> &[u8] {
        &self.bytes[..self.prefix as usize]
    }

    fn suffix(&self, at: usize) -> &[u8] {
        &self.bytes[self.start(at)..self.ends[at] as usize]
    }

    fn start(&self, at: usize) -> usize {
        if at == 0 { self.prefix as usize } else { self.ends[at - 1] as usize }
    }

    /// The strings in `span`, of which the first `prefix` bytes are known to be alike.
    fn with_prefix(&self, prefix: usize, span: std::ops::Range<usize>) -> Packed {
        let mut first = Vec::new();
        self.read(span.start, &mut first);
        let mut bytes = first[..prefix].to_vec();
        let mut ends = Vec::with_capacity(span.len());
        for at in span {
            let (head, tail) = self.parts(at);
            let skip = prefix.saturating_sub(head.len());
            bytes.extend_from_slice(&head[prefix.min(head.len())..]);
            bytes.extend_from_slice(&tail[skip..]);
            ends.push(width_end(bytes.len()));
        }
        Packed { prefix: width_end(prefix), bytes, ends }
    }
}

/// The shortest string above `left` and not above `right`: what a branch needs to tell them apart.
pub(super) fn separator(left: &[u8], right: &[u8]) -> Vec<u8> {
    assert!(left < right, "a separator parts two different keys");
    right[..common(left, right) + 1].to_vec()
}

/// Makes room for `more` items with a margin of an eighth, where `Vec` itself would double: a full
/// node is never larger than 64 keys, and a million half-empty ones are what memory goes to.
pub(super) fn grow<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more + list.len() / 8 + 2);
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn width_end(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("the keys of one node take less than 4 GiB")
}
