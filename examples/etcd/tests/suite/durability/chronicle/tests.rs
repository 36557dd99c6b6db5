//! The judge must see every kind of damage, or its silence says nothing.
//!
//! Each test tells it of a small life in which everything went well, then of the same life with one
//! thing wrong.

use super::*;
use crate::durability::op::Effect;

/// A sound life: writes answered and unanswered, a read, a watch, leases, and what a server says
/// afterwards.
fn life() -> (Record, Observed) {
    let mut state = State::default();
    let (mut record, mut events) = (Record::default(), Vec::new());
    state.leases.insert(7, Lease { ttl: 100, keys: [].into() });
    let mut ask = |op: Op, outcome: fn(i64) -> Outcome| {
        let sent_after = state.revision;
        let effects: Vec<Effect> = op.effects(&state);
        if !effects.is_empty() {
            events.extend(state.apply(&effects));
        }
        let outcome = outcome(state.revision);
        record.notes.push(Note { op, sent_after, outcome });
    };
    ask(Op::Grant { lease: 7, ttl: 100 }, Outcome::Nothing);
    ask(put("k/1/a", "a1", 0), Outcome::Made);
    ask(put("l/1/a", "l1", 7), Outcome::Made);
    ask(set_group("one"), Outcome::Made);
    ask(put("k/1/a", "a2", 0), Outcome::Made);
    ask(Op::Delete { key: "k/1/a".into() }, Outcome::Made);
    ask(Op::Delete { key: "k/1/a".into() }, Outcome::Nothing);
    ask(Op::Swap { key: "s/1".into(), value: "s1".into(), expected: 0 }, Outcome::Made);
    ask(Op::Swap { key: "s/1".into(), value: "s2".into(), expected: 3 }, Outcome::Nothing);
    ask(set_group("two"), |_| Outcome::Unknown);
    ask(put("k/2/a", "b1", 0), Outcome::Made);
    let found = state.range(&"g/".into(), &"g0".into());
    let (key, end) = ("g/".into(), "g0".into());
    record.reads.push(Read { revision: state.revision, key, end, found });
    record.notes.push(Note {
        op: put("k/3/a", "never", 0),
        sent_after: state.revision,
        outcome: Outcome::Unknown,
    });
    record.seen = events[..4].to_vec();
    let leased = LeaseSeen { granted: 100, remaining: 99, keys: vec!["l/1/a".into()] };
    let observed = Observed {
        revision_first: state.revision,
        mark: None,
        events,
        content: state.keys.into_values().collect(),
        leases: [(7, leased)].into(),
        uptime_max: 2,
    };
    (record, observed)
}

fn put(key: &'static str, value: &'static str, lease: i64) -> Op {
    Op::Put { key: key.into(), value: value.into(), lease }
}

fn set_group(value: &'static str) -> Op {
    let keys = (0..GROUP_KEYS).map(|n| format!("g/1/0/{n}").into()).collect();
    Op::SetGroup { keys, value: value.into() }
}

/// The complaint about a life in which `wrong` went wrong begins with `complaint`.
#[track_caller]
fn caught(complaint: &str, wrong: impl FnOnce(&mut Record, &mut Observed)) {
    let (mut record, mut observed) = life();
    wrong(&mut record, &mut observed);
    let judged = Chronicle::default().extend(&record, &observed);
    let found = judged.expect_err("the damage is seen");
    assert!(found.contains(complaint), "{found}");
}

fn kv<'a>(observed: &'a mut Observed, key: &str) -> &'a mut KeyValue {
    observed.content.iter_mut().find(|kv| kv.key == key).expect("the key is there")
}

/// A judge that complains about a sound server would be switched off.
#[test]
fn sound_life_passes() {
    let (record, observed) = life();
    let mut chronicle = Chronicle::default();
    assert_eq!(chronicle.extend(&record, &observed), Ok(()));
    assert_eq!(chronicle.state.revision, 9);
    assert_eq!(chronicle.at(9), observed.content);
    assert_eq!(chronicle.at(1), []);
    assert_eq!(chronicle.at(5).last().map(|kv| kv.key.clone()), Some("l/1/a".into()));
    assert_eq!(chronicle.since(2), observed.events);
    // And so does the next life of the same store, in which nothing happens.
    let quiet = Observed { events: Vec::new(), ..observed };
    assert_eq!(chronicle.extend(&Record::default(), &quiet), Ok(()));
}

