//! The checker against every order that there is, on small random histories.
//!
//! The oracle is as dumb as can be: it knows no keys, no parts, no memory and no models of ours; it
//! tries all orders. To replay one history: `SEED=n cargo test -p drystone-sim --lib linear`.
//! `SLOW=1` runs a hundred times as many.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::search::Pick;
use super::*;
use crate::history::OpId;
use crate::rng::Rng;
use crate::seeds::Seeds;

/// Everything that a store of any kind holds.
type Store = BTreeMap<u64, Vec<u64>>;

/// Whether all that returned can be put behind `done` of the operations in some order.
fn orders<O, R: PartialEq>(
    operations: &[Operation<O, R>],
    done: &mut Vec<usize>,
    store: &Store,
    apply: &dyn Fn(&mut Store, &O) -> R,
) -> bool {
    let open = |place: &usize| !done.contains(place);
    let earliest =
        (0..operations.len()).filter(open).filter_map(|place| match &operations[place] {
            Operation { outcome: Outcome::Returned { at, .. }, .. } => Some(*at),
            _ => None,
        });
    let Some(earliest) = earliest.min() else { return true };
    let next: Vec<usize> = (0..operations.len()).filter(open).collect();
    for place in next {
        let operation = &operations[place];
        if operation.invoked > earliest || operation.outcome == Outcome::Failed {
            continue;
        }
        let mut after = store.clone();
        let answer = apply(&mut after, &operation.op);
        match &operation.outcome {
            Outcome::Returned { ret, .. } if *ret != answer => continue,
            _ => {}
        }
        done.push(place);
        if orders(operations, done, &after, apply) {
            return true;
        }
        done.pop();
    }
    false
}

/// A store that mostly does what it should: it may answer from the past, forget what it
/// acknowledged, or let something take effect that it said had failed.
struct Liar<O, R> {
    history: History<O, R>,
    /// Under way: not yet carried out, and carried out with an answer.
    waiting: Vec<(OpId, O)>,
    answers: Vec<(OpId, R)>,
    past: Vec<Store>,
}

fn lie<O: Clone, R>(
    rng: &mut Rng,
    draw: &dyn Fn(&mut Rng) -> O,
    apply: &dyn Fn(&mut Store, &O) -> R,
) -> History<O, R> {
    let mut liar = Liar {
        history: History::new(),
        waiting: Vec::new(),
        answers: Vec::new(),
        past: vec![Store::new()],
    };
    let width = rng.range(1..5) as usize;
    let (count, lies) = (rng.range(4..10), [0, 2, 5, 7][rng.below(4) as usize]);
    while liar.history.operations().len() < count as usize || !liar.answers.is_empty() {
        let full = liar.history.operations().len() == count as usize;
        match rng.below(10) {
            0..4 if !full && liar.waiting.len() + liar.answers.len() < width => {
                let op = draw(rng);
                let id = liar.history.invoke(rng.range(1..4), op.clone());
                liar.waiting.push((id, op));
            }
            4..7 if !liar.waiting.is_empty() => {
                let place = rng.below(liar.waiting.len() as u64) as usize;
                let (id, op) = liar.waiting.swap_remove(place);
                let now = liar.past.len() - 1;
                let seen =
                    if rng.below(8) < lies { rng.below(now as u64 + 1) as usize } else { now };
                let mut store = liar.past[seen].clone();
                let answer = apply(&mut store, &op);
                if rng.below(8) >= lies {
                    liar.past.push(store);
                }
                match rng.below(12) {
                    0 => {}
                    1 if lies > 0 => liar.history.failed(id),
                    _ => liar.answers.push((id, answer)),
                }
            }
            7 if !liar.waiting.is_empty() && rng.below(4) == 0 => {
                let (id, _) = liar.waiting.swap_remove(0);
                if rng.below(2) == 0 {
                    liar.history.failed(id);
                }
            }
            8.. if !liar.answers.is_empty() => {
                let place = rng.below(liar.answers.len() as u64) as usize;
                let (id, answer) = liar.answers.swap_remove(place);
                liar.history.returned(id, answer);
            }
            _ => {}
        }
    }
    liar.history
}

