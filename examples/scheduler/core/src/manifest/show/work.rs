//! Jobs, services and crons, printed.

use super::super::expr;
use super::super::native::affinity::EFFECTS;
use super::super::native::job::each_node;
use super::emit::{Entries, Out, map, put, put_if};
use super::flow;
use super::task::{restart, retry, span, task};
use crate::spec::{
    Affinity, Catchup, Concurrency, Constraint, Cron, CronWork, Dependency, DependencyMode,
    DependencyWhen, Job, Overlap, Placement, Preference, PreferenceOf, Service, Strategy,
    Toleration, Ttl, Update,
};

pub(super) fn job(job: &Job, out: &mut Entries) {
    task(&job.task, out);
    put_if(out, !job.task.outputs.is_empty(), "outputs", || map(&job.task.outputs));
    let bounded = job.parallelism > 0 || job.failures_max > 0;
    put_if(out, job.count != 1 || bounded, "array", || {
        let mut inner = vec![("size".to_owned(), Out::raw(job.count))];
        put_if(&mut inner, job.parallelism > 0, "parallelism", || Out::raw(job.parallelism));
        put_if(&mut inner, job.failures_max > 0, "maxFailed", || Out::raw(job.failures_max));
        if bounded { Out::Map(inner) } else { Out::raw(job.count) }
    });
    put_if(out, !job.depends_on.is_empty(), "dependsOn", || {
        Out::List(job.depends_on.iter().map(dependency).collect())
    });
    retry(&job.retry, out);
    put_if(out, job.concurrency == Concurrency::Available, "concurrency", || {
        Out::text("available")
    });
    placement(&job.placement, &Strategy::Pack, out);
    put_if(out, job.priority != 0, "priority", || Out::raw(job.priority));
    out.extend(job.deadline.map(|deadline| ("deadline".to_owned(), span(deadline))));
    ttl(job.ttl, out);
    put_if(out, job.suspend, "suspend", || Out::raw(true));
}

fn dependency(on: &Dependency) -> Out {
    let mut out = vec![("job".to_owned(), Out::text(&on.job))];
    put_if(&mut out, on.when != DependencyWhen::Succeeded, "when", || {
        Out::text(if on.when == DependencyWhen::Failed { "failed" } else { "finished" })
    });
    put_if(&mut out, on.mode == DependencyMode::Index, "mode", || Out::text("index"));
    Out::Map(out)
}

pub(super) fn ttl(ttl: Ttl, out: &mut Entries) {
    let mut inner = Vec::new();
    inner.extend(ttl.succeeded.map(|ttl| ("succeeded".to_owned(), span(ttl))));
    inner.extend(ttl.failed.map(|ttl| ("failed".to_owned(), span(ttl))));
    put_if(out, !inner.is_empty(), "ttl", || Out::Map(inner));
}

pub(super) fn service(service: &Service, out: &mut Entries) {
    put(out, "replicas", Out::raw(service.replicas));
    task(&service.task, out);
    put_if(out, !service.task.outputs.is_empty(), "outputs", || map(&service.task.outputs));
    let (update, usual) = (&service.update, Update::default());
    let mut inner = Vec::new();
    put_if(&mut inner, update.surge_max != usual.surge_max, "maxSurge", || {
        Out::raw(update.surge_max)
    });
    put_if(&mut inner, update.unavailable_max != usual.unavailable_max, "maxUnavailable", || {
        Out::raw(update.unavailable_max)
    });
    put_if(&mut inner, update.ready_min != usual.ready_min, "minReady", || span(update.ready_min));
    put_if(
        &mut inner,
        update.progress_deadline != usual.progress_deadline,
        "progressDeadline",
        || span(update.progress_deadline),
    );
    put_if(&mut inner, !update.rollback, "autoRollback", || Out::raw(false));
    put_if(&mut inner, update.revisions_max != usual.revisions_max, "revisions", || {
        Out::raw(update.revisions_max)
    });
    put_if(out, !inner.is_empty(), "update", || Out::Map(inner));
    restart(&service.restart, out);
    put_if(out, service.concurrency == Concurrency::Strict, "concurrency", || Out::text("strict"));
    placement(&service.placement, &each_node(), out);
    put_if(out, service.priority != 0, "priority", || Out::raw(service.priority));
    put_if(out, service.suspend, "suspend", || Out::raw(true));
    put_if(out, service.paused, "paused", || Out::raw(true));
}

