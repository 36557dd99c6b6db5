//! What differs between two values, by path: `task.env[2].value`.

use mason_core::types::start_of;
use serde::Serialize;
use serde_json::Value;

use crate::api::wire::Difference;

/// Differences of one object at most; the last says how many were left out.
const DIFFERENCES_MAX: usize = 500;
/// A value that is longer as JSON is cut, bytes.
const VALUE_BYTES_MAX: usize = 2 << 10;

/// What differs, in the order of the paths.
pub(in crate::api) fn differences<T: Serialize>(before: &T, after: &T) -> Vec<Difference> {
    let value = |it: &T| serde_json::to_value(it).unwrap_or(Value::Null);
    of_values(Some(&value(before)), Some(&value(after)))
}

/// The same, of JSON.
pub(super) fn of_values(before: Option<&Value>, after: Option<&Value>) -> Vec<Difference> {
    let mut all = Vec::new();
    walk(&mut String::new(), before, after, &mut all);
    if all.len() > DIFFERENCES_MAX {
        let more = all.len() - DIFFERENCES_MAX;
        all.truncate(DIFFERENCES_MAX);
        let path = format!("… and {more} more");
        all.push(Difference { path, before: None, after: None });
    }
    all
}

fn walk(
    path: &mut String,
    before: Option<&Value>,
    after: Option<&Value>,
    all: &mut Vec<Difference>,
) {
    if before == after {
        return;
    }
    let at = path.len();
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                step(path, name);
                walk(path, old.get(name), new.get(name), all);
                path.truncate(at);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for place in 0..old.len().max(new.len()) {
                path.push_str(&format!("[{place}]"));
                walk(path, old.get(place), new.get(place), all);
                path.truncate(at);
            }
        }
        _ => all.push(Difference {
            path: path.clone(),
            before: before.map(text),
            after: after.map(text),
        }),
    }
}

/// A name that is no word stands in brackets, so that a path reads in one way.
fn step(path: &mut String, name: &str) {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if name.is_empty() || !name.chars().all(plain) {
        path.push_str(&format!("[{name:?}]"));
        return;
    }
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

fn text(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > VALUE_BYTES_MAX {
        text.truncate(start_of(&text, VALUE_BYTES_MAX).len());
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(before: &Value, after: &Value, expected: &[(&str, Option<&str>, Option<&str>)]) {
        let found = of_values(Some(before), Some(after));
        let found: Vec<_> = found
            .iter()
            .map(|it| (it.path.as_str(), it.before.as_deref(), it.after.as_deref()))
            .collect();
        assert_eq!(found, expected);
    }

    /// A plan that hides a change, or shows one that is none, is believed once.
    #[test]
    fn each_change_is_told_once_at_its_path() {
        let before = json!({"task": {"image": "a", "env": [{"name": "X", "value": "1"}]}, "n": 1});
        check(&before, &before, &[]);
        let after = json!({"task": {"image": "b", "env": [{"name": "X", "value": "1"}, 5]}});
        check(
            &before,
            &after,
            &[
                ("n", Some("1"), None),
                ("task.env[1]", None, Some("5")),
                ("task.image", Some("\"a\""), Some("\"b\"")),
            ],
        );
        check(
            &json!({"labels": {"a.b/c": "x"}}),
            &json!({"labels": {"a.b/c": "y"}}),
            &[("labels[\"a.b/c\"]", Some("\"x\""), Some("\"y\""))],
        );
    }

    /// An answer has a bound, however long what differs is.
    #[test]
    fn long_differences_are_cut() {
        let long: Vec<u32> = (0..2000).collect();
        let found = of_values(Some(&json!([])), Some(&json!(long)));
        assert_eq!(found.len(), DIFFERENCES_MAX + 1);
        assert_eq!(found[DIFFERENCES_MAX].path, "… and 1500 more");
        let found = of_values(Some(&json!("ä".repeat(5000))), Some(&json!("")));
        assert!(found[0].before.as_ref().unwrap().len() <= VALUE_BYTES_MAX + 3);
    }
}
