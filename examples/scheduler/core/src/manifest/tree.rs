//! A document before anybody knows what it means: maps, lists and scalars, as they were written.
//!
//! A scalar keeps its text and whether it stood without quotes. What it is, a number or a word, is
//! decided by whoever asks: `1.10` is a tag of an image to one and a number to another, and text
//! that went through a float would be `1.1` to both. Maps keep their order and even keys that come
//! twice, so that a complaint can name them.

/// A value, and where it stands.
#[derive(Clone)]
pub(super) struct Node {
    /// 1-based; 0 if nobody knows.
    pub(super) line: u32,
    pub(super) value: Value,
}

/// What a node is.
#[derive(Clone)]
pub(super) enum Value {
    /// `plain` is without quotes.
    Scalar {
        text: Box<str>,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Box<str>, Node)>),
}

/// What a scalar is, by the core schema of YAML 1.2, which holds JSON's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Number,
    Text,
}

impl Node {
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if classify(text) == Scalar::Null)
    }

    pub(super) fn is_empty_map(&self) -> bool {
        matches!(&self.value, Value::Map(entries) if entries.is_empty())
    }

    /// Nodes in it, itself counted.
    pub(super) fn count(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::List(items) => items.iter().map(Node::count).sum(),
            Value::Map(entries) => entries.iter().map(|(_, node)| node.count()).sum(),
        }
    }

    /// Bytes of text in it.
    pub(super) fn bytes(&self) -> usize {
        match &self.value {
            Value::Scalar { text, .. } => text.len(),
            Value::List(items) => items.iter().map(Node::bytes).sum(),
            Value::Map(entries) => entries.iter().map(|(key, node)| key.len() + node.bytes()).sum(),
        }
    }

    /// Levels of lists and maps in it.
    pub(super) fn height(&self) -> usize {
        match &self.value {
            Value::Scalar { .. } => 0,
            Value::List(items) => 1 + items.iter().map(Node::height).max().unwrap_or(0),
            Value::Map(entries) => {
                1 + entries.iter().map(|(_, node)| node.height()).max().unwrap_or(0)
            }
        }
    }

    /// As JSON, for values that are handed on and not looked at.
    pub(super) fn json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Scalar { text, plain: false } => Json::String(text.to_string()),
            Value::Scalar { text, plain: true } => match classify(text) {
                Scalar::Null => Json::Null,
                Scalar::Bool(value) => Json::Bool(value),
                Scalar::Number => match serde_json::from_str(text) {
                    Ok(number @ Json::Number(_)) => number,
                    // Written as JSON would not, as `.5` or `0x10`, or too large: as it stands.
                    _ => Json::String(text.to_string()),
                },
                Scalar::Text => Json::String(text.to_string()),
            },
            Value::List(items) => Json::Array(items.iter().map(Node::json).collect()),
            Value::Map(entries) => Json::Object(
                entries.iter().map(|(key, node)| (key.to_string(), node.json())).collect(),
            ),
        }
    }
}

/// What a scalar without quotes is.
pub(super) fn classify(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Bool(true),
        "false" | "False" | "FALSE" => Scalar::Bool(false),
        _ if is_number(text) => Scalar::Number,
        _ => Scalar::Text,
    }
}

fn is_number(text: &str) -> bool {
    let digits = |text: &str, radix| text.chars().all(|letter| letter.is_digit(radix));
    if let Some(rest) = text.strip_prefix("0x") {
        return !rest.is_empty() && digits(rest, 16);
    }
    if let Some(rest) = text.strip_prefix("0o") {
        return !rest.is_empty() && digits(rest, 8);
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(rest, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let power = exponent.map(|power| power.strip_prefix(['-', '+']).unwrap_or(power));
    digits(whole, 10)
        && digits(part, 10)
        && !(whole.is_empty() && part.is_empty())
        && power.is_none_or(|power| !power.is_empty() && digits(power, 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `1e3` is a number decides whether it needs quotes; nobody remembers, so it is fixed.
    #[test]
    fn scalars_are_told_apart_as_in_yaml_1_2() {
        for text in ["0", "-1", "+1", "1.10", ".5", "1.", "1e3", "1.5E-3", "0x1F", "0o17", ".inf"] {
            assert_eq!(classify(text), Scalar::Number, "{text}");
        }
        for text in [".", "-", "e3", "1e", "1_000", "1:30", "500m", "yes", "no", "0x", "-.", "+e1"]
        {
            assert_eq!(classify(text), Scalar::Text, "{text}");
        }
        assert_eq!(classify("True"), Scalar::Bool(true));
        assert_eq!(classify("~"), Scalar::Null);
    }
}
