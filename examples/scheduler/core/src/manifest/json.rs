//! From JSON text to trees.
//!
//! Nearly all JSON is YAML, but not its escapes: an emoji that JSON writes as two halves is an
//! error in YAML. So text that reads as JSON is read as JSON.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::tree::{Node, Value};
use super::{DEPTH_MAX, NODES_MAX};

/// The values of a text that holds nothing but JSON, one after another.
///
/// # Errors
/// If it is none, or holds more or deeper values than a manifest may.
pub(super) fn documents(text: &str) -> Result<Vec<(usize, Node)>, serde_json::Error> {
    let mut from = serde_json::Deserializer::from_str(text);
    let (count, mut found) = (Cell::new(0), Vec::new());
    loop {
        let seed = Seed { depth: 0, count: &count };
        found.push((found.len() + 1, seed.deserialize(&mut from)?));
        if from.end().is_ok() {
            return Ok(found);
        }
        if found.len() >= super::DOCUMENTS_MAX {
            return Err(serde_json::Error::custom("more documents than a manifest may have"));
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    depth: usize,
    count: &'a Cell<usize>,
}

impl<'a> Seed<'a> {
    fn deeper(self) -> Seed<'a> {
        Seed { depth: self.depth + 1, count: self.count }
    }
}

fn node(text: impl Into<Box<str>>, plain: bool) -> Node {
    Node { line: 0, value: Value::Scalar { text: text.into(), plain } }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        self.count.set(self.count.get() + 1);
        if self.count.get() > NODES_MAX {
            return Err(D::Error::custom("more values than a manifest may have"));
        }
        if self.depth > DEPTH_MAX {
            return Err(D::Error::custom("nested deeper than a manifest may be"));
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(node("null", true))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(node(value.to_string(), true))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(node(value.to_string(), true))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(node(value.to_string(), true))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(node(value.to_string(), true))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(node(value, false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(self.deeper())? {
            items.push(item);
        }
        Ok(Node { line: 0, value: Value::List(items) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = from.next_key::<String>()? {
            entries.push((key.into(), from.next_value_seed(self.deeper())?));
        }
        Ok(Node { line: 0, value: Value::Map(entries) })
    }
}
