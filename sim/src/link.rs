//! What one direction between two nodes does to the messages on it.

use std::ops::Range;

use crate::rate::Rate;
use crate::rng::Rng;

/// How one directed link treats messages. Times are in the world's ticks.
///
/// ```text
///     sent ─► lost? ─► doubled? ─► delay, sometimes late ─► overtakes, or waits its turn ─► there
/// ```
///
/// That is what happens to a datagram ([`Outbox::send`](crate::Outbox::send)). On a stream
/// ([`Outbox::stream`](crate::Outbox::stream)) a loss is a delay, and all wait their turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// How long a message is under way. Each draws its own time.
    pub delay: Range<u64>,
    /// The share of messages that never arrive.
    pub loss: Rate,
    /// The share of messages that arrive twice, each copy after a delay of its own.
    pub duplicate: Rate,
    /// The share of messages that may overtake those sent before them. The others wait their turn:
    /// at [`Rate::NEVER`] the link is a stream (TCP), at [`Rate::ALWAYS`] datagrams (UDP).
    pub reorder: Rate,
    /// The share of messages that are held up somewhere for much longer: see `late_by`.
    pub late: Rate,
    /// What is added to the delay of those. On a stream everything behind them waits too.
    pub late_by: Range<u64>,
    /// How long the sender of a stream message waits for an answer before it sends again, the first
    /// time; then twice as long each time (RFC 6298 §5). As a rule the longest way there and back.
    pub resend_after: u64,
}

impl Link {
    /// A link that loses, doubles and reorders nothing, and takes `delay` for it.
    ///
    /// # Panics
    ///
    /// If the range is empty.
    pub fn stream(delay: Range<u64>) -> Link {
        assert!(!delay.is_empty(), "a delay is drawn from a range that has some");
        Link {
            loss: Rate::NEVER,
            duplicate: Rate::NEVER,
            reorder: Rate::NEVER,
            late: Rate::NEVER,
            late_by: 0..1,
            resend_after: 2 * (delay.end - 1),
            delay,
        }
    }

    /// A link on which every message goes its own way, so that any may overtake any.
    ///
    /// # Panics
    ///
    /// If the range is empty.
    pub fn datagrams(delay: Range<u64>) -> Link {
        Link { reorder: Rate::ALWAYS, ..Link::stream(delay) }
    }

    /// As bad as a link gets that still carries something: a tenth is lost, a tenth doubled, any
    /// may overtake any, and one in fifty arrives when it is long forgotten.
    pub fn hostile(delay: Range<u64>) -> Link {
        let late_by = delay.end * 5..delay.end * 50;
        Link {
            loss: Rate::percent(10),
            duplicate: Rate::percent(10),
            late: Rate::percent(2),
            late_by,
            ..Link::datagrams(delay)
        }
    }

    /// How long a message is under way that may overtake.
    #[inline]
    pub(crate) fn draw_delay(&self, rng: &mut Rng) -> u64 {
        let delay = rng.range(self.delay.start..self.delay.end);
        if !rng.chance(self.late) {
            return delay;
        }
        delay + rng.range(self.late_by.start..self.late_by.end)
    }

    /// Asserts that every range has something to draw.
    pub(crate) fn check(&self) {
        assert!(!self.delay.is_empty(), "a link's delay is drawn from a range that has some");
        assert!(!self.late_by.is_empty(), "a link's lateness is drawn from a range that has some");
    }
}

/// One to ten ticks, in order, nothing lost.
impl Default for Link {
    fn default() -> Link {
        Link::stream(1..11)
    }
}
