//! The search for an order: depth first, with a memory of where it has been.
//!
//! ```text
//!     returned, by call    1 1 1 1 0 1 0 0 0 …       placed or not
//!                                  ▲   ▲
//!                                low   only from here to the first call behind the earliest
//!                                      return of one that is not placed
//! ```
//!
//! An operation may be placed next if no other that is not placed has returned before it was
//! called. A configuration is (low, the bits behind it, state) and the set of unknown operations
//! that were used to get there; it need not be entered if one with a subset of these was.

use std::collections::HashMap;
use std::mem;

use smallvec::SmallVec;

use super::tokens::{Token, Tokens};
use super::{Model, Op};
use crate::history::Outcome;

/// What a search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Order,
    None,
    Limit,
}

/// An operation to place: one that returned, by its place among those, or an unknown one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    Returned(u32),
    Unknown(u32),
}

/// Bits of a set, 64 to a word.
type Words = SmallVec<[u64; 2]>;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Configuration<S> {
    low: usize,
    /// From the word of `low` to that of the last that is placed.
    bits: Words,
    state: S,
}

/// One level of the search: what may be placed here, and how to undo what led here.
#[derive(Debug)]
struct Level<S> {
    picks: SmallVec<[Pick; 8]>,
    next: usize,
    /// Whether the unknown ones are among the picks already.
    whole: bool,
    /// What was placed to get here, and the state before that.
    came: Option<(Pick, S)>,
    low: usize,
    high: usize,
    token: Token,
}

/// An operation with its return.
#[derive(Debug)]
pub(super) struct Call<'a, M: Model> {
    pub(super) operation: &'a Op<M>,
    pub(super) returned: u64,
    pub(super) ret: &'a M::Ret,
    /// Whether it may have changed the state.
    pub(super) changes: bool,
}

/// A search over one part of a history.
///
/// Invariants:
/// * All of `calls[..low]` are placed, and `calls[low]` is not.
/// * No call at or behind `high` is placed.
/// * `state` is what the picks on the levels lead to, in that order.
#[derive(Debug)]
pub(super) struct Search<'a, M: Model> {
    /// Those that returned, in the order of their calls.
    calls: Vec<Call<'a, M>>,
    /// Those of unknown outcome, in the order of their calls, each with the first that is equal.
    unknown: Vec<(&'a Op<M>, usize)>,
    placed: Vec<u64>,
    used: Words,
    low: usize,
    high: usize,
    state: M::State,
    /// The number of the state.
    token: Token,
    tokens: Tokens,
    levels: Vec<Level<M::State>>,
    seen: HashMap<Configuration<M::State>, SmallVec<[Words; 1]>>,
    visited: u64,
    limit: u64,
}

