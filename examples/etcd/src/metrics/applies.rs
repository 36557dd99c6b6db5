//! How long it takes to apply what was agreed on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drystone_kv::reply::Alarm;
use drystone_kv::runtime::{CommandKind, Observer, Tally};
use parking_lot::Mutex;

use super::histogram::{APPLY, Histogram};
use super::{Counter, alarm_name};
use crate::identity::MemberId;

/// How long it takes to apply what was agreed on. Commands are applied in batches; every command of
/// a batch that took long was answered late.
#[derive(Debug)]
pub(crate) struct Applies {
    slow_after: Duration,
    /// Commands in batches that took longer.
    pub(crate) slow: Counter,
    /// Bytes of keys and values that were put.
    pub(crate) put_bytes: Counter,
    /// Leases that this member has ended because their time was up.
    pub(crate) leases_expired: Counter,
    /// By kind of command: how long those took that were refused, and those that were done.
    times: [[Histogram; 2]; CommandKind::ALL.len()],
    /// The alarms that the log knows of.
    alarms: Mutex<Vec<Alarm>>,
    restoring: AtomicBool,
}

impl Applies {
    /// Counts as slow what takes longer than `slow_after`.
    pub(crate) fn new(slow_after: Duration) -> Applies {
        Applies {
            slow_after,
            slow: Counter::default(),
            put_bytes: Counter::default(),
            leases_expired: Counter::default(),
            times: std::array::from_fn(|_| [Histogram::new(APPLY), Histogram::new(APPLY)]),
            alarms: Mutex::default(),
            restoring: AtomicBool::new(false),
        }
    }

    /// Whether the state of another member is taking the place of this one's.
    pub(crate) fn is_restoring(&self) -> bool {
        self.restoring.load(Ordering::Relaxed)
    }

    /// How long commands took, by etcd's name of what they do, and whether they were done.
    pub(crate) fn times(&self) -> impl Iterator<Item = (&'static str, bool, &Histogram)> {
        let kinds = CommandKind::ALL.into_iter().zip(&self.times);
        let named = kinds.filter_map(|(kind, times)| Some((op_name(kind)?, times)));
        named.flat_map(|(name, [refused, done])| [(name, false, refused), (name, true, done)])
    }
}

/// What etcd calls it, if it times it: changes of the members take another way there.
fn op_name(kind: CommandKind) -> Option<&'static str> {
    Some(match kind {
        CommandKind::Put => "Put",
        CommandKind::DeleteRange => "DeleteRange",
        CommandKind::Txn => "Txn",
        CommandKind::Compact => "Compaction",
        CommandKind::LeaseGrant => "LeaseGrant",
        CommandKind::LeaseRevoke => "LeaseRevoke",
        CommandKind::Alarm => "Alarm",
        CommandKind::MemberPublish => "ClusterMemberAttrSet",
        CommandKind::Members | CommandKind::Auth => return None,
    })
}

/// What commands do, and how many do it: `2 Put, 1 Txn`.
fn describe(commands: &Tally) -> String {
    let part = |(kind, done, count)| {
        let name = match kind {
            CommandKind::Auth => "Auth",
            _ => op_name(kind).unwrap_or("Members"),
        };
        format!("{count} {name}{}", if done { "" } else { " (refused)" })
    };
    commands.iter().map(part).collect::<Vec<_>>().join(", ")
}

impl Observer for Applies {
    fn applied(&self, commands: &Tally, took: Duration) {
        self.put_bytes.add(commands.put_bytes);
        let count = commands.total();
        let each = took / count.max(1);
        for (kind, done, count) in commands.iter() {
            self.times[kind as usize][usize::from(done)].observe_many(each, u64::from(count));
        }
        if took > self.slow_after {
            self.slow.add(u64::from(count));
            let (took, expected_duration) = (format!("{took:?}"), format!("{:?}", self.slow_after));
            let (request, commands) = (describe(commands), count);
            tracing::warn!(
                took,
                expected_duration,
                request,
                commands,
                "apply request took too long"
            );
        }
    }

    fn lease_expired(&self) {
        self.leases_expired.add(1);
    }

    fn alarms(&self, raised: &[Alarm]) {
        let mut known = self.alarms.lock();
        let names = |alarms: &[Alarm]| -> BTreeSet<(u64, &str)> {
            alarms.iter().map(|alarm| (alarm.member, alarm_name(alarm.kind))).collect()
        };
        let (before, now) = (names(&known), names(raised));
        for &(member, alarm) in now.difference(&before) {
            tracing::warn!(alarm, from = %MemberId(member), "alarm raised");
        }
        for &(member, alarm) in before.difference(&now) {
            tracing::warn!(alarm, from = %MemberId(member), "alarm disarmed");
        }
        raised.clone_into(&mut known);
    }

    fn swept(&self, compact_revision: u64, took: Duration) {
        let took = format!("{took:?}");
        tracing::info!(compact_revision, took, "finished scheduled compaction");
    }

    fn restoring(&self, under_way: bool) {
        self.restoring.store(under_way, Ordering::Relaxed);
    }
}
