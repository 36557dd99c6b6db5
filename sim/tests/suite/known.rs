//! Histories whose verdict is known, each named after what went wrong, or did not.
//!
//! A history is written as its events: `c1 call` begins an operation of a client, `c1 ret` ends it,
//! and what never ends is of unknown outcome.

use std::fmt::Debug;

use drystone_sim::history::{History, OpId, Operation, Outcome};
use drystone_sim::linear::list::{self, List};
use drystone_sim::linear::register::{self, Register};
use drystone_sim::linear::txn::{self, Action, Compare, Txn};
use drystone_sim::linear::{Model, Verdict, check};

/// One event of a history.
enum Event<O, R> {
    Call(u64, O),
    Ret(u64, R),
    Fail(u64),
}

use Event::{Call, Fail, Ret};

/// The history of these events; a client's answer is to its newest open operation.
fn history<O, R>(events: Vec<Event<O, R>>) -> History<O, R> {
    let mut history = History::new();
    let mut open: Vec<(u64, OpId)> = Vec::new();
    for event in events {
        let mut take = |client: u64| {
            let place = open.iter().rposition(|(other, _)| *other == client).unwrap();
            open.remove(place).1
        };
        match event {
            Call(client, op) => open.push((client, history.invoke(client, op))),
            Ret(client, ret) => {
                let id = take(client);
                history.returned(id, ret);
            }
            Fail(client) => {
                let id = take(client);
                history.failed(id);
            }
        }
    }
    history
}

#[track_caller]
fn sound<M: Model + Debug>(events: Vec<Event<M::Op, M::Ret>>) {
    let verdict = check::<M>(&history(events));
    assert!(matches!(verdict, Verdict::Linearizable), "{verdict:?}");
}

/// Not linearizable, and this many operations have returned when that is certain.
#[track_caller]
fn broken<M: Model + Debug>(events: Vec<Event<M::Op, M::Ret>>, returned: usize) -> String {
    match check::<M>(&history(events)) {
        Verdict::Violation(violation) => {
            assert_eq!(violation.returned(), returned, "{violation}");
            violation.to_string()
        }
        other => panic!("{other:?}"),
    }
}

type Reg = Register<&'static str, u32>;
const READ: register::Op<&str, u32> = register::Op::Read("x");
const WRITTEN: register::Ret<u32> = register::Ret::Written;

fn write(value: u32) -> register::Op<&'static str, u32> {
    register::Op::Write("x", value)
}

fn cas(old: u32, new: u32) -> register::Op<&'static str, u32> {
    register::Op::Cas { key: "x", old: Some(old), new }
}

fn value(value: u32) -> register::Ret<u32> {
    register::Ret::Value(Some(value))
}

// Overlapping operations may take effect in either order.
#[test]
fn a_read_beside_a_write_may_see_it_or_not() {
    for seen in [register::Ret::Value(None), value(1)] {
        sound::<Reg>(vec![Call(1, write(1)), Call(2, READ), Ret(2, seen), Ret(1, WRITTEN)]);
    }
}

// What a leader that was deposed and does not know it answers.
#[test]
fn a_stale_read_is_found() {
    let story = broken::<Reg>(
        vec![
            Call(1, write(1)),
            Ret(1, WRITTEN),
            Call(1, write(2)),
            Ret(1, WRITTEN),
            Call(2, READ),
            Ret(2, value(1)),
            Call(3, READ),
            Ret(3, value(2)),
        ],
        3,
    );
    assert_eq!(
        story,
        "not linearizable: the first 3 operations have no order\n\
         all but the last have this one:\n\
         \x20   c1   |-|          Write(\"x\", 1) -> Written\n\
         \x20   c1       |-|      Write(\"x\", 2) -> Written\n\
         the state is then Some(2), and in no order there is a place for\n\
         \x20 ? c2           |-|  Read(\"x\") -> Value(Some(1))\n"
    );
}

// Two followers that lag by different amounts, asked one after the other.
#[test]
fn a_read_that_goes_back_in_time_is_found() {
    broken::<Reg>(
        vec![
            Call(1, write(1)),
            Ret(1, WRITTEN),
            Call(1, write(2)),
            Call(2, READ),
            Ret(2, value(2)),
            Call(3, READ),
            Ret(3, value(1)),
            Ret(1, WRITTEN),
        ],
        3,
    );
}

// An acknowledged write that a new leader did not have.
#[test]
fn a_lost_write_is_found() {
    broken::<Reg>(
        vec![Call(1, write(1)), Ret(1, WRITTEN), Call(2, READ), Ret(2, register::Ret::Value(None))],
        2,
    );
}

