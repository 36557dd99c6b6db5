//! Requests and replies, as much of them as clients use here, in words that can be compared.
//!
//! The generated messages carry empty fields, headers inside headers and bytes; a checker that
//! compares them would be about these. Keys and values are text, a [`Kv`] is all that a store knows
//! about a key, and an [`Event`] is what one revision did to one key. `wire.rs` translates.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A revision of the store, as wide as on the wire. An empty store is at 1.
pub type Revision = i64;

/// A key, and what the store knows about it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Kv {
    /// The key.
    pub key: String,
    /// What was put there last.
    pub value: String,
    /// The revision that made it.
    pub created: Revision,
    /// The revision that put it last.
    pub modified: Revision,
    /// Puts since it was made, that one included.
    pub version: i64,
    /// The lease it hangs on, or 0.
    pub lease: i64,
}

impl fmt::Debug for Kv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kv { key, value, created, modified, version, lease } = self;
        write!(f, "{key}={value}@{modified}(created {created}, version {version}")?;
        if *lease != 0 {
            write!(f, ", lease {lease:x}")?;
        }
        write!(f, ")")
    }
}

/// What one revision did to one key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What stands there now. Of a deleted key only the name and the revision are left.
    pub kv: Kv,
    /// Whether the key was deleted.
    pub deleted: bool,
    /// What stood there before, where that is known.
    pub prev: Option<Kv>,
}

impl Event {
    /// The revision that did it.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.kv.modified
    }

    /// The same without what stood there before.
    #[must_use]
    pub fn bare(&self) -> Event {
        Event { prev: None, ..self.clone() }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.deleted {
            write!(f, "{} deleted@{}", self.kv.key, self.kv.modified)?;
        } else {
            write!(f, "{:?}", self.kv)?;
        }
        self.prev.as_ref().map_or(Ok(()), |prev| write!(f, " over {prev:?}"))
    }
}

/// The keys from `key` up to `end`; without an end, the one key.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first.
    pub key: String,
    /// The first that is no longer meant. Empty for one key, `"\0"` for all from `key` on.
    pub end: String,
}

impl Span {
    /// The one key.
    #[must_use]
    pub fn one(key: &str) -> Span {
        Span { key: key.to_owned(), end: String::new() }
    }

    /// All keys that begin with this text, whose last character is ASCII and not the last of it.
    ///
    /// # Panics
    /// If the text is empty or ends otherwise.
    #[must_use]
    pub fn prefix(prefix: &str) -> Span {
        let last = prefix.bytes().last().expect("a prefix has a last character");
        assert!(last < 0x7f, "the next character is ASCII too");
        let end = format!("{}{}", &prefix[..prefix.len() - 1], char::from(last + 1));
        Span { key: prefix.to_owned(), end }
    }

    /// Every key.
    #[must_use]
    pub fn all() -> Span {
        Span { key: "\0".to_owned(), end: "\0".to_owned() }
    }

    /// Whether it means this key.
    #[must_use]
    pub fn holds(&self, key: &str) -> bool {
        match self.end.as_str() {
            "" => key == self.key,
            "\0" => self.key.as_str() <= key,
            end => self.key.as_str() <= key && key < end,
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end.as_str() {
            "" => write!(f, "{}", self.key),
            "\0" => write!(f, "{:?}..", self.key),
            end => write!(f, "{}..{end}", self.key),
        }
    }
}

/// A read of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Which.
    pub span: Span,
    /// As of this revision; 0 is the newest.
    pub revision: Revision,
    /// No more than so many keys; 0 is all.
    pub limit: i64,
    /// Only how many there are.
    pub count_only: bool,
    /// Whether a member may answer from what it has, however old that is.
    pub serializable: bool,
}

/// One thing to do, alone or in a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Sets a key. Every value is put once in a run.
    Put {
        /// Which.
        key: String,
        /// To what.
        value: String,
        /// On which lease, or 0.
        lease: i64,
        /// Whether to tell what stood there.
        prev_kv: bool,
    },
    /// Deletes keys.
    Delete {
        /// Which.
        span: Span,
        /// Whether to tell what stood there.
        prev_kv: bool,
    },
    /// Reads keys.
    Range(Range),
}

/// What a transaction looks at to choose a branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// Which key.
    pub key: String,
    /// What about it.
    pub subject: Subject,
    /// How they must stand to each other.
    pub relation: Relation,
}

/// A property of a key, and what it is compared with. A key that is not there has zeros, and no
/// value at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// Its last revision.
    Modified(Revision),
    /// Its first revision.
    Created(Revision),
    /// Its version.
    Version(i64),
    /// Its value.
    Value(String),
}

/// How two things stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relation {
    /// They are the same.
    Equal,
    /// They are not.
    NotEqual,
    /// The store's is the smaller.
    Less,
    /// The store's is the greater.
    Greater,
}

