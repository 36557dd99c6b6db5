//! Long histories of a sound store: the checker has to keep up with the simulation.

use std::time::Instant;

use drystone_sim::history::{History, OpId, Outcome};
use drystone_sim::linear::list::{self, List};
use drystone_sim::linear::register::{self, Register};
use drystone_sim::linear::txn::{self, Action, Compare, Txn};
use drystone_sim::linear::{self, Model};
use drystone_sim::{Rate, Rng};

const OPERATIONS: usize = 10_000;
const CLIENTS: u64 = 10;

/// What a client waits for, and the answer once there is one.
type Waiting<M> = (OpId, <M as Model>::Op, Option<<M as Model>::Ret>);

/// A history of clients that each do one thing after the other. The store carries each operation
/// out at a random moment while it is under way, on `state`.
fn run<M: Model>(
    rng: &mut Rng,
    draw: impl Fn(&mut Rng, u64) -> M::Op,
    lost: Rate,
) -> History<M::Op, M::Ret> {
    let mut history = History::new();
    let mut state = M::initial();
    let mut clients: Vec<Option<Waiting<M>>> = vec![None; CLIENTS as usize];
    while history.operations().len() < OPERATIONS {
        let client = rng.below(CLIENTS);
        let waits = &mut clients[client as usize];
        *waits = match waits.take() {
            None => {
                let op = draw(rng, history.operations().len() as u64);
                Some((history.invoke(client, op.clone()), op, None))
            }
            Some((id, op, None)) => {
                let ret = M::apply(&mut state, &op);
                // A client that gives up goes on with something else.
                (!rng.chance(lost)).then_some((id, op, Some(ret)))
            }
            Some((id, _, Some(ret))) => {
                history.returned(id, ret);
                None
            }
        };
    }
    history
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn judge<M: Model>(name: &str, history: &History<M::Op, M::Ret>) {
    let begin = Instant::now();
    linear::expect::<M>(history);
    let seconds = begin.elapsed().as_secs_f64();
    println!("{name}: {} operations in {seconds:.2} s", history.operations().len());
    assert!(seconds < 5.0, "{name} took {seconds} s");
}

fn one_register(rng: &mut Rng, number: u64) -> register::Op<u8, u64> {
    match rng.below(4) {
        0 => register::Op::Write(0, number),
        1 => register::Op::Cas {
            key: 0,
            old: Some(number.saturating_sub(rng.below(9))),
            new: number,
        },
        _ => register::Op::Read(0),
    }
}

// One key is the worst case: nothing can be cut apart.
#[test]
fn ten_thousand_operations_on_one_register_take_seconds_at_most() {
    let mut rng = Rng::new(1);
    let history = run::<Register<u8, u64>>(&mut rng, one_register, Rate::NEVER);
    judge::<Register<u8, u64>>("register", &history);
}

// Few values mean many orders, and many ways to go wrong before the right one.
#[test]
fn a_register_of_three_values_takes_seconds_at_most() {
    let draw = |rng: &mut Rng, _| match rng.below(3) {
        0 => register::Op::Write(0, rng.below(3)),
        1 => register::Op::Cas { key: 0, old: Some(rng.below(3)), new: rng.below(3) },
        _ => register::Op::Read(0_u8),
    };
    let history = run::<Register<u8, u64>>(&mut Rng::new(2), draw, Rate::NEVER);
    judge::<Register<u8, u64>>("register of three values", &history);
}

// Every answer that was lost may take effect at any time to the end; there are hundreds.
#[test]
fn hundreds_of_unknown_outcomes_take_seconds_at_most() {
    let history = run::<Register<u8, u64>>(&mut Rng::new(3), one_register, Rate::percent(3));
    judge::<Register<u8, u64>>("register with unknown outcomes", &history);
}

// A list of thousands of values is not copied for each configuration.
#[test]
fn a_list_of_thousands_takes_seconds_at_most() {
    let draw = |rng: &mut Rng, number| match rng.below(2) {
        0 => list::Op::Append(0_u8, number),
        _ => list::Op::Read(0),
    };
    let history = run::<List<u8, u64>>(&mut Rng::new(4), draw, Rate::percent(1));
    judge::<List<u8, u64>>("list", &history);
}

// Transactions over three keys: everything is tied to everything.
#[test]
fn transactions_over_three_keys_take_seconds_at_most() {
    let draw = |rng: &mut Rng, number: u64| {
        let mut key = || rng.below(3) as u8;
        let (one, other) = (key(), key());
        match rng.below(3) {
            0 => txn::Op::always(vec![Action::Get(one), Action::Get(other)]),
            1 => txn::Op::always(vec![Action::Put(one, number), Action::Put(other, number)]),
            _ => txn::Op {
                compare: vec![Compare::Is(one, number.saturating_sub(rng.below(20)))],
                then: vec![Action::Put(other, number)],
                otherwise: vec![Action::Get(one)],
            },
        }
    };
    for lost in [Rate::NEVER, Rate::percent(1)] {
        let history = run::<Txn<u8, u64>>(&mut Rng::new(6), draw, lost);
        judge::<Txn<u8, u64>>("transactions", &history);
    }
}

// One wrong answer in ten thousand is found, and blamed; small histories do not reach far enough to
// show that the search keeps its books over many of them.
#[test]
fn one_wrong_answer_among_ten_thousand_is_found() {
    let mut rng = Rng::new(5);
    let sound = run::<Register<u8, u64>>(&mut rng, one_register, Rate::percent(1));
    let mut found = 0;
    for _ in 0..8 {
        let place = rng.below(OPERATIONS as u64) as usize;
        let (mut bad, mut changed) = (History::new(), false);
        for (at, operation) in sound.operations().iter().enumerate() {
            let mut operation = operation.clone();
            if let Outcome::Returned { ret: register::Ret::Value(Some(value)), .. } =
                &mut operation.outcome
                && at >= place
                && !changed
            {
                // What was written long before has been overwritten since, and nothing was written
                // that is still to come.
                *value = if rng.below(2) == 0 { value.saturating_sub(500) } else { *value + 500 };
                changed = true;
            }
            bad.record(operation);
        }
        if changed {
            found += 1;
            let verdict = linear::check::<Register<u8, u64>>(&bad);
            assert!(matches!(verdict, linear::Verdict::Violation(_)), "{verdict:?}");
        }
    }
    assert!(found > 5);
}
