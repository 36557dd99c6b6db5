//! YAML, printed: as plain as people would write it where that is safe, in quotes where not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::tree::{Scalar, classify};

/// What is printed.
pub(super) enum Out {
    Text(String),
    /// A number or a truth, as it is.
    Raw(String),
    List(Vec<Out>),
    Map(Vec<(String, Out)>),
}

/// The keys and values of a map.
pub(super) type Entries = Vec<(String, Out)>;

/// A map of texts.
pub(super) fn map(texts: &BTreeMap<String, String>) -> Out {
    Out::Map(texts.iter().map(|(key, text)| (key.clone(), Out::text(text))).collect())
}

/// Puts an entry into a map.
pub(super) fn put(out: &mut Entries, key: &str, value: Out) {
    out.push((key.to_owned(), value));
}

/// Puts an entry into a map, if it holds.
pub(super) fn put_if(out: &mut Entries, holds: bool, key: &str, value: impl FnOnce() -> Out) {
    if holds {
        put(out, key, value());
    }
}

impl Out {
    pub(super) fn text(text: &str) -> Out {
        Out::Text(text.to_owned())
    }

    pub(super) fn raw(value: impl ToString + Copy) -> Out {
        Out::Raw(value.to_string())
    }

    pub(super) fn texts(texts: &[String]) -> Out {
        Out::List(texts.iter().map(|text| Out::text(text)).collect())
    }

    pub(super) fn json(value: &serde_json::Value) -> Out {
        use serde_json::Value as Json;
        match value {
            Json::String(text) => Out::text(text),
            Json::Array(items) => Out::List(items.iter().map(Out::json).collect()),
            Json::Object(entries) => Out::Map(
                entries.iter().map(|(key, value)| (key.clone(), Out::json(value))).collect(),
            ),
            Json::Null | Json::Bool(_) | Json::Number(_) => Out::raw(value),
        }
    }

    /// As a document.
    pub(super) fn yaml(&self) -> String {
        let mut text = String::new();
        match self {
            Out::Map(entries) => entries_to(entries, 0, &mut text),
            other => {
                text.push_str(&other.line());
                text.push('\n');
            }
        }
        text
    }

    /// Whether it fits on the line of its key.
    fn is_short(&self) -> bool {
        const SHORT: usize = 60;
        match self {
            Out::Text(text) => !is_block(text),
            Out::Raw(_) => true,
            Out::List(items) => {
                items.iter().all(|item| matches!(item, Out::Text(_) | Out::Raw(_)))
                    && self.line().len() <= SHORT
            }
            Out::Map(entries) => entries.is_empty(),
        }
    }

