//! Other tasks, nodes and taints, as mason's own dialect names them.

use super::super::cursor::{Field, Map};
use super::super::problem::shown;
use super::super::{expr, rules};
use crate::record::TaintEffect;
use crate::spec::{Affinity, Constraint, Operator, Toleration};

/// One expression, or a list of them.
pub(super) fn constraints(field: &Field<'_>) -> Vec<Constraint> {
    field.one_or_more().iter().filter_map(|field| field.parse(expr::parse)).collect()
}

/// Other tasks: `job: cache`, or `select` with expressions over their labels. The domain lies in
/// `outer` if it is not here.
pub(super) fn affinity(map: &Map<'_>, outer: Option<&Map<'_>>) -> Affinity {
    let mut select = map.get("select").map(|field| constraints(&field)).unwrap_or_default();
    if let Some(job) = map.get("job") {
        let name = rules::name(&job).unwrap_or_default();
        let (label, operator) = ("job".to_owned(), Operator::In);
        select.insert(0, Constraint { label, operator, values: vec![name] });
    }
    if select.is_empty() {
        map.field().bad("must say which tasks: job, or select with expressions");
    }
    let namespaces =
        map.get("namespaces").map(|field| field.list().iter().filter_map(rules::name).collect());
    let domain = map.get("domain").or_else(|| outer.and_then(|outer| outer.get("domain")));
    let domain = domain.and_then(|field| rules::label(&field));
    Affinity {
        select,
        namespaces: namespaces.unwrap_or_default(),
        domain: domain.unwrap_or_else(|| "node".to_owned()),
    }
}

/// All effects, by the names that users write.
pub(in super::super) const EFFECTS: [(&str, TaintEffect); 3] = [
    ("NoSchedule", TaintEffect::NoSchedule),
    ("PreferNoSchedule", TaintEffect::PreferNoSchedule),
    ("NoExecute", TaintEffect::NoExecute),
];

/// `key`, `key=value`, each perhaps with `:NoExecute`; `*` is every key.
pub(super) fn toleration(field: &Field<'_>) -> Option<Toleration> {
    let text = field.word()?;
    let (taint, effect) = match text.split_once(':') {
        Some((taint, effect)) => (taint, Some(effect)),
        None => (&*text, None),
    };
    let effect = match effect {
        Some(word) => match EFFECTS.iter().find(|(name, _)| *name == word) {
            Some((_, effect)) => Some(*effect),
            None => {
                field.bad(format!(
                    "the effect behind : must be NoSchedule, PreferNoSchedule or NoExecute, not {}",
                    shown(word)
                ));
                return None;
            }
        },
        None => None,
    };
    let (key, value) = match taint.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (taint, None),
    };
    let wrong = match (key, value) {
        ("*", None) => None,
        (key, value) => expr::check_key(key).and(expr::check_value(value.unwrap_or(""))).err(),
    };
    if let Some(why) = wrong {
        field.bad(format!("must be a taint, as key, key=value or key:NoExecute: {why}"));
        return None;
    }
    let key = if key == "*" { String::new() } else { key.to_owned() };
    Some(Toleration { key, value: value.map(str::to_owned), effect })
}
