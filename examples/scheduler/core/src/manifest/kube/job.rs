//! Jobs and cron jobs.

use super::super::cursor::{COUNT_MAX, Field, Map};
use super::super::rules;
use super::pod::{Pod, Restart, template};
use super::{flag, labels_of, only};
use crate::record::Reason;
use crate::spec::{
    Backoff, Catchup, Concurrency, Cron, CronWork, EnvSource, EnvVar, Exits, Job, Overlap, Retry,
    RetryAction, RetryRule, Strategy, Task, Ttl,
};

/// A whole Job.
pub(super) fn job_of(map: &Map<'_>) -> Job {
    map.need("spec").and_then(|field| field.map(job)).unwrap_or_else(nothing)
}

fn nothing() -> Job {
    Job::single(Task::new("", &[]))
}

/// The `spec` of a Job.
fn job(map: &Map<'_>) -> Job {
    let pod = template(map, &Strategy::Pack);
    let container = pod.as_ref().map(|pod| pod.container.clone()).unwrap_or_default();
    let restart = pod.as_ref().and_then(|pod| pod.restart);
    if let Some(pod) = &pod
        && !matches!(pod.restart, Some(Restart::Never | Restart::OnFailure))
    {
        let home = map.field().peek("template").and_then(|field| field.peek("spec"));
        let message = "must be Never or OnFailure in a Job";
        match home.as_ref().and_then(|field| field.peek("restartPolicy")) {
            Some(field) => field.bad(message),
            None => {
                let home = home.unwrap_or_else(|| map.field().clone());
                home.report.bad(home.node.line, &home.path.key("restartPolicy"), message);
            }
        }
    }
    let mut job = nothing();
    if let Some(Pod { task, placement, .. }) = pod {
        (job.task, job.placement) = (task, placement);
    }
    job.concurrency = Concurrency::Available;
    counts(map, &mut job);
    job.retry = retry(map, &mut job, &container, restart);
    job.deadline = map.get("activeDeadlineSeconds").and_then(|field| rules::some_seconds(&field));
    let ttl = map.get("ttlSecondsAfterFinished").and_then(|field| rules::seconds(&field));
    job.ttl = Ttl { succeeded: ttl, failed: ttl };
    job.suspend = flag(map, "suspend").unwrap_or(false);
    only(map, "manualSelector", &["false"]);
    only(map, "podReplacementPolicy", &["TerminatingOrFailed", "Failed"]);
    map.not_yet(&["selector", "successPolicy", "managedBy"]);
    job
}

/// How many, and how many at once.
fn counts(map: &Map<'_>, job: &mut Job) {
    let completions = map.get("completions").and_then(|field| field.u32_in(1, COUNT_MAX));
    let parallelism = map.get("parallelism");
    let at_once = parallelism.as_ref().and_then(Field::u32);
    if at_once == Some(0)
        && let Some(field) = &parallelism
    {
        field.unsupported("is not supported yet if 0: write `suspend: true`");
    }
    if completions.is_none() && at_once.is_some_and(|at_once| at_once > 1) {
        map.bad_at(
            "completions",
            "must be given beside parallelism: work queues are not supported",
        );
    }
    job.count = completions.unwrap_or(1);
    job.parallelism = at_once.unwrap_or(1).clamp(1, job.count);
    let indexed = map
        .get("completionMode")
        .and_then(|field| field.one_of(&[("NonIndexed", false), ("Indexed", true)]));
    if indexed == Some(true) {
        if completions.is_none() {
            map.bad_at("completions", "must be given for the mode Indexed");
        }
        let name = "JOB_COMPLETION_INDEX";
        if !job.task.env.iter().any(|var| var.name == name) {
            let value = EnvSource::Field("index".to_owned());
            job.task.env.insert(0, EnvVar { name: name.to_owned(), value });
        }
    }
}

/// How often pods are tried again. There the limit is one for all of a job's pods together; here it
/// is each task's own.
fn retry(map: &Map<'_>, job: &mut Job, container: &str, restart: Option<Restart>) -> Retry {
    let limit = map.get("backoffLimit");
    if let Some(field) = &limit
        && job.count > 1
        && map.field().peek("backoffLimitPerIndex").is_none()
    {
        field.warn("counts for each task by itself, not for all of them together");
    }
    let limit = limit.as_ref().and_then(|field| field.u32_in(0, COUNT_MAX - 1)).unwrap_or(6);
    let each = map.get("backoffLimitPerIndex").and_then(|field| field.u32_in(0, COUNT_MAX - 1));
    let failed = map.get("maxFailedIndexes");
    if let (Some(field), None) = (&failed, each) {
        field.bad("has a meaning beside backoffLimitPerIndex only");
    }
    if each.is_some() {
        job.failures_max = failed.as_ref().and_then(Field::u32).unwrap_or(job.count);
    }
    let policy = map.get("podFailurePolicy");
    if let Some(field) = &policy
        && restart == Some(Restart::OnFailure)
    {
        field.bad("needs the restartPolicy Never");
    }
    let rules = policy.and_then(|field| {
        field.map(|map: &Map<'_>| {
            let fields = map.need("rules").map(|field| field.list()).unwrap_or_default();
            fields
                .iter()
                .filter_map(|field| field.map(|map| rule(map, container)).flatten())
                .collect()
        })
    });
    Retry {
        attempts: each.unwrap_or(limit) + 1,
        backoff: Backoff { initial: 10_000, factor: 2.0, max: 360_000, jitter: 0.0 },
        rules: rules.unwrap_or_default(),
        count_interruptions: false,
    }
}

