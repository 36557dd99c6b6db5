//! The trees of one committed state: all names and roots, in memory.
//!
//! (Signatures first; bodies follow.)

use std::sync::Arc;

use crate::error::Result;
use crate::pages::Pages;
use crate::types::{TreeId, TreeRoot};

/// How many trees a database may have: the list of them is copied when one of them changes.
pub const TREES_MAX: usize = 4096;

/// One named tree.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub id: TreeId,
    pub name: Arc<str>,
    pub root: TreeRoot,
}

/// All trees of one state, sorted by id. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forest {
    catalog: TreeRoot,
    entries: Arc<Vec<Entry>>,
}

impl Forest {
    /// Reads the catalog. An empty database has the default `TreeRoot`.
    pub(crate) fn load<P: Pages>(_pages: &P, _catalog: TreeRoot) -> Result<Forest> {
        todo!()
    }

    /// The root of the tree of names, for the meta page: pointer, level, and how many there are.
    pub(crate) fn catalog(&self) -> TreeRoot {
        self.catalog
    }

    /// All trees, sorted by id.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn find(&self, _name: &str) -> Option<&Entry> {
        todo!()
    }

    /// The root of a tree; `NoTree` if it is not in this state.
    pub(crate) fn root(&self, _tree: TreeId) -> Result<TreeRoot> {
        todo!()
    }
}
