//! Whether leaves are so sparse that packing them is worth while, by a look at a few of them.
//!
//! Packing reads every leaf, which is not to be done on every call. So [`SAMPLES`] places are
//! looked at, evenly spread over all records as the branches divide them, and at each the leaves
//! that would be packed together.

use crate::draft::{WINDOW, is_worth, pages_packed};
use crate::error::Result;
use crate::page::Page;
use crate::pages::Source;
use crate::snapshot::Snapshot;
use crate::types::TreeRoot;

/// Places that are looked at.
const SAMPLES: u32 = 16;

/// Leaves that were looked at, and how many they would be.
#[derive(Debug, Default)]
struct Sample {
    leaves: usize,
    packed: usize,
}

/// Whether the leaves of all trees should be packed.
pub(super) fn is_sparse(snapshot: &Snapshot, page_bytes: usize) -> Result<bool> {
    let entries = snapshot.root.forest.entries();
    let all: f64 = entries.iter().map(|entry| entry.root.records as f64).sum();
    let mut sample = Sample::default();
    for i in 0..SAMPLES {
        let mut left = (f64::from(i) + 0.5) / f64::from(SAMPLES) * all;
        let tree = entries.iter().map(|entry| entry.root).find(|root| {
            let records = root.records as f64;
            let is_it = left < records;
            left -= if is_it { 0.0 } else { records };
            is_it
        });
        if let Some(root) = tree {
            sample.look(snapshot, root, left / root.records as f64, page_bytes)?;
        }
    }
    Ok(sample.leaves > 0 && is_worth(sample.packed, sample.leaves))
}

impl Sample {
    /// Looks at the leaves that follow a part of a tree.
    fn look(
        &mut self,
        snapshot: &Snapshot,
        root: TreeRoot,
        mut part: f64,
        page_bytes: usize,
    ) -> Result<()> {
        let mut ptr = root.ptr;
        for level in (1..=root.level).rev() {
            let page = snapshot.page_at(ptr, level)?;
            let branch = Page(&page);
            part *= branch.count() as f64;
            let at = (part as usize).min(branch.count() - 1);
            part -= at as f64;
            if level == 1 {
                let mut used = 0;
                let children = at..branch.count().min(at + WINDOW);
                self.leaves += children.len();
                for at in children {
                    used += Page(&snapshot.page_at(branch.child(at), 0)?).used_bytes();
                }
                self.packed += pages_packed(page_bytes, used);
            }
            ptr = branch.child(at);
        }
        Ok(())
    }
}
