//! The ranks of all nodes for one kind of task, kept from decision to decision.
//!
//! A task that comes or goes changes the rank of one node, so the next decision looks at that one
//! and not at all. A view remembers up to which change it has seen; [`View::refresh`] looks at the
//! nodes that changed since, or at all, if those are many. Each block knows its best rank and each
//! cell its own, so the best node of a cell is at hand.
//!
//! Classes that differ in what is not seen here, such as the name of their job, share a view.

use super::books::Books;
use super::class::Class;
use super::domain::Key;
use super::layout::{Layout, NOWHERE};
use super::rank::{Leaf, Lens};
use super::score::Rank;

/// What a view is of: all that a node's rank depends on, besides the node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ViewKey {
    /// Serial numbers: they are not used again.
    pub(crate) profile: u64,
    pub(crate) image: u64,
    pub(crate) request: [i64; super::node::KINDS],
    pub(crate) is_spread: bool,
    pub(crate) is_cluster: bool,
    pub(crate) keys: Vec<Key>,
    /// The class, if its own tasks or its questions matter.
    pub(crate) own: Option<u64>,
}

/// Ranks, by leaf, block and cell of a layout.
#[derive(Debug, Default)]
pub(crate) struct View {
    leaves: Vec<Rank>,
    /// By leaf, if the class asks for it: see [`Leaf`].
    extras: Vec<u32>,
    blocks: Vec<Rank>,
    pub(crate) cells: Vec<Rank>,
    /// By cell, the sum of the extras.
    pub(crate) sums: Vec<u64>,
    /// Up to which change.
    seen: u64,
    /// Of which version of the layout.
    version: u64,
    /// Of which scope of the class, if it is of one class.
    scopes: u64,
    /// Which of the tasks that it wants near may be the first of their kind.
    starts: u64,
}

/// With so many times the changes as nodes, all are looked at: a change costs a jump to a node, its
/// leaf, block and cell, and a scan goes straight.
const SCAN_FACTOR: usize = 3;

impl View {
    /// Catches up with the books.
    pub(crate) fn refresh(&mut self, books: &Books, layout: &Layout, class: &Class) {
        let starts = books.starts(class);
        let scopes = if class.scope.personal { class.scopes } else { 0 };
        let same = self.version == layout.version && self.starts == starts && self.scopes == scopes;
        let behind = books.changes - self.seen;
        if same && behind == 0 {
            return;
        }
        let few = usize::try_from(behind).is_ok_and(|few| few * SCAN_FACTOR <= layout.nodes.len());
        match books.changed_since(self.seen).filter(|_| same && few) {
            Some(changed) => {
                let lens = Lens::new(books, class);
                for node in changed {
                    let leaf = layout.leaf_of[node as usize];
                    if leaf != NOWHERE {
                        self.set(layout, leaf, lens.leaf(node));
                    }
                }
            }
            None => self.fill(books, layout, class),
        }
        (self.version, self.scopes, self.starts) = (layout.version, scopes, starts);
        self.seen = books.changes;
    }

    /// Looks at all nodes.
    fn fill(&mut self, books: &Books, layout: &Layout, class: &Class) {
        let (lens, extras) = (Lens::new(books, class), class.wants_extras());
        self.leaves.clear();
        self.extras.clear();
        self.blocks.clear();
        self.cells.clear();
        self.sums.clear();
        self.cells.resize(layout.cells.len(), 0);
        self.sums.resize(layout.cells.len(), 0);
        for block in &layout.blocks {
            let (mut best, mut sum) = (0, 0);
            for &node in &layout.nodes[block.first as usize..block.end as usize] {
                let leaf = lens.leaf(node);
                self.leaves.push(leaf.rank);
                best = best.max(leaf.rank);
                if extras {
                    self.extras.push(leaf.extra);
                    sum += u64::from(leaf.extra);
                }
            }
            self.blocks.push(best);
            let cell = block.cell as usize;
            self.cells[cell] = self.cells[cell].max(best);
            self.sums[cell] += sum;
        }
    }

    fn set(&mut self, layout: &Layout, leaf: u32, new: Leaf) {
        let at = leaf as usize;
        let block = layout.block_of[at] as usize;
        let cell = layout.blocks[block].cell as usize;
        if let Some(extra) = self.extras.get_mut(at) {
            self.sums[cell] = self.sums[cell] - u64::from(*extra) + u64::from(new.extra);
            *extra = new.extra;
        }
        let old = std::mem::replace(&mut self.leaves[at], new.rank);
        let best = self.blocks[block];
        if new.rank >= best {
            self.blocks[block] = new.rank;
        } else if old == best {
            let block_of = layout.blocks[block];
            let leaves = &self.leaves[block_of.first as usize..block_of.end as usize];
            self.blocks[block] = max(leaves);
        } else {
            return;
        }
        let (now, best_cell) = (self.blocks[block], self.cells[cell]);
        if now >= best_cell {
            self.cells[cell] = now;
        } else if best == best_cell {
            let cell_of = layout.cells[cell];
            self.cells[cell] = max(&self.blocks[cell_of.first as usize..cell_of.end as usize]);
        }
    }

    /// The node of this cell whose rank is the cell's best.
    pub(crate) fn best_of(&self, layout: &Layout, cell: usize) -> u32 {
        let best = self.cells[cell];
        let range = layout.cells[cell];
        let mut blocks = range.first as usize..range.end as usize;
        let block = blocks.find(|&at| self.blocks[at] == best).expect("a block has the best");
        let range = layout.blocks[block];
        let mut leaves = range.first as usize..range.end as usize;
        let leaf = leaves.find(|&at| self.leaves[at] == best).expect("a leaf has the best");
        layout.nodes[leaf]
    }

    /// Forgets all, but keeps the memory for it.
    pub(crate) fn empty(&mut self) {
        (self.seen, self.version) = (0, 0);
    }

    /// Asserts that it shows what is in the books.
    pub(crate) fn check(&self, books: &Books, layout: &Layout, class: &Class) {
        let mut fresh = View::default();
        fresh.fill(books, layout, class);
        assert_eq!(self.leaves, fresh.leaves, "each leaf is the rank of its node");
        assert_eq!(self.extras, fresh.extras, "each extra is that of its node");
        assert_eq!(self.blocks, fresh.blocks, "each block has its best leaf");
        assert_eq!(self.cells, fresh.cells, "each cell has its best block");
        assert_eq!(self.sums, fresh.sums, "each cell has the sum of its extras");
    }
}

fn max(ranks: &[Rank]) -> Rank {
    ranks.iter().copied().fold(0, Rank::max)
}
