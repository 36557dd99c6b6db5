//! What clients ask: all that the store's public requests can say, drawn so that requests meet.
//!
//! There are few keys, revisions are near those that matter (the newest, the one compacted up to),
//! compares are aimed at what is there, so that half of them hold. Whoever draws looks at the
//! [`Model`]; by the time that a request is served the group may be elsewhere, or the member that
//! serves it behind: what the right answer is, is for the oracle to say.

use bytes::Bytes;
use drystone_kv::command::{
    Compact, Compare, CompareTarget, DeleteRange, LeaseGrant, LeaseRevoke, Put, RangeRequest,
    Relation, RevisionBounds, Sort, SortBy, SortOrder, Txn, TxnOp,
};
use drystone_kv::limits::Limits;
use drystone_kv::watch::WatchRequest;
use drystone_kv::{Command, KeyRange, KeyValue, LeaseId};
use drystone_kv_model::{Model, allowed};
use drystone_sim::Rng;

use crate::member::Look;

/// How many keys there are, but for a few odd ones.
const KEYS: u64 = 12;
/// Keys that are prefixes and successors of others.
const ODD_KEYS: [&[u8]; 4] = [b"k", b"k0", b"k05\0", b"k99"];
/// How deep transactions nest.
const DEPTH_MAX: u64 = 2;
/// The time to live of a lease that nobody will see the end of, in seconds.
const FOR_EVER: i64 = 1_000_000;
/// How many such leases there may be; their ids are negative.
const FOR_EVER_MAX: i64 = 3;

/// A source of requests.
pub(crate) struct Requests<'r> {
    pub(crate) rng: &'r mut Rng,
    pub(crate) model: &'r Model,
    /// Leases that clients were granted, and do not know to be gone.
    pub(crate) leases: &'r [LeaseId],
    /// A number that no other request has: it names new leases, and makes values differ.
    pub(crate) serial: u64,
}

