//! Ids and numbers that mean something.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

/// Which member. It is the hash of a name, or any number that the members do not share.
///
/// Updates name members by these eight bytes, so that a long name is sent once, when its member is
/// introduced, and not with every word about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The id of the member with this name: of a million names, one pair in 37 million times has
    /// the same.
    pub fn named(name: &str) -> NodeId {
        NodeId(xxh3_64(name.as_bytes()))
    }

    /// Half of it, which is enough to notice that a packet was meant for another.
    pub(crate) fn half(self) -> u32 {
        (self.0 ^ (self.0 >> 32)) as u32
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How often a member has said "I am alive": a word about it with a higher incarnation is newer
/// (SWIM §4.2).
///
/// Only the member itself makes a new one. `life` tells one process of that name from the next;
/// `count` goes up each time that it is accused and defends itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation {
    /// Which life of the member: higher than that of every process of this name before.
    pub life: u32,
    /// How often it has refuted an accusation in this life.
    pub count: u32,
}

impl Incarnation {
    /// The first of a life.
    pub fn first(life: u32) -> Incarnation {
        Incarnation { life, count: 0 }
    }

    /// The lowest that is higher than this one; the last stays what it is.
    pub(crate) fn next(self) -> Incarnation {
        match (self.count.checked_add(1), self.life.checked_add(1)) {
            (Some(count), _) => Incarnation { count, ..self },
            (None, Some(life)) => Incarnation::first(life),
            (None, None) => self,
        }
    }

    /// The first of the life after this one; in the last life, the next.
    pub(crate) fn next_life(self) -> Incarnation {
        self.life.checked_add(1).map_or_else(|| self.next(), Incarnation::first)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.life, self.count)
    }
}

/// What is believed of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It answers, or nobody has said otherwise.
    Alive,
    /// Somebody got no answer. It counts as a member until the suspicion has run out.
    Suspect,
    /// It did not defend itself in time.
    Failed,
    /// It said that it leaves.
    Left,
}

impl State {
    /// Whether it counts as a member.
    pub fn is_member(self) -> bool {
        matches!(self, State::Alive | State::Suspect)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Alive => "alive",
            State::Suspect => "suspect",
            State::Failed => "failed",
            State::Left => "left",
        })
    }
}
