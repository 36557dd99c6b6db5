//! Label selectors: `k=v,k!=v,k in (a,b),!k`, all of which must hold.

use std::collections::BTreeMap;

use mason_core::manifest::parse_constraint;
use mason_core::spec::{Constraint, Operator};

use super::refuse::Refused;

/// Longest selector, bytes.
const BYTES_MAX: usize = 4 << 10;
/// Expressions of one at most.
const TERMS_MAX: usize = 32;

/// What labels must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<Constraint>);

impl Selector {
    /// As text; nothing selects everything.
    pub(super) fn parse(text: Option<&str>) -> Result<Selector, Refused> {
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return Ok(Selector::default());
        };
        let bad = |problems| Refused::problems("`label` is no selector", problems);
        if text.len() > BYTES_MAX {
            return Err(bad(vec![format!("label: is longer than {BYTES_MAX} bytes")]));
        }
        let parts = split(text);
        if parts.len() > TERMS_MAX {
            return Err(bad(vec![format!("label: has more than {TERMS_MAX} expressions")]));
        }
        let (mut terms, mut problems) = (Vec::new(), Vec::new());
        for (at, part) in parts.into_iter().enumerate() {
            match parse_constraint(part) {
                Ok(term) => terms.push(term),
                Err(error) => problems.push(format!("label[{at}]: {error}")),
            }
        }
        if problems.is_empty() { Ok(Selector(terms)) } else { Err(bad(problems)) }
    }

    /// Whether these labels are such.
    pub(super) fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| holds(term, labels.get(&term.label).map(String::as_str)))
    }
}

fn holds(term: &Constraint, value: Option<&str>) -> bool {
    let is_one = |value: &str| term.values.iter().any(|it| it == value);
    let number = |text: &str| text.parse::<i64>().ok();
    let compared = || {
        let value = value.and_then(number)?;
        let other = term.values.first().and_then(|it| number(it))?;
        Some(value.cmp(&other))
    };
    match term.operator {
        Operator::In => value.is_some_and(is_one),
        Operator::NotIn => !value.is_some_and(is_one),
        Operator::Exists => value.is_some(),
        Operator::Missing => value.is_none(),
        Operator::Gt => compared().is_some_and(std::cmp::Ordering::is_gt),
        Operator::Lt => compared().is_some_and(std::cmp::Ordering::is_lt),
    }
}

/// At commas, but for those in brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0u32);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        Selector::parse(Some(selector)).unwrap().fits(&labels)
    }

    /// Who deletes by a selector deletes what it means.
    #[test]
    fn selectors_mean_what_they_mean_in_kubernetes() {
        let labels = [("app", "web"), ("tier", "front"), ("size", "12")];
        for yes in [
            "",
            "app=web",
            "app==web,tier=front",
            "app!=db",
            "other!=x",
            "app in (web,db),tier",
            "!other",
            "app not in (db)",
            "size>9",
            "size<13",
        ] {
            assert!(fits(yes, &labels), "{yes}");
        }
        for no in
            ["app=db", "app=web,tier=back", "other", "!app", "app in (a,b)", "size>12", "app>1"]
        {
            assert!(!fits(no, &labels), "{no}");
        }
    }

    /// A selector that is misread selects everything, or nothing, and nobody sees it.
    #[test]
    fn what_is_no_selector_is_refused_by_its_place() {
        let refused = Selector::parse(Some("a=b,,=c,a in (b")).unwrap_err();
        assert_eq!(refused.refusal.problems.len(), 3, "{refused:?}");
        assert!(refused.refusal.problems[0].starts_with("label[1]: "));
        let many = vec!["a"; 33].join(",");
        assert!(Selector::parse(Some(&many)).is_err());
        assert!(Selector::parse(Some(&"a".repeat(5000))).is_err());
    }
}
