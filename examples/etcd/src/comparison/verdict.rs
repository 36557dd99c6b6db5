//! Who is wrong, of those who say different things.

use std::collections::BTreeMap;

use drystone_raft::NodeId;

/// What some members said, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All the same, or there was only one.
    Agree,
    /// A quorum of all members says the same, and these do not.
    Odd(Vec<NodeId>),
    /// They differ, and nobody knows who is right.
    Undecided,
}

/// Judges what members said, of a cluster of so many.
pub(super) fn judge(said: &BTreeMap<NodeId, u32>, members: usize) -> Verdict {
    let mut groups: BTreeMap<u32, usize> = BTreeMap::new();
    for hash in said.values() {
        *groups.entry(*hash).or_default() += 1;
    }
    if groups.len() <= 1 {
        return Verdict::Agree;
    }
    // Half of an even number is no quorum: two groups cannot both be one.
    match groups.iter().find(|(_, count)| **count > members / 2) {
        Some((right, _)) => {
            let odd = said.iter().filter(|(_, hash)| *hash != right);
            Verdict::Odd(odd.map(|(id, _)| *id).collect())
        }
        None => Verdict::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(hashes: &[u32], members: usize) -> Verdict {
        let said = hashes.iter().zip(1..).map(|(hash, id)| (id, *hash));
        judge(&said.collect(), members)
    }

    // To call the wrong one corrupt takes a sound member out of service.
    #[test]
    fn only_a_quorum_of_all_members_says_who_is_wrong() {
        assert_eq!(of(&[], 3), Verdict::Agree);
        assert_eq!(of(&[7], 3), Verdict::Agree);
        assert_eq!(of(&[7, 7, 7], 3), Verdict::Agree);
        assert_eq!(of(&[7, 8, 7], 3), Verdict::Odd(vec![2]));
        assert_eq!(of(&[8, 7, 7], 3), Verdict::Odd(vec![1]), "the one that asks may be it");
        assert_eq!(of(&[7, 8], 3), Verdict::Undecided, "one is away");
        assert_eq!(of(&[7, 8, 9], 3), Verdict::Undecided);
        assert_eq!(of(&[7, 7, 8, 8], 4), Verdict::Undecided);
        assert_eq!(of(&[7, 7, 8], 4), Verdict::Undecided, "two of four are no quorum");
        assert_eq!(of(&[7, 8, 7, 9, 7], 5), Verdict::Odd(vec![2, 4]));
    }
}
