//! A man in the middle: what a server with a bug would have made a client see.
//!
//! A checker that never complains may be right, or blind. So one lie can be told in a run, at a
//! moment that the seed chooses, between what the server said and what is written down. The run
//! must then fail, and by the checker whose matter it is.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use drystone_sim::Rng;

use crate::history::Moment;
use crate::violation::Checker;

/// What is lied about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// A watch misses an event.
    DropEvent,
    /// A watch shows an event twice.
    RepeatEvent,
    /// A watch shows two revisions in the wrong order.
    SwapEvents,
    /// A watch shows an event that is not what happened.
    ForgeEvent,
    /// A watch says that all was sent before it was.
    FalseProgress,
    /// A watch that is up to date is told that a compaction has overtaken it.
    FalseCompaction,
    /// A read of a revision that can be read is refused as compacted.
    DenyPast,
    /// A read of a compacted revision is answered.
    TellCompacted,
    /// A linearizable read shows what was there a while ago.
    StaleRead,
    /// A serializable read shows what never was.
    FalseSerializable,
    /// A write is acknowledged and was never done.
    LoseWrite,
    /// A write is done and refused.
    DenyWrite,
    /// What stood there before a put is something else.
    WrongPrev,
    /// A member tells a smaller revision than before.
    GoBack,
    /// A lease ends while its holder renews it.
    ExpireEarly,
    /// A lease is renewed for another time than it was granted for.
    WrongTtl,
    /// A lease lives on without a holder.
    LiveForever,
    /// A member has another hash.
    Disagree,
}

impl Lie {
    /// All of them, with their names on the command line and the checker that must see them.
    pub const ALL: [(Lie, &'static str, Checker); 18] = [
        (Lie::DropEvent, "drop-event", Checker::Watch),
        (Lie::RepeatEvent, "repeat-event", Checker::Watch),
        (Lie::SwapEvents, "swap-events", Checker::Watch),
        (Lie::ForgeEvent, "forge-event", Checker::Watch),
        (Lie::FalseProgress, "false-progress", Checker::Progress),
        (Lie::FalseCompaction, "false-compaction", Checker::Compaction),
        (Lie::DenyPast, "deny-past", Checker::Compaction),
        (Lie::TellCompacted, "tell-compacted", Checker::Compaction),
        (Lie::StaleRead, "stale-read", Checker::Order),
        (Lie::FalseSerializable, "false-serializable", Checker::Reply),
        (Lie::LoseWrite, "lose-write", Checker::Log),
        (Lie::DenyWrite, "deny-write", Checker::Log),
        (Lie::WrongPrev, "wrong-prev", Checker::Reply),
        (Lie::GoBack, "go-back", Checker::Member),
        (Lie::ExpireEarly, "expire-early", Checker::Lease),
        (Lie::WrongTtl, "wrong-ttl", Checker::Lease),
        (Lie::LiveForever, "live-forever", Checker::Lease),
        (Lie::Disagree, "disagree", Checker::Agreement),
    ];

    /// The checker whose matter it is.
    #[must_use]
    pub fn checker(self) -> Checker {
        let found = Lie::ALL.iter().find(|(lie, _, _)| *lie == self);
        found.expect("all lies are on the list").2
    }
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Lie::ALL.iter().find(|(lie, _, _)| lie == self);
        f.pad(found.expect("all lies are on the list").1)
    }
}

impl FromStr for Lie {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Lie> {
        match Lie::ALL.iter().find(|(_, known, _)| *known == name) {
            Some((lie, _, _)) => Ok(*lie),
            None => {
                let known: Vec<&str> = Lie::ALL.iter().map(|(_, name, _)| *name).collect();
                bail!("there is no lie `{name}`; there are {}", known.join(", "))
            }
        }
    }
}

/// Tells a lie, once, at the first occasion after a moment.
#[derive(Debug)]
pub(crate) struct Liar {
    lie: Option<Lie>,
    after: Moment,
    told: AtomicBool,
}

impl Liar {
    /// Lies in the middle of a run of so many seconds, at a moment that the seed chooses.
    pub(crate) fn new(lie: Option<Lie>, seed: u64, seconds: u64) -> Liar {
        let mut rng = Rng::new(seed).fork("lie");
        let third = seconds * 1_000_000_000 / 3;
        let after = Moment(third + rng.below(third + 1));
        Liar { lie, after, told: AtomicBool::new(false) }
    }

    /// Whether this lie is to be told now. Whoever is told so must tell it, for nobody else will.
    pub(crate) fn strikes(&self, lie: Lie, now: Moment) -> bool {
        self.lie == Some(lie) && now >= self.after && !self.told.swap(true, Ordering::AcqRel)
    }

    /// Whether this lie may still be told, so that it is worth preparing for.
    pub(crate) fn may(&self, lie: Lie) -> bool {
        self.lie == Some(lie) && !self.told.load(Ordering::Acquire)
    }

    /// Whether it has been told.
    pub(crate) fn told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One lie at a time: two would hide which of them was seen.
    #[test]
    fn a_lie_is_told_once() {
        let liar = Liar::new(Some(Lie::StaleRead), 1, 30);
        assert!(!liar.strikes(Lie::StaleRead, Moment::seconds(1)));
        assert!(!liar.strikes(Lie::GoBack, Moment::seconds(29)));
        assert!(liar.strikes(Lie::StaleRead, Moment::seconds(29)));
        assert!(!liar.strikes(Lie::StaleRead, Moment::seconds(29)));
        assert!(liar.told());
    }

    /// What the help lists can be asked for.
    #[test]
    fn every_lie_has_a_name() {
        for (lie, name, _) in Lie::ALL {
            assert_eq!(name.parse::<Lie>().unwrap(), lie);
            assert_eq!(lie.to_string(), name);
        }
    }
}
