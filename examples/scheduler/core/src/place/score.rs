//! How good a node is for a task: a sum of terms, each from 0 to 1, each with a weight.
//!
//! | term | 1 is | weight | of |
//! |---|---|---|---|
//! | untainted | no `prefer-no-schedule` taint that the task does not tolerate | 64 | all |
//! | domain | as few tasks of the job in the domain as in the emptiest | 24 | spread |
//! | node | no task of the job on the node | 10 | spread |
//! | fit | pack: full after the task came; spread: empty | 8 | all |
//! | prefer | all that the task prefers holds | 8 | all |
//! | health | the job has not failed there lately | 8 | all |
//! | balance | cpu and memory equally used after the task came | 2 | all |
//! | image | the image is there, and large | 2 | all |
//! | steady | the node cannot be interrupted | 1 | all |
//!
//! A taint of that kind outweighs all the rest together, as its definition asks: such a node is
//! taken when there is no other. In a spread the domain outweighs the node, and both the fit.
//!
//! Terms are whole numbers of 65,536ths. Sums of floating point depend on their order, and the fast
//! path adds in another order than the one that explains; whole numbers do not care, so a score is
//! the same on every path and machine, and two nodes are equally good exactly if they say so.

use serde::{Deserialize, Serialize};

/// A term that is 1.
pub(crate) const ONE: u32 = 1 << 16;

/// What a score is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Term {
    /// No taint that would rather have no tasks.
    Untainted,
    /// How few tasks of the job are in the domain.
    Domain,
    /// How few tasks of the job are on the node.
    Node,
    /// How well it fills the node, or how empty the node is.
    Fit,
    /// How much of what is preferred holds.
    Prefer,
    /// How little of the job has failed there lately.
    Health,
    /// How equally cpu and memory are used.
    Balance,
    /// How much of the image need not be fetched.
    Image,
    /// Whether the node cannot be taken away.
    Steady,
}

impl Term {
    /// All of them, the weightiest first.
    pub const ALL: [Term; 9] = [
        Term::Untainted,
        Term::Domain,
        Term::Node,
        Term::Fit,
        Term::Prefer,
        Term::Health,
        Term::Balance,
        Term::Image,
        Term::Steady,
    ];

    /// How much it counts.
    pub const fn weight(self) -> u32 {
        match self {
            Term::Untainted => 64,
            Term::Domain => 24,
            Term::Node => 10,
            Term::Fit | Term::Prefer | Term::Health => 8,
            Term::Balance | Term::Image => 2,
            Term::Steady => 1,
        }
    }

    /// As a word.
    pub fn name(self) -> &'static str {
        match self {
            Term::Untainted => "untainted",
            Term::Domain => "domain",
            Term::Node => "node",
            Term::Fit => "fit",
            Term::Prefer => "prefer",
            Term::Health => "health",
            Term::Balance => "balance",
            Term::Image => "image",
            Term::Steady => "steady",
        }
    }

    /// What it adds to the score.
    pub(crate) const fn points(self, value: u32) -> u32 {
        self.weight() * value
    }
}

const WEIGHTS: u32 = {
    let (mut sum, mut i) = (0, 0);
    while i < Term::ALL.len() {
        sum += Term::ALL[i].weight();
        i += 1;
    }
    sum
};
const _: () = assert!(2 * Term::Untainted.weight() > WEIGHTS, "a taint outweighs all the rest");
const _: () = assert!(WEIGHTS * ONE < (1 << SCORE_BITS), "a score fits above its tie");

/// How many bits a score has, of the 64 of a rank.
const SCORE_BITS: u32 = 24;
/// How many are left for what tells two equally good nodes apart.
pub(crate) const TIE_BITS: u32 = 64 - SCORE_BITS;

/// A score and a tie as one number, so that the best of many nodes is the greatest of many numbers.
/// 0 is no node at all.
pub(crate) type Rank = u64;

/// The rank of a node; the lowest score is 1 here, so that each is above no node.
pub(crate) const fn rank(points: u32, tie: u64) -> Rank {
    ((points as u64 + 1) << TIE_BITS) | tie
}

/// The rank with so much more score.
pub(crate) const fn raised(rank: Rank, points: u32) -> Rank {
    rank + ((points as u64) << TIE_BITS)
}

/// How good a node is: a sum of terms times weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Score(pub(crate) u32);

impl Score {
    pub(crate) fn of(rank: Rank) -> Score {
        Score(u32::try_from(rank >> TIE_BITS).expect("24 bits") - 1)
    }

    /// In units of weight: a term of weight 8 that is 1 adds 8.
    pub fn points(self) -> f64 {
        f64::from(self.0) / f64::from(ONE)
    }
}

/// A share as a term: below 0 is 0, above 1 is 1.
fn term(share: f64) -> u32 {
    // The cast saturates, and cuts off: the same on every machine.
    (share * f64::from(ONE)).clamp(0.0, f64::from(ONE)) as u32
}

/// Fit, from the shares of cpu and memory that are used with the task there: their mean. Squares or
/// exponentials, as Borg and Nomad have them, are no better on the trace of [`super::measure`], and
/// together with the balance a bit worse: they draw tasks to nodes that are full of one thing.
#[inline]
pub(crate) fn fit(cpu: f64, memory: f64, spread: bool) -> u32 {
    let used = (cpu + memory) * 0.5;
    term(if spread { 1.0 - used } else { used })
}

/// Balance, from the same: a node with memory and no cpu left is of no use to anyone.
#[inline]
pub(crate) fn balance(cpu: f64, memory: f64) -> u32 {
    term(1.0 - (cpu - memory).abs())
}

/// An image of so many bytes is there: half of the term at 256 MiB.
pub(crate) fn image(bytes: u64) -> u32 {
    let bytes = bytes as f64;
    term(bytes / (bytes + f64::from(256 << 20)))
}

/// So many hundredths of failures lately.
pub(crate) fn health(hundredths: u32) -> u32 {
    let value = u64::from(ONE) * 100 / (100 + u64::from(hundredths));
    u32::try_from(value).expect("at most 1")
}

/// So many tasks of the job more than in the best case.
pub(crate) fn evenness(more: u32) -> u32 {
    ONE / more.saturating_add(1)
}

/// What one preference adds of all.
pub(crate) fn preference(weight: u32, of: u32) -> u32 {
    let value = u64::from(ONE) * u64::from(weight) / u64::from(of.max(1));
    u32::try_from(value).expect("at most 1")
}
