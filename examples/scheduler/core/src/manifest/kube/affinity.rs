//! Where a pod may go: node selectors, affinities, tolerations.

use super::super::cursor::{Field, Map};
use super::super::native::affinity::EFFECTS;
use super::super::{expr, rules};
use super::guess;
use crate::spec::{
    Affinity, Constraint, Operator, Placement, Preference, PreferenceOf, Toleration,
};

/// The short name of a node's label.
pub(super) fn node_label(key: &str) -> &str {
    match key {
        "kubernetes.io/arch" | "beta.kubernetes.io/arch" => "arch",
        "kubernetes.io/os" | "beta.kubernetes.io/os" => "os",
        "kubernetes.io/hostname" => "node",
        "topology.kubernetes.io/zone" | "failure-domain.beta.kubernetes.io/zone" => "zone",
        "topology.kubernetes.io/region" | "failure-domain.beta.kubernetes.io/region" => "region",
        key => key,
    }
}

/// What a pod says of nodes and of other pods, but for how its own lie to each other.
pub(super) fn placement(map: &Map<'_>) -> Placement {
    let mut placement = node_placement(map);
    if let Some(field) = map.get("affinity") {
        field.map(|map| {
            let part = |key, read: &mut dyn FnMut(&Map<'_>)| {
                if let Some(field) = map.get(key) {
                    field.map(|map| read(map));
                }
            };
            part("nodeAffinity", &mut |map| nodes(map, &mut placement));
            part("podAffinity", &mut |map| {
                let (hard, soft) = pods(map);
                placement.near = hard;
                placement.prefer.extend(soft.into_iter().map(|(weight, affinity)| Preference {
                    weight,
                    what: PreferenceOf::Near(affinity),
                }));
            });
            part("podAntiAffinity", &mut |map| {
                let (hard, soft) = pods(map);
                placement.avoid = hard;
                placement.prefer.extend(soft.into_iter().map(|(weight, affinity)| Preference {
                    weight,
                    what: PreferenceOf::Avoid(affinity),
                }));
            });
        });
    }
    placement
}

/// `nodeSelector` and `tolerations`.
pub(in super::super) fn node_placement(map: &Map<'_>) -> Placement {
    let selector = map.get("nodeSelector").map(|field| rules::labels(&field)).unwrap_or_default();
    let require = selector.into_iter().map(|(key, value)| Constraint {
        label: node_label(&key).to_owned(),
        operator: Operator::In,
        values: vec![value],
    });
    let tolerations = map.get("tolerations").map(|field| field.list()).unwrap_or_default();
    let tolerate = tolerations.iter().filter_map(|field| field.map(toleration).flatten());
    Placement { require: require.collect(), tolerate: tolerate.collect(), ..Placement::default() }
}

fn toleration(map: &Map<'_>) -> Option<Toleration> {
    let key = map.get("key").and_then(|field| {
        let empty = field.scalar().is_some_and(|(text, _)| text.is_empty());
        if empty { None } else { rules::label(&field) }
    });
    let exists =
        map.get("operator").and_then(|field| field.one_of(&[("Equal", false), ("Exists", true)]));
    let value = map.get("value").and_then(|field| {
        let value = field.text()?;
        expr::check_value(&value).map_err(|why| field.bad(why)).ok().map(|()| value)
    });
    let effect = map.get("effect").and_then(|field| {
        let empty = field.scalar().is_some_and(|(text, _)| text.is_empty());
        if empty { None } else { field.one_of(&EFFECTS) }
    });
    map.not_yet(&["tolerationSeconds"]);
    let exists = exists.unwrap_or(false);
    match (&key, exists, &value) {
        (None, false, _) => {
            map.field().bad("must have a key, or the operator Exists");
            return None;
        }
        (_, true, Some(value)) if !value.is_empty() => {
            map.field().bad("must not have a value beside the operator Exists");
            return None;
        }
        _ => {}
    }
    let value = (!exists).then(|| value.unwrap_or_default());
    Some(Toleration { key: key.unwrap_or_default(), value, effect })
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn nodes(map: &Map<'_>, placement: &mut Placement) {
    if let Some(field) = map.get(REQUIRED) {
        field.map(|map| {
            let terms = map.need("nodeSelectorTerms").map(|field| field.list()).unwrap_or_default();
            for other in terms.iter().skip(1) {
                other.unsupported("is not supported yet: one term of several");
            }
            let first = terms.first().and_then(|field| field.map(term)).unwrap_or_default();
            placement.require.extend(first);
        });
    }
    for field in map.get(PREFERRED).map(|field| field.list()).unwrap_or_default() {
        field.map(|map| {
            let weight = weight(map);
            let labels = map.need("preference").and_then(|field| field.map(term));
            let what = PreferenceOf::Labels(labels.unwrap_or_default());
            placement.prefer.push(Preference { weight, what });
        });
    }
}

fn weight(map: &Map<'_>) -> u32 {
    map.need("weight").and_then(|field| field.u32_in(1, 100)).unwrap_or(1)
}

fn term(map: &Map<'_>) -> Vec<Constraint> {
    map.not_yet(&["matchFields"]);
    let found = map.get("matchExpressions").map(|field| expressions(&field)).unwrap_or_default();
    if found.is_empty() && map.field().peek("matchFields").is_none() {
        map.field().bad("must have matchExpressions");
    }
    let short = |constraint: Constraint| Constraint {
        label: node_label(&constraint.label).to_owned(),
        ..constraint
    };
    found.into_iter().map(short).collect()
}

/// `matchExpressions`.
fn expressions(field: &Field<'_>) -> Vec<Constraint> {
    let read = |map: &Map<'_>| {
        let label = map.need("key").and_then(|field| rules::label(&field));
        let operator = map.need("operator").and_then(|field| {
            field.one_of(&[
                ("In", Operator::In),
                ("NotIn", Operator::NotIn),
                ("Exists", Operator::Exists),
                ("DoesNotExist", Operator::Missing),
                ("Gt", Operator::Gt),
                ("Lt", Operator::Lt),
            ])
        });
        let fields = map.get("values").map(|field| field.list()).unwrap_or_default();
        let values = fields.iter().filter_map(|field| {
            let value = field.text()?;
            expr::check_value(&value).map_err(|why| field.bad(why)).ok().map(|()| value)
        });
        let values: Vec<String> = values.collect();
        let (label, operator) = (label?, operator?);
        let wrong = match operator {
            Operator::In | Operator::NotIn if fields.is_empty() => "must have values",
            Operator::Exists | Operator::Missing if !fields.is_empty() => "must have no values",
            Operator::Gt | Operator::Lt
                if fields.len() != 1
                    || values.iter().any(|value| value.parse::<i64>().is_err()) =>
            {
                "must have one value that is a whole number"
            }
            _ => return Some(Constraint { label, operator, values }),
        };
        map.field().bad(wrong);
        None
    };
    field.list().iter().filter_map(|field| field.map(read).flatten()).collect()
}