pub(super) fn cron(cron: &Cron, out: &mut Entries) {
    put(out, "schedule", Out::text(&cron.schedule));
    put_if(out, cron.timezone != "UTC", "timezone", || Out::text(&cron.timezone));
    put_if(out, cron.catchup != Catchup::Last, "catchup", || {
        Out::text(if cron.catchup == Catchup::All { "all" } else { "none" })
    });
    put_if(out, cron.overlap != Overlap::Allow, "overlap", || {
        Out::text(if cron.overlap == Overlap::Forbid { "forbid" } else { "replace" })
    });
    out.extend(cron.start_deadline.map(|span_of| ("startDeadline".to_owned(), span(span_of))));
    put_if(out, (cron.keep_succeeded, cron.keep_failed) != (3, 1), "keep", || {
        Out::Map(vec![
            ("succeeded".to_owned(), Out::raw(cron.keep_succeeded)),
            ("failed".to_owned(), Out::raw(cron.keep_failed)),
        ])
    });
    put_if(out, cron.suspend, "suspend", || Out::raw(true));
    let mut inner = Vec::new();
    match &cron.each {
        CronWork::Job(each) => {
            job(each, &mut inner);
            put(out, "job", Out::Map(inner));
        }
        CronWork::Workflow(each) => {
            flow::workflow(each, &mut inner);
            put(out, "workflow", Out::Map(inner));
        }
    }
}

/// The `placement`, if there is something to say.
pub(super) fn placement(placement: &Placement, usual: &Strategy, out: &mut Entries) {
    let mut inner = Vec::new();
    if placement.strategy != *usual {
        strategy(&placement.strategy, &mut inner);
    }
    put_if(&mut inner, !placement.require.is_empty(), "require", || {
        constraints(&placement.require)
    });
    put_if(&mut inner, !placement.prefer.is_empty(), "prefer", || {
        Out::List(placement.prefer.iter().map(prefer).collect())
    });
    for (key, others) in [("near", &placement.near), ("avoid", &placement.avoid)] {
        put_if(&mut inner, !others.is_empty(), key, || {
            let whole = |other: &Affinity| {
                let mut out = affinity(other);
                put(&mut out, "domain", Out::text(&other.domain));
                Out::Map(out)
            };
            Out::List(others.iter().map(whole).collect())
        });
    }
    put_if(&mut inner, !placement.tolerate.is_empty(), "tolerate", || {
        Out::List(placement.tolerate.iter().map(toleration).collect())
    });
    put_if(&mut inner, !placement.labels.is_empty(), "labels", || map(&placement.labels));
    put_if(out, !inner.is_empty(), "placement", || Out::Map(inner));
}

fn strategy(strategy: &Strategy, out: &mut Entries) {
    match strategy {
        Strategy::Pack => put(out, "strategy", Out::text("pack")),
        Strategy::Spread { domain, domain_max, skew_max } => {
            put(out, "strategy", Out::text("spread"));
            put(out, "domain", Out::text(domain));
            put_if(out, *domain_max > 0, "maxPerDomain", || Out::raw(domain_max));
            put_if(out, *skew_max > 0, "maxSkew", || Out::raw(skew_max));
        }
        Strategy::Cluster { domains } => {
            put(out, "strategy", Out::text("cluster"));
            put(out, "domains", Out::texts(domains));
        }
        Strategy::Partition { partitions, domain } => {
            put(out, "strategy", Out::text("partition"));
            put(out, "partitions", Out::raw(partitions));
            put(out, "domain", Out::text(domain));
        }
    }
}

fn constraints(constraints: &[Constraint]) -> Out {
    Out::List(constraints.iter().map(|one| Out::text(&expr::format(one))).collect())
}

fn affinity(affinity: &Affinity) -> Entries {
    let mut out = vec![("select".to_owned(), constraints(&affinity.select))];
    let namespaces = &affinity.namespaces;
    put_if(&mut out, !namespaces.is_empty(), "namespaces", || Out::texts(namespaces));
    out
}

fn prefer(preference: &Preference) -> Out {
    let mut out = Vec::new();
    match &preference.what {
        PreferenceOf::Labels(labels) => put(&mut out, "expr", constraints(labels)),
        PreferenceOf::Near(other) => {
            put(&mut out, "near", Out::Map(affinity(other)));
            put(&mut out, "domain", Out::text(&other.domain));
        }
        PreferenceOf::Avoid(other) => {
            put(&mut out, "avoid", Out::Map(affinity(other)));
            put(&mut out, "domain", Out::text(&other.domain));
        }
    }
    put(&mut out, "weight", Out::raw(preference.weight));
    Out::Map(out)
}

fn toleration(toleration: &Toleration) -> Out {
    let mut text = match toleration.key.is_empty() {
        true => "*".to_owned(),
        false => toleration.key.clone(),
    };
    if let Some(value) = &toleration.value {
        text.push('=');
        text.push_str(value);
    }
    let effect = EFFECTS.iter().find(|(_, effect)| Some(*effect) == toleration.effect);
    if let Some((name, _)) = effect {
        text.push(':');
        text.push_str(name);
    }
    Out::Text(text)
}