/// Replays the order that a search found: it must respect time, and give every answer.
fn check_order<M: Model>(search: &Search<'_, M>) {
    let mut state = M::initial();
    let mut latest = 0;
    let mut count = 0;
    for pick in search.order() {
        match pick {
            Pick::Returned(place) => {
                let call = &search.calls()[place as usize];
                assert!(call.returned >= latest, "it had returned before another was called");
                latest = latest.max(call.operation.invoked);
                assert!(M::apply(&mut state, &call.operation.op) == *call.ret);
                count += 1;
            }
            Pick::Unknown(place) => {
                latest = latest.max(search.unknown(place).invoked);
                M::apply(&mut state, &search.unknown(place).op);
            }
        }
    }
    assert_eq!(count, search.calls().len(), "all that returned are in the order");
}

/// Compares the checker with the oracle on thousands of histories.
fn compare<M: Model>(
    draw: impl Fn(&mut Rng) -> M::Op,
    apply: impl Fn(&mut Store, &M::Op) -> M::Ret,
) {
    let (sound, bad) = (Cell::new(0_u32), Cell::new(0_u32));
    let seeds = Seeds::new("cargo test -p drystone-sim --lib linear", 10_000);
    seeds.run(|seed| {
        let history = lie(&mut seed.rng("history"), &draw, &apply);
        let operations = history.operations();
        let expected = orders(operations, &mut Vec::new(), &Store::new(), &apply);
        match check::<M>(&history) {
            Verdict::Linearizable => {
                assert!(expected, "there is no order: {operations:#?}");
                sound.set(sound.get() + 1);
                for part in parts::parts::<M>(operations) {
                    let mut search = Search::<M>::new(&part, u64::MAX, u64::MAX);
                    assert_eq!(search.run(), Found::Order);
                    check_order(&search);
                }
            }
            Verdict::Violation(violation) => {
                assert!(!expected, "there is an order: {operations:#?}");
                bad.set(bad.get() + 1);
                assert!(!violation.unplaced().is_empty() && violation.to_string().contains('?'));
                check_shortest(&history, &violation, &apply);
            }
            Verdict::Unknown { .. } => panic!("{operations:#?} is small"),
        }
    });
    let (sound, bad) = (sound.get(), bad.get());
    let one = std::env::var_os("SEED").is_some();
    assert!(one || sound.min(bad) > (sound + bad) / 10, "{sound} sound, {bad} bad");
}

/// The prefix that is shown has no order, and the one before it has.
fn check_shortest<M: Model>(
    history: &History<M::Op, M::Ret>,
    violation: &Violation<M>,
    apply: &dyn Fn(&mut Store, &M::Op) -> M::Ret,
) {
    let prefix = |until: u64| {
        let before = history.operations().iter().filter(|operation| operation.invoked <= until);
        let cut = before.cloned().map(|mut operation| {
            if matches!(operation.outcome, Outcome::Returned { at, .. } if at > until) {
                operation.outcome = Outcome::Unknown;
            }
            operation
        });
        cut.collect::<Vec<_>>()
    };
    let until = violation.until();
    assert!(!orders(&prefix(until), &mut Vec::new(), &Store::new(), apply), "it has an order");
    // Parts without a common key are judged apart, so another part may be bad even earlier.
    if parts::parts::<M>(history.operations()).len() == 1 {
        let before = orders(&prefix(until - 1), &mut Vec::new(), &Store::new(), apply);
        assert!(before, "a shorter prefix has no order either");
    }
}

// A wrong "yes" hides a bug, a wrong "no" costs a day.
#[test]
fn registers_are_judged_as_by_trying_every_order() {
    use register::{Op, Register, Ret};
    let draw = |rng: &mut Rng| {
        let (key, value) = (rng.below(3) / 2, rng.below(3));
        match rng.below(5) {
            0 | 1 => Op::Read(key),
            2 | 3 => Op::Write(key, value),
            _ => Op::Cas { key, old: (rng.below(4) > 0).then(|| rng.below(3)), new: value },
        }
    };
    compare::<Register<u64, u64>>(draw, |store, op| match op {
        Op::Read(key) => Ret::Value(store.get(key).map(|values| values[0])),
        Op::Write(key, value) => {
            store.insert(*key, vec![*value]);
            Ret::Written
        }
        Op::Cas { key, old, new } => {
            if store.get(key).map(|values| values[0]) != *old {
                return Ret::Swapped(false);
            }
            store.insert(*key, vec![*new]);
            Ret::Swapped(true)
        }
    });
}

