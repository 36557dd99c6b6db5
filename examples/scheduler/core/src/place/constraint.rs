//! Whether labels meet what is asked of them, and whether a taint is tolerated.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::record::{Taint, TaintEffect};
use crate::spec::{Constraint, Operator, Toleration};

/// The label that every node has without being told: its id. As a domain it is each node alone.
pub const NODE: &str = "node";
/// The label that every task has without being told: the name of its job.
pub const JOB: &str = "job";
/// The taint that every interruptible node has without being told: a task that cannot bear to be
/// taken away must not end up there by chance.
pub const INTERRUPTIBLE: &str = "interruptible";

/// That taint.
pub(crate) fn interruptible() -> Taint {
    let (key, value) = (INTERRUPTIBLE.to_owned(), String::new());
    Taint { key, value, effect: TaintEffect::NoSchedule }
}

/// Whether it holds of these labels, the implied one included.
pub(crate) fn holds(
    constraint: &Constraint,
    labels: &BTreeMap<String, String>,
    implied: (&str, &str),
) -> bool {
    let found = labels.get(&constraint.label).map(String::as_str);
    let found = found.or((constraint.label == implied.0).then_some(implied.1));
    let listed = |value: &str| constraint.values.iter().any(|one| one == value);
    match constraint.operator {
        Operator::In => found.is_some_and(listed),
        Operator::NotIn => !found.is_some_and(listed),
        Operator::Exists => found.is_some(),
        Operator::Missing => found.is_none(),
        Operator::Gt => compare(found, &constraint.values).is_some_and(|(is, asked)| is > asked),
        Operator::Lt => compare(found, &constraint.values).is_some_and(|(is, asked)| is < asked),
    }
}

fn compare(found: Option<&str>, values: &[String]) -> Option<(i64, i64)> {
    Some((found?.parse().ok()?, values.first()?.parse().ok()?))
}

/// Whether the taint does not keep away who has these tolerations.
pub(crate) fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|one| {
        (one.key.is_empty() || one.key == taint.key)
            && one.value.as_ref().is_none_or(|value| *value == taint.value)
            && one.effect.is_none_or(|effect| effect == taint.effect)
    })
}

/// As a user would write it: `disk=ssd`, `zone in (a, b)`, `!gpu`.
pub(crate) fn text(constraint: &Constraint) -> String {
    let Constraint { label, operator, values } = constraint;
    let list = values.join(", ");
    match (operator, values.as_slice()) {
        (Operator::In, [one]) => format!("{label}={one}"),
        (Operator::NotIn, [one]) => format!("{label}!={one}"),
        (Operator::In, _) => format!("{label} in ({list})"),
        (Operator::NotIn, _) => format!("{label} not in ({list})"),
        (Operator::Exists, _) => label.clone(),
        (Operator::Missing, _) => format!("!{label}"),
        (Operator::Gt, _) => format!("{label}>{list}"),
        (Operator::Lt, _) => format!("{label}<{list}"),
    }
}

/// Several of them, all of which must hold.
pub(crate) fn text_of_all(constraints: &[Constraint]) -> String {
    constraints.iter().map(text).collect::<Vec<_>>().join(",")
}

/// `key=value`, or `key`.
pub(crate) fn text_of_taint(taint: &Taint) -> String {
    let mut text = taint.key.clone();
    if !taint.value.is_empty() {
        let _ = write!(text, "={}", taint.value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(label: &str, operator: Operator, values: &[&str]) -> Constraint {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        Constraint { label: label.to_owned(), operator, values }
    }

    /// A label that is missing, or no number, is where operators are gotten wrong.
    #[test]
    fn operators_mean_what_they_say() {
        let labels =
            BTreeMap::from([("disk", "ssd"), ("gen", "12")].map(|(k, v)| (k.into(), v.into())));
        let check = |constraint: &Constraint, expected: bool| {
            let found = holds(constraint, &labels, (NODE, "n1"));
            assert_eq!(found, expected, "{}", text(constraint));
        };
        check(&ask("disk", Operator::In, &["hdd", "ssd"]), true);
        check(&ask("disk", Operator::NotIn, &["ssd"]), false);
        check(&ask("gpu", Operator::In, &["a"]), false);
        check(&ask("gpu", Operator::NotIn, &["a"]), true);
        check(&ask("gpu", Operator::Exists, &[]), false);
        check(&ask("gpu", Operator::Missing, &[]), true);
        check(&ask("gen", Operator::Gt, &["9"]), true);
        check(&ask("gen", Operator::Gt, &["12"]), false);
        check(&ask("gen", Operator::Lt, &["13"]), true);
        check(&ask("disk", Operator::Lt, &["13"]), false);
        check(&ask("gpu", Operator::Lt, &["13"]), false);
        check(&ask("node", Operator::In, &["n1"]), true);
        check(&ask("node", Operator::Missing, &[]), false);
    }

    /// One that tolerates too much puts tasks where an operator wants none.
    #[test]
    fn tolerations_are_as_wide_as_they_are_written() {
        let (key, value) = ("team".to_owned(), "ml".to_owned());
        let taint = Taint { key, value, effect: TaintEffect::NoExecute };
        let check = |key: &str, value: Option<&str>, effect, expected: bool| {
            let value = value.map(str::to_owned);
            let one = Toleration { key: key.to_owned(), value, effect };
            assert_eq!(tolerated(&taint, std::slice::from_ref(&one)), expected, "{one:?}");
        };
        check("team", None, None, true);
        check("", None, None, true);
        check("team", Some("ml"), Some(TaintEffect::NoExecute), true);
        check("team", Some("etl"), None, false);
        check("team", None, Some(TaintEffect::NoSchedule), false);
        check("other", None, None, false);
        assert!(!tolerated(&taint, &[]));
    }
}