// Two clients that both believe to have been the one.
#[test]
fn a_lost_update_is_found() {
    let swapped = register::Ret::Swapped(true);
    broken::<Reg>(
        vec![
            Call(1, write(1)),
            Ret(1, WRITTEN),
            Call(1, cas(1, 2)),
            Call(2, cas(1, 3)),
            Ret(1, swapped.clone()),
            Ret(2, swapped),
        ],
        3,
    );
}

// A refused write that is there all the same; as an unknown one it would be no sin.
#[test]
fn a_dirty_read_of_what_failed_is_found() {
    let events = |failed| {
        let mut events = vec![Call(1, write(1)), Call(2, READ), Ret(2, value(1))];
        if failed {
            events.insert(1, Fail(1));
        }
        events
    };
    broken::<Reg>(events(true), 1);
    sound::<Reg>(events(false));
}

// A write whose client gave up may show long after, once it does it stays.
#[test]
fn an_unknown_write_may_show_late_and_not_vanish() {
    let late = vec![
        Call(1, write(7)),
        Call(2, write(1)),
        Ret(2, WRITTEN),
        Call(2, READ),
        Ret(2, value(1)),
        Call(2, READ),
        Ret(2, value(7)),
    ];
    sound::<Reg>(late);
    broken::<Reg>(
        vec![
            Call(1, write(7)),
            Call(2, write(1)),
            Ret(2, WRITTEN),
            Call(2, READ),
            Ret(2, value(7)),
            Call(2, READ),
            Ret(2, value(1)),
        ],
        3,
    );
}

// The only way to explain the swap is the write that nobody heard of again.
#[test]
fn an_unknown_write_may_be_what_a_swap_needs() {
    let swap = |known: bool| {
        let mut events =
            vec![Call(1, write(5)), Call(2, cas(5, 6)), Ret(2, register::Ret::Swapped(true))];
        if !known {
            events.remove(0);
        }
        events
    };
    sound::<Reg>(swap(true));
    broken::<Reg>(swap(false), 1);
}

// A chain of two that nobody heard of again: the second makes sense behind the first alone.
#[test]
fn an_unknown_write_may_be_what_an_unknown_swap_needs() {
    let events = |both: bool| {
        let mut events =
            vec![Call(1, write(5)), Call(2, cas(5, 6)), Call(3, READ), Ret(3, value(6))];
        if !both {
            events.remove(0);
        }
        events
    };
    sound::<Reg>(events(true));
    broken::<Reg>(events(false), 1);
}

// Histories from elsewhere have coarse clocks: at the same tick both orders are possible.
#[test]
fn operations_that_touch_at_one_tick_may_come_in_either_order() {
    let read = |invoked, at, ret| Operation {
        client: 2,
        op: READ,
        invoked,
        outcome: Outcome::Returned { at, ret },
    };
    for (invoked, fits) in [(5, true), (6, false)] {
        let mut history = History::new();
        let outcome = Outcome::Returned { at: 5, ret: WRITTEN };
        history.record(Operation { client: 1, op: write(1), invoked: 0, outcome });
        history.record(read(invoked, 9, register::Ret::Value(None)));
        let verdict = check::<Reg>(&history);
        assert_eq!(matches!(verdict, Verdict::Linearizable), fits, "{verdict:?}");
    }
}

// A write that is applied twice, as when a client's request is proposed again after a timeout.
#[test]
fn a_write_that_is_applied_twice_is_found() {
    broken::<Reg>(
        vec![
            Call(1, write(1)),
            Ret(1, WRITTEN),
            Call(1, write(2)),
            Ret(1, WRITTEN),
            Call(2, READ),
            Ret(2, value(2)),
            Call(2, READ),
            Ret(2, value(1)),
        ],
        4,
    );
}

type Kv = Txn<&'static str, u32>;

fn put(key: &'static str, value: u32) -> txn::Op<&'static str, u32> {
    txn::Op::always(vec![Action::Put(key, value)])
}

fn both() -> txn::Op<&'static str, u32> {
    txn::Op::always(vec![Action::Get("x"), Action::Get("y")])
}

fn did(values: &[Option<u32>]) -> txn::Ret<u32> {
    txn::Ret { succeeded: true, values: values.to_vec() }
}

// Two doctors go off call, each because the other is on.
#[test]
fn write_skew_is_found() {
    let leave = |me: &'static str, other: &'static str| txn::Op {
        compare: vec![Compare::Is(other, 1)],
        then: vec![Action::Put(me, 0)],
        otherwise: Vec::new(),
    };
    let events = |second: bool| {
        vec![
            Call(1, txn::Op::always(vec![Action::Put("x", 1), Action::Put("y", 1)])),
            Ret(1, did(&[])),
            Call(1, leave("x", "y")),
            Call(2, leave("y", "x")),
            Ret(1, did(&[])),
            Ret(2, txn::Ret { succeeded: second, values: Vec::new() }),
        ]
    };
    broken::<Kv>(events(true), 3);
    sound::<Kv>(events(false));
}

