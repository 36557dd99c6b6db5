//! A way over a tree that knows where it is and what it has seen.
//!
//! That every unknown field of a manifest is reported is not a matter of care here, but of shape: a
//! map can be looked into only by [`Field::map`], which runs a closure and then reports every key
//! that the closure did not ask for, with the nearest name that it did ask for. Who reads a new
//! field cannot forget to say so.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};

use super::problem::{Path, Report, meant, shown};
use super::tree::{Node, Scalar, Value, classify};

/// A value of a document, and its place.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) node: &'a Node,
    pub(super) path: Path,
    pub(super) report: &'a Report,
}

/// A map while it is read.
pub(super) struct Map<'a> {
    field: Field<'a>,
    entries: &'a [(Box<str>, Node)],
    seen: RefCell<Vec<bool>>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Field<'a> {
    /// It is wrong.
    pub(super) fn bad(&self, message: impl Into<String>) {
        self.report.bad(self.node.line, &self.path, message);
    }

    /// It may be right, but not here.
    pub(super) fn unsupported(&self, message: impl Into<String>) {
        self.report.unsupported(self.node.line, &self.path, message);
    }

    /// It is right, and not what one may think.
    pub(super) fn warn(&self, message: &str) {
        self.report.warn(&self.path, message);
    }

    /// What it is, for a message. Text is not repeated: it may be a secret.
    pub(super) fn found(&self) -> String {
        match &self.node.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Scalar { plain: false, .. } => "text".to_owned(),
            Value::Scalar { text, plain: true } => match classify(text) {
                Scalar::Null => "nothing".to_owned(),
                Scalar::Bool(_) => "true or false".to_owned(),
                Scalar::Number => "a number".to_owned(),
                Scalar::Text => "text".to_owned(),
            },
        }
    }

    /// Reads it as a map: what `read` does not ask for is reported.
    pub(super) fn map<T>(&self, read: impl FnOnce(&Map<'a>) -> T) -> Option<T> {
        let entries: &[(Box<str>, Node)] = match &self.node.value {
            Value::Map(entries) => entries,
            _ if self.node.is_null() => &[],
            _ => {
                self.bad(format!("must be a map, not {}", self.found()));
                return None;
            }
        };
        let mut keys = HashSet::with_capacity(entries.len());
        for (key, node) in entries {
            if !keys.insert(&**key) {
                let path = self.path.key(key);
                self.report.bad(node.line, &path, "is there twice; leave one of them");
            }
        }
        let map = Map {
            field: self.clone(),
            entries,
            seen: RefCell::new(vec![false; entries.len()]),
            asked: RefCell::default(),
        };
        let value = read(&map);
        map.finish();
        Some(value)
    }

    /// Its items; none if it is no list, which is reported.
    pub(super) fn list(&self) -> Vec<Field<'a>> {
        match &self.node.value {
            Value::List(items) => {
                items.iter().enumerate().map(|(i, node)| self.at(i, node)).collect()
            }
            _ if self.node.is_null() => Vec::new(),
            _ => {
                self.bad(format!("must be a list, not {}", self.found()));
                Vec::new()
            }
        }
    }

    /// Its items, or itself if it is no list: for fields where people write one without brackets.
    pub(super) fn one_or_more(&self) -> Vec<Field<'a>> {
        match &self.node.value {
            Value::List(_) => self.list(),
            _ => vec![self.clone()],
        }
    }

    /// The value of a key, without a word on whether it is known.
    pub(super) fn peek(&self, key: &str) -> Option<Field<'a>> {
        let Value::Map(entries) = &self.node.value else { return None };
        let (_, node) = entries.iter().find(|(name, _)| **name == *key)?;
        Some(Field { node, path: self.path.key(key), report: self.report })
    }

    /// Looks at every scalar in it, keys left out.
    pub(super) fn scalars(&self, look: &mut dyn FnMut(&Field<'a>, &'a str)) {
        match &self.node.value {
            Value::Scalar { text, .. } => look(self, text),
            Value::List(items) => {
                for (index, node) in items.iter().enumerate() {
                    self.at(index, node).scalars(look);
                }
            }
            Value::Map(entries) => {
                for (key, node) in entries {
                    let path = self.path.key(key);
                    Field { node, path, report: self.report }.scalars(look);
                }
            }
        }
    }

    fn at(&self, index: usize, node: &'a Node) -> Field<'a> {
        Field { node, path: self.path.index(index), report: self.report }
    }

    /// Whether it is a map.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// The letters of a scalar and whether it has quotes.
    pub(super) fn scalar(&self) -> Option<(&'a str, bool)> {
        match &self.node.value {
            Value::Scalar { text, plain } => Some((text, !plain)),
            _ => None,
        }
    }

    /// Text. What is a number or a truth without quotes is none: `1.10` would be another word in
    /// the next tool.
    pub(super) fn text(&self) -> Option<String> {
        match self.scalar() {
            Some((text, quoted)) if quoted || classify(text) == Scalar::Text => self.clean(text),
            Some((text, _)) if classify(text) != Scalar::Null => {
                self.bad(format!("must be text, not {}: put it into quotes", self.found()));
                None
            }
            _ => {
                self.bad(format!("must be text, not {}", self.found()));
                None
            }
        }
    }

    /// Text, or a number or a truth as it is written.
    pub(super) fn word(&self) -> Option<String> {
        match self.scalar() {
            Some((text, quoted)) if quoted || classify(text) != Scalar::Null => self.clean(text),
            _ => {
                self.bad(format!("must be text or a number, not {}", self.found()));
                None
            }
        }
    }

    fn clean(&self, text: &str) -> Option<String> {
        if text.contains('\0') {
            self.bad("must not have a NUL byte in it");
            return None;
        }
        Some(text.to_owned())
    }

    /// Text that is not empty.
    pub(super) fn filled(&self) -> Option<String> {
        let text = self.text()?;
        if text.is_empty() {
            self.bad("must not be empty");
            return None;
        }
        Some(text)
    }

    /// The texts of a list.
    pub(super) fn texts(&self) -> Vec<String> {
        self.list().iter().filter_map(Field::text).collect()
    }

    /// The words of a list.
    pub(super) fn words(&self) -> Vec<String> {
        self.list().iter().filter_map(Field::word).collect()
    }

    /// A whole number within these bounds.
    pub(super) fn int(&self, lo: i64, hi: i64) -> Option<i64> {
        let number = match self.scalar() {
            Some((text, false)) => whole(text).filter(|number| (lo..=hi).contains(number)),
            _ => None,
        };
        if number.is_none() {
            let found = match self.scalar() {
                Some((text, quoted)) if !quoted => shown(text),
                _ => self.found(),
            };
            self.bad(format!("must be a whole number from {lo} to {hi}, not {found}"));
        }
        number
    }

    /// A whole number that is not negative.
    pub(super) fn u32(&self) -> Option<u32> {
        self.u32_in(0, COUNT_MAX)
    }

    /// A whole number within these bounds.
    pub(super) fn u32_in(&self, lo: u32, hi: u32) -> Option<u32> {
        self.int(lo.into(), hi.into()).and_then(|number| u32::try_from(number).ok())
    }

    /// A number within these bounds.
    pub(super) fn float(&self, lo: f64, hi: f64) -> Option<f64> {
        let number = self.scalar().filter(|(_, quoted)| !quoted);
        let number = number.and_then(|(text, _)| text.parse::<f64>().ok());
        let number = number.filter(|number| number.is_finite() && (lo..=hi).contains(number));
        if number.is_none() {
            self.bad(format!("must be a number from {lo} to {hi}"));
        }
        number
    }

    /// True or false.
    pub(super) fn bool(&self) -> Option<bool> {
        match self.scalar() {
            Some((text, false)) => {
                if let Scalar::Bool(value) = classify(text) {
                    return Some(value);
                }
                self.bad(format!("must be true or false, not {}", shown(text)));
            }
            _ => self.bad(format!("must be true or false, not {}", self.found())),
        }
        None
    }

    /// One of these words, as what it stands for.
    pub(super) fn one_of<T: Copy>(&self, known: &[(&str, T)]) -> Option<T> {
        let text = self.word()?;
        let found = known.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            let guess = guess(&text, words.iter().copied());
            self.bad(format!("must be one of {}, not {}{guess}", words.join(", "), shown(&text)));
        }
        found.map(|(_, value)| *value)
    }

    /// What a parser of text makes of it: a scalar with or without quotes.
    pub(super) fn parse<T, E: std::fmt::Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.word()?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.bad(error.to_string());
                None
            }
        }
    }

    /// Names and texts.
    pub(super) fn pairs(&self) -> BTreeMap<String, Field<'a>> {
        self.map(|map| map.all().into_iter().map(|(key, field)| (key.to_owned(), field)).collect())
            .unwrap_or_default()
    }
}

