//! How many are enough.
//!
//! A *quorum* is a set of voters that meets every other quorum, so that what one has seen, the next
//! cannot miss. Of `n` voters it is any `n/2 + 1`. While a group moves from one set of voters to
//! another, a quorum is one of each set at once (joint consensus, Raft §6).
//!
//! Two questions cover all that the protocol asks:
//!
//! * who said yes: [`Quorum::verdict`] over votes, where silence may still become either;
//! * how far: [`Quorum::reached`] over numbers, the greatest that a quorum has reached. Commit
//!   indexes, rounds of heartbeats and the times of contact are all such numbers.

use alloc::vec::Vec;

use crate::types::NodeId;

/// What a count of votes comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A quorum said yes.
    Won,
    /// So many said no that no quorum can say yes any more.
    Lost,
    /// Neither yet.
    Open,
}

/// The voters whose word counts: one majority, or one of each of two sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quorum<'a> {
    incoming: &'a [NodeId],
    outgoing: &'a [NodeId],
}

impl<'a> Quorum<'a> {
    /// A quorum of `incoming`, and of `outgoing` too unless that is empty.
    pub(crate) fn new(incoming: &'a [NodeId], outgoing: &'a [NodeId]) -> Quorum<'a> {
        Quorum { incoming, outgoing }
    }

    /// What the votes come to; `vote` says `None` for who has not answered.
    pub(crate) fn verdict(self, vote: impl Fn(NodeId) -> Option<bool>) -> Verdict {
        if self.incoming.is_empty() {
            // A node that does not know the members yet decides nothing.
            return Verdict::Lost;
        }
        match (majority(self.incoming, &vote), majority(self.outgoing, &vote)) {
            (Verdict::Lost, _) | (_, Verdict::Lost) => Verdict::Lost,
            (Verdict::Won, Verdict::Won) => Verdict::Won,
            _ => Verdict::Open,
        }
    }

    /// The greatest number that a quorum has reached.
    ///
    /// Nothing is remembered between calls: a count kept up step by step goes wrong in silence
    /// when acknowledgements come in an order that nobody thought of.
    pub(crate) fn reached(self, value: impl Fn(NodeId) -> u64) -> u64 {
        if self.incoming.is_empty() {
            return 0;
        }
        reached_by_majority(self.incoming, &value).min(reached_by_majority(self.outgoing, &value))
    }
}

/// Of an empty set everything is true: here it stands for "no second set".
fn majority(voters: &[NodeId], vote: &impl Fn(NodeId) -> Option<bool>) -> Verdict {
    let (mut yes, mut no) = (0, 0);
    for voter in voters {
        match vote(*voter) {
            Some(true) => yes += 1,
            Some(false) => no += 1,
            None => {}
        }
    }
    let enough = voters.len() / 2 + 1;
    if voters.is_empty() || yes >= enough {
        Verdict::Won
    } else if voters.len() - no < enough {
        Verdict::Lost
    } else {
        Verdict::Open
    }
}

/// Sets of up to this many voters are sorted on the stack.
const SMALL: usize = 9;

fn reached_by_majority(voters: &[NodeId], value: &impl Fn(NodeId) -> u64) -> u64 {
    if voters.is_empty() {
        return u64::MAX;
    }
    if let &[a, b, c] = voters {
        // Nearly every group: of three, the one in the middle.
        let (a, b, c) = (value(a), value(b), value(c));
        return a.min(b).max(a.max(b).min(c));
    }
    let enough = voters.len() / 2 + 1;
    let mut few = [0; SMALL];
    let mut many = Vec::new();
    let values = match few.get_mut(..voters.len()) {
        Some(few) => few,
        None => {
            many.resize(voters.len(), 0);
            &mut many[..]
        }
    };
    for (slot, voter) in values.iter_mut().zip(voters) {
        *slot = value(*voter);
    }
    values.sort_unstable();
    values[voters.len() - enough]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that matters of a quorum: any two have a voter in common, and joint ones do so with the
    /// quorums of either side.
    #[test]
    fn any_two_quorums_meet() {
        let sets: [(&[NodeId], &[NodeId]); 5] = [
            (&[1], &[]),
            (&[1, 2, 3], &[]),
            (&[1, 2, 3, 4], &[]),
            (&[1, 2, 3], &[3, 4, 5]),
            (&[4], &[1, 2]),
        ];
        for (incoming, outgoing) in sets {
            let quorum = Quorum::new(incoming, outgoing);
            let wins = |set: u32| quorum.verdict(|id| Some(set & (1 << id) != 0)) == Verdict::Won;
            for a in 0..64_u32 {
                for b in 0..64 {
                    let met = incoming.iter().chain(outgoing).any(|id| a & b & (1 << id) != 0);
                    assert!(!(wins(a) && wins(b)) || met, "{quorum:?} {a:b} {b:b}");
                }
            }
        }
    }

    /// The two questions are one: a number is reached when those at or above it win a vote.
    #[test]
    fn what_is_reached_is_what_would_win() {
        let mut seed = 7_u64;
        for round in 0..20_000 {
            let mut draw = |below: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 33) % below
            };
            let voters: Vec<NodeId> = (1..=1 + draw(11)).collect();
            let old: Vec<NodeId> = (3..3 + draw(5)).collect();
            let values: Vec<u64> = (0..20).map(|_| draw(6)).collect();
            let value = |id: NodeId| values[usize::try_from(id).unwrap()];
            let quorum = Quorum::new(&voters, &old);
            let wins = |at: u64| quorum.verdict(|id| Some(value(id) >= at)) == Verdict::Won;
            let reached = quorum.reached(value);
            assert!(
                wins(reached) && !wins(reached + 1),
                "round {round}: {voters:?} {old:?} {values:?}"
            );
        }
    }

    /// Who knows of no members must not elect itself, nor commit.
    #[test]
    fn nobody_is_no_quorum() {
        let quorum = Quorum::new(&[], &[]);
        assert_eq!(quorum.verdict(|_| Some(true)), Verdict::Lost);
        assert_eq!(quorum.reached(|_| 7), 0);
    }

    /// A lost vote is called as soon as no quorum can say yes, and not before.
    #[test]
    fn a_vote_is_lost_when_it_cannot_be_won() {
        let quorum = Quorum::new(&[1, 2, 3, 4], &[]);
        let no_from =
            |no: &'static [NodeId]| quorum.verdict(|id| no.contains(&id).then_some(false));
        assert_eq!(no_from(&[1]), Verdict::Open);
        assert_eq!(no_from(&[1, 2]), Verdict::Lost, "three of four are needed");
    }
}