/// A rule of a `podFailurePolicy`.
fn rule(map: &Map<'_>, container: &str) -> Option<RetryRule> {
    let action = map.need("action").and_then(|field| {
        field.one_of(&[
            ("FailJob", RetryAction::FailJob),
            ("FailIndex", RetryAction::Fail),
            ("Ignore", RetryAction::Ignore),
            ("Count", RetryAction::Retry),
        ])
    });
    let (codes, conditions) = (map.get("onExitCodes"), map.get("onPodConditions"));
    if codes.is_some() == conditions.is_some() {
        map.field().bad("must have one of onExitCodes and onPodConditions");
    }
    let exits = codes.map(|field| field.map(|map| exits(map, container)).unwrap_or_default());
    let reasons = conditions.map(|field| {
        let read = |field: Field<'_>| field.map(|map: &Map<'_>| condition(map)).unwrap_or_default();
        field.list().into_iter().flat_map(read).collect::<Vec<Reason>>()
    });
    let reasons = reasons.map(|mut reasons| {
        reasons.sort();
        reasons.dedup();
        reasons
    });
    let rule = RetryRule {
        exits: exits.unwrap_or_default(),
        signals: Vec::new(),
        oom: None,
        reasons: reasons.unwrap_or_default(),
        action: action?,
        memory_factor: None,
    };
    // One that lost all its conditions would fit everything.
    (!rule.exits.is_empty() || !rule.reasons.is_empty()).then_some(rule)
}

fn exits(map: &Map<'_>, container: &str) -> Vec<Exits> {
    only(map, "containerName", &[container]);
    let within =
        map.need("operator").and_then(|field| field.one_of(&[("In", true), ("NotIn", false)]));
    let fields = map.need("values").map(|field| field.list()).unwrap_or_default();
    let values = fields.iter().filter_map(|field| field.int(0, 255));
    let mut named = [false; 256];
    for value in values {
        named[usize::try_from(value).unwrap_or(0)] = true;
    }
    if fields.is_empty() {
        map.field().bad("must have values");
    }
    let within = within.unwrap_or(true);
    if within && named[0] {
        map.field().bad("0 is no failure");
    }
    ranges(|code| code > 0 && named[code] == within)
}

/// The codes of which this holds, as ranges.
fn ranges(holds: impl Fn(usize) -> bool) -> Vec<Exits> {
    let mut ranges: Vec<Exits> = Vec::new();
    for (code, place) in (0_i32..256).zip(0..) {
        match ranges.last_mut() {
            _ if !holds(place) => {}
            Some(last) if last.hi + 1 == code => last.hi = code,
            _ => ranges.push(Exits { lo: code, hi: code }),
        }
    }
    ranges
}

fn condition(map: &Map<'_>) -> Vec<Reason> {
    only(map, "status", &["True"]);
    let reasons: Option<&[Reason]> = map.need("type").and_then(|field| {
        let kind = field.text()?;
        match &*kind {
            "DisruptionTarget" => {
                Some(&[Reason::Drained, Reason::Interrupted, Reason::Fenced, Reason::Lost][..])
            }
            "ConfigIssue" => Some(&[Reason::Config][..]),
            _ => {
                field.unsupported(
                    "is not supported yet, other than DisruptionTarget or ConfigIssue",
                );
                None
            }
        }
    });
    reasons.unwrap_or_default().to_vec()
}

/// A whole CronJob.
pub(super) fn cron(map: &Map<'_>) -> Cron {
    let cron = map.need("spec").and_then(|field| field.map(cron_spec));
    cron.unwrap_or_else(|| Cron {
        schedule: String::new(),
        timezone: "UTC".to_owned(),
        catchup: Catchup::Last,
        overlap: Overlap::Allow,
        start_deadline: None,
        keep_succeeded: 3,
        keep_failed: 1,
        suspend: false,
        each: CronWork::Job(Box::new(nothing())),
    })
}

fn cron_spec(map: &Map<'_>) -> Cron {
    let schedule = map.need("schedule").and_then(|field| rules::schedule(&field));
    let timezone = map.get("timeZone").and_then(|field| rules::timezone(&field));
    let (keep_succeeded, keep_failed) = history(map);
    let each = map.need("jobTemplate").and_then(|field| {
        field
            .map(|map| {
                labels_of(map);
                map.need("spec").and_then(|field| field.map(job))
            })
            .flatten()
    });
    Cron {
        schedule: schedule.unwrap_or_default(),
        timezone: timezone.unwrap_or_else(|| "UTC".to_owned()),
        catchup: Catchup::Last,
        overlap: overlap(map),
        start_deadline: map
            .get("startingDeadlineSeconds")
            .and_then(|field| rules::some_seconds(&field)),
        keep_succeeded,
        keep_failed,
        suspend: flag(map, "suspend").unwrap_or(false),
        each: CronWork::Job(Box::new(each.unwrap_or_else(nothing))),
    }
}

/// How many that succeeded and how many that failed are kept.
pub(in super::super) fn history(map: &Map<'_>) -> (u32, u32) {
    let count = |key| map.get(key).and_then(|field: Field<'_>| field.u32());
    let succeeded = count("successfulJobsHistoryLimit").unwrap_or(3);
    (succeeded, count("failedJobsHistoryLimit").unwrap_or(1))
}

/// What happens at a tick while the last job still runs.
pub(in super::super) fn overlap(map: &Map<'_>) -> Overlap {
    let overlap = map.get("concurrencyPolicy").and_then(|field| {
        field.one_of(&[
            ("Allow", Overlap::Allow),
            ("Forbid", Overlap::Forbid),
            ("Replace", Overlap::Replace),
        ])
    });
    overlap.unwrap_or_default()
}
