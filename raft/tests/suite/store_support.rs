//! A store beside a plain one in memory, and hands that write to both.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use drystone_raft::store::{GroupId, Options, Result, Store};
use drystone_raft::{
    Boot, Config, Configuration, Entry, HardState, Index, Payload, Position, Raft, SnapshotMeta,
    Term, Write, WriteId,
};
use drystone_vfs::{MemVfs, OpenMode, SimClock, SimVfs, Vfs};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub(crate) const DIR: &str = "store";

/// Small segments and one thread, for the same bytes in every run.
pub(crate) fn options() -> Options {
    let wal = drystone_wal::Options::default();
    let wal = wal.writer(drystone_wal::Writer::Caller).segment_bytes(16 << 10).log_id(7);
    Options { wal, clock: Arc::new(SimClock::default()), ..Options::default() }
}

pub(crate) fn open(vfs: Arc<dyn Vfs>) -> Result<Store> {
    Store::open(vfs, Path::new(DIR), options())
}

/// What one group should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) hard: HardState,
    pub(crate) base: Position,
    pub(crate) members: Arc<Configuration>,
    pub(crate) entries: Vec<Entry>,
}

impl Model {
    pub(crate) fn new() -> Model {
        let members = Arc::new(Configuration::voters([1, 2, 3]));
        let (hard, base) = Default::default();
        Model { hard, base, members, entries: Vec::new() }
    }

    pub(crate) fn last(&self) -> Position {
        self.entries.last().map_or(self.base, Entry::position)
    }

    pub(crate) fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.index == index)
    }

    /// The members as of an index that is not compacted away.
    pub(crate) fn members_at(&self, index: Index) -> Arc<Configuration> {
        let named = self.entries.iter().rev().filter(|entry| entry.index <= index);
        let mut named = named.filter_map(|entry| match &entry.payload {
            Payload::Configuration(named) => Some(named),
            _ => None,
        });
        Arc::clone(named.next().unwrap_or(&self.members))
    }

    /// Everything up to `through` is compacted away.
    pub(crate) fn compact(&mut self, through: Index) {
        self.members = self.members_at(through);
        self.base = self.entry(through).unwrap().position();
        self.entries.retain(|entry| entry.index > through);
    }

    /// Puts so many entries behind the last, in one write.
    pub(crate) fn extend(&mut self, store: &Store, group: GroupId, count: u64) -> Vec<Entry> {
        let Position { term, index } = self.last();
        let blank = |i| Entry { term, index: Index(index.0 + i), payload: Payload::Blank };
        let entries: Vec<Entry> = (1..=count).map(blank).collect();
        let append = index.next()..Index(index.0 + count + 1);
        let (id, mended) = (WriteId(0), Vec::new());
        let write = Write { id, hard: None, snapshot: None, mended, append };
        let mut batch = store.batch();
        batch.put(group, &write, &entries).unwrap();
        batch.commit().unwrap().unwrap().wait().unwrap();
        self.entries.extend(entries.iter().cloned());
        entries
    }

    /// Checks that a group in the store is this, whole.
    pub(crate) fn check(&self, store: &Store, group: GroupId) {
        store.check();
        if let Err(what) = self.compare(store, group) {
            panic!("group {group}: {what}");
        }
    }

    /// The first thing in which a group in the store is not this.
    pub(crate) fn compare(&self, store: &Store, group: GroupId) -> std::result::Result<(), String> {
        let Ok(boot) = store.boot(group) else { return Err("is not there".to_owned()) };
        let raft = restore(boot);
        raft.check();
        let same = |what: &str, here: &dyn std::fmt::Debug, wanted: &dyn std::fmt::Debug| {
            let (here, wanted) = (format!("{here:?}"), format!("{wanted:?}"));
            if here == wanted { Ok(()) } else { Err(format!("{what}: {here}, not {wanted}")) }
        };
        same("sound", &raft.is_sound(), &true)?;
        same("the end", &raft.last(), &self.last())?;
        same("the base", &raft.base(), &self.base)?;
        // Entries that are newer than the term show that a vote in their term may be spent.
        let spent = self.last().term > self.hard.term;
        let vote = if spent { Some(raft.id()) } else { self.hard.vote };
        same("the vote", &raft.hard().vote, &vote)?;
        same("the term", &raft.hard().term, &self.hard.term.max(self.last().term))?;
        same("the members", raft.members(), &*self.members_at(self.last().index))?;
        let loaded = load_all(store, group, self.base.index, self.last().index);
        same("the entries", &loaded, &self.entries)
    }
}

/// All entries that can be read of a range.
pub(crate) fn load_all(store: &Store, group: GroupId, after: Index, through: Index) -> Vec<Entry> {
    let mut loaded: Vec<Entry> = Vec::new();
    let mut next = after;
    while next < through {
        match store.load(group, next, through, 100).unwrap() {
            Some(more) => {
                next = more.last().unwrap().index;
                loaded.extend(more);
            }
            None => next = next.next(),
        }
    }
    loaded
}

pub(crate) fn restore(boot: Boot) -> Raft {
    Raft::restore(1, Config::new(10), boot, 0, 1).unwrap()
}

