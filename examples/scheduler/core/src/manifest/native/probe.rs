//! Questions to a running task, as mason's own dialect has them.

use std::collections::BTreeMap;

use super::super::cursor::{Field, Map};
use super::super::problem::shown;
use super::super::rules;
use super::{some_span, span};
use crate::spec::{Check, Probe};

/// Whether it is ready, and whether it lives.
pub(super) fn probes(
    field: &Field<'_>,
    ports: &BTreeMap<String, u16>,
) -> (Option<Probe>, Option<Probe>) {
    let both = field.map(|map| {
        let read =
            |key| map.get(key).and_then(|field| field.map(|map| probe(map, ports)).flatten());
        let (ready, mut live): (Option<Probe>, Option<Probe>) = (read("ready"), read("live"));
        if let Some(grace) = map.get("startupGrace") {
            let span = span(&grace).unwrap_or(0);
            match &mut live {
                Some(live) => live.delay = live.delay.max(span),
                None => grace.bad("has no meaning without `live`"),
            }
        }
        (ready, live)
    });
    both.unwrap_or_default()
}

fn probe(map: &Map<'_>, ports: &BTreeMap<String, u16>) -> Option<Probe> {
    let (http, tcp, exec) = (map.get("http"), map.get("tcp"), map.get("exec"));
    if [&http, &tcp, &exec].into_iter().flatten().count() != 1 {
        map.field().bad("must have one of http, tcp and exec");
    }
    let spans = |key, usual| map.get(key).and_then(|field| some_span(&field)).unwrap_or(usual);
    let (every, timeout) = (spans("every", 10_000), spans("timeout", 1000));
    let delay = map.get("delay").and_then(|field| span(&field)).unwrap_or(0);
    let count =
        |key, usual| map.get(key).and_then(|field| field.u32_in(1, 100_000)).unwrap_or(usual);
    let (successes, failures) = (count("successes", 1), count("failures", 3));
    let check = match (http, tcp, exec) {
        (Some(http), ..) => self::http(&http, ports)?,
        (_, Some(tcp), _) => Check::Tcp { port: rules::port_or_name(&tcp, ports)? },
        (.., Some(exec)) => {
            let command = exec.words();
            if command.is_empty() {
                exec.bad("must be the words of a command");
            }
            Check::Exec { command }
        }
        _ => return None,
    };
    Some(Probe { check, delay, every, timeout, successes, failures })
}

/// `:8080/ok`, or `:http/ok` with the name of a port.
fn http(field: &Field<'_>, ports: &BTreeMap<String, u16>) -> Option<Check> {
    let text = field.word()?;
    let rest = text.strip_prefix(':').unwrap_or(&text);
    let (port, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let number = ports.get(port).copied().or_else(|| port.parse().ok().filter(|&port| port > 0));
    let Some(port) = number else {
        field.bad(format!("must be a port and a path, as :8080/ok, not {}", shown(&text)));
        return None;
    };
    Some(Check::Http { port, path: path.to_owned() })
}
