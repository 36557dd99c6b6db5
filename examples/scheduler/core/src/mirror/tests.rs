//! The copy follows its keys, whatever comes.

use super::*;
use crate::record::{Exit, Reason};

fn put<T: serde::Serialize>(mirror: &mut Mirror, key: &Key, value: &T, at: Revision) {
    let path = mirror.keys().path(key);
    let value = Some(record::encode(value));
    assert_eq!(mirror.apply(&Change { path, value, made: at, changed: at }).as_ref(), Some(key));
}

fn delete(mirror: &mut Mirror, key: &Key, at: Revision) {
    let path = mirror.keys().path(key);
    mirror.apply(&Change { path, value: None, made: 0, changed: at });
}

/// The counts are kept by differences: they must be those of the marks that are there.
#[test]
fn counts_follow_the_marks() {
    let mut mirror = Mirror::new(Keys::default());
    let job = JobKey::new("a", "b");
    let mut marks = MarksRecord::default();
    for (place, mark) in [(0, Mark::Succeeded), (1, Mark::Failed), (4095, Mark::Cancelled)] {
        marks.set(place, mark);
    }
    put(&mut mirror, &Key::Marks(job.clone(), 0), &marks, 1);
    put(&mut mirror, &Key::Marks(job.clone(), 2), &marks, 2);
    marks.set(1, Mark::Succeeded);
    put(&mut mirror, &Key::Marks(job.clone(), 0), &marks, 3);
    let found = mirror.job(&job).unwrap();
    assert_eq!(found.counts, Counts { succeeded: 3, failed: 1, cancelled: 2 });
    assert_eq!((found.mark(4095), found.mark(1), found.mark(4096)), {
        (Mark::Cancelled, Mark::Succeeded, Mark::None)
    });
    delete(&mut mirror, &Key::Marks(job.clone(), 0), 4);
    delete(&mut mirror, &Key::Marks(job.clone(), 2), 5);
    assert!(mirror.job(&job).is_none(), "nothing is left of a job without keys");
}

/// A run's keys come and go one by one, in any order.
#[test]
fn runs_are_put_together_from_their_keys() {
    let mut mirror = Mirror::new(Keys::default());
    let (node, run) = (NodeId::from("n"), RunId::new(1, 1));
    let task = JobKey::new("a", "b").task(0);
    let exit = Exit {
        reason: Reason::Lost,
        code: None,
        signal: None,
        message: String::new(),
        started_at: None,
        finished_at: 5,
        outputs: BTreeMap::new(),
    };
    let result = ResultRecord { task: task.clone(), node: node.clone(), exit };
    put(&mut mirror, &Key::Result(run.clone()), &result, 7);
    assert_eq!(mirror.run(&run).unwrap().result.as_ref().unwrap().made, 7);
    let record = RunRecord {
        task,
        uid: "u".into(),
        attempt: 1,
        spec: "s".into(),
        wish: record::Wish::Run,
        concurrency: crate::spec::Concurrency::Strict,
        count: 1,
        partition: None,
        memory: None,
        bound_at: 0,
    };
    put(&mut mirror, &Key::Run(node.clone(), run.clone()), &record, 8);
    assert!(mirror.node(&node).unwrap().runs.contains(&run));
    delete(&mut mirror, &Key::Result(run.clone()), 9);
    delete(&mut mirror, &Key::Run(node.clone(), run.clone()), 9);
    assert!(mirror.run(&run).is_none() && mirror.node(&node).is_none());
}

/// Somebody may have written nonsense into the store: it must not stop the rest, nor be silent.
#[test]
fn values_that_do_not_read_are_set_aside() {
    let mut mirror = Mirror::new(Keys::default());
    let key = Key::Node("n".into());
    put(&mut mirror, &key, &NodeRecord::default(), 1);
    let path = mirror.keys().path(&key);
    let value = Some(b"{".to_vec());
    mirror.apply(&Change { path: path.clone(), value, made: 1, changed: 2 });
    assert!(mirror.node(&"n".into()).is_none());
    assert!(mirror.bad()[&path].contains("EOF"), "{:?}", mirror.bad());
    put(&mut mirror, &key, &NodeRecord::default(), 3);
    assert!(mirror.bad().is_empty());
}