/// A selector of pods: labels and expressions, which must all hold.
pub(super) fn selector(map: &Map<'_>) -> Vec<Constraint> {
    let labels = map.get("matchLabels").map(|field| rules::labels(&field)).unwrap_or_default();
    let labels = labels.into_iter().map(|(label, value)| Constraint {
        label,
        operator: Operator::In,
        values: vec![value],
    });
    let more = map.get("matchExpressions").map(|field| expressions(&field)).unwrap_or_default();
    labels.chain(more).collect()
}

/// Whether all of these hold of labels.
pub(super) fn holds(
    constraints: &[Constraint],
    labels: &std::collections::BTreeMap<String, String>,
) -> bool {
    constraints.iter().all(|Constraint { label, operator, values }| {
        let value = labels.get(label);
        let number = |text: &String| text.parse::<i64>().ok();
        let pair = || Some((number(value?)?, number(values.first()?)?));
        match operator {
            Operator::In => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn => !value.is_some_and(|value| values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::Missing => value.is_none(),
            Operator::Gt => pair().is_some_and(|(value, bound)| value > bound),
            Operator::Lt => pair().is_some_and(|(value, bound)| value < bound),
        }
    })
}

fn pods(map: &Map<'_>) -> (Vec<Affinity>, Vec<(u32, Affinity)>) {
    let hard = map.get(REQUIRED).map(|field| field.list()).unwrap_or_default();
    let hard = hard.iter().filter_map(|field| field.map(pod_term).flatten()).collect();
    let soft = map.get(PREFERRED).map(|field| field.list()).unwrap_or_default();
    let soft = soft.iter().filter_map(|field| {
        field
            .map(|map| {
                let weight = weight(map);
                let term =
                    map.need("podAffinityTerm").and_then(|field| field.map(pod_term).flatten());
                term.map(|term| (weight, term))
            })
            .flatten()
    });
    (hard, soft.collect())
}

fn pod_term(map: &Map<'_>) -> Option<Affinity> {
    map.not_yet(&["namespaceSelector", "matchLabelKeys", "mismatchLabelKeys"]);
    let domain = map.need("topologyKey").and_then(|field| rules::label(&field));
    let namespaces = map.get("namespaces").map(|field| field.list()).unwrap_or_default();
    let select = map.need("labelSelector").and_then(|field| {
        let select = field.map(selector)?;
        if select.is_empty() {
            field.unsupported("is not supported yet if it selects all");
            return None;
        }
        Some(select)
    });
    Some(Affinity {
        select: select?,
        namespaces: namespaces.iter().filter_map(rules::name).collect(),
        domain: node_label(&domain?).to_owned(),
    })
}

/// A selector that must hold of these labels.
pub(super) fn must_hold(
    field: &Field<'_>,
    select: &[Constraint],
    labels: &std::collections::BTreeMap<String, String>,
    whose: &str,
) {
    if select.is_empty() {
        field.bad("must have matchLabels or matchExpressions");
    } else if !holds(select, labels) {
        let wrong = select.iter().find(|one| !holds(std::slice::from_ref(*one), labels));
        let wrong = wrong.map(expr::format).unwrap_or_default();
        let known = labels.keys().map(String::as_str);
        let near = select.iter().find(|one| !labels.contains_key(&one.label));
        let guess = near.map(|one| guess(&one.label, known)).unwrap_or_default();
        field.bad(format!("must match {whose}, and `{wrong}` does not{guess}"));
    }
}
