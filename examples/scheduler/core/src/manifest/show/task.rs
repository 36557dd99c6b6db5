//! What runs in a container, printed.

use super::super::native::retry::{ACTIONS, REASONS};
use super::super::quantity::{format_bytes, format_cpu, format_span};
use super::super::rules;
use super::emit::{Entries, Out, put, put_if};
use crate::spec::{
    Backoff, Check, EnvSource, MountSource, Probe, PullPolicy, Retry, RetryRule, Security, Stop,
    Task,
};
use crate::types::Ms;

pub(super) fn span(span: Ms) -> Out {
    Out::text(&format_span(span))
}

/// The fields of a task, but for its outputs.
pub(super) fn task(task: &Task, out: &mut Entries) {
    put(out, "image", Out::text(&task.image));
    put_if(out, task.pull != PullPolicy::Missing, "pull", || {
        Out::text(if task.pull == PullPolicy::Always { "always" } else { "never" })
    });
    put_if(out, !task.command.is_empty(), "command", || Out::texts(&task.command));
    put_if(out, !task.args.is_empty(), "args", || Out::texts(&task.args));
    for (key, text) in [("workdir", &task.workdir), ("hostname", &task.hostname)] {
        out.extend(text.iter().map(|text| (key.to_owned(), Out::text(text))));
    }
    put_if(out, !task.env.is_empty(), "env", || env(task));
    put_if(out, !task.env_from.is_empty(), "envFrom", || env_from(task));
    put_if(out, !task.mounts.is_empty(), "mounts", || mounts(task));
    put_if(out, !task.ports.is_empty(), "ports", || {
        Out::Map(task.ports.iter().map(|(name, port)| (name.clone(), Out::raw(port))).collect())
    });
    resources(task, out);
    let mut probes = Vec::new();
    for (key, found) in [("ready", &task.ready), ("live", &task.live)] {
        probes.extend(found.iter().map(|found| (key.to_owned(), probe(found))));
    }
    put_if(out, !probes.is_empty(), "probes", || Out::Map(probes));
    put_if(out, task.stop != Stop::default(), "stop", || {
        Out::Map(vec![
            ("signal".to_owned(), Out::text(&rules::signal_name(task.stop.signal))),
            ("grace".to_owned(), span(task.stop.grace)),
        ])
    });
    put_if(out, task.security != Security::default(), "security", || security(&task.security));
    out.extend(task.runtime.iter().map(|name| ("runtime".to_owned(), Out::text(name))));
    out.extend(task.timeout.map(|timeout| ("timeout".to_owned(), span(timeout))));
    put_if(out, !task.init, "init", || Out::raw(false));
    put_if(out, task.capture_bytes > 0, "capture", || {
        Out::text(&format_bytes(task.capture_bytes.into()))
    });
}

fn key_of(kind: &str, name: &str, key: &str, optional: bool) -> Out {
    let mut out = vec![(kind.to_owned(), Out::text(name)), ("key".to_owned(), Out::text(key))];
    put_if(&mut out, optional, "optional", || Out::raw(true));
    Out::Map(out)
}

fn env(task: &Task) -> Out {
    let source = |source: &EnvSource| match source {
        EnvSource::Text(text) => Out::text(text),
        EnvSource::Config { name, key, optional } => key_of("config", name, key, *optional),
        EnvSource::Secret { name, key, optional } => key_of("secret", name, key, *optional),
        EnvSource::Field(field) => Out::Map(vec![("field".to_owned(), Out::text(field))]),
    };
    Out::Map(task.env.iter().map(|var| (var.name.clone(), source(&var.value))).collect())
}

fn env_from(task: &Task) -> Out {
    let one = |from: &crate::spec::EnvFrom| {
        let kind = if from.secret { "secret" } else { "config" };
        let mut out = vec![(kind.to_owned(), Out::text(&from.name))];
        put_if(&mut out, !from.prefix.is_empty(), "prefix", || Out::text(&from.prefix));
        put_if(&mut out, from.optional, "optional", || Out::raw(true));
        Out::Map(out)
    };
    Out::List(task.env_from.iter().map(one).collect())
}

fn mounts(task: &Task) -> Out {
    let one = |mount: &crate::spec::Mount| {
        let mut out = vec![("at".to_owned(), Out::text(&mount.at))];
        match &mount.source {
            MountSource::Empty { bytes, memory } => {
                let mut inner = Vec::new();
                put_if(&mut inner, *bytes > 0, "size", || Out::text(&format_bytes(*bytes)));
                put_if(&mut inner, *memory, "memory", || Out::raw(true));
                put(&mut out, "emptyDir", Out::Map(inner));
            }
            MountSource::Host { path } => put(&mut out, "host", Out::text(path)),
            // Of a workflow's script: controllers make it, and no manifest can.
            MountSource::Text { text } => put(&mut out, "text", Out::text(text)),
            MountSource::Config { name, items, optional }
            | MountSource::Secret { name, items, optional } => {
                let secret = matches!(mount.source, MountSource::Secret { .. });
                put(&mut out, if secret { "secret" } else { "config" }, Out::text(name));
                put_if(&mut out, !items.is_empty(), "items", || super::emit::map(items));
                put_if(&mut out, *optional, "optional", || Out::raw(true));
            }
        }
        put_if(&mut out, mount.read_only, "readOnly", || Out::raw(true));
        Out::Map(out)
    };
    Out::List(task.mounts.iter().map(one).collect())
}

