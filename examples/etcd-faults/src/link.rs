//! What stands between two members: whether bytes pass, and how late.
//!
//! A link has a direction. Cut one of the two and the members hear each other one way only, which
//! is the kind of trouble that a pull of a cable never makes and a bad switch does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// One direction between two members.
#[derive(Debug, Default)]
pub(crate) struct Link {
    held: AtomicBool,
    delay_ms: AtomicU64,
    jitter_ms: AtomicU64,
}

/// All links of a cluster, both directions of every pair.
#[derive(Debug)]
pub(crate) struct Links {
    count: usize,
    links: Vec<Link>,
}

impl Links {
    /// Good links among so many members.
    pub(crate) fn new(count: usize) -> Links {
        Links { count, links: (0..count * count).map(|_| Link::default()).collect() }
    }

    /// The link from one member to another. A member that nobody knows has a good one.
    pub(crate) fn between(&self, from: Option<usize>, to: Option<usize>) -> Option<&Link> {
        let (from, to) = (from?, to?);
        assert!(from < self.count && to < self.count, "a link joins two members of this cluster");
        self.links.get(from * self.count + to)
    }

    /// Makes all of them good.
    pub(crate) fn heal(&self) {
        for link in &self.links {
            link.hold(false);
            link.slow(0, 0);
        }
    }
}

impl Link {
    /// Holds everything back, or lets it go.
    pub(crate) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }

    /// Makes everything late by so many milliseconds, and by up to so many more.
    pub(crate) fn slow(&self, delay_ms: u64, jitter_ms: u64) {
        self.delay_ms.store(delay_ms, Ordering::Release);
        self.jitter_ms.store(jitter_ms, Ordering::Release);
    }

    /// Whether nothing passes.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// How late something is that is sent now; `dice` is any number.
    pub(crate) fn delay(&self, dice: u64) -> Duration {
        let jitter = self.jitter_ms.load(Ordering::Acquire);
        let extra = if jitter == 0 { 0 } else { dice % jitter };
        Duration::from_millis(self.delay_ms.load(Ordering::Acquire) + extra)
    }
}
