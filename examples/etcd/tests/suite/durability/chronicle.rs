//! What is known of a store's history, and whether what a server says after a crash agrees.
//!
//! Before the crash, clients have noted what they asked and what they were told. Afterwards the
//! server tells its history (a watch), what stands now (a range), and its leases. The two must fit
//! without a remainder:
//!
//! ```text
//!   revision   │ 41 │ 42 │ 43 │ 44 │ 45 │        the server's history since the last crash
//!   answered   │  a │  b │    │  c │    │        each with its revision: must be there, whole
//!   unanswered │         d       e     f         in the gaps d and e, whole; f is not there at all
//! ```
//!
//! A revision that nobody asked for is as wrong as one that is missing. Replaying the revisions in
//! order gives what must stand at each of them: values, versions, revisions of creation, leases.
//! What clients read or were told by a watch while the server still ran must agree with that too,
//! since what somebody has seen must not be undone.

use std::collections::BTreeMap;

use bytes::Bytes;
use drystone_etcd_api::mvccpb::{Event, KeyValue};

use super::op::{Effect, Note, Op, Outcome, Read};
use super::state::{Lease, State, effect};

#[cfg(test)]
mod tests;

/// The history that is known and checked, from an empty store on.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    /// What stands at the newest revision.
    pub(super) state: State,
    /// The events of revision 2, of revision 3, and so on.
    revisions: Vec<Vec<Event>>,
    /// States on the way, so that the past is found without replaying everything.
    milestones: Vec<State>,
}

/// What clients noted between two crashes.
#[derive(Debug, Default, Clone)]
pub(super) struct Record {
    pub(super) notes: Vec<Note>,
    pub(super) reads: Vec<Read>,
    /// What a watch of everything told until the crash, from the first new revision on.
    pub(super) seen: Vec<Event>,
}

/// What a server says after a crash.
#[derive(Debug, Default, Clone)]
pub(super) struct Observed {
    /// The header of the first answer.
    pub(super) revision_first: i64,
    /// A write that was made then, after which nothing was written.
    pub(super) mark: Option<Note>,
    /// What a watch tells of everything after the chronicle's newest revision.
    pub(super) events: Vec<Event>,
    /// Everything that stands at the revision of the last event.
    pub(super) content: Vec<KeyValue>,
    pub(super) leases: BTreeMap<i64, LeaseSeen>,
    /// How long ago the server was started at most, seconds.
    pub(super) uptime_max: i64,
}

/// A lease as a server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaseSeen {
    /// Time to live as granted, and what is left of it, seconds.
    pub(super) granted: i64,
    pub(super) remaining: i64,
    pub(super) keys: Vec<Bytes>,
}

/// Keys of one group begin with the same words, up to the last slash.
pub(super) const GROUP_PREFIX: &[u8] = b"g/";

/// Notes that are not yet accounted for.
struct Open<'a> {
    /// By the revision that the answer named.
    made: BTreeMap<i64, &'a Note>,
    /// Those that may be found at some revision, or nowhere.
    loose: Vec<&'a Note>,
    /// By the revision at which there was nothing to do.
    nothing: BTreeMap<i64, Vec<&'a Note>>,
    reads: BTreeMap<i64, Vec<&'a Read>>,
}

impl Chronicle {
    /// Checks what the server says against what clients noted, and goes on from there. The error
    /// is the first contradiction.
    pub(super) fn extend(&mut self, record: &Record, observed: &Observed) -> Result<(), String> {
        let (newest, teller) = newest_told(record).max((self.state.revision, String::new()));
        if observed.revision_first < newest {
            let found = observed.revision_first;
            let told = format!("{newest} was told by {teller}");
            return Err(format!("the revision went back: {told}, now it is {found}"));
        }
        groups_are_whole(&observed.content)?;
        if observed.events.get(..record.seen.len()) != Some(&record.seen) {
            return Err(differing(&record.seen, &observed.events, "a watch told before the crash"));
        }
        self.admit_leases(&record.notes);
        let mut open = Open::new(record.notes.iter().chain(&observed.mark), &record.reads)?;
        open.settle(&self.state)?;
        for events in observed.events.chunk_by(|a, b| revision_of(a) == revision_of(b)) {
            self.revision(events, &mut open)?;
            open.settle(&self.state)?;
        }
        if let Some((revision, note)) = open.made.first_key_value() {
            return Err(format!("acknowledged revision {revision} is lost: {:?}", note.op));
        }
        if let Some(revision) = open.nothing.keys().chain(open.reads.keys()).next() {
            return Err(format!("revision {revision} was told before it was there"));
        }
        self.settle_leases(&open.loose, observed)?;
        let stands: Vec<KeyValue> = self.state.keys.values().cloned().collect();
        if stands != observed.content {
            return Err(differing(&stands, &observed.content, "what must stand after the crash"));
        }
        self.milestones.push(self.state.clone());
        Ok(())
    }

