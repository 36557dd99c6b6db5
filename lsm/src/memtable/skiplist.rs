//! A sorted list that threads insert into without a lock, and that others read meanwhile.
//!
//! Every node carries a tower of links: the lowest to its successor, each higher one to the next
//! node that is at least as tall. A search walks along the top and descends where the next step
//! would go too far.
//!
//! ```text
//!   first ───────────────────────────► e ────────────────► .
//!   first ──────► b ─────────────────► e ──────► g ──────► .
//!   first ─► a ─► b ─► c ─► d ───────► e ─► f ─► g ─► h ─► .      level 0: every node, in order
//! ```
//!
//! A node in the arena, and a link:
//!
//! ```text
//!    0       8         16      20          24        26       32           32 + 8 height
//!   ┌───────┬─────────┬───────┬───────────┬─────────┬────────┬────────────┬─────┬───────┐
//!   │ head  │ trailer │ space │ value_len │ key_len │ height │ links      │ key │ value │
//!   │ u64   │ u64     │ u32   │ u32       │ u16     │ u16, 0 │ u64 each   │     │       │
//!   └───────┴─────────┴───────┴───────────┴─────────┴────────┴────────────┴─────┴───────┘
//!
//!   link:  rank 3 bits │ first four bytes of the key 32 bits │ place / 8  29 bits
//! ```
//!
//! `head` is the first eight bytes of the key as a number; `trailer` is `seq << 8 | kind`. Nodes
//! are sorted by the rank of their keyspace, by keyspace, by key, and by trailer *descending*: all
//! keyspaces live in one list. A keyspace gets its rank when it is first written to; those that
//! find no rank of their own share the last, and the links to their nodes say nothing of the key.
//!
//! **A link says where it leads.** Nearly all the time of a search goes into waiting for memory: a
//! node that is looked at is a node that has to be fetched. So a link carries the beginning of the
//! order of the node it leads to. A step that would go too far is seen to do so without fetching
//! the node, unless the keys share their first four bytes; only nodes that are walked over are
//! fetched. Half of the nodes of a level are on the next (not a quarter, as is usual): more levels
//! cost next to nothing now, and fewer nodes are walked over.
//!
//! **Inserting.** The node is written, with its links, and then linked in level by level from the
//! bottom with compare-and-swap. From the moment it stands on level 0 it is in the list; the higher
//! levels are short cuts. If another thread was faster, the search goes on from where it stood.
//! Nothing is ever unlinked, so that no reader can be left behind.
//!
//! **Heights** are drawn from the seed and the entry's sequence number: no state, and nobody who
//! chooses keys can choose them.
//!
//! The paper: Pugh, *Skip Lists: A Probabilistic Alternative to Balanced Trees*, 1990.
#![expect(unsafe_code, reason = "nodes in an arena; the safe face is this file's")]

use std::cmp::Ordering as Order;
use std::sync::atomic::Ordering;

use super::arena::Arena;
use crate::cursor::Entry;
use crate::key::{KEY_BYTES_MAX, Kind, SeqNo, head};
use crate::sync::{AtomicU32, AtomicU64};

const HEIGHT_MAX: usize = 18;

const TRAILER_AT: u32 = 8;
const SPACE_AT: u32 = 16;
const VALUE_LEN_AT: u32 = 20;
const SHAPE_AT: u32 = 24;
const TOWER_AT: u32 = 32;

/// The most that an entry takes beside its key and value: what the arena must have left for an
/// insertion to be sure to succeed.
pub(super) const OVERHEAD_MAX: u32 = TOWER_AT + 8 * HEIGHT_MAX as u32 + super::arena::ALIGN;

const _: () = assert!(KEY_BYTES_MAX <= u16::MAX as usize, "a key's length fits its field");

/// A node's place in the arena of the list that handed it out; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node(u32);

impl Node {
    pub(super) const NONE: Node = Node(0);
}

/// An entry that was written, and that no link leads to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loose {
    /// Rank and number of its keyspace.
    space: (u32, u32),
    head: u64,
    node: u32,
}