/// The worst there is: a client was told "done", and it is not.
#[test]
fn lost_acknowledged_write_is_caught() {
    caught("went back", |_, observed| {
        observed.revision_first = 8;
        observed.events.pop();
        observed.content.retain(|kv| kv.key != "k/2/a");
    });
    caught("acknowledged revision 9 is lost", |_, observed| {
        observed.events.pop();
        observed.content.retain(|kv| kv.key != "k/2/a");
    });
    caught("must stand", |_, observed| observed.content.retain(|kv| kv.key != "k/2/a"));
    caught("must stand", |_, observed| kv(observed, "s/1").value = "s0".into());
}

/// A transaction is one thing.
#[test]
fn half_a_transaction_is_caught() {
    caught("half a transaction", |_, observed| {
        observed.content.retain(|kv| kv.key != "g/1/0/2");
    });
    caught("half a transaction", |_, observed| kv(observed, "g/1/0/2").value = "one".into());
    // The unanswered one, which is in the history with three of its keys.
    caught("nobody asked for revision 8", |_, observed| {
        let of_group = |event: &Event| revision_of(event) == 8;
        let at = observed.events.iter().position(of_group).expect("it is there");
        observed.events.remove(at);
    });
}

/// What was deleted must not come back.
#[test]
fn resurrected_key_is_caught() {
    caught("must stand", |_, observed| {
        let old = observed.events.iter().find(|event| revision_of(event) == 5);
        let old = old.and_then(|event| event.kv.clone()).expect("it was put");
        observed.content.insert(4, old);
    });
    caught("events of revision 7 where 6", |_, observed| {
        observed.events.retain(|event| revision_of(event) != 6);
    });
}

/// Every event once, in order, as it was.
#[test]
fn doubled_missing_and_changed_events_are_caught() {
    caught("events of revision 2 where 4", |record, observed| {
        record.seen.clear();
        observed.events.insert(2, observed.events[0].clone());
    });
    caught("events of revision 3 where 2", |record, observed| {
        record.seen.clear();
        observed.events.swap(0, 1);
    });
    caught("as acknowledged", |record, observed| {
        record.seen.clear();
        observed.events.insert(1, observed.events[0].clone());
    });
    caught("told before the crash", |_, observed| {
        observed.events[0].kv.as_mut().expect("it has one").value = "other".into();
    });
    caught("follow from the history", |_, observed| {
        observed.events[6].kv.as_mut().expect("it has one").version = 7;
    });
}

/// A version or a revision of creation that is off breaks every compare-and-swap built on it.
#[test]
fn wrong_version_and_creation_are_caught() {
    caught("must stand", |_, observed| kv(observed, "g/1/0/1").version = 1);
    caught("must stand", |_, observed| kv(observed, "g/1/0/1").create_revision = 8);
}

/// Nothing happens that nobody asked for, and nothing before it is asked for.
#[test]
fn unasked_writes_are_caught() {
    caught("nobody asked for revision 9", |record, _| {
        record.notes.retain(|note| note.op != put("k/2/a", "b1", 0));
    });
    caught("two answers name one revision", |record, _| {
        record.notes[2].outcome = Outcome::Made(2);
    });
    caught("only after", |record, _| record.notes[2].sent_after = 3);
    caught("something was to do", |record, _| record.notes[3].outcome = Outcome::Nothing(3));
}

/// What one client has read, another builds on.
#[test]
fn undone_read_is_caught() {
    caught("what a client read", |record, _| record.reads[0].found.clear());
    caught("went back", |record, _| record.reads[0].revision = 10);
    caught("went back", |record, observed| {
        record.seen.clone_from(&observed.events);
        observed.revision_first = 8;
    });
}

/// A lease is a promise too: it stands with its keys and its full time, or it and they are gone.
#[test]
fn leases_that_changed_are_caught() {
    caught("the leases that must stand", |_, observed| observed.leases.clear());
    caught("the keys of lease 7", |_, observed| {
        observed.leases.insert(7, LeaseSeen { granted: 100, remaining: 100, keys: vec![] });
    });
    for remaining in [0, 97, 101] {
        caught("lease 7 has", |_, observed| {
            observed.leases.get_mut(&7).expect("it stands").remaining = remaining;
        });
    }
    // Revoked, it says, and the key is still there.
    caught("its keys stay", |record, observed| {
        let op = Op::Revoke { lease: 7 };
        record.notes.push(Note { op, sent_after: 1, outcome: Outcome::By(9) });
        observed.leases.clear();
    });
}
