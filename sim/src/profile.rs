//! How much trouble, of which kinds: what a [`Trouble`](crate::Trouble) is made of.

use std::ops::Range;

use crate::link::Link;

/// One kind of trouble: how often it comes, and how long it lasts. Times are in the world's ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Woe {
    /// How long it is from one to the next, on average; any time up to twice that is as likely as
    /// any other. 0 is never.
    pub every: u64,
    /// How long one lasts.
    pub lasting: Range<u64>,
}

impl Woe {
    /// It never comes.
    pub const NEVER: Woe = Woe { every: 0, lasting: 0..1 };

    /// It comes so often, and lasts so long.
    ///
    /// # Panics
    ///
    /// If the range is empty.
    pub fn new(every: u64, lasting: Range<u64>) -> Woe {
        assert!(!lasting.is_empty(), "a duration is drawn from a range that has some");
        Woe { every, lasting }
    }
}

/// What a nemesis does, how often, and how far it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// A node crashes and is restarted.
    pub crash: Woe,
    /// All nodes crash at once, and each is restarted within the time that it lasts.
    pub blackout: Woe,
    /// A node is paused and resumed.
    pub pause: Woe,
    /// The network takes one of the harmful [`Shape`](crate::Shape)s and is made whole.
    pub partition: Woe,
    /// Some links (all, those of a node, or one) get as bad as `bad_link`, and good again.
    pub bad_links: Woe,
    /// What a bad link is like. A good one is what [`Network::set_all`](crate::Network::set_all)
    /// has said.
    pub bad_link: Link,
    /// The clock of a node runs fast or slow, and then right again.
    pub drift: Woe,
    /// How far a clock is off, in parts per million, either way.
    pub drift_ppm_max: u32,
    /// The clock of a node jumps forward. There is no end to it: `lasting` is by how much.
    pub jump: Woe,
    /// How many nodes may be crashed or paused at once, blackouts left aside.
    pub down_max: usize,
}

impl Profile {
    /// Nothing ever happens.
    pub fn calm() -> Profile {
        Profile {
            crash: Woe::NEVER,
            blackout: Woe::NEVER,
            pause: Woe::NEVER,
            partition: Woe::NEVER,
            bad_links: Woe::NEVER,
            bad_link: Link::default(),
            drift: Woe::NEVER,
            drift_ppm_max: 0,
            jump: Woe::NEVER,
            down_max: usize::MAX,
        }
    }

    /// Something every few times the protocol's patience, and rest enough between to get work done.
    /// `patience` is how long the protocol waits before it takes action, such as the election
    /// timeout, and at least 10 ticks.
    pub fn mild(patience: u64) -> Profile {
        let p = patience.max(10);
        Profile {
            crash: Woe::new(20 * p, 1..5 * p),
            blackout: Woe::new(400 * p, 1..5 * p),
            pause: Woe::new(30 * p, 1..3 * p),
            partition: Woe::new(20 * p, 1..10 * p),
            bad_links: Woe::new(20 * p, 1..10 * p),
            bad_link: Link::hostile(1..p / 2),
            drift: Woe::new(50 * p, 1..50 * p),
            drift_ppm_max: 500,
            jump: Woe::NEVER,
            down_max: usize::MAX,
        }
    }

    /// Something all the time, clocks that no crystal excuses, and much of it at once.
    pub fn storm(patience: u64) -> Profile {
        let p = patience.max(10);
        Profile {
            crash: Woe::new(4 * p, 1..4 * p),
            blackout: Woe::new(60 * p, 1..3 * p),
            pause: Woe::new(6 * p, 1..3 * p),
            partition: Woe::new(4 * p, 1..6 * p),
            bad_links: Woe::new(4 * p, 1..6 * p),
            bad_link: Link::hostile(1..p),
            drift: Woe::new(10 * p, 1..20 * p),
            drift_ppm_max: 100_000,
            jump: Woe::new(20 * p, 1..2 * p),
            down_max: usize::MAX,
        }
    }
}
