//! Expressions over labels, as text: `arch=amd64`, `disk!=hdd`, `gpu`, `!gpu`, `zone in (a,b)`,
//! `cores>4`.
//!
//! One expression is about one label, and several in a list must all hold. Label keys and values
//! are Kubernetes', for they come from there: letters, digits, `-`, `_` and `.`, and before a key
//! perhaps a domain and a `/`. None of these letters has a meaning of its own, so an expression
//! can be read in one way only.

use super::problem::shown;
use crate::spec::{Constraint, Operator};

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is no label expression: {why}", shown(text))]
pub struct BadExpr {
    /// What was given.
    pub text: String,
    /// What would be right.
    pub why: String,
}

/// Reads an expression.
///
/// # Errors
/// Says what would be right.
pub fn parse(text: &str) -> Result<Constraint, BadExpr> {
    let bad = |why: &str| BadExpr { text: text.to_owned(), why: why.to_owned() };
    let (label, operator, values) = split(text.trim())
        .ok_or_else(|| bad("write as a=b, a!=b, a, !a, a in (b,c), a not in (b,c), a>1 or a<1"))?;
    check_key(label).map_err(|why| bad(&why))?;
    for value in &values {
        check_value(value).map_err(|why| bad(&why))?;
    }
    if matches!(operator, Operator::Gt | Operator::Lt) {
        let number = values.first().is_some_and(|value| value.parse::<i64>().is_ok());
        if !number {
            return Err(bad("what is behind > or < must be a whole number"));
        }
    }
    let values = values.iter().map(|&value| value.to_owned()).collect();
    Ok(Constraint { label: label.to_owned(), operator, values })
}

fn split(text: &str) -> Option<(&str, Operator, Vec<&str>)> {
    if let Some(label) = text.strip_prefix('!') {
        return Some((label.trim(), Operator::Missing, Vec::new()));
    }
    if let Some((label, value)) = text.split_once("!=") {
        return Some((label.trim(), Operator::NotIn, vec![value.trim()]));
    }
    if let Some((label, value)) = text.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return Some((label.trim(), Operator::In, vec![value.trim()]));
    }
    if let Some((label, value)) = text.split_once('>') {
        return Some((label.trim(), Operator::Gt, vec![value.trim()]));
    }
    if let Some((label, value)) = text.split_once('<') {
        return Some((label.trim(), Operator::Lt, vec![value.trim()]));
    }
    let Some((label, rest)) = text.split_once(char::is_whitespace) else {
        return (!text.is_empty()).then_some((text, Operator::Exists, Vec::new()));
    };
    let rest = rest.trim();
    let (operator, list) = match rest.strip_prefix("not").map(str::trim_start) {
        Some(rest) => (Operator::NotIn, rest.strip_prefix("in")?),
        None => (Operator::In, rest.strip_prefix("in")?),
    };
    let list = list.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some((label, operator, list.split(',').map(str::trim).collect()))
}

/// As [`parse`] reads it.
pub fn format(constraint: &Constraint) -> String {
    let Constraint { label, operator, values } = constraint;
    match (operator, values.as_slice()) {
        (Operator::Exists, _) => label.clone(),
        (Operator::Missing, _) => format!("!{label}"),
        (Operator::In, [value]) => format!("{label}={value}"),
        (Operator::NotIn, [value]) => format!("{label}!={value}"),
        (Operator::In, values) => format!("{label} in ({})", values.join(",")),
        (Operator::NotIn, values) => format!("{label} not in ({})", values.join(",")),
        (Operator::Gt, values) => format!("{label}>{}", values.join(",")),
        (Operator::Lt, values) => format!("{label}<{}", values.join(",")),
    }
}

/// Whether it may be a label.
///
/// # Errors
/// Says what would be right.
pub fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let label = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if let Some(prefix) = prefix
        && (prefix.len() > 253 || !prefix.split('.').all(label))
    {
        return Err(format!("the domain before / in the label {} is none", shown(key)));
    }
    match !name.is_empty() && is_word(name) {
        true => Ok(()),
        false => Err(format!("a label is {WORD}, not {}", shown(key))),
    }
}

/// Whether it may be the value of a label.
///
/// # Errors
/// Says what would be right.
pub fn check_value(value: &str) -> Result<(), String> {
    match is_word(value) {
        true => Ok(()),
        false => Err(format!("the value of a label is {WORD}, not {}", shown(value))),
    }
}

const WORD: &str =
    "at most 63 of a-z, A-Z, 0-9, -, _ and ., and begins and ends with a letter or digit";

fn is_word(text: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && ends(bytes.first().copied())
        && ends(bytes.last().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that the language has; a text that it prints must be one that it reads.
    #[test]
    fn expressions_read_back_as_written() {
        for text in [
            "arch=amd64",
            "disk!=hdd",
            "gpu",
            "!gpu",
            "zone in (a,b)",
            "zone not in (a,b)",
            "cores>4",
            "cores<4",
            "a.b/c_d=",
            "x in (,b)",
        ] {
            assert_eq!(format(&parse(text).unwrap()), text);
        }
        assert_eq!(parse(" zone  notin ( a , b ) "), parse("zone not in (a,b)"));
        assert_eq!(parse("a==b"), parse("a=b"));
        assert_eq!(parse("a in (b)"), parse("a=b"));
    }

    /// An expression that is misread puts tasks where they must not be.
    #[test]
    fn what_is_no_expression_is_refused() {
        let long = format!("a={}", "x".repeat(64));
        for text in [
            "",
            "=",
            "=b",
            "!",
            "a b",
            "a in b",
            "a in (b",
            "a>=4",
            "a>x",
            "a=b c",
            "a=b=c",
            "-a",
            "a-",
            "a/b/c",
            "/a",
            "A.b/",
            "ä",
            "a=\0",
            "a in (b,c d)",
            "a=-b",
            &long,
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
