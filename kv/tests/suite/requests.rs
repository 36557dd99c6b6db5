//! Random requests, drawn so that they meet: few keys, near revisions, compares that often hold.

mod members;
mod users;

use bytes::Bytes;
use drystone_kv::command::{
    AlarmChange, AlarmKind, Command, Compact, Compare, CompareTarget, DeleteRange, LeaseGrant,
    LeaseRevoke, Put, RangeRequest, Relation, RevisionBounds, Sort, SortBy, SortOrder, Txn, TxnOp,
};
use drystone_kv::key_range::KeyRange;
use drystone_kv::types::{KeyValue, LeaseId};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use drystone_kv_model::Model;

/// Prefixes of each other, neighbours, and the bytes that end a key space.
const KEYS: [&[u8]; 14] = [
    b"a",
    b"a\0",
    b"aa",
    b"ab",
    b"a\xff",
    b"a\xff\xff",
    b"b",
    b"ba",
    b"c",
    b"\0",
    b"\0\0",
    b"\xff",
    b"\xff\xff",
    b"zz/long/key/that/fits/into/no/small/buffer",
];
const LEASES: [i64; 6] = [1, 2, 3, -1, i64::MAX, i64::MIN];
const MEMBERS: [u64; 3] = [0, 7, u64::MAX];
const ALARMS: [AlarmKind; 5] = [
    AlarmKind::NoSpace,
    AlarmKind::NoSpace,
    AlarmKind::DiskFull,
    AlarmKind::DiskFull,
    AlarmKind::Corrupt,
];

/// A source of requests. Equal seeds, and equal oracles to look at, give equal requests.
pub(crate) struct Requests {
    pub(crate) random: ChaCha8Rng,
}