/// Amounts that have a default are always printed: what it is depends on the limits.
fn resources(task: &Task, out: &mut Entries) {
    let (request, limit) = (task.request, task.limit);
    let mut set_aside = vec![
        ("cpu".to_owned(), Out::text(&format_cpu(request.cpu))),
        ("memory".to_owned(), Out::text(&format_bytes(request.memory))),
    ];
    put_if(&mut set_aside, request.disk | limit.disk > 0, "disk", || {
        Out::text(&format_bytes(request.disk))
    });
    put_if(&mut set_aside, request.pids | limit.pids > 0, "pids", || Out::raw(request.pids));
    put(out, "resources", Out::Map(set_aside));
    let mut bound = Vec::new();
    put_if(&mut bound, limit.cpu > 0, "cpu", || Out::text(&format_cpu(limit.cpu)));
    put_if(&mut bound, limit.memory > 0, "memory", || Out::text(&format_bytes(limit.memory)));
    put_if(&mut bound, limit.disk > 0, "disk", || Out::text(&format_bytes(limit.disk)));
    put_if(&mut bound, limit.pids != request.pids, "pids", || Out::raw(limit.pids));
    put_if(out, !bound.is_empty(), "limits", || Out::Map(bound));
}

fn probe(probe: &Probe) -> Out {
    let mut out = Vec::new();
    match &probe.check {
        Check::Http { port, path } => put(&mut out, "http", Out::text(&format!(":{port}{path}"))),
        Check::Tcp { port } => put(&mut out, "tcp", Out::raw(port)),
        Check::Exec { command } => put(&mut out, "exec", Out::texts(command)),
    }
    put_if(&mut out, probe.delay > 0, "delay", || span(probe.delay));
    put_if(&mut out, probe.every != 10_000, "every", || span(probe.every));
    put_if(&mut out, probe.timeout != 1000, "timeout", || span(probe.timeout));
    put_if(&mut out, probe.successes != 1, "successes", || Out::raw(probe.successes));
    put_if(&mut out, probe.failures != 3, "failures", || Out::raw(probe.failures));
    Out::Map(out)
}

fn security(security: &Security) -> Out {
    let mut out = Vec::new();
    out.extend(security.user.map(|id| ("user".to_owned(), Out::raw(id))));
    out.extend(security.group.map(|id| ("group".to_owned(), Out::raw(id))));
    put_if(&mut out, security.read_only_root, "readOnlyRoot", || Out::raw(true));
    put_if(&mut out, security.non_root, "nonRoot", || Out::raw(true));
    let kept = &security.capabilities;
    put_if(&mut out, !kept.is_empty(), "capAdd", || Out::texts(kept));
    Out::Map(out)
}

/// The `retry` of a job or template, if it is not the usual.
pub(super) fn retry(retry: &Retry, out: &mut Entries) {
    if *retry == Retry::default() {
        return;
    }
    if *retry == (Retry { attempts: retry.attempts, ..Retry::default() }) {
        put(out, "retry", Out::raw(retry.attempts));
        return;
    }
    let mut inner = vec![("attempts".to_owned(), Out::raw(retry.attempts))];
    after(retry, &mut inner);
    put_if(&mut inner, retry.count_interruptions, "countInterruptions", || Out::raw(true));
    put(out, "retry", Out::Map(inner));
}

/// The `restart` of a service, if it is not the usual.
pub(super) fn restart(retry: &Retry, out: &mut Entries) {
    let mut inner = Vec::new();
    after(retry, &mut inner);
    put_if(out, !inner.is_empty(), "restart", || Out::Map(inner));
}

fn after(retry: &Retry, out: &mut Entries) {
    let (backoff, usual) = (&retry.backoff, Backoff::default());
    if *backoff != usual {
        let mut inner = Vec::new();
        put(&mut inner, "initial", span(backoff.initial));
        put(&mut inner, "factor", Out::raw(backoff.factor));
        put(&mut inner, "max", span(backoff.max));
        put(&mut inner, "jitter", Out::raw(backoff.jitter));
        put(out, "backoff", Out::Map(inner));
    }
    put_if(out, !retry.rules.is_empty(), "rules", || {
        Out::List(retry.rules.iter().map(rule).collect())
    });
}

fn rule(rule: &RetryRule) -> Out {
    let mut out = Vec::new();
    put_if(&mut out, !rule.exits.is_empty(), "exit", || {
        let one = |exits: &crate::spec::Exits| match exits.lo == exits.hi {
            true => Out::raw(exits.lo),
            false => Out::text(&format!("{}-{}", exits.lo, exits.hi)),
        };
        Out::List(rule.exits.iter().map(one).collect())
    });
    put_if(&mut out, !rule.signals.is_empty(), "signal", || {
        Out::List(rule.signals.iter().map(|&one| Out::text(&rules::signal_name(one))).collect())
    });
    out.extend(rule.oom.map(|oom| ("oom".to_owned(), Out::raw(oom))));
    put_if(&mut out, !rule.reasons.is_empty(), "reason", || {
        let named = REASONS.iter().filter(|(_, reason)| rule.reasons.contains(reason));
        Out::List(named.map(|(name, _)| Out::text(name)).collect())
    });
    let action = ACTIONS.iter().find(|(_, action)| *action == rule.action);
    put(&mut out, "do", Out::text(action.map_or("", |(name, _)| *name)));
    out.extend(rule.memory_factor.map(|factor| {
        let factor = Out::text(&format!("x{factor}"));
        ("resources".to_owned(), Out::Map(vec![("memory".to_owned(), factor)]))
    }));
    Out::Map(out)
}