/// No count is larger: a task's index is 32 bits wide, and half of that is more than anybody runs.
pub(super) const COUNT_MAX: u32 = i32::MAX as u32;

/// A whole number in decimal. Leading zeros are refused: they are octal to some readers.
fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let leading = digits.len() > 1 && digits.starts_with('0');
    (plain && !leading).then(|| text.parse().ok()).flatten()
}

/// `; did you mean …?`, if somebody may have.
pub(super) fn guess<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    meant(word, known).map_or(String::new(), |meant| format!("; did you mean `{meant}`?"))
}

impl<'a> Map<'a> {
    /// Where it is.
    pub(super) fn field(&self) -> &Field<'a> {
        &self.field
    }

    /// The value of a key, if it is there and not null.
    pub(super) fn get(&self, key: &'static str) -> Option<Field<'a>> {
        self.asked.borrow_mut().push(key);
        let mut found = None;
        for (place, (name, node)) in self.entries.iter().enumerate() {
            if **name == *key {
                self.seen.borrow_mut()[place] = true;
                if found.is_none() && !node.is_null() {
                    found = Some(self.child(name, node));
                }
            }
        }
        found
    }

    /// The value of a key that must be there.
    pub(super) fn need(&self, key: &'static str) -> Option<Field<'a>> {
        let found = self.get(key);
        if found.is_none() {
            let path = self.field.path.key(key);
            self.field.report.bad(self.field.node.line, &path, "is missing");
        }
        found
    }

    /// The value of a key, there or not, is wrong.
    pub(super) fn bad_at(&self, key: &str, message: &str) {
        let line = self.field.peek(key).map_or(self.field.node.line, |field| field.node.line);
        self.field.report.bad(line, &self.field.path.key(key), message);
    }

    /// Every key: for maps whose keys are the user's.
    pub(super) fn all(&self) -> Vec<(&'a str, Field<'a>)> {
        self.seen.borrow_mut().fill(true);
        self.entries.iter().map(|(key, node)| (&**key, self.child(key, node))).collect()
    }

    /// Keys that others know and we do not yet.
    pub(super) fn not_yet(&self, keys: &[&'static str]) {
        for &key in keys {
            if let Some(field) = self.get(key) {
                field.unsupported("is not supported yet");
            }
        }
    }

    /// Keys that are accepted and do nothing here.
    pub(super) fn no_effect(&self, keys: &[&'static str], why: &str) {
        for &key in keys {
            // `status: {}` is what generators write when they mean nothing.
            if let Some(field) = self.get(key).filter(|field| !field.node.is_empty_map()) {
                field.warn(&format!("is accepted and has no effect: {why}"));
            }
        }
    }

    fn child(&self, key: &str, node: &'a Node) -> Field<'a> {
        Field { node, path: self.field.path.key(key), report: self.field.report }
    }

    fn finish(&self) {
        let asked = self.asked.borrow();
        for ((key, node), seen) in self.entries.iter().zip(self.seen.borrow().iter()) {
            if !seen {
                let guess = match self.field.report.is_full() {
                    true => String::new(),
                    false => guess(key, asked.iter().copied()),
                };
                self.child(key, node).unsupported(format!("is no field that is known here{guess}"));
            }
        }
    }
}