// A transaction that is seen half done.
#[test]
fn a_torn_transaction_is_found() {
    let events = |x, y| {
        vec![
            Call(1, txn::Op::always(vec![Action::Put("x", 1), Action::Put("y", 1)])),
            Call(2, both()),
            Ret(2, did(&[x, y])),
            Ret(1, did(&[])),
        ]
    };
    broken::<Kv>(events(Some(1), None), 1);
    sound::<Kv>(events(Some(1), Some(1)));
    sound::<Kv>(events(None, None));
}

// Each key alone is in order; read together they cannot be. A checker that goes by keys misses it.
#[test]
fn reads_of_two_keys_that_disagree_about_the_order_are_found() {
    broken::<Kv>(
        vec![
            Call(1, put("x", 1)),
            Call(2, put("y", 1)),
            Call(3, both()),
            Call(4, both()),
            Ret(3, did(&[Some(1), None])),
            Ret(4, did(&[None, Some(1)])),
            Ret(1, did(&[])),
            Ret(2, did(&[])),
        ],
        2,
    );
}

// A transaction ties two keys together, and with them all that happened to either.
#[test]
fn keys_that_a_transaction_ties_are_checked_together() {
    let swap = txn::Op {
        compare: vec![Compare::Is("x", 1), Compare::Absent("y")],
        then: vec![Action::Delete("x"), Action::Put("y", 1)],
        otherwise: vec![Action::Get("x")],
    };
    let events = |y: Option<u32>| {
        vec![
            Call(1, put("x", 1)),
            Ret(1, did(&[])),
            Call(1, put("z", 9)),
            Ret(1, did(&[])),
            Call(1, swap.clone()),
            Ret(1, did(&[])),
            Call(2, both()),
            Ret(2, did(&[None, y])),
        ]
    };
    sound::<Kv>(events(Some(1)));
    broken::<Kv>(events(None), 3);
}

type Lists = List<&'static str, u32>;

fn append(value: u32) -> list::Op<&'static str, u32> {
    list::Op::Append("x", value)
}

const ALL: list::Op<&str, u32> = list::Op::Read("x");

fn values(values: &[u32]) -> list::Ret<u32> {
    list::Ret::Values(values.to_vec())
}

// An acknowledged entry that a truncated log has lost.
#[test]
fn a_lost_append_is_found() {
    let appended = || list::Ret::Appended;
    broken::<Lists>(
        vec![
            Call(1, append(1)),
            Ret(1, appended()),
            Call(1, append(2)),
            Ret(1, appended()),
            Call(2, ALL),
            Ret(2, values(&[2])),
        ],
        3,
    );
}

// Two replicas that applied two entries in different orders.
#[test]
fn appends_that_change_places_are_found() {
    let events = |first: &[u32], second: &[u32]| {
        vec![
            Call(1, append(1)),
            Call(2, append(2)),
            Ret(1, list::Ret::Appended),
            Ret(2, list::Ret::Appended),
            Call(3, ALL),
            Ret(3, values(first)),
            Call(3, ALL),
            Ret(3, values(second)),
        ]
    };
    sound::<Lists>(events(&[2, 1], &[2, 1]));
    sound::<Lists>(events(&[1, 2], &[1, 2]));
    broken::<Lists>(events(&[1, 2], &[2, 1]), 4);
}

// A retry that is appended a second time.
#[test]
fn an_append_that_is_there_twice_is_found() {
    broken::<Lists>(
        vec![
            Call(1, append(1)),
            Ret(1, list::Ret::Appended),
            Call(2, ALL),
            Ret(2, values(&[1, 1])),
        ],
        2,
    );
}

// An append of unknown outcome: in one read, gone in the next.
#[test]
fn an_unknown_append_may_show_and_not_vanish() {
    sound::<Lists>(vec![
        Call(1, append(1)),
        Call(2, ALL),
        Ret(2, values(&[])),
        Call(2, ALL),
        Ret(2, values(&[1])),
    ]);
    broken::<Lists>(
        vec![
            Call(1, append(1)),
            Call(2, ALL),
            Ret(2, values(&[1])),
            Call(2, ALL),
            Ret(2, values(&[])),
        ],
        2,
    );
}

// Another key's trouble is not this one's; and what never returned at all is no trouble.
#[test]
fn a_history_without_returns_has_an_order() {
    sound::<Reg>(vec![]);
    sound::<Reg>(vec![
        Call(1, write(1)),
        Call(2, cas(3, 4)),
        Call(3, READ),
        Call(4, write(2)),
        Fail(4),
    ]);
}
