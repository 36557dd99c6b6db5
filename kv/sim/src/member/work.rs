//! Applying, saving, and taking over the state of another.

use std::sync::Weak;

use bytes::Bytes;
use drystone_kv::Error;
use drystone_kv::runtime::parts::{run, take_over};
use drystone_raft::{Entry, Index, Input, Payload};

use crate::disk::GROUP;
use crate::flaw::Flaw;
use crate::member::{Event, Frozen, Job, Member, Out, Saving, Told, Waiting};

/// Bytes of entries that are read from the log at once.
const LOAD_BYTES: usize = 4096;

impl Member {
    /// Does what waits to be done with the state.
    pub(super) fn work(&mut self, now: u64, out: &mut Out<'_>) {
        let mut jobs = self.take_jobs();
        while let Some(job) = jobs.pop_front() {
            if self.refused.is_some() {
                return;
            }
            if self.must_wait(&job) {
                jobs.push_front(job);
                self.jobs = jobs;
                return self.go_on(out);
            }
            match job {
                Job::Apply { .. } => {
                    self.stalled.push_back(job);
                    self.apply_stalled(now, out);
                }
                Job::Wait(index, waiting) => self.waiting.push((index, waiting)),
                Job::Restore(meta) => {
                    self.restore(&meta);
                    self.apply_stalled(now, out);
                }
            }
            let applied = self.applied;
            let ready: Vec<_> = self.waiting.extract_if(.., |(at, _)| *at <= applied).collect();
            for (_, waiting) in ready {
                self.serve(now, waiting, out);
            }
            if self.unsaved >= self.disk.ways.save_bytes {
                self.save(out);
            }
        }
    }

    /// Applies what is there to be applied, as far as it can be read.
    fn apply_stalled(&mut self, now: u64, out: &mut Out<'_>) {
        while self.refused.is_none()
            && let Some(job) = self.stalled.pop_front()
        {
            let Job::Apply { entries, through, replies } = job else { continue };
            if let Some(job) = self.apply(entries, through, replies, out) {
                self.stalled.push_front(job);
                let base = self.raft.base().index;
                assert!(base > self.applied, "{}: a sound entry cannot be read", out.me());
                let (after, through) = (self.applied, self.applied.next());
                self.feed(now, Some(Input::Damaged { after, through }), out);
                return self.shorten(out);
            }
        }
    }

    /// Applies entries up to `through`. Returns what is left if one cannot be read: the state that
    /// it is in has come from another member, and is about to be taken over.
    fn apply(
        &mut self,
        entries: Option<Vec<Entry>>,
        through: Index,
        mut replies: Vec<(Index, Waiting)>,
        out: &mut Out<'_>,
    ) -> Option<Job> {
        let held = entries.as_ref().and_then(|entries| entries.first());
        let first = held.map_or(through.next(), |entry| entry.index);
        while self.applied.next() < first {
            // Not in memory any more: from the log.
            match self.log.load(GROUP, self.applied, first.prev(), LOAD_BYTES) {
                Ok(Some(loaded)) => self.take(loaded, &mut replies, out),
                Ok(None) => return Some(Job::Apply { entries, through, replies }),
                Err(error) => self.refuse("load", &error),
            }
            if self.refused.is_some() {
                return None;
            }
        }
        self.take(entries.unwrap_or_default(), &mut replies, out);
        None
    }

    /// Applies entries that follow each other, but for those that are applied already.
    fn take(
        &mut self,
        entries: Vec<Entry>,
        replies: &mut Vec<(Index, Waiting)>,
        out: &mut Out<'_>,
    ) {
        let mut commands: Vec<(Index, Bytes)> = Vec::new();
        for entry in entries {
            if entry.index <= self.applied {
                continue;
            }
            assert_eq!(entry.index, self.applied.next(), "entries are applied in order");
            self.applied = entry.index;
            let flaw = self.disk.flaw;
            if let Payload::Data(data) = &entry.payload {
                self.unsaved += data.len() as u64;
                let lonely = replies.is_empty() && self.handed_on.is_empty();
                let drop = flaw == Some(Flaw::DropCommand) && lonely && out.rng().below(100) == 0;
                if !drop {
                    commands.push((entry.index, data.clone()));
                }
                self.last_command = Some(data.clone());
            } else if flaw == Some(Flaw::ApplyTwice)
                && self.disk.starts > 1
                && let Some(again) = self.last_command.clone()
            {
                commands.push((entry.index, again));
            }
            self.news.push(entry);
        }
        if commands.is_empty() {
            return;
        }
        let given: Vec<(Index, &Bytes)> = commands.iter().map(|(at, data)| (*at, data)).collect();
        let log = self.folder.log();
        let ran = run(&self.store, &self.lessor, self.disk.id, &log, &given);
        let Some(ran) = self.heed("apply", ran) else { return };
        let told = |at: usize| {
            let outcome = ran.outcomes[at].clone().map_err(|error| match error {
                Error::Refused(why) => why,
                other => panic!("a command failed: {other}"),
            });
            Told::Applied(commands[at].0, outcome)
        };
        for (at, serial) in &ran.own {
            if self.handed_on.remove(serial) {
                self.answers.push((*serial, told(*at)));
            }
        }
        for (at, (index, _)) in commands.iter().enumerate() {
            let Some(place) = replies.iter().position(|(of, _)| of == index) else { continue };
            if let (_, Waiting::Command(call)) = replies.swap_remove(place) {
                self.answers.push((call, told(at)));
            }
        }
    }

