//! `topologySpreadConstraints`: how the pods of one template lie to each other.

use std::collections::BTreeMap;

use super::super::cursor::{COUNT_MAX, Field, Map};
use super::super::rules;
use super::affinity::{must_hold, node_label, selector};
use super::only;
use crate::spec::Strategy;

struct Spread {
    domain: String,
    skew: u32,
    hard: bool,
}

/// The first of them, as a strategy. Within its domains tasks are spread over nodes anyhow, so that
/// a second one that would like just that is welcome; any other is not supported.
pub(super) fn strategy(map: &Map<'_>, labels: &BTreeMap<String, String>) -> Option<Strategy> {
    let fields = map.get("topologySpreadConstraints")?.list();
    let mut found: Option<Strategy> = None;
    for field in &fields {
        let Some(spread) = field.map(|map| constraint(map, labels)).flatten() else { continue };
        let soft_node = spread.domain == "node" && !spread.hard;
        match &found {
            Some(_) if soft_node => {}
            Some(_) => field.unsupported("is not supported yet beside the one before it"),
            None => {
                found = Some(Strategy::Spread {
                    domain: spread.domain,
                    domain_max: 0,
                    skew_max: if spread.hard { spread.skew } else { 0 },
                });
            }
        }
    }
    found
}

fn constraint(map: &Map<'_>, labels: &BTreeMap<String, String>) -> Option<Spread> {
    let skew = map.need("maxSkew").and_then(|field| field.u32_in(1, COUNT_MAX));
    let key = map.need("topologyKey").and_then(|field| rules::label(&field));
    let hard = map
        .need("whenUnsatisfiable")
        .and_then(|field| field.one_of(&[("DoNotSchedule", true), ("ScheduleAnyway", false)]));
    if let Some(field) = map.need("labelSelector") {
        let select = field.map(|map: &Map<'_>| selector(map)).unwrap_or_default();
        must_hold(&field, &select, labels, "the labels of its own pods");
    }
    only(map, "minDomains", &["1"]);
    only(map, "nodeAffinityPolicy", &["Honor"]);
    only(map, "nodeTaintsPolicy", &["Ignore"]);
    if let Some(field) = map.get("matchLabelKeys") {
        // Each revision by itself: what is counted here are the tasks of one service.
        field.list().iter().for_each(|field: &Field<'_>| {
            if field.scalar().is_none_or(|(text, _)| text != "pod-template-hash") {
                field.unsupported("is not supported yet");
            }
        });
    }
    Some(Spread { domain: node_label(&key?).to_owned(), skew: skew?, hard: hard? })
}
