//! A server and an agent, with real containers, over each store: from a job's key to its end.

use mason_core::mirror::Mirror;
use mason_core::record::Phase;
use mason_core::spec::{Job, Task};
use mason_core::types::JobKey;

use super::Rig;
use crate::support::{Kind, until};

on_both! {
    a_job_runs_to_its_end_in_real_containers
    an_agent_that_is_killed_neither_loses_nor_repeats_a_run
}

/// Waits until a job is at its end, and looks at everything then.
async fn ended<T>(rig: &Rig, key: &JobKey, look: impl Fn(&Mirror) -> T) -> T {
    let done = |mirror: &Mirror| {
        let state = mirror.job(key)?.state.as_ref()?;
        state.value.phase.is_final().then(|| look(mirror))
    };
    until(async || rig.server.shared().read(done)).await
}

/// The whole road once: key, leader, bind, claim, image, container, exit code, result, marks.
async fn a_job_runs_to_its_end_in_real_containers(kind: Kind) {
    let rig = Rig::start("road", kind).await;
    let mut job = Job::single(Task::new("tiny", &["sh", "-c", "exit $MASON_INDEX"]));
    (job.count, job.failures_max) = (3, 3);
    let key = rig.make("road", job).await;
    let (phase, counts, codes) = ended(&rig, &key, |mirror| {
        let job = mirror.job(&key).unwrap();
        let codes: Vec<_> = job.pasts.values().map(|past| past.value.exit.code).collect();
        (job.state.as_ref().unwrap().value.phase, job.counts, codes)
    })
    .await;
    assert_eq!(phase, Phase::Succeeded);
    assert_eq!((counts.succeeded, counts.failed), (1, 2));
    assert_eq!(codes, [Some(0), Some(1), Some(2)]);
    rig.finish().await;
}

/// The agent's death is no event in a run's life: the container goes on, and how it ended is told
/// by the next agent.
async fn an_agent_that_is_killed_neither_loses_nor_repeats_a_run(kind: Kind) {
    let mut rig = Rig::start("kill", kind).await;
    let key = rig.make("kill", Job::single(Task::new("tiny", &["sleep", "3"]))).await;
    let run = rig.running().await;
    rig.restart_agent().await;
    let look = |mirror: &Mirror| mirror.job(&key).unwrap().pasts[&0].value.clone();
    let past = ended(&rig, &key, look).await;
    assert_eq!((past.run, past.attempt, past.exit.code), (run, 1, Some(0)));
    rig.finish().await;
}
