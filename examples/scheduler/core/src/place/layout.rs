//! Nodes in the order in which a class compares them: cell by cell, each in blocks.
//!
//! ```text
//!   keys (zone, rack)      cell (a, r1)          cell (a, r2)      cell (b, r7)
//!   leaves, one a node     ████████ ████████ ██  ████████ ███      ████████ ██████
//!   blocks                 └──────┘ └──────┘ └┘  └──────┘ └─┘      └──────┘ └────┘
//! ```
//!
//! All nodes of a cell agree in every label that the class asks about, so what is asked about a
//! domain is asked once a cell, and within a cell the rank of the nodes alone decides. A block is
//! as many nodes as are compared at a stroke when its best one gets worse.

use super::books::Books;
use super::domain::Key;

/// Nodes in a block at most.
pub(crate) const BLOCK_COUNT: usize = 64;
/// The place of a node that is in no cell: it has no record.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// Which leaf each node is, which block each leaf is in, which cell each block.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// The version of the domains that it shows.
    pub(crate) version: u64,
    keys: Vec<Key>,
    /// By leaf.
    pub(crate) nodes: Vec<u32>,
    /// By node.
    pub(crate) leaf_of: Vec<u32>,
    /// By leaf.
    pub(crate) block_of: Vec<u32>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) cells: Vec<Cell>,
    /// By cell, the domain by each of the keys.
    domains: Vec<u32>,
}

/// Some leaves of a cell, from the first to before the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) first: u32,
    pub(crate) end: u32,
    pub(crate) cell: u32,
}

/// Blocks, from the first to before the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) first: u32,
    pub(crate) end: u32,
}

impl Layout {
    pub(crate) fn new(books: &Books, keys: &[Key]) -> Layout {
        let mut layout = Layout { version: books.domains.version, ..Layout::default() };
        layout.keys = keys.to_vec();
        layout.leaf_of = vec![NOWHERE; books.nodes.all.len()];
        let domains = |node: u32| keys.iter().map(move |&key| books.domains.of(key, node));
        let mut nodes: Vec<u32> = books.nodes.known().collect();
        nodes.sort_by(|&a, &b| domains(a).cmp(domains(b)).then(a.cmp(&b)));
        let mut start = 0;
        while start < nodes.len() {
            let same = |&&node: &&u32| domains(node).eq(domains(nodes[start]));
            let end = start + nodes[start..].iter().take_while(same).count();
            layout.domains.extend(domains(nodes[start]));
            layout.push_cell(&nodes[start..end]);
            start = end;
        }
        layout.nodes = nodes;
        layout
    }

    fn push_cell(&mut self, nodes: &[u32]) {
        let number = |count: usize| u32::try_from(count).expect("fewer than 2^32 nodes");
        let (cell, first) = (number(self.cells.len()), number(self.blocks.len()));
        for chunk in nodes.chunks(BLOCK_COUNT) {
            let (block, first) = (number(self.blocks.len()), number(self.block_of.len()));
            for (leaf, &node) in (first..).zip(chunk) {
                self.leaf_of[node as usize] = leaf;
                self.block_of.push(block);
            }
            self.blocks.push(Block { first, end: first + number(chunk.len()), cell });
        }
        self.cells.push(Cell { first, end: number(self.blocks.len()) });
    }

    /// The domains of a cell, by the place of each key.
    pub(crate) fn domains_of(&self, cell: usize) -> &[u32] {
        let width = self.keys.len();
        &self.domains[cell * width..(cell + 1) * width]
    }
}