    fn restore(&mut self, meta: &drystone_raft::SnapshotMeta) {
        if self.applied >= meta.last.index {
            // Only the log was behind it.
            return;
        }
        let mut reader = match self.log.snapshots().read(GROUP, meta.last) {
            Ok(reader) => reader,
            // Another came while this one waited, and is the next to be taken over.
            Err(_) if self.log.base(GROUP).is_some_and(|base| base.last > meta.last) => return,
            Err(error) => return self.refuse("open a snapshot", &error),
        };
        match take_over(&self.store, &self.folder, &mut reader) {
            Ok((_, old)) => {
                self.leaving.push(old);
                self.applied = meta.last.index;
                (self.unsaved, self.pressed) = (0, false);
                self.taken_over += 1;
            }
            Err(error) => self.refuse("take over", &error),
        }
    }

    /// Files of engines whose place another has taken go, once nobody reads them.
    pub(super) fn clear(&mut self) {
        let gone = |engine: &Weak<_>| engine.strong_count() == 0;
        if !self.leaving.is_empty() && self.leaving.iter().all(gone) {
            self.leaving.clear();
            let cleared = self.folder.clear_other();
            self.heed("clear", cleared);
        }
    }

    /// Has the engine made durable, beside what goes on.
    pub(super) fn save(&mut self, out: &mut Out<'_>) {
        if self.saving != Saving::Nothing || self.applied == Index(0) {
            return;
        }
        self.saving = Saving::Itself;
        (self.unsaved, self.pressed) = (0, false);
        let delay = out.rng().range(1..self.disk.ways.slow);
        out.later(delay, Event::Save);
    }

    /// Saves the state and shortens the log to nothing: it crowds others out, or is damaged.
    pub(super) fn shorten(&mut self, out: &mut Out<'_>) {
        if !self.crowding {
            (self.crowding, self.pressed) = (true, true);
            self.save(out);
        }
    }

    /// Whether a state is to be taken over that the log does not know of durably.
    fn must_wait(&self, job: &Job) -> bool {
        let Job::Restore(meta) = job else { return false };
        let under_way = self.orders.iter().any(|order| order.base == Some(meta.last.index));
        under_way && self.disk.flaw != Some(Flaw::SaveOutrunsLog)
    }

    pub(super) fn save_engine(&mut self) -> Option<Index> {
        let last = self.raft.last().index;
        if self.disk.flaw != Some(Flaw::SaveOutrunsLog) && last > self.raft.base().index {
            // Reading the last entry waits until the log is durable: an engine that is ahead of it
            // vouches after a crash for whatever older entries the log still has there.
            self.log.load(GROUP, last.prev(), last, 1).ok()?;
        }
        match self.disk.flaw {
            Some(Flaw::SaveLies) => Some(Index(self.store.status().applied)),
            _ => self.store.persist().ok().map(Index),
        }
    }

    pub(super) fn saved(&mut self, now: u64, through: Option<Index>, out: &mut Out<'_>) {
        self.ended(out);
        let crowds = std::mem::take(&mut self.crowding);
        let Some(mut saved) = through else { return };
        if self.disk.flaw == Some(Flaw::ShortenTooFar) {
            saved = self.applied;
        }
        let kept = if crowds { 0 } else { self.disk.ways.kept };
        let through = Index(saved.0.saturating_sub(kept));
        let must = Index(saved.0.saturating_sub(10 * kept));
        self.feed(now, Some(Input::Compact { through, must }), out);
    }

    /// What was being saved is, or is not.
    pub(super) fn ended(&mut self, out: &mut Out<'_>) {
        self.saving = Saving::Nothing;
        if std::mem::take(&mut self.wanted) {
            self.take_snapshot(out);
        } else if self.pressed {
            self.save(out);
        }
    }

    /// Freezes the state for a peer; it is written later.
    pub(super) fn take_snapshot(&mut self, out: &mut Out<'_>) {
        if self.saving != Saving::Nothing || self.applied == Index(0) {
            return;
        }
        let Some(meta) = self.log.meta_at(GROUP, self.applied) else { return };
        let Ok(checkpoint) = self.store.checkpoint() else { return };
        self.saving = Saving::State;
        let delay = out.rng().range(1..2 * self.disk.ways.slow);
        out.later(delay, Event::Write(meta, Frozen(checkpoint)));
    }
}
