//! What /metrics shows, under etcd's names.
//!
//! Counters that calls move are kept here; everything else is read from the store when somebody
//! asks. A metric appears only if it means here what it means in etcd: dashboards made for etcd
//! show true numbers or none. `tests/suite/metrics/table.rs` lists every name, and why those are
//! absent that are.
//!
//! | room | shows |
//! |---|---|
//! | [`server`] | this member: leader, proposals, reads, health |
//! | [`network`] | what was exchanged with each other member |
//! | [`store`] | keys, the disk, leases, watches |
//! | [`calls`] | gRPC, by method |
//! | [`process`] | what the process takes of the machine |

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use std::sync::Arc;

use drystone_kv::command::AlarmKind;

use crate::disk::Times;
use crate::grpc_method::Methods;
use crate::logging;
use crate::member::Member;

mod admission;
mod applies;
mod calls;
mod clients;
pub(crate) mod histogram;
mod network;
mod page;
mod process;
mod proxy;
mod server;
mod store;

pub(crate) use applies::Applies;
pub(crate) use proxy::{Counts as ProxyCounts, page as proxy_page};

use clients::Clients;
use histogram::{BACKUP, DEFRAGMENT, HASH, Histogram, LEASE, RANGE};
use page::Page;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How much it is.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted while serving.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Calls by method.
    pub(crate) grpc: Methods,
    /// Puts done, those in transactions included.
    pub(crate) puts: Counter,
    /// Keys deleted.
    pub(crate) deletes: Counter,
    /// Ranges asked for.
    pub(crate) ranges: Counter,
    /// Of those, such as were content with what is here.
    pub(crate) serializable_reads: Counter,
    /// Transactions done.
    pub(crate) txns: Counter,
    /// Commands that were refused, failed or timed out.
    pub(crate) proposals_failed: Counter,
    /// Leaders that were seen to come.
    pub(crate) leader_changes: Counter,
    /// Reads that no quorum confirmed in time.
    pub(crate) read_indexes_failed: Counter,
    /// Leases granted.
    pub(crate) leases_granted: Counter,
    /// Leases revoked by clients.
    pub(crate) leases_revoked: Counter,
    /// Leases renewed.
    pub(crate) leases_renewed: Counter,
    /// Events sent to watchers.
    pub(crate) events: Counter,
    /// Watch streams that are open.
    pub(crate) watch_streams: AtomicI64,
    /// Watchers on them.
    pub(crate) watchers: AtomicI64,
    /// Health checks that found all well.
    pub(crate) health_successes: Counter,
    /// Health checks that did not.
    pub(crate) health_failures: Counter,
    /// Reads for which a quorum took long.
    pub(crate) read_indexes_slow: Counter,
    /// Learners promoted by way of this member.
    pub(crate) promotions: Counter,
    /// How long ranges took that were answered.
    pub(crate) ranges_read: Histogram,
    /// How long the others took.
    pub(crate) ranges_failed: Histogram,
    /// How long hashes of the data took.
    pub(crate) hashes: Histogram,
    /// How long copies of the data took, until the client had them.
    pub(crate) backups: Histogram,
    /// How long defragmentations took.
    pub(crate) defragments: Histogram,
    /// Defragmentations under way.
    pub(crate) defragments_under_way: AtomicI64,
    /// Times to live that leases were granted for.
    pub(crate) lease_times: Histogram,
    /// Bytes of messages from clients.
    pub(crate) client_bytes_received: Counter,
    /// Bytes of messages to clients.
    pub(crate) client_bytes_sent: Counter,
    /// Calls by the version of the client.
    pub(crate) clients: Clients,
    /// How long the disk takes.
    disk: Arc<Times>,
    /// What was applied.
    applies: Arc<Applies>,
    /// Pages of this shown.
    pages: Counter,
    start_seconds: f64,
}

impl Metrics {
    /// All at zero, and the clock started.
    pub(crate) fn new(disk: Arc<Times>, applies: Arc<Applies>) -> Metrics {
        Metrics {
            grpc: Methods::new(),
            puts: Counter::default(),
            deletes: Counter::default(),
            ranges: Counter::default(),
            serializable_reads: Counter::default(),
            txns: Counter::default(),
            proposals_failed: Counter::default(),
            leader_changes: Counter::default(),
            read_indexes_failed: Counter::default(),
            leases_granted: Counter::default(),
            leases_revoked: Counter::default(),
            leases_renewed: Counter::default(),
            events: Counter::default(),
            watch_streams: AtomicI64::new(0),
            watchers: AtomicI64::new(0),
            health_successes: Counter::default(),
            health_failures: Counter::default(),
            read_indexes_slow: Counter::default(),
            promotions: Counter::default(),
            ranges_read: Histogram::new(RANGE),
            ranges_failed: Histogram::new(RANGE),
            hashes: Histogram::new(HASH),
            backups: Histogram::new(BACKUP),
            defragments: Histogram::new(DEFRAGMENT),
            defragments_under_way: AtomicI64::new(0),
            lease_times: Histogram::new(LEASE),
            client_bytes_received: Counter::default(),
            client_bytes_sent: Counter::default(),
            clients: Clients::default(),
            disk,
            applies,
            pages: Counter::default(),
            start_seconds: logging::unix_seconds(),
        }
    }
}

/// etcd's name of an alarm.
pub(crate) fn alarm_name(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace | AlarmKind::DiskFull => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    }
}

/// The whole page.
pub(crate) async fn page(member: &Member) -> String {
    member.metrics.pages.add(1);
    // Applied first: what is applied is committed, and the page must not deny it.
    let applied = member.kv.status().applied;
    // A member that ends has no group any more to ask.
    let group = member.kv.group_status().await.ok();
    let committed = group.as_ref().map_or(applied, |group| group.commit.0.max(applied));
    let late_heartbeats = group.map_or(0, |group| group.late_heartbeats);
    let mut page = Page::default();
    server::write(&mut page, member, committed, applied);
    server::write_applies(&mut page, member, late_heartbeats);
    network::write(&mut page, member);
    store::write(&mut page, member);
    calls::write(&mut page, member);
    admission::write(&mut page, member);
    process::write(&mut page, member.metrics.start_seconds);
    page.into_text()
}

fn gauge(value: &AtomicI64) -> u64 {
    u64::try_from(value.load(Ordering::Relaxed)).unwrap_or(0)
}
