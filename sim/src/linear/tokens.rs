//! Who makes a state, and who needs it: what a register's search need not try.
//!
//! A read of 7 can only stand where the register holds 7. So of a machine whose operations each
//! make one state, or need one, three things can be told that spare a search nearly everything:
//!
//! * **Stranded.** A state must not be left while somebody still needs it and nobody can make it
//!   again.
//! * **Hidden.** A write of something that nobody ever saw can stand anywhere in front of another
//!   write. So it is placed as soon as nobody needs what is there; and if its outcome is unknown,
//!   it is left out.
//! * **Barren.** A state that somebody needs and nobody can make again is of use only to one who
//!   can be placed in it at once; so is an unknown operation.
//!
//! The second holds only if every operation that changes nothing says what it needs: a swap that
//! failed needs "anything but 7", and may be the only one to notice a write that nobody read.

use std::collections::HashMap;

use super::search::{Call, Pick};
use super::{Model, Op};

/// The number of a state.
pub(super) type Token = usize;

/// What one operation needs and makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Trade {
    needs: Option<Token>,
    avoids: Option<Token>,
    makes: Option<Token>,
}

/// The states that operations of a part need and make.
///
/// Invariants, unless they are of no use:
/// * `wanted[t]` is the number of calls to be placed that need state t, `hoped[t]` that of unknown
///   operations not used that can change something in it, and `offered[t]` that of either that can
///   make it.
#[derive(Debug)]
pub(super) struct Tokens {
    /// Whether every operation says what it makes.
    useful: bool,
    /// Whether every operation that changes nothing says what it needs.
    hiding: bool,
    /// Whether every operation that changes nothing says what it needs or avoids.
    telling: bool,
    wanted: Vec<u32>,
    offered: Vec<u32>,
    hoped: Vec<u32>,
    /// Whether anybody needs the state, placed or not.
    seen: Vec<bool>,
    calls: Vec<Trade>,
    unknown: Vec<Trade>,
}