/// A hand that writes like a core does: by chance, but never what a core would not.
#[derive(Debug)]
pub(crate) struct Hand {
    pub(crate) models: BTreeMap<GroupId, Model>,
    /// All entries that were ever written.
    pub(crate) written: BTreeMap<GroupId, Vec<Entry>>,
    random: ChaCha8Rng,
    writes: u64,
}

impl Hand {
    pub(crate) fn new(seed: u64) -> Hand {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Hand { models: BTreeMap::new(), written: BTreeMap::new(), random, writes: 0 }
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        u64::from(self.random.next_u32()) % bound
    }

    /// Writes of one to three of `groups`, in one batch; the models say what comes of them.
    pub(crate) fn write(&mut self, store: &Store, groups: u64) -> Result<()> {
        let mut batch = store.batch();
        for _ in 0..=self.below(3) {
            let group = GroupId(1 + self.below(groups));
            let mut model = self.models[&group].clone();
            if self.below(12) == 0 && !model.entries.is_empty() {
                let at = self.below(model.entries.len() as u64) as usize;
                let through = model.entries[at].index;
                batch.compact(group, through)?;
                model.compact(through);
            } else {
                let (write, entries) = self.next(&mut model);
                batch.put(group, &write, &entries)?;
                self.written.entry(group).or_default().extend(entries);
            }
            self.models.insert(group, model);
        }
        if let Some(commit) = batch.commit()? {
            commit.wait()?;
        }
        Ok(())
    }

    /// What a core might want written next.
    fn next(&mut self, model: &mut Model) -> (Write, Vec<Entry>) {
        self.writes += 1;
        let mut write = Write {
            id: WriteId(self.writes),
            hard: None,
            snapshot: None,
            mended: Vec::new(),
            append: model.last().index.next()..model.last().index.next(),
        };
        match self.below(10) {
            // A new term, and a vote in it.
            0 => {
                let term = model.hard.term.max(model.last().term).next();
                model.hard =
                    HardState { term, vote: Some(1 + self.below(3)), ..HardState::default() };
                write.hard = Some(Box::new(model.hard));
                (write, Vec::new())
            }
            // A leader of a new term overrules the end.
            1 if !model.entries.is_empty() => {
                let kept = self.below(model.entries.len() as u64) as usize;
                let term = model.hard.term.max(model.last().term).next();
                model.entries.truncate(kept);
                model.hard = HardState { term, ..HardState::default() };
                write.hard = Some(Box::new(model.hard));
                let entries = self.append(model, &mut write);
                (write, entries)
            }
            // A snapshot from a leader that is far ahead.
            2 => {
                let term = model.hard.term.max(model.last().term);
                let last = Position::new(term, Index(model.last().index.0 + 3));
                model.base = last;
                model.entries.clear();
                let (members, configuration_index) = (Arc::clone(&model.members), Index(0));
                write.snapshot = Some(Box::new(SnapshotMeta {
                    last,
                    configuration: members,
                    configuration_index,
                }));
                write.append = last.index.next()..last.index.next();
                (write, Vec::new())
            }
            _ => {
                let entries = self.append(model, &mut write);
                (write, entries)
            }
        }
    }

    fn append(&mut self, model: &mut Model, write: &mut Write) -> Vec<Entry> {
        let first = model.last().index.next();
        let term = model.hard.term.max(model.last().term).max(Term(1));
        let mut entries = Vec::new();
        for i in 0..=self.below(4) {
            let payload = match self.below(8) {
                0 => Payload::Blank,
                1 => Payload::Configuration(Arc::new(Configuration::voters([1, 2, 3 + i]))),
                _ => {
                    let size = self.below(60) as usize;
                    let byte = self.below(256) as u8;
                    Payload::Data(vec![byte; size].into())
                }
            };
            entries.push(Entry { term, index: Index(first.0 + i), payload });
        }
        write.append = first..Index(first.0 + entries.len() as u64);
        model.entries.extend(entries.iter().cloned());
        entries
    }

    pub(crate) fn create(&mut self, store: &Store, groups: u64) -> Result<()> {
        for group in (1..=groups).map(GroupId) {
            store.create(group, Configuration::voters([1, 2, 3]))?;
            self.models.insert(group, Model::new());
        }
        Ok(())
    }
}

/// A disk with these files.
pub(crate) fn disk_with(files: &[(std::path::PathBuf, Vec<u8>)]) -> Arc<dyn Vfs> {
    let disk = MemVfs::new();
    for (path, bytes) in files {
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        let file = disk.open(path, OpenMode::Create).unwrap();
        file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    }
    Arc::new(disk)
}

/// A closed store that `seed` made, and whose hand wrote it.
pub(crate) fn closed_store(
    seed: u64,
    groups: u64,
    batches: u64,
) -> (Vec<(std::path::PathBuf, Vec<u8>)>, Hand) {
    let disk = SimVfs::new(seed);
    let store = open(Arc::new(disk.clone())).unwrap();
    let mut hand = Hand::new(seed);
    hand.create(&store, groups).unwrap();
    for _ in 0..batches {
        hand.write(&store, groups).unwrap();
    }
    store.close().unwrap();
    drop(store);
    (disk.files(), hand)
}
