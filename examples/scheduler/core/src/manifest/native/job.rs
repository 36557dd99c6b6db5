//! Jobs, services and crons, as mason's own dialect has them.

use super::super::cursor::{COUNT_MAX, Field, Map};
use super::super::rules;
use super::placement::placement;
use super::{retry, some_span, span, task, workflow};
use crate::spec::{
    Catchup, Concurrency, Cron, CronWork, Dependency, DependencyMode, DependencyWhen, Job, Overlap,
    Service, Strategy, Ttl, Update,
};

/// What jobs and services will have one day.
const LATER: [&str; 4] = ["queue", "gang", "hooks", "class"];

const CONCURRENCY: [(&str, Concurrency); 2] =
    [("strict", Concurrency::Strict), ("available", Concurrency::Available)];

/// Reads the fields of a job that lie in `map`.
pub(super) fn job(map: &Map<'_>) -> Job {
    map.not_yet(&LATER);
    let mut job = Job::single(task::task(map));
    if let Some(array) = map.get("array") {
        self::array(&array, &mut job);
    }
    if let Some(field) = map.get("dependsOn") {
        job.depends_on = depends_on(&field);
        waits_within_bounds(&field, &job);
    }
    job.retry = map.get("retry").map(|field| retry::retry(&field)).unwrap_or_default();
    job.concurrency = concurrency(map, Concurrency::Strict);
    job.placement = placement(map, Strategy::Pack);
    job.priority = priority(map);
    job.deadline = map.get("deadline").and_then(|field| some_span(&field));
    job.ttl = map.get("ttl").map(|field| ttl(&field)).unwrap_or_default();
    job.suspend = suspend(map);
    job
}

fn concurrency(map: &Map<'_>, usual: Concurrency) -> Concurrency {
    map.get("concurrency").and_then(|field| field.one_of(&CONCURRENCY)).unwrap_or(usual)
}

fn priority(map: &Map<'_>) -> i32 {
    let priority = map.get("priority").and_then(|field| field.int(-1_000_000_000, 1_000_000_000));
    priority.and_then(|priority| i32::try_from(priority).ok()).unwrap_or(0)
}

pub(super) fn suspend(map: &Map<'_>) -> bool {
    map.get("suspend").and_then(|field| field.bool()).unwrap_or(false)
}

/// How many, or a map that says more.
fn array(field: &Field<'_>, job: &mut Job) {
    if !field.is_map() {
        job.count = field.u32_in(1, COUNT_MAX).unwrap_or(1);
        return;
    }
    field.map(|map| {
        job.count = map.need("size").and_then(|field| field.u32_in(1, COUNT_MAX)).unwrap_or(1);
        job.parallelism = map.get("parallelism").and_then(|field| field.u32()).unwrap_or(0);
        job.failures_max = map.get("maxFailed").and_then(|field| field.u32()).unwrap_or(0);
    });
}

/// Names of jobs, or maps that say more.
fn depends_on(field: &Field<'_>) -> Vec<Dependency> {
    let read = |field: Field<'_>| {
        if !field.is_map() {
            let (when, mode) = (DependencyWhen::default(), DependencyMode::default());
            return rules::name(&field).map(|job| Dependency { job, when, mode });
        }
        let one = field.map(|map| {
            let when = map.get("when").and_then(|field| {
                field.one_of(&[
                    ("succeeded", DependencyWhen::Succeeded),
                    ("failed", DependencyWhen::Failed),
                    ("finished", DependencyWhen::Finished),
                ])
            });
            let mode = map.get("mode").and_then(|field| {
                if field.scalar().is_some_and(|(word, _)| word == "sequence") {
                    field.unsupported("is not supported yet: sequence");
                    return None;
                }
                field.one_of(&[("whole", DependencyMode::Whole), ("index", DependencyMode::Index)])
            });
            Some(Dependency {
                job: map.need("job").and_then(|field| rules::name(&field))?,
                when: when.unwrap_or_default(),
                mode: mode.unwrap_or_default(),
            })
        });
        one.flatten()
    };
    field.list().into_iter().filter_map(read).collect()
}

/// Tasks that wait one by one for those of other jobs are also looked at one by one.
const WAITING_MAX: u32 = 1_000_000;
/// So many jobs may be waited for.
const DEPENDENCIES_MAX: usize = 100;

fn waits_within_bounds(field: &Field<'_>, job: &Job) {
    let by_index = job.depends_on.iter().any(|it| it.mode == DependencyMode::Index);
    if by_index && job.count > WAITING_MAX {
        let count = job.count;
        field.bad(format!("by index asks for an array of at most {WAITING_MAX}, not {count}"));
    }
    if job.depends_on.len() > DEPENDENCIES_MAX {
        field.bad(format!("has more than {DEPENDENCIES_MAX} jobs to wait for"));
    }
}