#[test]
fn transactions_are_judged_as_by_trying_every_order() {
    use txn::{Action, Compare, Op, Ret, Txn};
    let action = |rng: &mut Rng| match rng.below(5) {
        0 | 1 => Action::Get(rng.below(3)),
        2 | 3 => Action::Put(rng.below(3), rng.below(3)),
        _ => Action::Delete(rng.below(3)),
    };
    let draw = |rng: &mut Rng| {
        let compare = (0..rng.below(2)).map(|_| match rng.below(4) {
            0 => Compare::Absent(rng.below(3)),
            1 => Compare::Present(rng.below(3)),
            2 => Compare::Is(rng.below(3), rng.below(3)),
            _ => Compare::IsNot(rng.below(3), rng.below(3)),
        });
        let compare = compare.collect();
        let then = (0..rng.range(1..3)).map(|_| action(rng)).collect();
        Op { compare, then, otherwise: (0..rng.below(2)).map(|_| action(rng)).collect() }
    };
    compare::<Txn<u64, u64>>(draw, |store, op| {
        let value = |store: &Store, key: &u64| store.get(key).map(|values| values[0]);
        let mut succeeded = true;
        for compare in &op.compare {
            succeeded &= match compare {
                Compare::Absent(key) => value(store, key).is_none(),
                Compare::Present(key) => value(store, key).is_some(),
                Compare::Is(key, other) => value(store, key) == Some(*other),
                Compare::IsNot(key, other) => value(store, key) != Some(*other),
            };
        }
        let mut values = Vec::new();
        for action in if succeeded { &op.then } else { &op.otherwise } {
            match action {
                Action::Get(key) => values.push(value(store, key)),
                Action::Put(key, value) => drop(store.insert(*key, vec![*value])),
                Action::Delete(key) => drop(store.remove(key)),
            }
        }
        Ret { succeeded, values }
    });
}

#[test]
fn lists_are_judged_as_by_trying_every_order() {
    use list::{List, Op, Ret};
    // Few values, so that the same one is appended twice now and then.
    let draw = |rng: &mut Rng| match rng.below(2) {
        0 => Op::Append(rng.below(3) / 2, rng.below(4)),
        _ => Op::Read(rng.below(3) / 2),
    };
    compare::<List<u64, u64>>(draw, |store, op| match op {
        Op::Append(key, value) => {
            store.entry(*key).or_default().push(*value);
            Ret::Appended
        }
        Op::Read(key) => Ret::Values(store.get(key).cloned().unwrap_or_default()),
    });
}

// A search that is given up says so, whatever it has seen so far.
#[test]
fn a_limit_ends_the_search_without_a_verdict() {
    use txn::{Action, Op, Ret, Txn};
    let mut history = History::new();
    let put = |value| Op::always(vec![Action::Put(0, value)]);
    let ids: Vec<OpId> = (0..12).map(|value| history.invoke(value, put(value))).collect();
    for id in ids {
        history.returned(id, Ret { succeeded: true, values: Vec::new() });
    }
    let read = history.invoke(0, Op::always(vec![Action::Get(0)]));
    history.returned(read, Ret { succeeded: true, values: vec![Some(77)] });
    for limit in [0, 1, 10, 1000] {
        let verdict = check_within::<Txn<u64, u64>>(&history, limit);
        let counted = |verdict: &Verdict<_>| match verdict {
            Verdict::Unknown { configurations } => Some(*configurations),
            _ => None,
        };
        assert_eq!(counted(&verdict), Some(limit));
    }
    let verdict = check_within::<Txn<u64, u64>>(&history, 1_000_000);
    assert!(matches!(verdict, Verdict::Violation(_)));
}
