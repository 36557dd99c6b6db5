//! The ring, and what is told from a copy that changes.

use mason_core::keys::Keys;
use mason_core::mirror::Change;
use mason_core::record::{JobRecord, NodeRecord, Phase, Progress, StateRecord, encode};
use mason_core::spec::{Job, Task, Work};

use super::*;

fn copy() -> Mirror {
    Mirror::new(Keys::default())
}

fn record(generation: u64) -> JobRecord {
    JobRecord { generation, ..JobRecord::new("u", Work::Job(Job::single(Task::new("a", &[]))), 7) }
}

/// Puts a key, as a server hears of it.
fn put(mirror: &mut Mirror, chronicle: &Chronicle, key: &Key, value: Vec<u8>, at: Revision) {
    let path = mirror.keys().path(key);
    let before = Before::of(mirror, key);
    mirror.apply(&Change { path, value: Some(value), made: at, changed: at });
    chronicle.note(mirror, key, before, at);
    mirror.advance(at);
    chronicle.tell(mirror);
}

fn words(chronicle: &Chronicle) -> Vec<String> {
    let (events, _) = chronicle.since(0, usize::MAX, |_| true);
    events.iter().map(|event| event.what.clone()).collect()
}

/// A server that runs for a year must not remember a year.
#[test]
fn the_ring_forgets_the_oldest() {
    let (mut mirror, chronicle) = (copy(), Chronicle::default());
    let node = Key::Node("n1".into());
    let last = i64::try_from(EVENTS_MAX).unwrap() + 10;
    for at in 1..=last {
        let cordoned = at % 2 == 0;
        let value = encode(&NodeRecord { cordoned, ..NodeRecord::default() });
        put(&mut mirror, &chronicle, &node, value, at);
    }
    assert_eq!(chronicle.first(), 10);
    let (events, next) = chronicle.since(0, 3, |_| true);
    assert_eq!((events.len(), events[0].revision, next), (3, 11, 13));
    let (rest, end) = chronicle.since(next, usize::MAX, |_| true);
    assert_eq!((rest.len(), end), (EVENTS_MAX - 3, u64::try_from(last).unwrap()));
    assert!(chronicle.since(end, 9, |_| true).0.is_empty());
    // Those that do not fit are passed over, and not looked at again.
    assert_eq!(chronicle.since(0, 9, |_| false), (Vec::new(), end));
}

/// Who waits for news of one object must not be woken by another, nor sleep through its own.
#[test]
fn objects_are_touched_by_their_own_changes() {
    let (mut mirror, chronicle) = (copy(), Chronicle::default());
    mirror.advance(5);
    chronicle.reset(&mirror, 1);
    let (a, b) = (JobKey::new("x", "a"), JobKey::new("x", "b"));
    assert_eq!(chronicle.touched(&a), 5, "nobody knows what happened before");
    put(&mut mirror, &chronicle, &Key::Job(a.clone()), encode(&record(1)), 6);
    let child = JobRecord { owner: Some(a.clone()), ..record(1) };
    assert_eq!((chronicle.touched(&a), chronicle.touched(&b)), (6, 5));
    put(&mut mirror, &chronicle, &Key::Job(b.clone()), encode(&child), 8);
    assert_eq!((chronicle.touched(&a), chronicle.touched(&b)), (8, 8), "its maker's, too");
}

/// A gap in what a server heard must show in what it tells.
#[test]
fn a_copy_that_begins_anew_is_told() {
    let (mut mirror, chronicle) = (copy(), Chronicle::default());
    let key = JobKey::new("x", "a");
    let path = mirror.keys().path(&Key::Job(key.clone()));
    let all = [Change { path, value: Some(encode(&record(1))), made: 3, changed: 3 }];
    mirror.reset(9, &all);
    chronicle.reset(&mirror, 1);
    put(&mut mirror, &chronicle, &Key::Job(key), encode(&record(2)), 10);
    mirror.reset(20, &all);
    chronicle.reset(&mirror, 2);
    assert_eq!(words(&chronicle), ["created", "changed", "gap"]);
    let (events, _) = chronicle.since(0, 9, |_| true);
    let revisions: Vec<_> = events.iter().map(|event| event.revision).collect();
    assert_eq!(revisions, [0, 10, 20]);
}

/// What a cron did is what it made.
#[test]
fn what_makes_something_is_told_too() {
    let (mut mirror, chronicle) = (copy(), Chronicle::default());
    let (cron, job) = (JobKey::new("x", "tick"), JobKey::new("x", "tick-1"));
    let child = JobRecord { owner: Some(cron.clone()), ..record(1) };
    put(&mut mirror, &chronicle, &Key::Job(job), encode(&child), 6);
    let of_cron = |event: &Event| event.job.as_ref() == Some(&cron);
    let (events, _) = chronicle.since(0, 9, of_cron);
    let told: Vec<_> = events.iter().map(|it| (it.what.as_str(), it.message.as_str())).collect();
    assert_eq!(told, [("made", "job tick-1 was made")]);
}

/// That a bad version was taken back is the first thing that its operator must find.
#[test]
fn how_an_update_goes_is_told() {
    let (mut mirror, chronicle) = (copy(), Chronicle::default());
    let key = Key::State(JobKey::new("x", "web"));
    let mut at = 0;
    let mut step = |target: u64, rollout: Option<bool>, note: &str| {
        let rollout = rollout.map(|back| {
            serde_json::json!({
                "back": back, "best": 0, "old": 0, "replicas": 1, "progressed_at": 1
            })
        });
        let progress = serde_json::json!({"target": target, "rollout": rollout, "note": note});
        let state = StateRecord {
            uid: "u".into(),
            generation: 1,
            phase: Phase::Active,
            since: 1,
            message: String::new(),
            conditions: Vec::new(),
            progress: Progress::Service(progress),
        };
        at += 1;
        put(&mut mirror, &chronicle, &key, encode(&state), at);
    };
    step(1, None, "");
    step(2, Some(false), "");
    step(2, Some(false), "");
    step(1, Some(true), "revision 2 made no progress: back to revision 1");
    step(1, None, "revision 2 made no progress: back to revision 1");
    step(3, Some(false), "");
    step(3, Some(false), "revision 3 made no progress");
    step(3, None, "");
    let told = ["active", "updating", "rolling-back", "rolled-back", "updating", "stuck"];
    assert_eq!(words(&chronicle), [&told[..], &["rolled-out"]].concat());
}