/// See the module.
///
/// Invariants:
/// * Level 0 links every node, in order; level n links those taller than n, in the same order.
/// * A node's bytes do not change once a link leads to it.
#[derive(Debug)]
pub(super) struct SkipList {
    arena: Arena,
    /// The node before all others; only its links mean anything.
    first: u32,
    /// The levels in use.
    height: AtomicU32,
    /// The keyspaces by rank; [`NOBODY`] from the first free one on.
    ranks: [AtomicU32; RANK_SHARED as usize],
    seed: u64,
}

/// The rank of all keyspaces that have none of their own.
const RANK_SHARED: u32 = 7;
/// No keyspace has this number.
const NOBODY: u32 = u32::MAX;

/// Where a search is to lead: after every node that sorts before this.
#[derive(Clone, Copy)]
struct Target<'a> {
    space: u32,
    head: u64,
    /// The upper bits of a link to a node with this key.
    hint: u64,
    key: &'a [u8],
    trailer: u64,
}

impl<'a> Target<'a> {
    fn new((rank, space): (u32, u32), key: &'a [u8], trailer: u64) -> Target<'a> {
        let head = head(key);
        Target { space, head, hint: hint(rank, head), key, trailer }
    }
}

/// The lower bits of a link: the place, without the zeros at its end.
const PLACE_BITS: u32 = 29;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;

/// What a link says of the order of the node it leads to. Different hints decide; equal hints
/// decide nothing.
fn hint(rank: u32, head: u64) -> u64 {
    let key = if rank < RANK_SHARED { head >> 32 } else { 0 };
    u64::from(rank) << 61 | key << PLACE_BITS
}

/// The node that a link leads to; 0 is the end.
fn place(link: u64) -> u32 {
    ((link & PLACE_MASK) << 3) as u32
}

impl SkipList {
    /// An empty list in an arena of `capacity` bytes.
    pub(super) fn new(capacity: u32, seed: u64) -> SkipList {
        let arena = Arena::new(capacity.max(TOWER_AT + OVERHEAD_MAX + 64));
        let tower = TOWER_AT + 8 * HEIGHT_MAX as u32;
        let first = arena.alloc(tower).expect("the smallest arena holds the first node");
        let ranks = std::array::from_fn(|_| AtomicU32::new(NOBODY));
        SkipList { arena, first, height: AtomicU32::new(1), ranks, seed }
    }

    pub(super) fn capacity(&self) -> u32 {
        self.arena.capacity()
    }

    pub(super) fn used(&self) -> u64 {
        self.arena.used()
    }

    /// Inserts an entry. The pair of key and `seq` must be new.
    ///
    /// # Panics
    /// If the arena is full, or key or value exceed their limits: whoever reserves room sees to it.
    pub(super) fn insert(&self, space: u32, key: &[u8], seq: SeqNo, kind: Kind, value: &[u8]) {
        let trailer = seq.0 << 8 | kind as u64;
        let target = Target::new((self.claim_rank(space), space), key, trailer);
        let height = self.draw_height(seq);
        let node = self.write_node(&target, height, value);
        self.height.fetch_max(height as u32, Ordering::Relaxed);

        let link = target.hint | u64::from(node >> 3);
        let mut before = [self.first; HEIGHT_MAX];
        let mut after = [0; HEIGHT_MAX];
        self.find(&target, &mut before, &mut after);
        for level in 0..height {
            loop {
                let (prev, next) = (before[level], after[level]);
                // Relaxed: the exchange below publishes it.
                self.link(node, level).store(next, Ordering::Relaxed);
                // Release: who comes to the node finds its bytes and links written.
                let linked = self.link(prev, level).compare_exchange(
                    next,
                    link,
                    Ordering::Release,
                    Ordering::Relaxed,
                );
                if linked.is_ok() {
                    break;
                }
                (before[level], after[level]) = self.walk(&target, prev, level);
            }
        }
    }

    /// Writes an entry that no link leads to yet: see [`link_all`](SkipList::link_all).
    ///
    /// # Panics
    /// As [`insert`](SkipList::insert).
    pub(super) fn write_loose(
        &self,
        space: u32,
        key: &[u8],
        seq: SeqNo,
        kind: Kind,
        value: &[u8],
    ) -> Loose {
        let trailer = seq.0 << 8 | kind as u64;
        let rank = self.claim_rank(space);
        let target = Target::new((rank, space), key, trailer);
        let height = self.draw_height(seq);
        self.height.fetch_max(height as u32, Ordering::Relaxed);
        let node = self.write_node(&target, height, value);
        Loose { space: (rank, space), head: target.head, node }
    }

