//! Which endpoint a connection goes to.
//!
//! ```text
//!   active ones of the best priority ──┬── some have weights: by lot, as heavy as they weigh;
//!                                      │   one draw in a hundred is for those without
//!                                      └── none has: in turn
//! ```
//!
//! That is RFC 2782, and etcd's reading of "a very small chance" for a weight of 0.

use crate::srv::Record;

/// One draw in so many is for endpoints of weight 0, where others have weights.
const WEIGHTLESS_SHARE: u32 = 100;

/// The endpoints.
#[derive(Debug)]
pub(super) struct Balance {
    remotes: Vec<Remote>,
    /// Where the next turn begins.
    turn: usize,
}

#[derive(Debug)]
struct Remote {
    record: Record,
    active: bool,
}

impl Balance {
    /// All are thought to be there.
    pub(super) fn new(records: Vec<Record>) -> Balance {
        let remotes = records.into_iter().map(|record| Remote { record, active: true });
        Balance { remotes: remotes.collect(), turn: 0 }
    }

    /// Where an endpoint is.
    pub(super) fn record(&self, number: usize) -> &Record {
        &self.remotes[number].record
    }

    /// Takes note of whether an endpoint can be reached; whether that is news.
    pub(super) fn mark(&mut self, number: usize, active: bool) -> bool {
        std::mem::replace(&mut self.remotes[number].active, active) != active
    }

    /// The endpoints that could not be reached.
    pub(super) fn inactive(&self) -> Vec<usize> {
        self.numbers(|remote| !remote.active)
    }

    /// The endpoint for the next connection, if any is active. `draw` gives a number below another.
    pub(super) fn pick(&mut self, mut draw: impl FnMut(u32) -> u32) -> Option<usize> {
        let active = self.remotes.iter().filter(|remote| remote.active);
        let best = active.map(|remote| remote.record.priority).min()?;
        let is_best = |remote: &Remote| remote.active && remote.record.priority == best;
        let weighted = self.numbers(|remote| is_best(remote) && remote.record.weight > 0);
        let weightless = self.numbers(|remote| is_best(remote) && remote.record.weight == 0);
        if weighted.is_empty() || (!weightless.is_empty() && draw(WEIGHTLESS_SHARE) == 0) {
            let next = weightless.iter().find(|number| **number >= self.turn);
            let number = *next.or(weightless.first()).expect("one of the two lists has somebody");
            self.turn = number + 1;
            return Some(number);
        }
        let weight = |number: &usize| u32::from(self.remotes[*number].record.weight);
        let mut lot = draw(weighted.iter().map(weight).sum());
        let mut drawn = weighted.iter().filter(|number| {
            let (weight, before) = (weight(number), lot);
            lot = lot.saturating_sub(weight);
            before < weight
        });
        drawn.next().copied()
    }

    fn numbers(&self, is_meant: impl Fn(&Remote) -> bool) -> Vec<usize> {
        (0..self.remotes.len()).filter(|number| is_meant(&self.remotes[*number])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(shares: &[(u16, u16)]) -> Balance {
        let record = |(at, (priority, weight)): (usize, &(u16, u16))| Record {
            priority: *priority,
            target: format!("m{at}"),
            port: 1,
            weight: *weight,
        };
        Balance::new(shares.iter().enumerate().map(record).collect())
    }

    /// Nobody draws where all have turns.
    fn turn(balance: &mut Balance) -> Option<usize> {
        balance.pick(|_| panic!("there is nothing to draw"))
    }

    // One that is away must not take the turns of the others, nor get two when it is back.
    #[test]
    fn endpoints_without_weights_take_turns() {
        let mut all = balance(&[(0, 0), (0, 0), (0, 0)]);
        let turns: Vec<_> = (0..4).map(|_| turn(&mut all).unwrap()).collect();
        assert_eq!(turns, [0, 1, 2, 0]);
        assert!(all.mark(1, false) && !all.mark(1, false));
        let turns: Vec<_> = (0..3).map(|_| turn(&mut all).unwrap()).collect();
        assert_eq!((turns, all.inactive()), (vec![2, 0, 2], vec![1]));
        assert!(all.mark(1, true));
        assert_eq!(turn(&mut all), Some(0));
        for number in 0..3 {
            all.mark(number, false);
        }
        assert_eq!(turn(&mut all), None);
    }

    // Whoever has a spare room far away wants nobody in it while there is room at home.
    #[test]
    fn lower_priority_goes_first_and_the_next_only_without_it() {
        let mut all = balance(&[(2, 0), (1, 0), (1, 0), (2, 5)]);
        let turns: Vec<_> = (0..3).map(|_| turn(&mut all).unwrap()).collect();
        assert_eq!(turns, [1, 2, 1]);
        all.mark(1, false);
        all.mark(2, false);
        // One in a hundred is for weight 0.
        assert_eq!(all.pick(|below| u32::from(below != 100)), Some(0));
        assert_eq!(all.pick(|_| 1), Some(3));
    }

    // Every lot, once: each endpoint has as many as it weighs.
    #[test]
    fn weights_are_shares() {
        let mut all = balance(&[(0, 3), (0, 1), (0, 6)]);
        let mut shares = [0; 3];
        for lot in 0..10 {
            let drawn = all.pick(|below| {
                assert_eq!(below, 10);
                lot
            });
            shares[drawn.unwrap()] += 1;
        }
        assert_eq!(shares, [3, 1, 6]);
    }
}
