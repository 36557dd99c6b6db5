//! Another group in the same store: its writes share records' places, syncs and cleaning with those
//! of the group that is looked at, and what was durable of it must be there after every crash.
//!
//! Nobody elects or replicates here. It appends what is known from the index alone, in one term,
//! and forgets what is old.

use bytes::Bytes;
use drystone_raft::store::{Batch, GroupId, Store};
use drystone_raft::{Config, Configuration, Entry, Index, Payload, Raft, Term, Write, WriteId};
use drystone_sim::Rng;

/// The other group.
#[derive(Debug)]
pub(super) struct Neighbour {
    /// Groups of it that were lost to damage before this one.
    lost: u64,
    /// Its newest entry, durable or not.
    last: Index,
    /// As far as it must be there.
    durable: Index,
    /// As far as it may be forgotten.
    forgotten: Index,
    /// It knows what it had. One that is made anew where groups may have been lost does not.
    is_sure: bool,
    rng: Rng,
}

const TERM: Term = Term(1);

impl Neighbour {
    pub(super) fn new(rng: Rng) -> Neighbour {
        let (last, durable, forgotten) = (Index(0), Index(0), Index(0));
        Neighbour { lost: 0, last, durable, forgotten, is_sure: true, rng }
    }

    /// Its name.
    pub(super) fn group(&self) -> GroupId {
        GroupId(1000 + self.lost)
    }

    /// Adds something of its own to what is written. Returns what is durable when that is.
    pub(super) fn put(&mut self, batch: &mut Batch<'_>) -> Index {
        let first = self.last.next();
        self.last = Index(self.last.0 + self.rng.below(4));
        let append = first..self.last.next();
        let entries: Vec<Entry> = (first.0..append.end.0).map(|at| entry(Index(at))).collect();
        let (id, hard, snapshot, mended) = (WriteId(1), None, None, Vec::new());
        if !entries.is_empty() {
            let write = Write { id, hard, snapshot, mended, append };
            batch.put(self.group(), &write, &entries).expect("the group is there");
        }
        if self.rng.below(20) == 0 {
            let kept = self.durable.0 - self.forgotten.0;
            self.forgotten = Index(self.forgotten.0 + self.rng.below(kept + 1));
            batch.compact(self.group(), self.forgotten).expect("the group is there");
        }
        self.last
    }

    /// It is durable up to here.
    pub(super) fn complete(&mut self, through: Index) {
        self.durable = self.durable.max(through);
    }

    /// A store was opened: what must be there is there, or the store says that it is not, because
    /// its log `went_bad`.
    pub(super) fn check(&mut self, store: &Store, went_bad: bool) {
        let group = self.group();
        if !store.groups().contains(&group) {
            let new = self.durable == Index(0) || went_bad;
            assert!(new, "{group} was durable up to {}, and is gone", self.durable);
            return self.start_anew(store);
        }
        let raft = restore(store, group);
        let (base, last) = (raft.base().index, raft.last().index);
        let mut after = base;
        while after < last {
            let Ok(Some(entries)) = store.load(group, after, last, 4 << 10) else { break };
            for found in entries {
                assert_eq!(found, entry(after.next()), "{group} has something else there");
                after = found.index;
            }
        }
        if !raft.is_sound() && (self.is_sure || went_bad) {
            assert!(went_bad, "{group}: a crash was taken for damage: {self:?}");
            return self.start_anew(store);
        }
        assert!(base <= self.forgotten, "{group} begins behind {base}: {self:?}");
        assert!(last >= self.durable && after == last, "{group} ends at {after}: {self:?}");
        (self.last, self.durable) = (last, last);
    }

    fn start_anew(&mut self, store: &Store) {
        self.lost += u64::from(store.groups().contains(&self.group()));
        (self.last, self.durable, self.forgotten) = (Index(0), Index(0), Index(0));
        store.create(self.group(), Configuration::voters([1])).expect("the disk works");
        self.is_sure = restore(store, self.group()).is_sound();
    }
}

fn restore(store: &Store, group: GroupId) -> Raft {
    let boot = store.boot(group).expect("the group is there");
    Raft::restore(1, Config::new(10), boot, 0, 1).expect("the options are sound")
}

/// What is at an index.
fn entry(index: Index) -> Entry {
    let length = usize::try_from(index.0.wrapping_mul(0x9e37_79b9) % 150).expect("it is small");
    let byte = u8::try_from(index.0 % 251).expect("it is below 251");
    let payload = Payload::Data(Bytes::from(vec![byte; length]));
    Entry { term: TERM, index, payload }
}
