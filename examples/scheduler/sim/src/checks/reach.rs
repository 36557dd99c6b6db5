//! What a day came to. A check is worth something only if days come near to what it forbids.

use std::collections::BTreeMap;

use mason_core::record::Reason;

/// What was seen to happen, and how often.
#[derive(Clone, Debug, Default)]
pub struct Reach(BTreeMap<&'static str, u64>);

impl Reach {
    /// It happened.
    pub fn saw(&mut self, what: &'static str) {
        self.saw_often(what, 1);
    }

    /// It happened so often.
    pub fn saw_often(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    pub(super) fn saw_end(&mut self, reason: Reason) {
        self.saw(match reason {
            Reason::Exited => "a run exits",
            Reason::ImagePull => "an image is not to be had",
            Reason::Stopped => "a run is stopped",
            Reason::Replaced => "a run is replaced",
            Reason::Drained => "a run is drained",
            Reason::Interrupted => "a run is interrupted",
            Reason::Fenced => "a run is fenced",
            Reason::Unknown => "a run's end is unknown",
            Reason::Lost => "a run is lost",
            _ => "a run ends otherwise",
        });
    }

    /// All of another day, too.
    pub fn add(&mut self, other: &Reach) {
        other.0.iter().for_each(|(what, count)| self.saw_often(what, *count));
    }

    /// How often it happened.
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// All of it.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(what, count)| (*what, *count))
    }
}