impl Requests {
    pub(crate) fn new(seed: u64) -> Requests {
        Requests { random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Whether something of so many percent happens.
    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of.choose(&mut self.random).expect("there is something to choose").clone()
    }

    /// A command, for a store that stands where `oracle` does.
    pub(crate) fn command(&mut self, oracle: &Model) -> Command {
        if !oracle.alarms.is_empty() && self.percent(25) {
            let alarm = *oracle.alarms.first().expect("checked");
            let change = AlarmChange { raise: false, member: alarm.member, kind: alarm.kind };
            return Command::Alarm(change);
        }
        match self.random.random_range(0..240) {
            0..80 => Command::Put(self.put(oracle)),
            80..105 => Command::DeleteRange(self.delete()),
            105..170 => Command::Txn(self.txn(oracle, 0)),
            170..180 => Command::Compact(self.compact(oracle)),
            180..190 => Command::LeaseGrant(self.grant()),
            190..197 => Command::LeaseRevoke(LeaseRevoke { id: self.lease() }),
            200..220 => self.of_members(oracle),
            220.. => self.of_users(oracle),
            _ => Command::Alarm(AlarmChange {
                raise: self.percent(60),
                member: self.one(&MEMBERS),
                kind: self.one(&ALARMS),
            }),
        }
    }

    pub(crate) fn key(&mut self) -> Bytes {
        if self.percent(1) { Bytes::new() } else { Bytes::from_static(self.one(&KEYS)) }
    }

    fn value(&mut self) -> Bytes {
        let len = match self.random.random_range(0..10) {
            0..2 => 0,
            2..9 => self.random.random_range(1..4),
            _ => self.random.random_range(100..400),
        };
        // Few different bytes, so that values repeat and sort as neighbours.
        (0..len).map(|_| self.one(b"x\0\xff")).collect()
    }

    fn lease(&mut self) -> LeaseId {
        LeaseId(if self.percent(3) { 0 } else { self.one(&LEASES) })
    }

    /// A range in one of the forms that clients use, reversed and empty ones included.
    pub(crate) fn range(&mut self) -> KeyRange {
        match self.random.random_range(0..12) {
            0..4 => KeyRange::single(self.key()),
            4..6 => KeyRange::prefix(self.key()),
            6..9 => KeyRange::from_etcd(self.key(), self.key()),
            9 => KeyRange::from_etcd(self.key(), Bytes::from_static(b"\0")),
            10 => KeyRange::from_etcd(Bytes::from_static(b"\0"), Bytes::from_static(b"\0")),
            _ => KeyRange { start: self.key(), end: Some(self.key()) },
        }
    }

    /// A revision to read at: mostly one that is readable.
    pub(crate) fn revision(&mut self, oracle: &Model) -> Option<u64> {
        let lowest = oracle.compacted.unwrap_or(0);
        match self.random.random_range(0..20) {
            0..8 => None,
            8..17 => Some(self.random.random_range(lowest..=oracle.revision)),
            17 => Some(lowest),
            18 => Some(lowest.saturating_sub(self.random.random_range(0..3))),
            _ if self.percent(20) => Some(u64::MAX - self.random.random_range(0..2)),
            _ => Some(oracle.revision + self.random.random_range(0..3)),
        }
    }

    /// A read with any mixture of options.
    pub(crate) fn read(&mut self, oracle: &Model) -> RangeRequest {
        let mut request = RangeRequest::new(self.range());
        request.revision = self.revision(oracle);
        if self.percent(50) {
            request.limit = match self.random.random_range(0..12) {
                0 => usize::MAX,
                1 => usize::MAX - 1,
                limit => limit - 1,
            };
        }
        if self.percent(40) {
            let by = [SortBy::Key, SortBy::Version, SortBy::Create, SortBy::Mod, SortBy::Value];
            let order = [SortOrder::Ascend, SortOrder::Descend, SortOrder::AscendAfterLimit];
            request.sort = Some(Sort { by: self.one(&by), order: self.one(&order) });
        }
        if self.percent(25) {
            let mut bound =
                || self.percent(40).then(|| self.random.random_range(0..=oracle.revision));
            request.bounds = RevisionBounds {
                mod_min: bound(),
                mod_max: bound(),
                create_min: bound(),
                create_max: bound(),
            };
        }
        request.keys_only = self.percent(20);
        request.count_only = self.percent(15);
        request
    }

    /// A transaction that only reads, at the outermost level as clients send it.
    pub(crate) fn read_txn(&mut self, oracle: &Model) -> Txn {
        let mut reads = || {
            (0..self.random.random_range(0..3)).map(|_| TxnOp::Range(self.read(oracle))).collect()
        };
        let (success, failure) = (reads(), reads());
        Txn { compares: self.compares(oracle), success, failure }
    }

    pub(crate) fn put(&mut self, oracle: &Model) -> Put {
        let mut key = self.key();
        let keeps = self.percent(20);
        if keeps
            && self.percent(80)
            && let Some(kv) = self.standing(oracle)
        {
            // Mostly of a key that is there: elsewhere it is refused.
            key = kv.key;
        }
        let lease = match self.random.random_range(0..10) {
            0..5 => LeaseId::NONE,
            5..9 => oracle.leases.keys().next_back().copied().unwrap_or_default(),
            _ => self.lease(),
        };
        Put {
            key,
            value: if keeps && self.percent(60) { None } else { Some(self.value()) },
            lease: if keeps && self.percent(60) { None } else { Some(lease) },
            prev_kv: self.percent(30),
        }
    }

    fn delete(&mut self) -> DeleteRange {
        DeleteRange { range: self.range(), prev_kv: self.percent(40) }
    }

    fn grant(&mut self) -> LeaseGrant {
        let ttl = [60, 2, 1, 0, -5, 9_000_000_000, 9_000_000_001, i64::MAX, i64::MIN];
        LeaseGrant { id: self.lease(), ttl: self.one(&ttl) }
    }

    fn compact(&mut self, oracle: &Model) -> Compact {
        let lowest = oracle.compacted.unwrap_or(0);
        let revision = match self.random.random_range(0..10) {
            // Just the newest, so that a tombstone is often exactly there.
            0..4 => oracle.revision,
            4..8 => self.random.random_range(lowest..=oracle.revision),
            8 => lowest.saturating_sub(self.random.random_range(0..2)),
            _ => oracle.revision.saturating_add(self.random.random_range(0..2)),
        };
        Compact { revision }
    }

    pub(crate) fn txn(&mut self, oracle: &Model, depth: usize) -> Txn {
        let mut branch = |max: usize| {
            let count = self.random.random_range(0..max);
            (0..count).map(|_| self.op(oracle, depth)).collect()
        };
        let (success, failure) = (branch(5), branch(4));
        Txn { compares: self.compares(oracle), success, failure }
    }

    fn op(&mut self, oracle: &Model, depth: usize) -> TxnOp {
        match self.random.random_range(0..20) {
            0..6 => TxnOp::Range(self.read(oracle)),
            6..13 => TxnOp::Put(self.put(oracle)),
            13..16 => TxnOp::DeleteRange(self.delete()),
            _ if depth < 3 => TxnOp::Txn(self.txn(oracle, depth + 1)),
            _ => TxnOp::Put(self.put(oracle)),
        }
    }

    fn compares(&mut self, oracle: &Model) -> Vec<Compare> {
        (0..self.random.random_range(0..3)).map(|_| self.compare(oracle)).collect()
    }

    fn compare(&mut self, oracle: &Model) -> Compare {
        let mut range = self.range();
        let mut kv = KeyValue::default();
        if self.percent(70)
            && let Some(standing) = self.standing(oracle)
        {
            // Aimed at something that is there, with its own numbers: half of these hold.
            range = KeyRange::single(standing.key.clone());
            kv = standing;
        }
        let off = if self.percent(70) { 0 } else { self.random.random_range(-2..3) };
        let near = |number: u64| number as i64 + off;
        let target = match self.random.random_range(0..11) {
            0..2 => CompareTarget::Version(near(kv.version)),
            2..4 => CompareTarget::Create(near(kv.create_revision)),
            4..6 => CompareTarget::Mod(near(kv.mod_revision)),
            6..8 if off == 0 => CompareTarget::Value(kv.value),
            6..8 => CompareTarget::Value(self.value()),
            8..10 => CompareTarget::Lease(LeaseId(kv.lease.0.wrapping_add(off))),
            _ => CompareTarget::Unknown,
        };
        let relation = match self.random.random_range(0..12) {
            0..5 => Relation::Equal,
            5..7 => Relation::Greater,
            7..9 => Relation::Less,
            9..11 => Relation::NotEqual,
            _ => Relation::Any,
        };
        Compare { range, relation, target }
    }

    /// A key-value that is there now.
    fn standing(&mut self, oracle: &Model) -> Option<KeyValue> {
        let present: Vec<_> = oracle.present().values().cloned().collect();
        present.choose(&mut self.random).cloned()
    }

    /// Random bytes, for decoders.
    pub(crate) fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.random.random_range(0..=len_max)];
        self.random.fill_bytes(&mut bytes);
        bytes
    }
}
