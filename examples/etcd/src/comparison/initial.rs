//! Before clients are served: does this member have what the others have?
//!
//! etcd's gate InitialCorruptCheck. etcd starts only if nobody differs, so that one member that is
//! wrong keeps every other from starting; here it is the member that stands alone with what it has
//! that does not start. Of two that differ, neither does.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use drystone_kv::PartEnd;
use drystone_raft::NodeId;

use super::{Comparer, LARGE_PART_BYTES};
use crate::identity::MemberId;
use crate::member::Shared;

/// Compares all of the history with whoever answers.
///
/// # Errors
/// If this member is the one that is wrong, or may be.
pub(crate) async fn check(member: &Shared) -> Result<()> {
    let mut comparer = Comparer::new(member.clone());
    if comparer.others().is_empty() {
        return Ok(());
    }
    tracing::info!("starting initial corruption check");
    let (mut first, mut compared) = (0, 0);
    while let Some(round) = comparer.round(first, PartEnd::Bytes(LARGE_PART_BYTES)).await {
        let (differ, agree) = sides(&round.said, comparer.me());
        compared = compared.max(differ.len() + agree);
        if !differ.is_empty() {
            let (last, ids) = (round.own.last, listed(&differ));
            if differ.len() > agree {
                bail!(
                    "found data inconsistency with peers: revisions {first} to {last} differ \
                    from those of {ids}"
                );
            }
            tracing::error!(
                first,
                last,
                members = ids,
                "found data inconsistency: members differ \
                from this one and from the majority"
            );
        }
        if round.own.is_end {
            break;
        }
        first = round.own.last + 1;
    }
    tracing::info!(members = compared, "initial corruption checking passed; no corruption");
    Ok(())
}

/// Who differs from this member, and how many others do not.
fn sides(said: &BTreeMap<NodeId, u32>, me: NodeId) -> (Vec<NodeId>, usize) {
    let own = said.get(&me);
    let others = || said.iter().filter(|(id, _)| **id != me);
    let differ: Vec<NodeId> =
        others().filter(|(_, hash)| Some(*hash) != own).map(|(id, _)| *id).collect();
    let agree = others().count() - differ.len();
    (differ, agree)
}

fn listed(members: &[NodeId]) -> String {
    members.iter().map(|id| MemberId(*id).to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    // The member that is wrong does not start; the one that finds out does.
    #[test]
    fn the_one_that_stands_alone_is_told_apart() {
        let of = |hashes: &[u32]| {
            let said = hashes.iter().zip(1..).map(|(hash, id)| (id, *hash)).collect();
            let (differ, agree) = sides(&said, 1);
            differ.len() > agree
        };
        assert!(!of(&[7, 7, 7]));
        assert!(of(&[8, 7, 7]));
        assert!(!of(&[7, 8, 7]), "it is the other that is wrong");
        assert!(of(&[7, 8]), "one of two is wrong, and nobody knows which");
        assert!(!of(&[7]), "nobody answers");
    }
}