impl<'a, M: Model> Search<'a, M> {
    /// A search over what had happened by `until`: what returned later is unknown then.
    pub(super) fn new(part: &[&'a Op<M>], until: u64, limit: u64) -> Search<'a, M> {
        let (mut calls, mut open) = (Vec::new(), Vec::new());
        for operation in part.iter().copied().filter(|operation| operation.invoked <= until) {
            match &operation.outcome {
                Outcome::Returned { at, ret } if *at <= until => {
                    let changes = M::changes(&operation.op, Some(ret));
                    calls.push(Call { operation, returned: *at, ret, changes });
                }
                Outcome::Failed => {}
                _ => open.push(operation),
            }
        }
        calls.sort_by_key(|call: &Call<'a, M>| call.operation.invoked);
        open.sort_by_key(|operation| operation.invoked);
        let returned: Vec<_> = calls.iter().map(|call| (&call.operation.op, call.ret)).collect();
        open.retain(|one| M::changes(&one.op, None) && M::shows(&one.op, &returned));
        let begin = M::begin(&returned);
        let tokens = Tokens::new(&begin, &calls, &mut open);
        let first = |place: usize| (0..place).find(|other| open[*other].op == open[place].op);
        let unknown: Vec<(&Op<M>, usize)> =
            (0..open.len()).map(|place| (open[place], first(place).unwrap_or(place))).collect();
        Search {
            placed: vec![0; calls.len() / 64 + 1],
            used: SmallVec::from_elem(0, unknown.len().div_ceil(64)),
            calls,
            unknown,
            low: 0,
            high: 0,
            state: begin,
            token: 0,
            tokens,
            levels: Vec::new(),
            seen: HashMap::new(),
            visited: 0,
            limit,
        }
    }

    /// How many configurations were entered.
    pub(super) fn visited(&self) -> u64 {
        self.visited
    }

    pub(super) fn calls(&self) -> &[Call<'a, M>] {
        &self.calls
    }

    pub(super) fn unknown(&self, place: u32) -> &'a Op<M> {
        self.unknown[place as usize].0
    }

    /// The state that the order leads to.
    pub(super) fn state(&self) -> &M::State {
        &self.state
    }

    /// The order that was found.
    pub(super) fn order(&self) -> Vec<Pick> {
        let came = self.levels.iter().filter_map(|level| level.came.as_ref());
        came.map(|(pick, _)| *pick).collect()
    }

    /// Searches until there is an order, or there is none, or the limit is reached.
    pub(super) fn run(&mut self) -> Found {
        self.enter(None);
        while self.low < self.calls.len() {
            #[cfg(test)]
            self.check();
            let Some(pick) = self.pick() else {
                if !self.leave() {
                    return Found::None;
                }
                continue;
            };
            let Some(next) = self.outcome(pick) else { continue };
            let (before, left) = (mem::replace(&mut self.state, next), self.token);
            self.put(pick);
            if self.leads_nowhere(left) || !self.is_new() {
                self.take(pick, before);
                continue;
            }
            self.visited += 1;
            if self.visited > self.limit {
                return Found::Limit;
            }
            self.enter(Some((pick, before)));
        }
        Found::Order
    }

    /// The next thing to try on this level.
    fn pick(&mut self) -> Option<Pick> {
        let level = self.levels.last_mut().expect("a search begins on a level");
        if level.next == level.picks.len() && !level.whole {
            level.whole = true;
            self.add_unknown();
        }
        let level = self.levels.last_mut().expect("as above");
        let pick = level.picks.get(level.next).copied();
        level.next += 1;
        pick
    }

    /// The state after `pick`, if it may come here.
    fn outcome(&self, pick: Pick) -> Option<M::State> {
        match pick {
            Pick::Returned(place) => {
                let call = &self.calls[place as usize];
                M::admits(&self.state, &call.operation.op, call.ret)
            }
            Pick::Unknown(place) => {
                let next = M::effect(&self.state, &self.unknown(place).op);
                // One that changes nothing is better kept.
                next.filter(|next| *next != self.state)
            }
        }
    }

    /// Opens a level for the configuration that `came` led to.
    fn enter(&mut self, came: Option<(Pick, M::State)>) {
        let Search { low, high, token, .. } = *self;
        let picks = SmallVec::new();
        let mut level = Level { picks, next: 0, whole: false, came, low, high, token };
        for place in self.window() {
            let call = &self.calls[place];
            let unnoticed = match call.changes {
                true => self.tokens.hides(place, token),
                false => M::admits(&self.state, &call.operation.op, call.ret).is_some(),
            };
            if call.changes && !unnoticed {
                level.picks.push(Pick::Returned(place as u32));
            } else if unnoticed {
                // Whatever order there is, there is one with this next.
                level.picks.clear();
                level.picks.push(Pick::Returned(place as u32));
                level.whole = true;
                break;
            }
        }
        // Who had to be done first most likely was.
        level.picks.sort_by_key(|pick| match pick {
            Pick::Returned(place) => self.calls[*place as usize].returned,
            Pick::Unknown(_) => u64::MAX,
        });
        self.levels.push(level);
    }

    /// Gives up this level, and undoes what led to it. False if it was the first.
    fn leave(&mut self) -> bool {
        let level = self.levels.pop().expect("a search begins on a level");
        let Some((pick, before)) = level.came else { return false };
        self.take(pick, before);
        true
    }

    /// Adds the unknown operations that may come here to the picks of this level.
    fn add_unknown(&mut self) {
        let (bound, window) = (self.bound(), self.window().collect::<Vec<usize>>());
        let mut tried = vec![false; self.unknown.len()];
        let mut picks = SmallVec::<[Pick; 8]>::new();
        for (place, (operation, first)) in self.unknown.iter().enumerate() {
            if operation.invoked > bound {
                break;
            }
            let used = self.used[place / 64] >> (place % 64) & 1 == 1;
            // Equal ones that may both come are one and the same.
            if !used
                && self.tokens.helps(place, self.token, &window)
                && !mem::replace(&mut tried[*first], true)
            {
                picks.push(Pick::Unknown(place as u32));
            }
        }
        self.levels.last_mut().expect("a search begins on a level").picks.extend(picks);
    }

    /// Whether the state that was just `left` or that was just reached rules out every order.
    fn leads_nowhere(&self, left: Token) -> bool {
        self.tokens.strands(left, self.token)
            || left != self.token && self.tokens.is_barren(self.token, self.window())
    }

    /// The calls that may be placed next.
    fn window(&self) -> impl Iterator<Item = usize> {
        let bound = self.bound();
        let waits = move |place: &usize| self.calls[*place].operation.invoked <= bound;
        (self.low..self.calls.len()).take_while(waits).filter(|place| !self.is_placed(*place))
    }

    /// The earliest return of a call that is not placed: what was called later has to wait.
    fn bound(&self) -> u64 {
        let mut bound = u64::MAX;
        for place in self.low..self.calls.len() {
            let call = &self.calls[place];
            if call.operation.invoked > bound {
                break;
            }
            if !self.is_placed(place) {
                bound = bound.min(call.returned);
            }
        }
        bound
    }

    fn is_placed(&self, place: usize) -> bool {
        self.placed[place / 64] >> (place % 64) & 1 == 1
    }

    fn put(&mut self, pick: Pick) {
        self.token = self.tokens.put(pick, self.token);
        match pick {
            Pick::Returned(place) => {
                let place = place as usize;
                self.placed[place / 64] |= 1 << (place % 64);
                self.high = self.high.max(place + 1);
                while self.low < self.calls.len() && self.is_placed(self.low) {
                    self.low += 1;
                }
            }
            Pick::Unknown(place) => self.used[place as usize / 64] |= 1 << (place % 64),
        }
    }

    /// Undoes `put` on the way back to the level below, or when the level was not opened.
    fn take(&mut self, pick: Pick, before: M::State) {
        match pick {
            Pick::Returned(place) => self.placed[place as usize / 64] &= !(1 << (place % 64)),
            Pick::Unknown(place) => self.used[place as usize / 64] &= !(1 << (place % 64)),
        }
        self.tokens.take(pick);
        let below = self.levels.last().expect("something was placed from a level");
        (self.low, self.high, self.token) = (below.low, below.high, below.token);
        self.state = before;
    }

    /// Asserts the invariants above.
    #[cfg(test)]
    fn check(&self) {
        let place = (0..self.calls.len()).find(|place| !self.is_placed(*place));
        assert_eq!(place, Some(self.low), "the first that is not placed is at low");
        let behind = (self.high..self.calls.len()).find(|place| self.is_placed(*place));
        assert_eq!(behind, None, "nothing is placed behind high");
        let came = self.levels.last().and_then(|level| level.came.as_ref());
        let Some((pick, before)) = came else { return };
        let after = match pick {
            Pick::Returned(place) => {
                let call = &self.calls[*place as usize];
                M::admits(before, &call.operation.op, call.ret)
            }
            Pick::Unknown(place) => M::effect(before, &self.unknown(*place).op),
        };
        assert!(after.as_ref() == Some(&self.state), "the last pick leads to the state");
    }

    /// Whether this configuration is worth entering, which is then remembered.
    fn is_new(&mut self) -> bool {
        let first = self.low / 64;
        let last = self.high.div_ceil(64).max(first);
        let bits = Words::from_slice(&self.placed[first..last]);
        let key = Configuration { low: self.low, bits, state: self.state.clone() };
        let sets = self.seen.entry(key).or_default();
        let within = |less: &Words, more: &Words| {
            less.iter().zip(more).all(|(less, more)| less & !more == 0)
        };
        if sets.iter().any(|set| within(set, &self.used)) {
            return false;
        }
        sets.retain(|set| !within(&self.used, set));
        sets.push(self.used.clone());
        true
    }
}
