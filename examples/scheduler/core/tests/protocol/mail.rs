//! Transactions on their way: the real ones, as `mason_core::protocol` builds them, each read once
//! into the keys of the small store and then called by a number.

use std::collections::HashMap;

use mason_core::keys::{Key, Keys};
use mason_core::record::{self, MarksRecord, ResultRecord, RunRecord, TaskRecord, TaskWait, Wish};
use mason_core::txn::{Compare, Op, Txn};

use crate::mutant::Mutant;
use crate::names::{node_at, run_at, task_at};
use crate::store::{KeyOf, RUNS, Res, TASKS, Value};

/// Which of the builders made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Bind,
    Claim,
    Report,
    Result,
    Lost,
    Buried,
    Wish,
    Done,
}

/// A transaction, in the terms of the small store.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) kind: Kind,
    pub(crate) when: Vec<(KeyOf, Compare)>,
    pub(crate) then: Vec<(KeyOf, Option<Value>)>,
    /// Of which server, and by which of its offices.
    pub(crate) office: Option<(usize, u8)>,
    pub(crate) task: Option<usize>,
    /// The runs that it names, a bit each.
    pub(crate) runs: u8,
    /// In words.
    pub(crate) words: String,
}

/// All that were ever sent.
#[derive(Debug)]
pub(crate) struct Mails {
    keys: Keys,
    mutant: Option<Mutant>,
    all: Vec<Mail>,
    index: HashMap<(Kind, Txn), u16>,
}

impl Mails {
    /// None yet. They are made weaker first, if that is what the mutant is.
    pub(crate) fn new(mutant: Option<Mutant>) -> Mails {
        Mails { keys: Keys::default(), mutant, all: Vec::new(), index: HashMap::new() }
    }

    pub(crate) fn read(&self, id: u16) -> &Mail {
        &self.all[usize::from(id) - 1]
    }

    /// The number of a transaction.
    pub(crate) fn send(
        &mut self,
        (kind, office, task): (Kind, Option<(usize, u8)>, Option<usize>),
        mut txn: Txn,
    ) -> u16 {
        let keys = &self.keys;
        if let Some(mutant) = self.mutant {
            mutant.weaken(kind, keys, &mut txn);
        }
        let next = u16::try_from(self.all.len() + 1).expect("few transactions differ");
        if let Some(&id) = self.index.get(&(kind, txn.clone())) {
            return id;
        }
        self.index.insert((kind, txn.clone()), next);
        let key_of = |path: &str| key_of(&keys.parse(path).expect("a key of ours"));
        let when: Vec<_> = txn.when.iter().map(|it| (key_of(it.key()), it.clone())).collect();
        let then: Vec<_> = txn.then.iter().filter_map(|op| read_op(keys, op)).collect();
        let all = when.iter().map(|it| it.0).chain(then.iter().map(|it| it.0));
        let runs = all.fold(0, |all, key| match key {
            KeyOf::Run(_, run) | KeyOf::Seen(_, run) | KeyOf::Result(run) => all | 1 << run,
            _ => all,
        });
        let words = words(kind, office, &when, &then);
        self.all.push(Mail { kind, when, then, office, task, runs, words });
        next
    }
}

fn key_of(key: &Key) -> KeyOf {
    match key {
        Key::Job(_) => KeyOf::Job,
        Key::Task(task) => KeyOf::Task(task_at(task)),
        Key::Run(node, run) => KeyOf::Run(node_at(node), run_at(run)),
        Key::Seen(node, run) => KeyOf::Seen(node_at(node), run_at(run)),
        Key::Result(run) => KeyOf::Result(run_at(run)),
        Key::Marks(_, chunk) => {
            assert_eq!(*chunk, 0, "all tasks share a chunk");
            KeyOf::Marks
        }
        Key::Alive(node) => KeyOf::Alive(node_at(node)),
        Key::Node(node) => KeyOf::Node(node_at(node)),
        Key::Lead(server) => KeyOf::Lead(server.parse().expect("servers are numbers here")),
        other => panic!("no transaction of the protocol is about {other}"),
    }
}

fn read_op(keys: &Keys, op: &Op) -> Option<(KeyOf, Option<Value>)> {
    let key = keys.parse(op.key()).expect("a key of ours");
    // What is kept for people decides nothing.
    if matches!(key, Key::Past(_)) {
        return None;
    }
    let value = match op {
        Op::Delete(_) => None,
        Op::Put { key: path, value, lease } => {
            assert_eq!(*lease, None, "nothing of the protocol goes with a lease");
            Some(read_value(&key, path, value))
        }
    };
    Some((key_of(&key), value))
}

fn read_value(key: &Key, path: &str, value: &[u8]) -> Value {
    let good = "what was written reads";
    match key {
        Key::Task(_) => {
            let task: TaskRecord = record::decode(path, value).expect(good);
            let counted = u8::try_from(task.counted).expect("few attempts");
            match &task.wait {
                TaskWait::Due { .. } => Value::Due(counted),
                TaskWait::Bound { run, .. } => Value::Bound(run_at(run), counted),
            }
        }
        Key::Run(..) => {
            let run: RunRecord = record::decode(path, value).expect(good);
            Value::Run(run.wish != Wish::Run)
        }
        Key::Seen(..) => Value::Seen,
        Key::Result(_) => {
            let result: ResultRecord = record::decode(path, value).expect(good);
            Value::Result(match &result.exit {
                exit if exit.is_success() => Res::Success,
                exit if exit.reason.is_innocent() => Res::Innocent,
                _ => Res::Failure,
            })
        }
        Key::Marks(..) => {
            let marks: MarksRecord = record::decode(path, value).expect(good);
            let mut bits = [0; TASKS];
            for (task, bit) in bits.iter_mut().enumerate() {
                *bit = marks.get(u32::try_from(task).expect("few tasks")) as u8;
            }
            Value::Marks(bits)
        }
        other => panic!("nobody in here writes {other}"),
    }
}

fn words(
    kind: Kind,
    office: Option<(usize, u8)>,
    when: &[(KeyOf, Compare)],
    then: &[(KeyOf, Option<Value>)],
) -> String {
    let from = office.map_or_else(String::new, |(server, made)| format!(" of s{server}#{made}"));
    let run =
        when.iter().chain([]).map(|it| it.0).chain(then.iter().map(|it| it.0)).find_map(|key| {
            match key {
                KeyOf::Run(node, run) => Some(format!(" run {run} on n{node}")),
                _ => None,
            }
        });
    let kind = format!("{kind:?}").to_lowercase();
    let what = then.iter().find_map(|(_, value)| match value {
        Some(Value::Result(result)) => Some(format!(" ({result:?})")),
        Some(Value::Marks(marks)) => Some(format!(" (marks {marks:?})")),
        Some(Value::Due(_)) => Some(" (again)".to_owned()),
        _ => None,
    });
    let run = run.unwrap_or_default();
    let what = what.unwrap_or_default();
    format!("{kind}{from}{run}{what}")
}

/// The bits of all runs.
pub(crate) fn bits(runs: impl Iterator<Item = usize>) -> u8 {
    runs.fold(0, |all, run| {
        assert!(run < RUNS, "a run has a slot");
        all | 1 << run
    })
}