impl Tokens {
    /// The tokens of a part that begins in `begin`, which is token 0. Unknown operations that can
    /// only hide are taken out of `open`.
    pub(super) fn new<M: Model>(
        begin: &M::State,
        calls: &[Call<'_, M>],
        open: &mut Vec<&Op<M>>,
    ) -> Tokens {
        let mut numbers = HashMap::from([(begin.clone(), 0)]);
        let mut number = |state: Option<M::State>| {
            let next = numbers.len();
            state.map(|state| *numbers.entry(state).or_insert(next))
        };
        let mut trades = Vec::new();
        for call in calls {
            let (op, ret) = (&call.operation.op, Some(call.ret));
            let makes = if call.changes { M::makes(op) } else { None };
            let (needs, avoids) = (M::needs(op, ret), M::avoids(op, call.ret));
            let (needs, avoids) = (number(needs), number(avoids));
            trades.push(Trade { needs, avoids, makes: number(makes) });
        }
        let mut unknown: Vec<Trade> = Vec::new();
        for operation in open.iter() {
            let needs = number(M::needs(&operation.op, None));
            let makes = number(M::makes(&operation.op));
            unknown.push(Trade { needs, avoids: None, makes });
        }
        let pairs = calls.iter().zip(&trades);
        let useful = pairs.clone().all(|(call, trade)| !call.changes || trade.makes.is_some())
            && unknown.iter().all(|trade| trade.makes.is_some());
        let mut tokens = Tokens {
            useful,
            hiding: pairs.clone().all(|(call, trade)| call.changes || trade.needs.is_some()),
            telling: pairs.clone().all(|(call, trade)| {
                call.changes || trade.needs.is_some() || trade.avoids.is_some()
            }),
            wanted: vec![0; numbers.len()],
            offered: vec![0; numbers.len()],
            hoped: vec![0; numbers.len()],
            seen: vec![false; numbers.len()],
            calls: trades,
            unknown,
        };
        tokens.count(open);
        tokens
    }

    fn count<O>(&mut self, open: &mut Vec<O>) {
        if !self.useful {
            return;
        }
        for token in self.calls.iter().filter_map(|trade| trade.needs) {
            self.wanted[token] += 1;
        }
        for token in self.calls.iter().chain(&self.unknown).filter_map(|trade| trade.needs) {
            self.seen[token] = true;
        }
        if self.hiding {
            let shows = |trade: &Trade| trade.makes.is_some_and(|token| self.seen[token]);
            let mut kept = self.unknown.iter().map(shows);
            open.retain(|_| kept.next().expect("there is a trade for each"));
            let seen = &self.seen;
            self.unknown.retain(|trade| trade.makes.is_some_and(|token| seen[token]));
        }
        for token in self.unknown.iter().filter_map(|trade| trade.needs) {
            self.hoped[token] += 1;
        }
        for token in self.calls.iter().chain(&self.unknown).filter_map(|trade| trade.makes) {
            self.offered[token] += 1;
        }
    }

    /// `pick` is placed in state `now`; returns the state behind it.
    pub(super) fn put(&mut self, pick: Pick, now: Token) -> Token {
        if !self.useful {
            return now;
        }
        let Trade { needs, makes, .. } = self.trade(pick);
        if let Some(token) = needs {
            *self.need(pick, token) -= 1;
        }
        if let Some(token) = makes {
            self.offered[token] -= 1;
        }
        makes.unwrap_or(now)
    }

    /// Undoes `put`.
    pub(super) fn take(&mut self, pick: Pick) {
        if !self.useful {
            return;
        }
        let Trade { needs, makes, .. } = self.trade(pick);
        if let Some(token) = needs {
            *self.need(pick, token) += 1;
        }
        if let Some(token) = makes {
            self.offered[token] += 1;
        }
    }

    fn trade(&self, pick: Pick) -> Trade {
        match pick {
            Pick::Returned(place) => self.calls[place as usize],
            Pick::Unknown(place) => self.unknown[place as usize],
        }
    }

    fn need(&mut self, pick: Pick, token: Token) -> &mut u32 {
        match pick {
            Pick::Returned(_) => &mut self.wanted[token],
            Pick::Unknown(_) => &mut self.hoped[token],
        }
    }

    /// Whether somebody needs `left`, and nobody can make it any more.
    pub(super) fn strands(&self, left: Token, now: Token) -> bool {
        self.useful && left != now && self.wanted[left] > 0 && self.offered[left] == 0
    }

    /// Whether the state is one that somebody needs, that nobody can make again, and that nobody of
    /// the `window`, which may be placed next, can be placed in.
    pub(super) fn is_barren(&self, now: Token, mut window: impl Iterator<Item = usize>) -> bool {
        let stuck = self.useful && self.telling && self.wanted[now] > 0 && self.offered[now] == 0;
        let fits = |trade: &Trade| {
            trade.needs == Some(now) || trade.avoids.is_some_and(|avoided| avoided != now)
        };
        stuck && !window.any(|place| fits(&self.calls[place]))
    }

    /// Whether unknown operation number `place` may help in state `now`: somebody of the `window`,
    /// which may be placed next, needs what it makes or must get away from here.
    pub(super) fn helps(&self, place: usize, now: Token, window: &[usize]) -> bool {
        let Some(made) = self.unknown[place].makes.filter(|_| self.useful && self.telling) else {
            return true;
        };
        let glad = |trade: &Trade| trade.needs == Some(made) || trade.avoids == Some(now);
        self.hoped[made] > 0 || window.iter().any(|place| glad(&self.calls[*place]))
    }

    /// Whether call number `place` may as well be placed at once in state `now`.
    pub(super) fn hides(&self, place: usize, now: Token) -> bool {
        let Trade { needs, makes, .. } = self.calls[place];
        let unseen = makes.is_some_and(|token| !self.seen[token]);
        self.useful
            && self.hiding
            && needs.is_none()
            && unseen
            && self.wanted[now] + self.hoped[now] == 0
    }
}