/// A span for both ends, or a map with one for each.
pub(super) fn ttl(field: &Field<'_>) -> Ttl {
    if !field.is_map() {
        let span = span(field);
        return Ttl { succeeded: span, failed: span };
    }
    let read = |map: &Map<'_>| Ttl {
        succeeded: map.get("succeeded").and_then(|field| span(&field)),
        failed: map.get("failed").and_then(|field| span(&field)),
    };
    field.map(read).unwrap_or_default()
}

/// Reads a service.
pub(super) fn service(map: &Map<'_>) -> Service {
    map.not_yet(&LATER);
    map.not_yet(&["autoscale", "budget"]);
    let replicas = map.get("replicas").and_then(|field| field.u32()).unwrap_or(1);
    let update = map.get("update").and_then(|field| field.map(|map| update(map, replicas)));
    Service {
        task: task::task(map),
        replicas,
        update: update.unwrap_or_default(),
        restart: map.get("restart").map(|field| retry::restart(&field)).unwrap_or_default(),
        concurrency: concurrency(map, Concurrency::Available),
        placement: placement(map, each_node()),
        priority: priority(map),
        suspend: suspend(map),
        paused: map.get("paused").and_then(|field| field.bool()).unwrap_or(false),
    }
}

/// Replicas on one node are one: without a word to the contrary they are spread.
pub(in super::super) fn each_node() -> Strategy {
    Strategy::Spread { domain: "node".to_owned(), domain_max: 0, skew_max: 0 }
}

fn update(map: &Map<'_>, replicas: u32) -> Update {
    map.not_yet(&["canary"]);
    let usual = Update::default();
    let (surge, less) = (map.get("maxSurge"), map.get("maxUnavailable"));
    let share = |field: &Option<Field<'_>>, round_up| {
        field.as_ref().and_then(|field| rules::share(field, replicas, round_up))
    };
    let mut update = Update {
        surge_max: share(&surge, true).unwrap_or(usual.surge_max),
        unavailable_max: share(&less, false).unwrap_or(usual.unavailable_max),
        ready_min: map.get("minReady").and_then(|field| span(&field)).unwrap_or(usual.ready_min),
        progress_deadline: map
            .get("progressDeadline")
            .and_then(|field| some_span(&field))
            .unwrap_or(usual.progress_deadline),
        rollback: map.get("autoRollback").and_then(|field| field.bool()).unwrap_or(usual.rollback),
        revisions_max: map
            .get("revisions")
            .and_then(|field| field.u32())
            .unwrap_or(usual.revisions_max),
    };
    if replicas == 0 && update.surge_max == 0 {
        // Any share of nothing is nothing.
        update.unavailable_max = update.unavailable_max.max(1);
    }
    if update.surge_max == 0 && update.unavailable_max == 0 {
        map.field()
            .bad("maxSurge and maxUnavailable must not both be 0: nothing could be replaced");
    }
    update
}

/// Reads a cron, with its job at the top or in `job`, or a workflow.
pub(super) fn cron(map: &Map<'_>) -> Cron {
    let schedule = map.need("schedule").and_then(|field| rules::schedule(&field));
    let timezone = map.get("timezone").and_then(|field| rules::timezone(&field));
    let catchup = map.get("catchup").and_then(|field| {
        field.one_of(&[("none", Catchup::None), ("last", Catchup::Last), ("all", Catchup::All)])
    });
    let overlap = map.get("overlap").and_then(|field| {
        field.one_of(&[
            ("allow", Overlap::Allow),
            ("forbid", Overlap::Forbid),
            ("replace", Overlap::Replace),
        ])
    });
    let keep = map.get("keep").and_then(|field| {
        field.map(|map| {
            let count = |key| map.get(key).and_then(|field| field.u32());
            (count("succeeded"), count("failed"))
        })
    });
    let (succeeded, failed) = keep.unwrap_or_default();
    Cron {
        schedule: schedule.unwrap_or_default(),
        timezone: timezone.unwrap_or_else(|| "UTC".to_owned()),
        catchup: catchup.unwrap_or_default(),
        overlap: overlap.unwrap_or_default(),
        start_deadline: map.get("startDeadline").and_then(|field| some_span(&field)),
        keep_succeeded: succeeded.unwrap_or(3),
        keep_failed: failed.unwrap_or(1),
        suspend: suspend(map),
        each: each(map),
    }
}

fn each(map: &Map<'_>) -> CronWork {
    let (job, workflow) = (map.get("job"), map.get("workflow"));
    if let (Some(_), Some(workflow)) = (&job, &workflow) {
        workflow.bad("must not stand beside `job`: a tick makes one of them");
    }
    if let Some(field) = workflow {
        let workflow = field.map(|map| workflow::workflow(map));
        return CronWork::Workflow(Box::new(workflow.unwrap_or_default()));
    }
    let inner = match job {
        Some(field) => field.map(|map| self::job(map)),
        // `suspend` is the cron's own.
        None => Some(Job { suspend: false, ..self::job(map) }),
    };
    let empty = || Job::single(crate::spec::Task::new("", &[]));
    CronWork::Job(Box::new(inner.unwrap_or_else(empty)))
}
