//! A short sorted list of byte strings in one piece of memory.
//!
//! Keys that are neighbours in order mostly begin alike (`/registry/pods/default/...`). A node of
//! the index therefore stores what all its keys have in common once, and the differing ends back to
//! back. Besides the memory, this saves the search a cache miss for each key it looks at.
//!
//! ```text
//!   bytes   /registry/pods/ a/web-0 a/web-1 kube-system/dns     <- prefix, then suffixes
//!   words                  a/we|22 a/we|29 kube|44              <- head, end; 8 bytes a string
//! ```
//!
//! The *head* of a string is its first four bytes after the prefix, as a number that sorts as they
//! do. A search runs over the heads, which lie close together, and looks at the bytes themselves
//! only where heads are equal: mostly once.

use std::cmp::Ordering;
use std::ops::Range;

use smallvec::SmallVec;

use super::history::SLOTS;

/// Bytes are reserved in such steps.
const BYTES_STEP: usize = 128;

/// See the module. Positions count from 0.
///
/// Invariants:
/// - the strings ascend strictly, hence heads ascend
/// - ends ascend, the last is `bytes.len()`, none is below `prefix`
#[derive(Debug, Default)]
pub(super) struct Packed {
    prefix: u32,
    bytes: Vec<u8>,
    /// Inline, so that a search finds them in the same page of memory as the node.
    words: SmallVec<[Word; SLOTS]>,
}

/// Head in the upper half, end in the lower: one comparison orders by head.
#[derive(Clone, Copy, Debug)]
struct Word(u64);

impl Word {
    fn new(suffix: &[u8], end: usize) -> Word {
        let end = u32::try_from(end).expect("the keys of one node take less than 4 GiB");
        Word(u64::from(head_of(suffix)) << 32 | u64::from(end))
    }

