//! What is done to the cluster, and when: drawn from a seed before anything runs.
//!
//! ```text
//!   rest ─► strike ─── hold ───► heal ─► rest ─► strike, and another ─── hold ───► heal ─► …
//! ```
//!
//! A plan names roles, such as the leader, and numbers to choose by; who that is when the time is
//! there no seed can know. Every fault is healed before the next one, and at the end all is well.
//! Each kind that was asked for comes once before any comes again, so a short run has all of them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use drystone_sim::{Rate, Rng};

/// A kind of trouble, as it is asked for on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Servers are killed.
    Kill,
    /// Servers stand still.
    Pause,
    /// Members do not hear each other.
    Partition,
    /// One member is heard and does not hear, or the other way round.
    OneWay,
    /// Links are slow, and lose packets where the kernel can do that.
    Slow,
    /// A disk is full.
    Disk,
    /// A member is replaced by a new one.
    Replace,
    /// All are restarted, one after another.
    Roll,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 8] = [
        Family::Kill,
        Family::Pause,
        Family::Partition,
        Family::OneWay,
        Family::Slow,
        Family::Disk,
        Family::Replace,
        Family::Roll,
    ];

    const fn name(self) -> &'static str {
        match self {
            Family::Kill => "kill",
            Family::Pause => "pause",
            Family::Partition => "partition",
            Family::OneWay => "oneway",
            Family::Slow => "slow",
            Family::Disk => "disk",
            Family::Replace => "replace",
            Family::Roll => "roll",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Family {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Family> {
        match Family::ALL.into_iter().find(|family| family.name() == name) {
            Some(family) => Ok(family),
            None => bail!("there is no fault `{name}`"),
        }
    }
}

/// Whom it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// Whoever leads.
    Leader,
    /// Someone who does not.
    Follower,
    /// A majority.
    Most,
    /// Everyone.
    All,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Of this kind.
    pub family: Family,
    /// On these.
    pub victim: Victim,
    /// To choose by.
    pub dice: u64,
}

/// A time of rest, and then one of trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Nothing is done for so long.
    pub rest: Duration,
    /// These strike, one after the other.
    pub faults: Vec<Fault>,
    /// And stay for so long.
    pub hold: Duration,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.faults.iter().map(|it| format!("{} ({:?})", it.family, it.victim));
        let names = names.collect::<Vec<_>>().join(" and ").to_lowercase();
        write!(f, "{names} for {:.1} s", self.hold.as_secs_f32())
    }
}

/// The steps of a run of about so many seconds, with faults of these kinds.
#[must_use]
pub fn plan(seed: u64, seconds: u64, families: &[Family]) -> Vec<Step> {
    let mut rng = Rng::new(seed).fork("plan");
    let (mut steps, mut bag, mut left) = (Vec::new(), Vec::new(), seconds * 1_000);
    while !families.is_empty() {
        if bag.is_empty() {
            bag = families.to_vec();
            rng.shuffle(&mut bag);
        }
        let family = bag.pop().expect("it was filled");
        let mut faults = vec![fault(&mut rng, family)];
        // A replacement needs all others, so it comes alone.
        let others: Vec<Family> = families
            .iter()
            .copied()
            .filter(|other| *other != family && !matches!(other, Family::Replace | Family::Roll))
            .collect();
        let alone = matches!(family, Family::Replace | Family::Roll) || others.is_empty();
        if !alone && rng.chance(Rate::percent(25)) {
            let other = *rng.pick(&others);
            faults.push(fault(&mut rng, other));
        }
        let rest = rng.range(500..2_500);
        let hold = match family {
            Family::Kill => rng.range(100..3_000),
            Family::Replace | Family::Roll => rng.range(100..1_000),
            _ => rng.range(1_000..7_000),
        };
        if left < rest + hold {
            break;
        }
        left -= rest + hold;
        let (rest, hold) = (Duration::from_millis(rest), Duration::from_millis(hold));
        steps.push(Step { rest, faults, hold });
    }
    steps
}

fn fault(rng: &mut Rng, family: Family) -> Fault {
    let leader = rng.chance(Rate::percent(50));
    let one = if leader { Victim::Leader } else { Victim::Follower };
    let victim = match (family, rng.below(10)) {
        (Family::Kill, 0) => Victim::All,
        (Family::Kill, 1) => Victim::Most,
        (Family::Pause, 0) => Victim::Most,
        (Family::Slow, 0..=4) | (Family::Roll, _) => Victim::All,
        _ => one,
    };
    Fault { family, victim, dice: rng.draw() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The command that repeats a run repeats its plan.
    #[test]
    fn a_seed_is_one_plan() {
        let two = [plan(7, 180, &Family::ALL), plan(7, 180, &Family::ALL)];
        assert_eq!(two[0], two[1]);
        assert_ne!(two[0], plan(8, 180, &Family::ALL));
    }

    /// What was asked for must come, or a green run says less than it seems to.
    #[test]
    fn every_family_comes_in_a_minute() {
        for seed in 0..50 {
            let steps = plan(seed, 60, &Family::ALL);
            let faults = steps.iter().flat_map(|step| &step.faults);
            let seen: BTreeSet<Family> = faults.map(|fault| fault.family).collect();
            assert_eq!(seen.len(), Family::ALL.len(), "seed {seed}");
        }
    }

    /// No other fault may come than was asked for, and none at all if none was.
    #[test]
    fn only_what_was_asked_for_comes() {
        assert!(plan(1, 60, &[]).is_empty());
        let steps = plan(1, 60, &[Family::Kill, Family::Pause]);
        let mut faults = steps.iter().flat_map(|step| &step.faults);
        assert!(faults.all(|fault| matches!(fault.family, Family::Kill | Family::Pause)));
    }
}
