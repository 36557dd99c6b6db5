//! Every answer about keys is word for word what the store says at the revision it carries.
//!
//! An answer that tells of a change is that of the revision it made, seen from the one before. Any
//! other was given by the state at its revision, be it linearizable or not: what may be old is the
//! state, never its content.

use std::collections::BTreeMap;

use crate::history::{History, Operation};
use crate::request::{Op, Reply, Request, Revision};
use crate::violation::{Checker, Violation};

use super::log::Log;
use super::store::Store;

/// Compares every answer with that of the model.
pub(super) fn check(history: &History, log: &Log) -> (usize, Vec<Violation>) {
    let mut by_state: BTreeMap<Revision, Vec<(&Operation, &Reply)>> = BTreeMap::new();
    for operation in &history.operations {
        if let (Some(reply), true) = (operation.reply(), operation.request.is_of_keys()) {
            let state = state_of(&operation.request, reply);
            by_state.entry(state).or_default().push((operation, reply));
        }
    }
    let count = by_state.values().map(Vec::len).sum();
    let (mut store, mut found) = (Store::new(), Vec::new());
    for (revision, answers) in by_state {
        while store.revision() < revision.min(log.last()) {
            let next = store.revision() + 1;
            store.apply(log.at(next));
        }
        for (operation, reply) in answers {
            if store.revision() != revision {
                found.push(wrong(operation, "and there is no such revision"));
            } else if let (_, Some(body)) = store.run(&operation.request)
                && body != reply.body
            {
                found.push(wrong(operation, &format!("where the store says {body:?}")));
            }
        }
    }
    (count, found)
}

/// The revision of the state that an answer was given from.
fn state_of(request: &Request, reply: &Reply) -> Revision {
    match request {
        _ if reply.tells_change() => reply.revision - 1,
        Request::One(Op::Range(range)) if range.revision > 0 => range.revision,
        _ => reply.revision,
    }
}

fn wrong(operation: &Operation, why: &str) -> Violation {
    let Operation { client, called, request, outcome, .. } = operation;
    let text =
        format!("client {client} asked {request:?} at {called} and heard {outcome:?}, {why}");
    Violation::new(Checker::Reply, text)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, delete, get, past_get, put, stale_get};
    use super::*;
    use crate::history::Outcome;
    use crate::request::{Body, OpReply};

    fn check(sample: &Sample) -> usize {
        let (log, _) = Log::new(sample.events());
        super::check(sample.history(), &log).1.len()
    }

    fn sample() -> Sample {
        let mut sample = Sample::new();
        sample.done(0..1, put("a", "1"));
        sample.done(1..2, put("a", "2"));
        sample.done(2..3, get("a"));
        sample.at_revision(3..4, stale_get("a"), 2);
        sample.at_revision(3..4, past_get("a", 2), 2);
        sample.done(4..5, delete("a"));
        sample.done(5..6, delete("a"));
        sample
    }

    /// Changes the answer of one operation.
    fn bend(place: usize, change: impl FnOnce(&mut OpReply)) -> usize {
        let mut sample = sample();
        let operation = &mut sample.history_mut().operations[place];
        let Outcome::Done(reply) = &mut operation.outcome else { panic!("it was done") };
        let Body::One(reply) = &mut reply.body else { panic!("it is no txn") };
        change(reply);
        check(&sample)
    }

    /// Right answers pass, new ones and old ones.
    #[test]
    fn right_answers_pass() {
        assert_eq!(check(&sample()), 0);
    }

    /// What stood there before is a part of the answer.
    #[test]
    fn a_wrong_prev_kv_is_seen() {
        assert_eq!(bend(1, |reply| *reply = OpReply::Put { prev: None }), 1);
    }

    /// A read must show the state of its revision, whole.
    #[test]
    fn a_wrong_read_is_seen() {
        for place in [2, 3, 4] {
            let change = |reply: &mut OpReply| {
                let OpReply::Range { kvs, .. } = reply else { panic!("it is a range") };
                kvs[0].version += 1;
            };
            assert_eq!(bend(place, change), 1, "operation {place}");
        }
    }

    /// Counts are counted.
    #[test]
    fn a_wrong_count_is_seen() {
        let change = |reply: &mut OpReply| {
            let OpReply::Delete { count, .. } = reply else { panic!("it is a deletion") };
            *count += 1;
        };
        assert_eq!(bend(5, change), 1);
    }

    /// Nobody can answer from a revision that never was.
    #[test]
    fn a_read_from_nowhere_is_seen() {
        let mut sample = sample();
        let Outcome::Done(reply) = &mut sample.history_mut().operations[2].outcome else {
            panic!("it was done")
        };
        reply.revision = 99;
        assert_eq!(check(&sample), 1);
    }
}
