//! What is due, and when.

use super::{PERSIST_REST, Phase, SWEEP, Swim};
use crate::clock::Micros;
use crate::effect::{Effect, Event};

impl Swim {
    /// When the first timer is due, in own time; none once we have left.
    pub(super) fn next_timer(&self) -> Option<Micros> {
        let leaving = match self.me.phase {
            Phase::Gone => return None,
            Phase::Leaving { until } => until,
            Phase::Member | Phase::Ousted => u64::MAX,
        };
        let some = [
            self.gossip_at,
            self.suspicions.next(),
            self.persist_at,
            self.wants.at,
            Some(self.sync_at),
            Some(self.sweep_at),
            Some(self.probing.next_timer()),
            Some(self.joining.next_timer()),
        ];
        Some(some.into_iter().flatten().fold(leaving, Micros::min))
    }

    /// Does whatever is due.
    pub(super) fn tick(&mut self, out: &mut Vec<Effect>) {
        let now = self.now();
        self.probe_timers(out);
        while let Some(slot) = self.suspicions.expired(now) {
            self.convict(slot, out);
        }
        if self.gossip_at.is_some_and(|at| at <= now) {
            self.gossip(out);
        }
        if self.wants.at.is_some_and(|at| at <= now) {
            self.ask_for_metadata(out);
        }
        if self.sync_at <= now {
            self.sync(out);
        }
        self.joining_timers(out);
        if self.sweep_at <= now {
            self.sweep_at = now + SWEEP;
            self.sweep();
        }
        if self.persist_at.is_some_and(|at| at <= now) {
            (self.persist_at, self.persist_from) = (None, now + PERSIST_REST);
            out.push(Effect::Persist);
        }
        self.finish_leaving(out);
    }

    /// We are gone when our word was told often enough, or nobody is left to tell, or time is up.
    fn finish_leaving(&mut self, out: &mut Vec<Effect>) {
        let Phase::Leaving { until } = self.me.phase else { return };
        let told = self.me.told == crate::lane::UNTOLD || self.peers.members() == 0;
        if told || until <= self.now() {
            self.me.phase = Phase::Gone;
            let id = self.me.node.id;
            self.event(Event::Left(id), out);
        }
    }
}