    /// Puts the loose entries into the list, which has no others. Nobody else knows of them: the
    /// list is the caller's alone.
    pub(super) fn link_all(&mut self, mut loose: Vec<Loose>) {
        assert!(self.first() == Node::NONE, "loose entries go into an empty list");
        loose.sort_unstable_by(|a, b| {
            (a.space, a.head).cmp(&(b.space, b.head)).then_with(|| {
                let keys = self.key(a.node).cmp(self.key(b.node));
                keys.then_with(|| self.trailer(b.node).cmp(&self.trailer(a.node)))
            })
        });
        // The last node so far on every level.
        let mut last = [self.first; HEIGHT_MAX];
        for Loose { space: (rank, _), head, node } in loose {
            let link = hint(rank, head) | u64::from(node >> 3);
            for (level, last) in last.iter_mut().enumerate().take(self.height_of(node)) {
                // Relaxed: whoever is shown the list is shown it later, by other means.
                self.link(*last, level).store(link, Ordering::Relaxed);
                *last = node;
            }
        }
    }

    /// The rank of a keyspace that is written to.
    fn claim_rank(&self, space: u32) -> u32 {
        assert!(space != NOBODY, "a keyspace has a number");
        for (owner, rank) in self.ranks.iter().zip(0..) {
            // Relaxed: an owner never changes, and whoever has seen an entry of the keyspace has
            // also seen its rank.
            let found = owner.load(Ordering::Relaxed);
            if found == space {
                return rank;
            }
            if found == NOBODY {
                let taken =
                    owner.compare_exchange(NOBODY, space, Ordering::Relaxed, Ordering::Relaxed);
                if taken.is_ok() || taken == Err(space) {
                    return rank;
                }
            }
        }
        RANK_SHARED
    }

    /// A keyspace with its rank, for a search.
    fn ranked(&self, space: u32) -> (u32, u32) {
        let own = self.ranks.iter().position(|owner| owner.load(Ordering::Relaxed) == space);
        (own.map_or(RANK_SHARED, |rank| rank as u32), space)
    }

    /// Writes a node that nobody knows of yet.
    fn write_node(&self, target: &Target<'_>, height: usize, value: &[u8]) -> u32 {
        let key_len = u16::try_from(target.key.len()).expect("keys are checked when batched");
        let value_len = u32::try_from(value.len()).expect("values are checked when batched");
        let key_at = TOWER_AT + 8 * height as u32;
        let bytes = u64::from(key_at) + u64::from(key_len) + u64::from(value_len);
        let bytes = u32::try_from(bytes).expect("room was reserved");
        let node = self.arena.alloc(bytes).expect("room was reserved");
        #[cfg(loom)]
        self.arena.writes_node(node);
        let shape = u32::from(key_len) | (height as u32) << 16;
        let mut fixed = [0; TOWER_AT as usize];
        fixed[..8].copy_from_slice(&target.head.to_ne_bytes());
        fixed[8..16].copy_from_slice(&target.trailer.to_ne_bytes());
        fixed[16..20].copy_from_slice(&target.space.to_ne_bytes());
        fixed[20..24].copy_from_slice(&value_len.to_ne_bytes());
        fixed[24..28].copy_from_slice(&shape.to_ne_bytes());
        // SAFETY: the place was allocated above, for these bytes, and is not published; the links
        // lie between the fixed part and the key, and are not written here.
        unsafe {
            self.arena.write(node, &fixed);
        }
        // SAFETY: as above.
        unsafe {
            self.arena.write(node + key_at, target.key);
        }
        // SAFETY: as above.
        unsafe {
            self.arena.write(node + key_at + u32::from(key_len), value);
        }
        node
    }

    /// One more for every half.
    fn draw_height(&self, seq: SeqNo) -> usize {
        let drawn = mix(self.seed ^ seq.0).trailing_zeros() as usize;
        1 + drawn.min(HEIGHT_MAX - 1)
    }