/// A transaction: a condition and two branches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// What to do then.
    pub success: Vec<Op>,
    /// What to do otherwise.
    pub failure: Vec<Op>,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// One thing to do.
    One(Op),
    /// A transaction.
    Txn(Txn),
    /// Makes a lease of a number that the client chose.
    Grant {
        /// Its number.
        lease: i64,
        /// Seconds.
        ttl: i64,
    },
    /// Ends a lease.
    Revoke {
        /// Its number.
        lease: i64,
    },
    /// Renews a lease.
    KeepAlive {
        /// Its number.
        lease: i64,
    },
    /// Asks how long a lease lives.
    TimeToLive {
        /// Its number.
        lease: i64,
    },
    /// Forgets what was before a revision.
    Compact {
        /// The oldest that can be read afterwards.
        revision: Revision,
        /// Whether to answer only when the room is free.
        physical: bool,
    },
}

impl Request {
    /// What it is, in a word, for the summary.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Request::One(Op::Put { .. }) => "put",
            Request::One(Op::Delete { .. }) => "delete",
            Request::One(Op::Range(range)) if range.serializable => "serializable range",
            Request::One(Op::Range(_)) => "range",
            Request::Txn(_) if self.is_read() => "read-only txn",
            Request::Txn(_) => "txn",
            Request::Grant { .. } => "lease grant",
            Request::Revoke { .. } => "lease revoke",
            Request::KeepAlive { .. } => "lease keepalive",
            Request::TimeToLive { .. } => "lease time to live",
            Request::Compact { .. } => "compaction",
        }
    }

    /// Whether it can change nothing, whatever it finds.
    #[must_use]
    pub fn is_read(&self) -> bool {
        let read = |op: &Op| matches!(op, Op::Range(_));
        match self {
            Request::One(op) => read(op),
            Request::Txn(txn) => txn.success.iter().chain(&txn.failure).all(read),
            Request::TimeToLive { .. } => true,
            Request::Grant { .. } | Request::Revoke { .. } => false,
            Request::KeepAlive { .. } | Request::Compact { .. } => false,
        }
    }

    /// Whether it is about keys, so that the revision it is answered with is exactly that of the
    /// state it saw or made.
    #[must_use]
    pub fn is_of_keys(&self) -> bool {
        matches!(self, Request::One(_) | Request::Txn(_))
    }

    /// The revision that it asks to be answered from, if it asks for one.
    #[must_use]
    pub fn read_at(&self) -> Option<Revision> {
        match self {
            Request::One(Op::Range(range)) => Some(range.revision).filter(|at| *at > 0),
            _ => None,
        }
    }

    /// Whether an old answer is a right one.
    #[must_use]
    pub fn is_serializable(&self) -> bool {
        let serializable = |op: &Op| matches!(op, Op::Range(range) if range.serializable);
        match self {
            Request::One(op) => serializable(op),
            Request::Txn(txn) => {
                let mut ops = txn.success.iter().chain(&txn.failure).peekable();
                ops.peek().is_some() && ops.all(serializable)
            }
            _ => false,
        }
    }

    /// The values that it may put.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        let ops: Vec<&Op> = match self {
            Request::One(op) => vec![op],
            Request::Txn(txn) => txn.success.iter().chain(&txn.failure).collect(),
            _ => Vec::new(),
        };
        ops.into_iter().filter_map(|op| match op {
            Op::Put { value, .. } => Some(value.as_str()),
            Op::Delete { .. } | Op::Range(_) => None,
        })
    }
}

/// What one thing to do came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpReply {
    /// A key was set.
    Put {
        /// What stood there, if that was asked.
        prev: Option<Kv>,
    },
    /// Keys were deleted.
    Delete {
        /// How many.
        count: i64,
        /// What stood there, if that was asked.
        prev: Vec<Kv>,
    },
    /// Keys were read.
    Range {
        /// They.
        kvs: Vec<Kv>,
        /// How many there are.
        count: i64,
        /// Whether the limit kept some back.
        more: bool,
    },
}

/// What an answer says beside its header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// To one thing to do.
    One(OpReply),
    /// To a transaction.
    Txn {
        /// Whether the condition held.
        succeeded: bool,
        /// What the branch came to.
        replies: Vec<OpReply>,
    },
    /// To the others: seconds that the lease was granted for, and for which it will live on. Zero
    /// or less if it is gone.
    Lease {
        /// As granted, where it was asked.
        granted: i64,
        /// Left.
        left: i64,
    },
    /// To a compaction.
    Compacted,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The revision in its header.
    pub revision: Revision,
    /// What it says.
    pub body: Body,
}

impl Reply {
    /// Whether the answer itself tells that a key was changed.
    #[must_use]
    pub fn tells_change(&self) -> bool {
        let change = |reply: &OpReply| match reply {
            OpReply::Put { .. } => true,
            OpReply::Delete { count, .. } => *count > 0,
            OpReply::Range { .. } => false,
        };
        match &self.body {
            Body::One(reply) => change(reply),
            Body::Txn { replies, .. } => replies.iter().any(change),
            Body::Lease { .. } | Body::Compacted => false,
        }
    }
}