impl Requests<'_> {
    /// Once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.rng.below(times) == 0
    }

    pub(crate) fn key(&mut self) -> Bytes {
        if self.once_in(20) {
            return Bytes::from_static(self.rng.pick::<&'static [u8]>(&ODD_KEYS));
        }
        format!("k{:02}", self.rng.below(KEYS)).into()
    }

    /// A range in one of the forms that clients use, reversed and empty ones included.
    pub(crate) fn range(&mut self) -> KeyRange {
        match self.rng.below(9) {
            0..3 => KeyRange::single(self.key()),
            3 => KeyRange::prefix(*self.rng.pick(&["k", "k0", "k1"])),
            4 | 5 => KeyRange { start: "k".into(), end: None },
            6 => KeyRange { start: self.key(), end: None },
            _ => KeyRange { start: self.key(), end: Some(self.key()) },
        }
    }

    /// A lease to hang keys on: mostly one that stands, sometimes one that was never granted.
    fn lease(&mut self) -> LeaseId {
        if self.leases.is_empty() || self.once_in(50) {
            return LeaseId(i64::MAX - self.rng.below(2) as i64);
        }
        *self.rng.pick(self.leases)
    }

    pub(crate) fn put(&mut self) -> Put {
        let value = format!("{}{}", self.serial, "x".repeat(self.rng.below(40) as usize));
        let mut put = Put::new(self.key(), value);
        put.prev_kv = self.once_in(3);
        if self.once_in(4) {
            put.lease = Some(self.lease());
        }
        if self.once_in(6) {
            // Elsewhere than where something stands it is refused.
            if !self.once_in(5)
                && let Some(standing) = self.standing()
            {
                put.key = standing.key;
            }
            put.value = put.value.filter(|_| self.once_in(2));
            put.lease = put.lease.filter(|_| put.value.is_none() && self.once_in(2));
        }
        put
    }

    fn delete(&mut self) -> DeleteRange {
        // Mostly single keys: who deletes everything all the time has nothing to look at.
        let wide = self.once_in(4);
        let range = if wide { self.range() } else { KeyRange::single(self.key()) };
        DeleteRange { range, prev_kv: self.once_in(2) }
    }

    /// A revision to read at: mostly the newest, or one that is readable.
    fn revision(&mut self) -> Option<u64> {
        let (oldest, newest) = (self.model.compacted.unwrap_or(0), self.model.revision);
        match self.rng.below(16) {
            0..8 => None,
            8..13 => Some(self.rng.range(oldest..newest + 1)),
            13 => Some(oldest),
            14 => Some(oldest.saturating_sub(1 + self.rng.below(3))),
            _ => Some(newest + 1 + self.rng.below(3)),
        }
    }

    /// A read with any mixture of options.
    fn read(&mut self) -> RangeRequest {
        let mut request = RangeRequest::new(self.range());
        request.revision = self.revision();
        if self.once_in(2) {
            request.limit = self.rng.below(8) as usize;
        }
        if self.once_in(3) {
            let by = [SortBy::Key, SortBy::Version, SortBy::Create, SortBy::Mod, SortBy::Value];
            let order = [SortOrder::Ascend, SortOrder::Descend, SortOrder::AscendAfterLimit];
            let (by, order) = (*self.rng.pick(&by), *self.rng.pick(&order));
            request.sort = Some(Sort { by, order });
        }
        if self.once_in(4) {
            let newest = self.model.revision;
            let near = newest.saturating_sub(100);
            let mut bound = || (self.rng.below(5) < 2).then(|| self.rng.range(near..newest + 1));
            request.bounds = RevisionBounds {
                mod_min: bound(),
                mod_max: bound(),
                create_min: bound(),
                create_max: bound(),
            };
        }
        request.keys_only = self.once_in(5);
        request.count_only = self.once_in(8);
        request
    }

    /// A read of anything that can be read.
    pub(crate) fn look(&mut self) -> Look {
        match self.rng.below(8) {
            0 if !self.leases.is_empty() => Look::Lease(*self.rng.pick(self.leases)),
            1 | 2 => {
                let compares = self.compares();
                let reads = |run: &mut Self| {
                    let count = run.rng.below(3);
                    (0..count).map(|_| TxnOp::Range(run.read())).collect()
                };
                let (success, failure) = (reads(self), reads(self));
                Look::Txn(Txn { compares, success, failure })
            }
            _ => Look::Range(self.read()),
        }
    }

    fn txn(&mut self, depth: u64) -> Txn {
        let compares = self.compares();
        let branch = |run: &mut Self, max: u64| {
            let count = run.rng.below(max);
            (0..count).map(|_| run.op(depth)).collect()
        };
        let (success, failure) = (branch(self, 5), branch(self, 4));
        Txn { compares, success, failure }
    }

    fn op(&mut self, depth: u64) -> TxnOp {
        match self.rng.below(20) {
            0..6 => TxnOp::Range(self.read()),
            6..15 => TxnOp::Put(self.put()),
            15..17 => TxnOp::DeleteRange(self.delete()),
            _ if depth < DEPTH_MAX => TxnOp::Txn(self.txn(depth + 1)),
            _ => TxnOp::Put(self.put()),
        }
    }

    fn compares(&mut self) -> Vec<Compare> {
        let count = self.rng.below(3);
        (0..count).map(|_| self.compare()).collect()
    }

    fn compare(&mut self) -> Compare {
        let (mut range, mut kv) = (self.range(), KeyValue::default());
        if !self.once_in(4)
            && let Some(standing) = self.standing()
        {
            range = KeyRange::single(standing.key.clone());
            kv = standing;
        }
        let exact = !self.once_in(4);
        let off = if exact { 0 } else { self.rng.below(5) as i64 - 2 };
        let near = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).saturating_add(off);
        let target = match self.rng.below(21) {
            0..4 => CompareTarget::Version(near(kv.version)),
            4..8 => CompareTarget::Create(near(kv.create_revision)),
            8..12 => CompareTarget::Mod(near(kv.mod_revision)),
            12..16 if exact => CompareTarget::Value(kv.value),
            12..16 => CompareTarget::Value(self.serial.to_string().into()),
            16..20 => CompareTarget::Lease(LeaseId(kv.lease.0.saturating_add(off))),
            _ => CompareTarget::Unknown,
        };
        let relation = match self.rng.below(12) {
            0..5 => Relation::Equal,
            5..7 => Relation::Greater,
            7..9 => Relation::Less,
            9..11 => Relation::NotEqual,
            _ => Relation::Any,
        };
        Compare { range, relation, target }
    }

    /// A key-value that is there now.
    fn standing(&mut self) -> Option<KeyValue> {
        let present = self.model.present();
        let count = present.len() as u64;
        let place = if count == 0 { 0 } else { self.rng.below(count) };
        present.values().nth(place as usize).cloned()
    }

    fn compact(&mut self) -> Compact {
        let newest = self.model.revision;
        let revision = match self.rng.below(10) {
            // Just the newest, so that a tombstone is often exactly there.
            0..3 => newest,
            3 => newest + 1 + self.rng.below(2),
            4 => self.model.compacted.unwrap_or(0).saturating_sub(self.rng.below(2)),
            _ => newest.saturating_sub(self.rng.below(60)),
        };
        Compact { revision }
    }

    /// A lease of a few seconds, which ends unless it is kept alive; sometimes one that stands.
    fn grant(&mut self) -> LeaseGrant {
        if self.once_in(6) {
            let id = LeaseId(-1 - self.rng.below(FOR_EVER_MAX as u64) as i64);
            return LeaseGrant { id, ttl: FOR_EVER };
        }
        let id = LeaseId(i64::try_from(self.serial).expect("requests are few"));
        let ttl = if self.once_in(20) { i64::MAX } else { 1 + self.rng.below(6) as i64 };
        LeaseGrant { id, ttl }
    }

    /// A command that the limits let through.
    pub(crate) fn command(&mut self, kind: Kind) -> Command {
        let command = match kind {
            Kind::Put => Command::Put(self.put()),
            Kind::Delete => Command::DeleteRange(self.delete()),
            Kind::Txn => Command::Txn(self.txn(0)),
            Kind::Compact => Command::Compact(self.compact()),
            Kind::Grant => Command::LeaseGrant(self.grant()),
            Kind::Revoke => Command::LeaseRevoke(LeaseRevoke { id: self.lease() }),
        };
        let limits = Limits::default();
        let (here, right) = (limits.check(&command), allowed(&command, &limits));
        assert_eq!(here, right, "what may be asked at all: {command:?}");
        // Whoever serves refuses it before it comes into the log: something else is asked.
        if here.is_ok() { command } else { Command::Put(self.put()) }
    }

    /// What to watch, and how; from where is for the watcher to know.
    pub(crate) fn watch(&mut self) -> WatchRequest {
        let mut range = self.range();
        if range.is_empty() || self.once_in(2) {
            range = KeyRange::prefix("k");
        }
        let (skip_puts, skip_deletes) = (self.once_in(10), self.once_in(6));
        WatchRequest {
            prev_kv: self.once_in(2),
            progress: self.once_in(2),
            fragment: self.once_in(3),
            skip_puts,
            skip_deletes,
            ..WatchRequest::new(range)
        }
    }
}