    /// What stood at `revision`, which is known.
    pub(super) fn at(&self, revision: i64) -> Vec<KeyValue> {
        let milestone = self.milestones.iter().rfind(|state| state.revision <= revision);
        let mut state = milestone.cloned().unwrap_or_default();
        while state.revision < revision {
            let effects: Vec<Effect> = self.events_of(state.revision + 1).map(effect).collect();
            state.apply(&effects);
        }
        state.keys.into_values().collect()
    }

    /// All events from revision `start` on, which is at least 2.
    pub(super) fn since(&self, start: i64) -> Vec<Event> {
        (start..=self.state.revision)
            .flat_map(|revision| self.events_of(revision))
            .cloned()
            .collect()
    }

    fn events_of(&self, revision: i64) -> impl Iterator<Item = &Event> {
        let at = usize::try_from(revision - 2).expect("revision 1 has no events");
        self.revisions[at].iter()
    }

    /// Accounts for the events of the next revision.
    fn revision(&mut self, events: &[Event], open: &mut Open<'_>) -> Result<(), String> {
        let revision = self.state.revision + 1;
        let found = revision_of(&events[0]);
        if found != revision {
            return Err(format!("events of revision {found} where {revision} comes next"));
        }
        let effects: Vec<Effect> = events.iter().map(effect).collect();
        let note = open.take(revision, &effects, &self.state)?;
        if note.sent_after >= revision {
            let after = note.sent_after;
            return Err(format!("revision {revision} was asked for only after {after}: {note:?}"));
        }
        if matches!(note.outcome, Outcome::By(header) if header < revision) {
            return Err(format!("revision {revision} was made only after its answer: {note:?}"));
        }
        let told = self.state.apply(&effects);
        if told != events {
            return Err(differing(&told, events, "the events that follow from the history"));
        }
        if let Op::Revoke { lease } = note.op {
            self.state.leases.remove(&lease);
        }
        self.revisions.push(told);
        Ok(())
    }

    /// Leases that were granted for sure.
    fn admit_leases(&mut self, notes: &[Note]) {
        for note in notes {
            if let (Op::Grant { lease, ttl }, true) = (&note.op, note.outcome != Outcome::Unknown) {
                self.state.leases.insert(*lease, Lease { ttl: *ttl, keys: [].into() });
            }
        }
    }

    /// Accounts for grants and revocations that made no revision, then compares all leases.
    fn settle_leases(&mut self, loose: &[&Note], observed: &Observed) -> Result<(), String> {
        for note in loose {
            match note.op {
                Op::Grant { lease, ttl } if observed.leases.contains_key(&lease) => {
                    self.state.leases.insert(lease, Lease { ttl, keys: [].into() });
                }
                Op::Revoke { lease } => {
                    let unknown = note.outcome == Outcome::Unknown;
                    if unknown && observed.leases.contains_key(&lease) {
                        continue;
                    }
                    let kept = note.op.effects(&self.state);
                    if !kept.is_empty() {
                        return Err(format!("lease {lease} is revoked, its keys stay: {kept:?}"));
                    }
                    self.state.leases.remove(&lease);
                }
                _ => {}
            }
        }
        let ids: Vec<&i64> = self.state.leases.keys().collect();
        let found: Vec<&i64> = observed.leases.keys().collect();
        if ids != found {
            return Err(differing(&ids, &found, "the leases that must stand"));
        }
        for (id, seen) in &observed.leases {
            let lease = &self.state.leases[id];
            let keys: Vec<Bytes> = lease.keys.iter().cloned().collect();
            if keys != seen.keys {
                return Err(differing(&keys, &seen.keys, &format!("the keys of lease {id}")));
            }
            let full = lease.ttl - observed.uptime_max..=lease.ttl;
            if lease.ttl != seen.granted || !full.contains(&seen.remaining) {
                return Err(format!("lease {id} has {full:?} s of {}, not {seen:?}", lease.ttl));
            }
        }
        Ok(())
    }
}

