//! Domains: nodes that share the value of a label, and so their fate.
//!
//! A label that placements look at is a key. Each of its values has a number, and each node the
//! number of its value, so that "in the same zone" compares two integers. Number 0 is the value of
//! the nodes that lack the label. Under the key [`Key::NODE`] each node is a domain by itself.
//!
//! Keys and values are never forgotten: an operator names racks and zones, not machines' hopes.

use std::collections::{BTreeMap, HashMap};

use super::constraint::NODE;

/// A label that placements look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(pub(crate) u32);

impl Key {
    pub(crate) const NODE: Key = Key(0);
}

/// The domain of the nodes that lack the label.
pub(crate) const MISSING: u32 = 0;

/// The domain of each node by each key.
#[derive(Debug)]
pub(crate) struct Domains {
    keys: Vec<Domain>,
    by_label: HashMap<Box<str>, Key>,
    nodes: usize,
    /// Counts the changes to which nodes there are, and in which domain each is.
    pub(crate) version: u64,
}

#[derive(Debug)]
struct Domain {
    label: Box<str>,
    values: Vec<Box<str>>,
    by_value: HashMap<Box<str>, u32>,
    of_node: Vec<u32>,
}

impl Domains {
    pub(crate) fn new() -> Domains {
        let mut domains =
            Domains { keys: Vec::new(), by_label: HashMap::new(), nodes: 0, version: 1 };
        domains.key(NODE, |_| None);
        domains
    }

    /// The key of a label; `value_of` tells a node's value of it, when the key is new.
    pub(crate) fn key(&mut self, label: &str, value_of: impl Fn(usize) -> Option<Box<str>>) -> Key {
        if let Some(&key) = self.by_label.get(label) {
            return key;
        }
        let key = Key(u32::try_from(self.keys.len()).expect("fewer than 2^32 labels"));
        let label: Box<str> = label.into();
        self.by_label.insert(label.clone(), key);
        let (values, by_value) = (Vec::new(), HashMap::new());
        let mut domain = Domain { label, values, by_value, of_node: Vec::new() };
        if key != Key::NODE {
            domain.of_node = (0..self.nodes)
                .map(|node| value_of(node).map_or(MISSING, |value| domain.number(&value)))
                .collect();
        }
        self.keys.push(domain);
        key
    }

    /// A node was added, with the next number.
    pub(crate) fn grow(&mut self) {
        self.nodes += 1;
        for domain in &mut self.keys[1..] {
            domain.of_node.push(MISSING);
        }
    }

    /// Where a node is now. Says whether that is elsewhere.
    pub(crate) fn put(&mut self, node: u32, labels: &BTreeMap<String, String>) -> bool {
        let mut moved = false;
        for domain in &mut self.keys[1..] {
            let value = labels.get(&*domain.label);
            let number = value.map_or(MISSING, |value| domain.number(value));
            moved |= std::mem::replace(&mut domain.of_node[node as usize], number) != number;
        }
        moved
    }

    #[inline]
    pub(crate) fn of(&self, key: Key, node: u32) -> u32 {
        match key {
            Key::NODE => node + 1,
            Key(key) => self.keys[key as usize].of_node[node as usize],
        }
    }

    pub(crate) fn label(&self, key: Key) -> &str {
        &self.keys[key.0 as usize].label
    }

    /// The value that a domain stands for; none for that of the nodes that lack the label. Not for
    /// [`Key::NODE`].
    pub(crate) fn value(&self, key: Key, domain: u32) -> Option<&str> {
        let at = (domain as usize).checked_sub(1)?;
        self.keys[key.0 as usize].values.get(at).map(|value| &**value)
    }

    /// One more than the highest domain of this key.
    pub(crate) fn count(&self, key: Key) -> usize {
        match key {
            Key::NODE => self.nodes + 1,
            Key(key) => self.keys[key as usize].values.len() + 1,
        }
    }
}

impl Domain {
    fn number(&mut self, value: &str) -> u32 {
        if let Some(&number) = self.by_value.get(value) {
            return number;
        }
        self.values.push(value.into());
        let number = u32::try_from(self.values.len()).expect("fewer than 2^32 values");
        self.by_value.insert(value.into(), number);
        number
    }
}