/// What kind of command.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Put,
    Delete,
    Txn,
    Compact,
    Grant,
    Revoke,
}

/// Whether a lease is one that clients leave alone, so that it stands for ever once granted.
pub(crate) fn is_for_ever(id: LeaseId) -> bool {
    id.0 < 0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use drystone_kv::Refusal;
    use drystone_kv_model::Moment;

    use super::*;

    // Requests that are all refused, or never, prove nothing: each kind of answer must come, to
    // commands and to reads, and what was read must be of the past, too.
    #[test]
    fn requests_reach_every_kind_of_answer() {
        let (mut rng, mut model, mut leases) = (Rng::new(7), Model::new(), Vec::new());
        let (mut done, mut refused) = ([0; 6], BTreeSet::new());
        let (mut nested, mut looked, mut past) = (0, 0, 0);
        let kinds = [Kind::Put, Kind::Delete, Kind::Txn, Kind::Compact, Kind::Grant, Kind::Revoke];
        for serial in 1..4_000 {
            let place = *rng.pick(&[0, 0, 0, 1, 2, 2, 2, 3, 4, 5]);
            let (rng, leases_now) = (&mut rng, &leases);
            let mut requests = Requests { rng, model: &model, leases: leases_now, serial };
            let command = requests.command(kinds[place]);
            let then = Moment { revision: model.revision.max(3) - 2, ..model.moment() };
            let told = match requests.look() {
                Look::Range(request) => {
                    past += u32::from(request.revision.is_some());
                    model.range_then(&request, then).map(drop)
                }
                Look::Txn(txn) => model.read_txn_then(&txn, then).map(drop),
                Look::Lease(_) => Ok(()),
            };
            looked += u32::from(told.is_ok());
            refused.extend(told.err().map(name));
            if let Command::Txn(txn) = &command {
                let ops = txn.success.iter().chain(&txn.failure);
                nested += ops.filter(|op| matches!(op, TxnOp::Txn(_))).count();
            }
            match model.apply(&command) {
                Ok(_) => done[place] += 1,
                Err(refusal) => drop(refused.insert(name(refusal))),
            }
            if let Command::LeaseGrant(grant) = command {
                leases.push(grant.id);
            }
        }
        assert!(done.iter().all(|count| *count > 30), "{done:?}");
        assert!(nested > 100 && looked > 1_000 && past > 500, "{nested} {looked} {past}");
        let names = ["compacted", "exists", "future", "lease", "missing", "ttl"];
        assert!(refused.iter().eq(&names), "{refused:?}");
    }

    fn name(refusal: Refusal) -> &'static str {
        match refusal {
            Refusal::Compacted { .. } => "compacted",
            Refusal::FutureRevision { .. } => "future",
            Refusal::KeyNotFound => "missing",
            Refusal::LeaseExists => "exists",
            Refusal::LeaseNotFound => "lease",
            Refusal::LeaseTtlTooLarge => "ttl",
            other => panic!("what the limits let through is refused: {other}"),
        }
    }
}