impl<'a> Open<'a> {
    fn new(notes: impl Iterator<Item = &'a Note>, reads: &'a [Read]) -> Result<Open<'a>, String> {
        let mut open = Open {
            made: BTreeMap::new(),
            loose: Vec::new(),
            nothing: BTreeMap::new(),
            reads: BTreeMap::new(),
        };
        for note in notes {
            match note.outcome {
                Outcome::Made(revision) => {
                    if let Some(other) = open.made.insert(revision, note) {
                        return Err(format!("two answers name one revision: {note:?}, {other:?}"));
                    }
                }
                Outcome::Nothing(revision) => open.nothing.entry(revision).or_default().push(note),
                Outcome::By(_) | Outcome::Unknown => open.loose.push(note),
            }
        }
        for read in reads {
            open.reads.entry(read.revision).or_default().push(read);
        }
        Ok(open)
    }

    /// The note that made `revision`, which had these effects.
    fn take(
        &mut self,
        revision: i64,
        effects: &[Effect],
        state: &State,
    ) -> Result<&'a Note, String> {
        if let Some(note) = self.made.remove(&revision) {
            let expected = note.op.effects(state);
            if expected == effects {
                return Ok(note);
            }
            let what = format!("revision {revision} as acknowledged");
            return Err(differing(&expected, effects, &what));
        }
        let at = self.loose.iter().position(|note| note.op.effects(state) == effects);
        let at = at.ok_or_else(|| format!("nobody asked for revision {revision}: {effects:?}"))?;
        Ok(self.loose.swap_remove(at))
    }

    /// Checks what clients were told at the revision of `state`.
    fn settle(&mut self, state: &State) -> Result<(), String> {
        let revision = state.revision;
        for note in self.nothing.remove(&revision).into_iter().flatten() {
            let effects = note.op.effects(state);
            if !effects.is_empty() {
                return Err(format!("at revision {revision} something was to do: {note:?}"));
            }
        }
        for read in self.reads.remove(&revision).into_iter().flatten() {
            let stands = state.range(&read.key, &read.end);
            if stands != read.found {
                let what = format!("what a client read at revision {revision}");
                return Err(differing(&stands, &read.found, &what));
            }
        }
        Ok(())
    }
}

/// The newest revision that a client was told of, and by what.
fn newest_told(record: &Record) -> (i64, String) {
    let notes = record.notes.iter().map(|note| match note.outcome {
        Outcome::Made(revision) | Outcome::Nothing(revision) | Outcome::By(revision) => {
            (revision, short(note))
        }
        Outcome::Unknown => (note.sent_after, "another answer".to_owned()),
    });
    let reads = record.reads.iter().map(|read| (read.revision, "a range".to_owned()));
    let seen = record.seen.iter().map(|event| (revision_of(event), "a watch".to_owned()));
    notes.chain(reads).chain(seen).max().unwrap_or_default()
}

fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

/// The rule of the groups, seen without any history: all keys of one are equal.
fn groups_are_whole(content: &[KeyValue]) -> Result<(), String> {
    let group = |kv: &KeyValue| {
        let slash = kv.key.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        kv.key.slice(..slash)
    };
    let grouped = content.iter().filter(|kv| kv.key.starts_with(GROUP_PREFIX));
    let mut first: BTreeMap<Bytes, &KeyValue> = BTreeMap::new();
    let mut count: BTreeMap<Bytes, usize> = BTreeMap::new();
    for kv in grouped {
        let first = first.entry(group(kv)).or_insert(kv);
        *count.entry(group(kv)).or_default() += 1;
        if (&first.value, first.mod_revision) != (&kv.value, kv.mod_revision) {
            return Err(format!("half a transaction: {first:?} beside {kv:?}"));
        }
    }
    let torn = count.iter().find(|(_, count)| **count != GROUP_KEYS);
    torn.map_or(Ok(()), |(group, count)| {
        Err(format!("half a transaction: {count} of {GROUP_KEYS} keys of {group:?}"))
    })
}

/// Keys in each group.
pub(super) const GROUP_KEYS: usize = 4;

/// Says where two lists part.
fn differing<T: PartialEq + std::fmt::Debug>(expected: &[T], found: &[T], what: &str) -> String {
    let same = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
    let (left, right) = (short(expected.get(same)), short(found.get(same)));
    let counts = format!("{} and {} in all", expected.len(), found.len());
    format!("{what}: from number {same} on, expected {left}, found {right} ({counts})")
}

/// Values may be long; their beginning tells who wrote them, the rest is filled with one letter.
fn short(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").replace("xxxxxxxx", "").chars().take(400).collect()
}
