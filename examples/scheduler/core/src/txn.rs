//! The little language in which anything in the store is changed: if all of this holds, do all of
//! that.
//!
//! It is the part of etcd's transactions that mason needs, as a value, so that a protocol can be
//! written down ([`crate::protocol`]), sent to a real store, and played against a model of one.
//! There is no `else`: a transaction whose comparisons fail changes nothing and says so, and who
//! sent it looks at the store again.

use std::fmt;

use crate::types::Revision;

/// Operations, and comparisons, of one transaction at most: etcd refuses more by default.
pub const OPS_MAX: usize = 128;

/// If all of `when` holds, all of `then` is done, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Txn {
    /// Comparisons.
    pub when: Vec<Compare>,
    /// Operations; no key twice.
    pub then: Vec<Op>,
}

/// Something about one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    /// It is not there.
    Absent(String),
    /// It is there.
    Present(String),
    /// It was last changed at this revision; 0 is that it is not there.
    Changed(String, Revision),
    /// It was made at this revision.
    Made(String, Revision),
}

impl Compare {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Compare::Absent(key)
            | Compare::Present(key)
            | Compare::Changed(key, _)
            | Compare::Made(key, _) => key,
        }
    }

    /// Whether it holds of a key that was made and last changed at these revisions; both are 0 if
    /// it is not there.
    pub fn holds(&self, made: Revision, changed: Revision) -> bool {
        match self {
            Compare::Absent(_) => made == 0,
            Compare::Present(_) => made != 0,
            Compare::Changed(_, at) => changed == *at,
            Compare::Made(_, at) => made == *at,
        }
    }
}

/// One change.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// Writes a value.
    Put {
        /// Where.
        key: String,
        /// What.
        value: Vec<u8>,
        /// It goes with this lease.
        lease: Option<i64>,
    },
    /// Removes one key, if it is there.
    Delete(String),
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Put { key, value, .. } => {
                write!(f, "put {key} = {}", String::from_utf8_lossy(value))
            }
            Op::Delete(key) => write!(f, "delete {key}"),
        }
    }
}

impl Op {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Op::Put { key, .. } | Op::Delete(key) => key,
        }
    }
}

impl Txn {
    /// Nothing yet.
    pub fn new() -> Txn {
        Txn::default()
    }

    /// Only if this holds, too.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Txn {
        self.when.push(compare);
        self
    }

    /// This, too.
    #[must_use]
    pub fn put(mut self, key: String, value: Vec<u8>) -> Txn {
        self.then.push(Op::Put { key, value, lease: None });
        self
    }

    /// This, too.
    #[must_use]
    pub fn delete(mut self, key: String) -> Txn {
        self.then.push(Op::Delete(key));
        self
    }

    /// Both, as one. A comparison that both make is made once.
    pub fn merge(&mut self, other: Txn) {
        for compare in other.when {
            if !self.when.contains(&compare) {
                self.when.push(compare);
            }
        }
        self.then.extend(other.then);
    }

    /// Whether etcd would take it.
    pub fn fits(&self) -> bool {
        self.when.len() <= OPS_MAX && self.then.len() <= OPS_MAX
    }
}
