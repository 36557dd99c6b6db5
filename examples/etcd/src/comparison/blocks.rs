//! What the newest commands have done, block by block.

use std::collections::BTreeMap;

use drystone_kv::TRAIL_BLOCK;
use drystone_raft::NodeId;

use super::Comparer;
use super::verdict::{Verdict, judge};
use crate::peers::{BLOCKS_MAX, Said, Subject};

/// How often a member that lags is waited for.
const WAITS_MAX: u32 = 10;

/// How far blocks have been compared.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// The first that was not.
    next: u64,
    /// How often somebody was waited for since.
    waits: u32,
}

/// What members say, by block.
type Table = BTreeMap<u64, BTreeMap<NodeId, u32>>;

impl Blocks {
    /// Compares what has come since, and tells what was found.
    pub(super) async fn compare(&mut self, comparer: &mut Comparer) {
        let own = comparer.member.kv.trail(self.next, BLOCKS_MAX);
        let Some(newest) = own.last().map(|block| block.block) else { return };
        let (table, slowest) = self.ask(comparer, newest).await;
        let is_late = slowest < newest;
        self.waits = if is_late { self.waits + 1 } else { 0 };
        let end = if self.waits > WAITS_MAX { newest } else { slowest };
        if self.waits > WAITS_MAX {
            self.waits = 0;
        }
        let members = comparer.members();
        let odd = table.range(..=end).find(|(_, said)| judge(said, members) != Verdict::Agree);
        if let Some((block, said)) = odd {
            // The sums are kept: asked again, a member says the same, unless it said it wrongly.
            let verdict = judge(said, members);
            let (again, _) = self.ask(comparer, newest).await;
            if again.get(block).is_some_and(|said| judge(said, members) == verdict) {
                let (first, last) = (block * TRAIL_BLOCK, (block + 1) * TRAIL_BLOCK - 1);
                let place = format!("what entries {first} to {last} of the log have done");
                comparer.report(&place, said, &verdict).await;
            }
        }
        self.next = self.next.max(end.saturating_add(1));
    }

    /// What all say of the blocks up to `newest`, and the newest that all have who have any.
    async fn ask(&self, comparer: &mut Comparer, newest: u64) -> (Table, u64) {
        let mut table = Table::new();
        for block in comparer.member.kv.trail(self.next, BLOCKS_MAX) {
            table.entry(block.block).or_default().insert(comparer.me(), block.hash);
        }
        let mut slowest = newest;
        let others = comparer.others();
        for (id, said) in comparer.ask(&others, Subject::Blocks { first: self.next }).await {
            let Said::Blocks(blocks) = said else { continue };
            let last = blocks.last().map_or(self.next.saturating_sub(1), |last| last.block);
            slowest = slowest.min(last);
            for block in blocks {
                if let Some(said) = table.get_mut(&block.block) {
                    said.insert(id, block.hash);
                }
            }
        }
        (table, slowest)
    }
}