    fn link(&self, node: u32, level: usize) -> &AtomicU64 {
        debug_assert!(level < HEIGHT_MAX, "a level exists");
        // SAFETY: the links of a node as tall as `level` are aligned, in bounds, and touched as
        // links alone. A walk stands on a node at a level only if it came by a link of that level
        // or a higher one, or from the first node, which has them all; an insertion uses the levels
        // that its own node was given.
        unsafe { self.arena.link(node + TOWER_AT + 8 * level as u32) }
    }

    /// Acquire: what the writer of the node wrote before it linked it is seen after this.
    fn next_at(&self, node: u32, level: usize) -> u64 {
        self.link(node, level).load(Ordering::Acquire)
    }

    /// Whether `node` sorts before `target`.
    #[inline]
    fn is_before(&self, node: u32, target: &Target<'_>) -> bool {
        #[cfg(loom)]
        self.arena.reads_node(node);
        // SAFETY: the node was reached by an acquiring load, so that its bytes are written; both
        // numbers are aligned, for nodes are.
        let (space, node_head) =
            unsafe { (self.arena.number::<u32>(node + SPACE_AT), self.arena.number::<u64>(node)) };
        if (space, node_head) != (target.space, target.head) {
            return (space, node_head) < (target.space, target.head);
        }
        match self.key(node).cmp(target.key) {
            Order::Less => true,
            Order::Greater => false,
            Order::Equal => self.trailer(node) > target.trailer,
        }
    }

    /// Whether `link` leads to a node before `target`.
    #[inline]
    fn leads_before(&self, link: u64, target: &Target<'_>) -> bool {
        let hint = link & !PLACE_MASK;
        // The end has no hint and no place.
        hint < target.hint && link != 0
            || hint == target.hint && link != 0 && self.is_before(place(link), target)
    }

    /// From `node`, which sorts before the target, along one level: the last node before the
    /// target, and the link that leads on from there.
    #[inline]
    fn walk(&self, target: &Target<'_>, mut node: u32, level: usize) -> (u32, u64) {
        loop {
            let link = self.next_at(node, level);
            if !self.leads_before(link, target) {
                return (node, link);
            }
            node = place(link);
        }
    }

    /// The neighbours of the target's place on every level in use.
    fn find(&self, target: &Target<'_>, before: &mut [u32], after: &mut [u64]) {
        let mut node = self.first;
        for level in (0..self.levels()).rev() {
            (node, after[level]) = self.walk(target, node, level);
            before[level] = node;
        }
    }

    fn levels(&self) -> usize {
        // Relaxed: a search that starts too low finds its place all the same.
        self.height.load(Ordering::Relaxed) as usize
    }

    /// The neighbours on the lowest level: the last node before the target, and the first that is
    /// not.
    fn around(&self, target: &Target<'_>) -> (u32, u32) {
        let (mut node, mut link) = (self.first, 0);
        for level in (0..self.levels()).rev() {
            (node, link) = self.walk(target, node, level);
        }
        (node, place(link))
    }

    fn known(&self, node: u32) -> Node {
        if node == self.first { Node::NONE } else { Node(node) }
    }

    /// The first entry of `space` at or after `(key, seq)`, or the first of a later space.
    pub(super) fn seek(&self, space: u32, key: &[u8], seq: SeqNo) -> Node {
        Node(self.around(&Target::new(self.ranked(space), key, seq.0 << 8 | 0xff)).1)
    }

    /// The last entry at or before `(key, seq)`, maybe of an earlier space.
    pub(super) fn seek_back(&self, space: u32, key: &[u8], seq: SeqNo) -> Node {
        // A target just behind `(key, seq)`: the largest trailer of the write before.
        let trailer = (seq.0 << 8).checked_sub(1);
        match trailer {
            Some(trailer) => {
                self.known(self.around(&Target::new(self.ranked(space), key, trailer)).0)
            }
            // Nothing has a lower number than 0: what comes before the next key there can be.
            None => {
                let mut next = key.to_vec();
                next.push(0);
                self.known(self.around(&Target::new(self.ranked(space), &next, u64::MAX)).0)
            }
        }
    }

    /// The last entry up to the end of `space`, maybe of an earlier space.
    pub(super) fn last_of(&self, space: u32) -> Node {
        // A target behind all of it: the next rank, or the next keyspace of the shared one.
        let behind = match self.ranked(space) {
            (RANK_SHARED, space) => (RANK_SHARED, space + 1),
            (rank, _) => (rank + 1, 0),
        };
        self.known(self.around(&Target::new(behind, &[], u64::MAX)).0)
    }

