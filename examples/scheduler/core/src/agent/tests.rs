//! What the store hears of a run, and when.

use super::*;
use crate::record::RunPhase;
use crate::types::{JobKey, TaskKey};

const LIFE: Revision = 5;

fn at(mono: Ms) -> Now {
    Now { wall: 1_000 + mono, mono }
}

/// An agent, registered, and its one run, bound, claimed and being prepared since 0.
fn preparing() -> (Agent, RunId) {
    let mut agent = Agent::new(Keys::default(), "n1".into(), 1, "boot");
    agent.registered(LIFE, 0);
    let run = RunId::new(1, 1);
    agent.heard(&bound(&run, Wish::Run, 7));
    let [Effect::Fence(_), Effect::Journal(note)] = &agent.step(at(0))[..] else {
        panic!("it is noted")
    };
    agent.journaled(&note.clone());
    assert_eq!(told(&agent.step(at(0))), [RunPhase::Claimed]);
    agent.outcome(&run, Some(Outcome::Done(8)));
    let effects = agent.step(at(0));
    assert!(matches!(effects[..], [Effect::Prepare(..)]), "{effects:?}");
    (agent, run)
}

/// What the store says of the run.
fn bound(run: &RunId, wish: Wish, changed: Revision) -> Change {
    let record = RunRecord {
        task: TaskKey { job: JobKey::new("default", "a"), index: 0 },
        uid: "u".into(),
        attempt: 1,
        spec: "s".into(),
        wish,
        concurrency: Concurrency::Strict,
        count: 1,
        partition: None,
        memory: None,
        bound_at: 0,
    };
    let path = Keys::default().path(&Key::Run("n1".into(), run.clone()));
    let value = Some(record::encode(&record));
    Change { path, value, made: 7, changed }
}

/// The phases that the store is told.
fn told(effects: &[Effect]) -> Vec<RunPhase> {
    seen(effects).iter().map(|seen| seen.phase).collect()
}

/// What the store is told.
fn seen(effects: &[Effect]) -> Vec<SeenRecord> {
    let seen = |effect: &Effect| {
        let Effect::Commit(_, txn) = effect else { return None };
        txn.then.iter().find_map(|op| match op {
            crate::txn::Op::Put { key, value, .. } => record::decode::<SeenRecord>(key, value).ok(),
            crate::txn::Op::Delete(_) => None,
        })
    };
    effects.iter().filter_map(seen).collect()
}

/// Each report is a transaction of the store, and 5,000 nodes send theirs at once.
#[test]
fn what_passes_at_once_is_not_told() {
    let (mut agent, run) = preparing();
    agent.event(&run, Event::Prepared, at(3));
    let effects = agent.step(at(3));
    assert!(matches!(effects[..], [Effect::Start(..)]), "{effects:?}");
    agent.event(&run, Event::Started, at(50));
    assert_eq!(told(&agent.step(at(50))), [RunPhase::Running]);
    assert!(agent.wake_at().is_some_and(|at| at > 50 + PASSING), "the fence alone is left");
}

/// Who waits for an image wants to know that it is on its way, whether or not anything happens.
#[test]
fn what_lasts_is_told_in_time() {
    let (mut agent, run) = preparing();
    assert_eq!(agent.wake_at(), Some(PASSING));
    assert_eq!(told(&agent.step(at(PASSING - 1))), []);
    assert_eq!(told(&agent.step(at(PASSING))), [RunPhase::Pulling]);
    assert_eq!(agent.wake_at(), None);
    // The store's answer is late: nothing spins until it comes.
    agent.event(&run, Event::Prepared, at(300));
    agent.step(at(300));
    assert_eq!(told(&agent.step(at(300 + PASSING))), []);
    assert!(agent.wake_at().is_some_and(|at| at > 300 + PASSING));
    agent.outcome(&run, Some(Outcome::Done(9)));
    assert_eq!(told(&agent.step(at(600))), [RunPhase::Created]);
}

/// What somebody should look into is told at once.
#[test]
fn words_for_people_do_not_wait() {
    let (mut agent, run) = preparing();
    agent.event(&run, Event::Waits("registry is down".to_owned()), at(10));
    assert_eq!(told(&agent.step(at(10))), [RunPhase::Pulling]);
}

/// That a run is stopping must not seem to have come before what it was told for.
#[test]
fn a_run_is_stopping_since_it_was_told_to() {
    let (mut agent, run) = preparing();
    agent.event(&run, Event::Prepared, at(3));
    agent.step(at(3));
    agent.event(&run, Event::Started, at(50));
    assert_eq!(told(&agent.step(at(50))), [RunPhase::Running]);
    agent.outcome(&run, Some(Outcome::Done(9)));
    let wish = Wish::Stop { why: Reason::Replaced, grace: None };
    agent.heard(&bound(&run, wish, 10));
    let told = [agent.step(at(800)), agent.step(at(800))].concat();
    let [seen] = &seen(&told)[..] else { panic!("it is told once: {told:?}") };
    assert_eq!((seen.phase, seen.since), (RunPhase::Stopping, at(800).wall));
}