    fn head(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn end(self) -> usize {
        self.0 as u32 as usize
    }
}

impl Packed {
    /// How many strings.
    pub(super) fn len(&self) -> usize {
        self.words.len()
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
        let head = head_of(rest);
        let words = self.words.as_slice();
        let mut low = words.partition_point(|word| word.head() < head);
        let equal = words[low..].iter().take_while(|word| word.head() == head).count();
        let mut high = low + equal;
        while low < high {
            let middle = low.midpoint(high);
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
        if self.words.is_empty() {
            self.bytes.clear();
            self.prefix = 0;
        }
        if !key.starts_with(self.prefix()) {
            *self = self.with_prefix(common(self.prefix(), key), 0..self.len());
        }
        let suffix = &key[self.prefix as usize..];
        let (start, old_end) = (self.start(at), self.bytes.len());
        assert!(old_end + suffix.len() <= u32::MAX as usize, "keys of one node take below 4 GiB");
        grow(&mut self.bytes, suffix.len(), BYTES_STEP);
        self.bytes.resize(old_end + suffix.len(), 0);
        self.bytes.copy_within(start..old_end, start + suffix.len());
        self.bytes[start..start + suffix.len()].copy_from_slice(suffix);
        self.words.insert(at, Word::new(suffix, start + suffix.len()));
        for word in &mut self.words[at + 1..] {
            word.0 += suffix.len() as u64;
        }
    }

    /// Takes the string at `at` out.
    pub(super) fn remove(&mut self, at: usize) {
        let (start, end) = (self.start(at), self.words[at].end());
        self.bytes.copy_within(end.., start);
        self.bytes.truncate(self.bytes.len() - (end - start));
        self.words.remove(at);
        for word in &mut self.words[at..] {
            word.0 -= (end - start) as u64;
        }
    }

    /// A list of the strings in `span` alone, packed anew.
    pub(super) fn slice(&self, span: Range<usize>) -> Packed {
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
    #[cfg(test)]
    pub(super) fn check(&self) {
        for at in 1..self.len() {
            assert!(self.suffix(at - 1) < self.suffix(at), "strings ascend strictly");
        }
        for (at, word) in self.words.iter().enumerate() {
            assert!(self.start(at) <= word.end(), "ends ascend from the prefix on");
            assert_eq!(word.head(), head_of(self.suffix(at)), "a head repeats its string");
        }
        let last = self.words.last().map_or(self.bytes.len(), |word| word.end());
        assert_eq!(last, self.bytes.len(), "every byte belongs to a string");
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn prefix(&self) -> &[u8] {
        &self.bytes[..self.prefix as usize]
    }

    fn suffix(&self, at: usize) -> &[u8] {
        &self.bytes[self.start(at)..self.words[at].end()]
    }

    fn start(&self, at: usize) -> usize {
        if at == 0 { self.prefix as usize } else { self.words[at - 1].end() }
    }

    /// The strings in `span`, of which the first `prefix` bytes are known to be alike.
    fn with_prefix(&self, prefix: usize, span: Range<usize>) -> Packed {
        let mut first = Vec::new();
        self.read(span.start, &mut first);
        let mut bytes = first[..prefix].to_vec();
        let mut words = SmallVec::new();
        for at in span {
            let (head, tail) = self.parts(at);
            let start = bytes.len();
            let skip = prefix.saturating_sub(head.len());
            bytes.extend_from_slice(&head[prefix.min(head.len())..]);
            bytes.extend_from_slice(&tail[skip..]);
            words.push(Word::new(&bytes[start..], bytes.len()));
        }
        let prefix = u32::try_from(prefix).expect("a key is shorter than 4 GiB");
        Packed { prefix, bytes, words }
    }
}

/// The shortest string above `left` and not above `right`: what a branch needs to tell them apart.
pub(super) fn separator(left: &[u8], right: &[u8]) -> Vec<u8> {
    assert!(left < right, "a separator parts two different keys");
    right[..common(left, right) + 1].to_vec()
}

/// Makes room for `more` items in steps of `step`, where `Vec` itself would double: a node at rest
/// is three quarters full, and a million half-empty lists are what memory goes to.
pub(super) fn grow<T>(list: &mut Vec<T>, more: usize, step: usize) {
    let needed = list.len() + more;
    if list.capacity() < needed {
        list.reserve_exact(needed.next_multiple_of(step) - list.len());
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The first four bytes as a number; what is missing counts as zero bytes.
fn head_of(suffix: &[u8]) -> u32 {
    let mut head = [0; 4];
    let shared = suffix.len().min(head.len());
    head[..shared].copy_from_slice(&suffix[..shared]);
    u32::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(keys: &[&str]) -> Packed {
        let mut packed = Packed::default();
        for key in keys {
            let at = packed.search(key.as_bytes()).unwrap_err();
            packed.insert(at, key.as_bytes());
            packed.check();
        }
        packed
    }

    // The memory of a large store is its keys: what neighbours share must be held once.
    #[test]
    fn what_all_strings_share_is_stored_once() {
        let all = packed(&["/registry/pods/b", "/registry/pods/a", "/other", "/registry/pods/c"]);
        let pods = all.slice(1..4);
        pods.check();
        assert_eq!(pods.bytes(), "/registry/pods/".len() + 3);
        assert_eq!(pods.get(1), b"/registry/pods/b");
    }

    // A string that does not share the beginning may come at either end of the list.
    #[test]
    fn strings_without_the_prefix_find_their_place() {
        let mut pods = packed(&["/pods/a", "/pods/b"]).slice(0..2);
        assert_eq!(pods.search(b"/pods"), Err(0));
        assert_eq!(pods.search(b"/pods/"), Err(0));
        assert_eq!(pods.search(b"/qods/a"), Err(2));
        pods.insert(0, b"/p");
        pods.insert(3, b"/z");
        pods.check();
        assert_eq!((0..4).map(|at| pods.get(at).len()).sum::<usize>(), 2 + 7 + 7 + 2);
    }

    // Heads are equal for strings of zero bytes and for ends that differ late.
    #[test]
    fn equal_heads_are_told_apart_by_the_rest() {
        let keys = ["", "\0", "\0\0", "abcd", "abcde", "abcdf", "abcdf\0"];
        let list = packed(&keys);
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(list.search(key.as_bytes()), Ok(at));
        }
        assert_eq!(list.search(b"abcdee"), Err(5));
    }

    // A branch needs just enough to tell two keys apart.
    #[test]
    fn separator_is_the_shortest_between_two_strings() {
        assert_eq!(separator(b"abc", b"abfgh"), b"abf");
        assert_eq!(separator(b"ab", b"abc"), b"abc");
        assert_eq!(separator(b"", b"xyz"), b"x");
    }
}