    /// The very first entry.
    pub(super) fn first(&self) -> Node {
        Node(place(self.next_at(self.first, 0)))
    }

    /// The entry after `node`, which is one.
    pub(super) fn next(&self, node: Node) -> Node {
        assert!(node != Node::NONE, "only an entry has a successor");
        Node(place(self.next_at(node.0, 0)))
    }

    /// The entry before `node`, which is one; a search.
    pub(super) fn prev(&self, node: Node) -> Node {
        assert!(node != Node::NONE, "only an entry has a predecessor");
        let ranked = self.ranked(self.space(node));
        let target = Target::new(ranked, self.key(node.0), self.trailer(node.0));
        self.known(self.around(&target).0)
    }

    /// The keyspace of `node`, which is an entry.
    pub(super) fn space(&self, node: Node) -> u32 {
        assert!(node != Node::NONE, "only an entry has a keyspace");
        // SAFETY: the node was handed out by this list, which reached it by an acquiring load.
        unsafe { self.arena.number(node.0 + SPACE_AT) }
    }

    /// What `node`, which is an entry, says.
    pub(super) fn entry(&self, node: Node) -> Entry<'_> {
        assert!(node != Node::NONE, "only an entry says something");
        let trailer = self.trailer(node.0);
        let (key_at, key_len) = self.key_place(node.0);
        // SAFETY: as in `space`; the lengths are those that the node was written with.
        let value = unsafe {
            let len = self.arena.number(node.0 + VALUE_LEN_AT);
            self.arena.bytes(key_at + key_len, len)
        };
        Entry {
            key: self.key(node.0),
            seq: SeqNo(trailer >> 8),
            kind: Kind::from_u8(trailer as u8).expect("written from a kind"),
            value,
        }
    }

    /// Asserts what the list promises; nobody may write meanwhile.
    #[cfg(all(test, not(loom)))]
    pub(super) fn check(&self) {
        let level = |level: usize| {
            let links = |link: &u64| Some(self.next_at(place(*link), level));
            let all = std::iter::successors(Some(self.next_at(self.first, level)), links);
            all.take_while(|link| *link != 0).collect::<Vec<u64>>()
        };
        let all = level(0);
        for (n, link) in all.iter().enumerate() {
            let node = place(*link);
            let (ranked, trailer) = (self.ranked(self.space(Node(node))), self.trailer(node));
            let target = Target::new(ranked, self.key(node), trailer);
            assert_eq!(*link & !PLACE_MASK, target.hint, "a link says where it leads");
            let sorted = n == 0 || self.leads_before(all[n - 1], &target);
            assert!(sorted, "nodes are sorted");
        }
        for n in 1..HEIGHT_MAX {
            let taller = |link: &&u64| self.height_of(place(**link)) > n;
            let expected: Vec<u64> = all.iter().filter(taller).copied().collect();
            assert_eq!(level(n), expected, "level {n} links those taller than {n}");
            assert!(expected.is_empty() || n < self.levels(), "level {n} is in use");
        }
    }

    fn trailer(&self, node: u32) -> u64 {
        // SAFETY: every caller has the node from an acquiring load, or nobody else knows of it.
        unsafe { self.arena.number(node + TRAILER_AT) }
    }

    /// The height of the tower, and the length of the key.
    fn shape(&self, node: u32) -> (u32, u32) {
        // SAFETY: every caller has the node from an acquiring load, or nobody else knows of it.
        let shape: u32 = unsafe { self.arena.number(node + SHAPE_AT) };
        (shape >> 16, shape & 0xffff)
    }

    fn height_of(&self, node: u32) -> usize {
        self.shape(node).0 as usize
    }

    fn key_place(&self, node: u32) -> (u32, u32) {
        let (height, key_len) = self.shape(node);
        (node + TOWER_AT + 8 * height, key_len)
    }

    fn key(&self, node: u32) -> &[u8] {
        let (at, len) = self.key_place(node);
        // SAFETY: every caller has the node from an acquiring load; the length is that which it was
        // written with.
        unsafe { self.arena.bytes(at, len) }
    }
}

/// A number that looks random, from one that does not (splitmix64).
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
