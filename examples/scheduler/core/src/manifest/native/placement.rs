//! Where tasks may go, as mason's own dialect has it.

use super::super::cursor::{COUNT_MAX, Field, Map};
use super::super::rules;
use super::affinity::{affinity, constraints, toleration};
use crate::spec::{Affinity, Placement, Preference, PreferenceOf, Strategy};

/// The `placement` of `map`. Without a strategy of its own it has `usual`.
pub(super) fn placement(map: &Map<'_>, usual: Strategy) -> Placement {
    let plain = Placement { strategy: usual.clone(), ..Placement::default() };
    let Some(field) = map.get("placement") else { return plain };
    let read = |map: &Map<'_>| {
        let several = |key| map.get(key).map(|field: Field<'_>| field.list()).unwrap_or_default();
        let others = |key| -> Vec<Affinity> {
            several(key).iter().filter_map(|field| field.map(|map| affinity(map, None))).collect()
        };
        Placement {
            strategy: strategy(map, usual),
            require: map.get("require").map(|field| constraints(&field)).unwrap_or_default(),
            prefer: several("prefer").iter().filter_map(prefer).collect(),
            near: others("near"),
            avoid: others("avoid"),
            tolerate: several("tolerate").iter().filter_map(toleration).collect(),
            labels: map.get("labels").map(|field| rules::labels(&field)).unwrap_or_default(),
        }
    };
    field.map(read).unwrap_or(plain)
}

#[derive(Clone, Copy)]
enum Kind {
    Pack,
    Spread,
    Cluster,
    Partition,
}

fn strategy(map: &Map<'_>, usual: Strategy) -> Strategy {
    let named = map.get("strategy").and_then(|field| {
        field.one_of(&[
            ("pack", Kind::Pack),
            ("spread", Kind::Spread),
            ("cluster", Kind::Cluster),
            ("partition", Kind::Partition),
        ])
    });
    let domain = |usual: &str| {
        let domain = map.get("domain").and_then(|field| rules::label(&field));
        domain.unwrap_or_else(|| usual.to_owned())
    };
    match named {
        None => usual,
        Some(Kind::Pack) => Strategy::Pack,
        Some(Kind::Spread) => Strategy::Spread {
            domain: domain("zone"),
            domain_max: map.get("maxPerDomain").and_then(|field| field.u32()).unwrap_or(0),
            skew_max: map.get("maxSkew").and_then(|field| field.u32()).unwrap_or(0),
        },
        Some(Kind::Cluster) => {
            let domains = map
                .get("domains")
                .map(|field| field.list().iter().filter_map(rules::label).collect::<Vec<String>>());
            match domains {
                Some(domains) => {
                    if domains.is_empty() {
                        map.bad_at("domains", "must have a label");
                    }
                    Strategy::Cluster { domains }
                }
                None => Strategy::Cluster { domains: vec![domain("zone")] },
            }
        }
        Some(Kind::Partition) => Strategy::Partition {
            partitions: map
                .need("partitions")
                .and_then(|field| field.u32_in(1, COUNT_MAX))
                .unwrap_or(1),
            domain: domain("zone"),
        },
    }
}

/// `{expr, weight}`, or `{near, domain, weight}`, or `{avoid, domain, weight}`.
fn prefer(field: &Field<'_>) -> Option<Preference> {
    let read = |map: &Map<'_>| {
        let weight = map.get("weight").and_then(|field| field.u32_in(1, 100)).unwrap_or(50);
        let (labels, near, avoid) = (map.get("expr"), map.get("near"), map.get("avoid"));
        if [&labels, &near, &avoid].into_iter().flatten().count() != 1 {
            map.field().bad("must have one of expr, near and avoid");
        }
        let other = |field: Field<'_>| field.map(|inner| affinity(inner, Some(map)));
        let what = match (labels, near, avoid) {
            (Some(labels), ..) => PreferenceOf::Labels(constraints(&labels)),
            (_, Some(near), _) => PreferenceOf::Near(other(near)?),
            (.., Some(avoid)) => PreferenceOf::Avoid(other(avoid)?),
            _ => return None,
        };
        Some(Preference { weight, what })
    };
    field.map(read).flatten()
}
