//! Deployments, and pods that stand alone.

use std::collections::BTreeMap;

use super::super::cursor::{COUNT_MAX, Map};
use super::super::native::job::each_node;
use super::super::rules;
use super::affinity::{must_hold, selector};
use super::flag;
use super::pod::{Pod, Restart, pod as pod_spec, template};
use crate::spec::{
    Backoff, Concurrency, Job, Placement, Retry, Service, Strategy, Task, Update, Work,
};

/// How a kubelet starts containers again: after ten seconds, then twice as long, up to five
/// minutes.
fn crash_loop() -> Backoff {
    Backoff { initial: 10_000, factor: 2.0, max: 300_000, jitter: 0.0 }
}

/// The `spec` of a Deployment.
pub(super) fn deployment(map: &Map<'_>) -> Service {
    let service = map.need("spec").and_then(|field| field.map(|map| spec(map)));
    service.unwrap_or_else(|| service_of(Task::new("", &[]), Placement::default(), 0))
}

fn service_of(task: Task, placement: Placement, replicas: u32) -> Service {
    Service {
        task,
        replicas,
        update: Update { rollback: false, ..Update::default() },
        restart: Retry { backoff: crash_loop(), ..Retry::default() },
        concurrency: Concurrency::Available,
        placement,
        priority: 0,
        suspend: false,
        paused: false,
    }
}

fn spec(map: &Map<'_>) -> Service {
    let replicas = map.get("replicas").and_then(|field| field.u32()).unwrap_or(1);
    let (task, placement) = match template(map, &each_node()) {
        Some(Pod { task, placement, restart, .. }) => {
            if restart.is_some_and(|restart| restart != Restart::Always)
                && let Some(field) =
                    map.field().peek("template").and_then(|field| field.peek("spec"))
                && let Some(field) = field.peek("restartPolicy")
            {
                field.bad("must be Always in a Deployment");
            }
            (task, placement)
        }
        None => (Task::new("", &[]), Placement::default()),
    };
    if let Some(field) = map.need("selector") {
        let select = field.map(|map: &Map<'_>| selector(map)).unwrap_or_default();
        must_hold(&field, &select, &placement.labels, "the labels of spec.template");
    }
    let mut service = service_of(task, placement, replicas);
    let update = &mut service.update;
    (update.surge_max, update.unavailable_max) = strategy(map, replicas);
    let seconds = |key| map.get(key).and_then(|field| rules::seconds(&field));
    update.ready_min = seconds("minReadySeconds").unwrap_or(0);
    let deadline = map.get("progressDeadlineSeconds").and_then(|field| rules::some_seconds(&field));
    update.progress_deadline = deadline.unwrap_or(600_000);
    let revisions = map.get("revisionHistoryLimit").and_then(|field| field.u32());
    update.revisions_max = revisions.unwrap_or(10);
    service.paused = flag(map, "paused").unwrap_or(false);
    service
}

/// How many more and how many fewer there may be during an update.
fn strategy(map: &Map<'_>, replicas: u32) -> (u32, u32) {
    // A quarter, rounded up for more and down for fewer; and never neither, or nothing would move.
    let usual = match (replicas.div_ceil(4), replicas / 4) {
        (0, 0) => (0, 1),
        both => both,
    };
    let Some(field) = map.get("strategy") else { return usual };
    let read = |map: &Map<'_>| {
        let recreate = map.get("type").and_then(|field| {
            let recreate = field.one_of(&[("RollingUpdate", false), ("Recreate", true)]);
            if recreate == Some(true) && replicas > 1 {
                field.warn(
                    "the old tasks are stopped at once, but new ones do not wait for the last",
                );
            }
            recreate
        });
        let rolling = map.get("rollingUpdate");
        if recreate == Some(true) {
            if let Some(field) = rolling {
                field.bad("must not stand beside the type Recreate");
            }
            return (0, replicas.max(1));
        }
        let Some(rolling) = rolling else { return usual };
        let read = |map: &Map<'_>| {
            let surge = map.get("maxSurge").and_then(|field| rules::share(&field, replicas, true));
            let less = map.get("maxUnavailable");
            let less = less.and_then(|field| rules::share(&field, replicas, false));
            (surge.unwrap_or(usual.0), less.unwrap_or(usual.1))
        };
        match rolling.map(read).unwrap_or(usual) {
            (0, 0) => {
                let zero = |key| {
                    let field = rolling.peek(key);
                    field.and_then(|field| field.scalar()).is_some_and(|(text, _)| text == "0")
                };
                if zero("maxSurge") && zero("maxUnavailable") {
                    rolling.bad("maxSurge and maxUnavailable must not both be 0");
                }
                (0, 1)
            }
            both => both,
        }
    };
    field.map(read).unwrap_or(usual)
}

/// A pod that stands alone. One that is always started again is a service of one; else it is a job
/// of one, tried once or until it succeeds.
pub(super) fn pod(map: &Map<'_>, labels: &BTreeMap<String, String>) -> Work {
    let read = |map: &Map<'_>| pod_spec(map, labels.clone(), &Strategy::Pack);
    let Some(pod) = map.need("spec").and_then(|field| field.map(read)) else {
        return Work::Job(Job::single(Task::new("", &[])));
    };
    let Pod { task, placement, restart, .. } = pod;
    let attempts = match restart.unwrap_or(Restart::Always) {
        Restart::Always => {
            let mut service = service_of(task, placement, 1);
            // A pod is never two.
            (service.update.surge_max, service.update.unavailable_max) = (0, 1);
            return Work::Service(service);
        }
        Restart::OnFailure => COUNT_MAX,
        Restart::Never => 1,
    };
    let retry = Retry { attempts, backoff: crash_loop(), ..Retry::default() };
    let concurrency = Concurrency::Available;
    Work::Job(Job { retry, placement, concurrency, ..Job::single(task) })
}