    /// On one line.
    fn line(&self) -> String {
        match self {
            Out::Text(text) => scalar(text),
            Out::Raw(text) => text.clone(),
            Out::List(items) => {
                let items: Vec<String> = items.iter().map(Out::line).collect();
                format!("[{}]", items.join(", "))
            }
            Out::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{}: {}", scalar(key), value.line()))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }
}

fn entries_to(entries: &[(String, Out)], indent: usize, text: &mut String) {
    for (place, (key, value)) in entries.iter().enumerate() {
        // The first entry of an item stands behind its dash.
        if place > 0 || !text.ends_with("- ") {
            pad(indent, text);
        }
        let key = scalar(key);
        // A reader looks so far for the colon behind a key, unless it is told that one comes.
        const KEY_MAX: usize = 1000;
        if key.chars().count() > KEY_MAX {
            text.push_str("? ");
            text.push_str(&key);
            text.push('\n');
            pad(indent, text);
        } else {
            text.push_str(&key);
        }
        text.push(':');
        value_to(value, indent, text);
    }
}

fn value_to(value: &Out, indent: usize, text: &mut String) {
    match value {
        value if value.is_short() => {
            text.push(' ');
            text.push_str(&value.line());
            text.push('\n');
        }
        Out::Text(block) => block_to(block, indent + 2, text),
        Out::List(items) => {
            text.push('\n');
            items_to(items, indent + 2, text);
        }
        Out::Map(entries) => {
            text.push('\n');
            entries_to(entries, indent + 2, text);
        }
        Out::Raw(_) => unreachable!("what is raw is short"),
    }
}

fn items_to(items: &[Out], indent: usize, text: &mut String) {
    for (place, item) in items.iter().enumerate() {
        if place > 0 || !text.ends_with("- ") {
            pad(indent, text);
        }
        text.push_str("- ");
        match item {
            Out::Map(entries) if !entries.is_empty() => entries_to(entries, indent + 2, text),
            Out::List(items) if !item.is_short() => items_to(items, indent + 2, text),
            Out::Text(block) if is_block(block) => {
                text.pop();
                block_to(block, indent + 2, text);
            }
            item => {
                text.push_str(&item.line());
                text.push('\n');
            }
        }
    }
}

fn pad(indent: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', indent));
}

/// Whether text of several lines can stand as such. What has odd white space or invisible letters
/// is better seen in quotes.
fn is_block(text: &str) -> bool {
    let plain = |letter: char| letter == '\n' || is_seen(letter);
    text.trim_end_matches('\n').contains('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with(char::is_whitespace)
        && text.chars().all(plain)
        && text.lines().all(|line| !line.ends_with(char::is_whitespace))
}

fn is_seen(letter: char) -> bool {
    let odd = matches!(letter, '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    letter == ' ' || (!letter.is_control() && !letter.is_whitespace() && !odd)
}

fn block_to(block: &str, indent: usize, text: &mut String) {
    text.push_str(if block.ends_with('\n') { " |\n" } else { " |-\n" });
    for line in block.lines() {
        if !line.is_empty() {
            pad(indent, text);
            text.push_str(line);
        }
        text.push('\n');
    }
}

/// Text on one line: without quotes only if no reader, old or new, could take it for something
/// else.
fn scalar(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_./-".contains(letter);
    let first = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '/');
    let lower = text.to_ascii_lowercase();
    let truths = ["y", "n", "yes", "no", "on", "off"];
    let word = first
        && !truths.contains(&&*lower)
        && text.split(':').all(|part| !part.is_empty() && part.chars().all(plain));
    // `64Mi` and `1h30m`; not `0b1`, `1_000`, `12:30` or `2026-11-29`: to old readers these are
    // numbers and dates.
    let amount = text.starts_with(|letter: char| letter.is_ascii_digit())
        && text.ends_with(|letter: char| letter.is_ascii_alphabetic())
        && !["0b", "0o", "0x"].iter().any(|prefix| lower.starts_with(prefix))
        && text.chars().all(|letter| letter.is_ascii_alphanumeric());
    if (word || amount) && classify(text) == Scalar::Text {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            letter if is_seen(letter) => quoted.push(letter),
            letter => {
                write!(quoted, "\\U{:08x}", u32::from(letter)).expect("a string takes everything");
            }
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::super::problem::Report;
    use super::super::super::{tree, yaml};
    use super::*;

    fn read(text: &str) -> serde_json::Value {
        let report = Report::new(false);
        let mut found = yaml::documents(text, &report);
        report.finish().unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let (_, node): (usize, tree::Node) = found.pop().unwrap();
        node.json()
    }

    /// Texts that some reader takes for something else.
    const TEXTS: &[&str] = &[
        "",
        " ",
        "a",
        "no",
        "Yes",
        "null",
        "~",
        "1",
        "1.0",
        "1e3",
        "0x1f",
        "-",
        "- a",
        "a: b",
        "a #b",
        "#",
        "a\nb",
        "a\nb\n",
        "a\n\n",
        "\n",
        " a\nb",
        "a \nb",
        "a\n b\n  c\n",
        "\ta",
        "a\tb",
        "\"",
        "'",
        "\\",
        "{",
        "[",
        "*x",
        "&x",
        "!x",
        "|",
        ">",
        "%",
        "@",
        "`",
        "é",
        "\u{1F600}",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "a:b",
        "a:",
        ":a",
        "http://x/y",
        "12:30",
        "a\r\nb",
        "---",
        "...",
        "?",
        "a\n---\nb",
        "a\n\nb",
        "a\n#b",
        "=",
        "<<",
    ];

    /// Text that comes back as something else is how a `no` becomes a false in production.
    #[test]
    fn whatever_is_printed_reads_back() {
        let nested = |text: &str| {
            serde_json::json!({
                text: text,
                "list": [text, [text, [text]], {"key": text, "more": [text]}, [], {}],
                "deep": {"a": {"b": [[{"c": text}], []]}},
                "number": 1.5, "truth": true, "nothing": null,
            })
        };
        let long = "long ".repeat(1000);
        for text in TEXTS.iter().copied().chain([&*long, "\u{ffff}"]) {
            let value = nested(text);
            let printed = Out::json(&value).yaml();
            assert_eq!(read(&printed), value, "{text:?}\n{printed}");
        }
    }
}
