//! Probes of a container.

use std::collections::BTreeMap;

use super::super::cursor::{Field, Map};
use super::super::quantity::SPAN_MAX;
use super::super::rules;
use super::only;
use crate::spec::{Check, Probe};

/// Whether it is ready, and whether it lives.
///
/// A startup probe holds the others off until it has succeeded once. There is none here; what it
/// gives a slow start, time, the liveness probe is given as delay: as long as the startup probe
/// would wait at most. A readiness probe needs nothing of the kind, for until it succeeds a task is
/// not ready anyhow.
pub(super) fn probes(
    map: &Map<'_>,
    ports: &BTreeMap<String, u16>,
) -> (Option<Probe>, Option<Probe>) {
    let read = |key| {
        let field = map.get(key)?;
        field.map(|map| probe(map, ports)).flatten().map(|probe| (field, probe))
    };
    let ready = read("readinessProbe").map(|(_, probe)| probe);
    let mut live = read("livenessProbe");
    if let Some((field, probe)) = &live
        && probe.successes != 1
    {
        field.bad("successThreshold must be 1 of a probe that asks whether it lives");
    }
    match (read("startupProbe"), &mut live) {
        (Some((field, start)), Some((_, live))) => {
            let patience = start.every.saturating_mul(start.failures.into());
            live.delay = live.delay.max(start.delay.saturating_add(patience)).min(SPAN_MAX);
            field.warn("is taken as a delay of the liveness probe, of as long as it would wait");
        }
        (Some((field, _)), None) => {
            field.unsupported(
                "is not supported yet without a livenessProbe, which it would hold off",
            );
        }
        (None, _) => {}
    }
    (ready, live.map(|(_, probe)| probe))
}

fn probe(map: &Map<'_>, ports: &BTreeMap<String, u16>) -> Option<Probe> {
    map.not_yet(&["grpc", "terminationGracePeriodSeconds"]);
    let (http, tcp, exec) = (map.get("httpGet"), map.get("tcpSocket"), map.get("exec"));
    if [&http, &tcp, &exec].into_iter().flatten().count() != 1 && map.field().peek("grpc").is_none()
    {
        map.field().bad("must have one of httpGet, tcpSocket and exec");
    }
    let seconds = |key, usual| {
        map.get(key).and_then(|field: Field<'_>| rules::some_seconds(&field)).unwrap_or(usual)
    };
    let (every, timeout) = (seconds("periodSeconds", 10_000), seconds("timeoutSeconds", 1000));
    let delay = map.get("initialDelaySeconds").and_then(|field| rules::seconds(&field));
    let count = |key, usual| {
        map.get(key).and_then(|field: Field<'_>| field.u32_in(1, 100_000)).unwrap_or(usual)
    };
    let (successes, failures) = (count("successThreshold", 1), count("failureThreshold", 3));
    let check = match (http, tcp, exec) {
        (Some(http), ..) => http.map(|map| self::http(map, ports)).flatten()?,
        (_, Some(tcp), _) => {
            let port = tcp.map(|map| {
                map.not_yet(&["host"]);
                map.need("port").and_then(|field| rules::port_or_name(&field, ports))
            });
            Check::Tcp { port: port.flatten()? }
        }
        (.., Some(exec)) => {
            let command = exec.map(|map| map.need("command").map(|field| field.texts()));
            Check::Exec { command: command.flatten()? }
        }
        _ => return None,
    };
    let delay = delay.unwrap_or(0);
    Some(Probe { check, delay, every, timeout, successes, failures })
}

fn http(map: &Map<'_>, ports: &BTreeMap<String, u16>) -> Option<Check> {
    only(map, "scheme", &["HTTP"]);
    map.not_yet(&["host", "httpHeaders"]);
    let path = map.get("path").and_then(|field| field.text()).unwrap_or_default();
    let port = map.need("port").and_then(|field| rules::port_or_name(&field, ports))?;
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    Some(Check::Http { port, path })
}
