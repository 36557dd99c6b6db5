//! What /metrics shows, under etcd's names.
//!
//! Counters that calls move are kept here; everything else is read from the store when somebody
//! asks. A metric appears only if it means here what it means in etcd: dashboards made for etcd
//! show true numbers or none.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use drystone_kv::command::AlarmKind;
use drystone_raft::Role;

use crate::grpc_method::Methods;
use crate::logging;
use crate::member::Member;
use crate::version;

mod page;
mod process;

use page::{Kind, Page};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
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
    start_seconds: f64,
}

impl Metrics {
    /// All at zero, and the clock started.
    pub(crate) fn new() -> Metrics {
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
            start_seconds: logging::unix_seconds(),
        }
    }
}

/// etcd's name of an alarm.
pub(crate) fn alarm_name(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    }
}

/// The whole page.
pub(crate) fn page(member: &Member) -> String {
    let mut page = Page::default();
    write_server(&mut page, member);
    write_store(&mut page, member);
    write_leases_and_watches(&mut page, member);
    write_grpc(&mut page, &member.metrics.grpc);
    process::write(&mut page, member.metrics.start_seconds);
    page.into_text()
}

fn write_server(page: &mut Page, member: &Member) {
    use Kind::{Counter, Gauge};
    let (metrics, status) = (&member.metrics, member.kv.status());
    let labels = [("server_version", version::SERVER)];
    page.labeled("etcd_server_version", "Which version is running.", Gauge, &labels, 1);
    let labels = [("cluster_version", "3.6")];
    page.labeled("etcd_cluster_version", "Which version the cluster has.", Gauge, &labels, 1);
    let id = member.identity.member.to_string();
    let help = "The member's number, in hexadecimal.";
    page.labeled("etcd_server_id", help, Gauge, &[("server_id", &id)], 1);
    let rank = member.kv.rank();
    let (has_leader, leads) =
        (u64::from(rank.leader.is_some()), u64::from(rank.role == Role::Leader));
    page.number("etcd_server_has_leader", "Whether there is a leader.", Gauge, has_leader);
    page.number("etcd_server_is_leader", "Whether this member leads.", Gauge, leads);
    let learns = u64::from(member.is_learner());
    page.number("etcd_server_is_learner", "Whether this member learns.", Gauge, learns);
    let help = "How often the leader has changed.";
    let changes = metrics.leader_changes.value();
    page.number("etcd_server_leader_changes_seen_total", help, Counter, changes);
    let (help, count) = ("Reads that no quorum confirmed.", metrics.read_indexes_failed.value());
    page.number("etcd_server_read_indexes_failed_total", help, Counter, count);
    let help = "Commands that are durable.";
    page.number("etcd_server_proposals_committed_total", help, Gauge, status.applied);
    let help = "Commands that are applied.";
    page.number("etcd_server_proposals_applied_total", help, Gauge, status.applied);
    let help = "Commands that wait to be answered.";
    let pending = member.kv.proposals_pending() as u64;
    page.number("etcd_server_proposals_pending", help, Gauge, pending);
    let (help, failed) = ("Commands that were not done.", metrics.proposals_failed.value());
    page.number("etcd_server_proposals_failed_total", help, Counter, failed);
    let (peers, traffic) = member.office.traffic();
    let help = "Members that are known beside this one.";
    page.number("etcd_network_known_peers", help, Gauge, peers as u64);
    let (help, bytes) = ("Bytes sent to other members.", traffic.bytes_sent);
    page.number("etcd_network_peer_sent_bytes_total", help, Counter, bytes);
    let lost = traffic.dropped_full + traffic.dropped_unreachable + traffic.dropped_large;
    let help = "Messages to other members that were lost on the way out.";
    page.number("etcd_network_peer_sent_failures_total", help, Counter, lost);
    let (help, quota) = ("Bytes at which writes stop.", member.config.quota_bytes.unwrap_or(0));
    page.number("etcd_server_quota_backend_bytes", help, Gauge, quota);
    let (help, count) = ("Health checks that passed.", metrics.health_successes.value());
    page.number("etcd_server_health_success", help, Counter, count);
    let (help, count) = ("Health checks that failed.", metrics.health_failures.value());
    page.number("etcd_server_health_failures", help, Counter, count);
}

fn write_store(page: &mut Page, member: &Member) {
    use Kind::{Counter, Gauge};
    let (metrics, status) = (&member.metrics, member.kv.status());
    page.number("etcd_mvcc_put_total", "Puts done.", Counter, metrics.puts.value());
    page.number("etcd_mvcc_delete_total", "Keys deleted.", Counter, metrics.deletes.value());
    page.number("etcd_mvcc_range_total", "Ranges read.", Counter, metrics.ranges.value());
    page.number("etcd_mvcc_txn_total", "Transactions done.", Counter, metrics.txns.value());
    let (help, bytes) = ("Bytes the store takes.", status.engine.bytes);
    page.number("etcd_mvcc_db_total_size_in_bytes", help, Gauge, bytes);
    let (help, bytes) = ("Bytes of the store in use.", status.engine.bytes_in_use);
    page.number("etcd_mvcc_db_total_size_in_use_in_bytes", help, Gauge, bytes);
    page.number("etcd_debugging_mvcc_keys_total", "Keys alive.", Gauge, status.keys);
    let (help, revision) = ("The newest revision.", status.revision);
    page.number("etcd_debugging_mvcc_current_revision", help, Gauge, revision);
    let (help, revision) = ("The oldest readable revision.", status.compacted.unwrap_or(0));
    page.number("etcd_debugging_mvcc_compact_revision", help, Gauge, revision);
}

fn write_leases_and_watches(page: &mut Page, member: &Member) {
    use Kind::{Counter, Gauge};
    let metrics = &member.metrics;
    let (help, count) = ("Leases granted.", metrics.leases_granted.value());
    page.number("etcd_debugging_lease_granted_total", help, Counter, count);
    let (help, count) = ("Leases revoked by clients.", metrics.leases_revoked.value());
    page.number("etcd_debugging_lease_revoked_total", help, Counter, count);
    let (help, count) = ("Leases renewed.", metrics.leases_renewed.value());
    page.number("etcd_debugging_lease_renewed_total", help, Counter, count);
    let gauge = |value: &AtomicI64| u64::try_from(value.load(Ordering::Relaxed)).unwrap_or(0);
    let (help, count) = ("Watch streams open.", gauge(&metrics.watch_streams));
    page.number("etcd_debugging_mvcc_watch_stream_total", help, Gauge, count);
    let (help, count) = ("Watchers standing.", gauge(&metrics.watchers));
    page.number("etcd_debugging_mvcc_watcher_total", help, Gauge, count);
    let (help, count) = ("Events sent to watchers.", metrics.events.value());
    page.number("etcd_debugging_mvcc_events_total", help, Counter, count);
}

fn write_grpc(page: &mut Page, methods: &Methods) {
    let name = "grpc_server_started_total";
    page.head(name, "Calls started on the server.", Kind::Counter);
    for method in methods.iter() {
        let (service, shape) = (method.service_name, method.shape_name());
        let labels =
            [("grpc_method", method.name), ("grpc_service", service), ("grpc_type", shape)];
        page.sample(name, &labels, method.started());
    }
    let name = "grpc_server_handled_total";
    page.head(name, "Calls ended on the server, by code.", Kind::Counter);
    for method in methods.iter() {
        for (code, count) in method.handled() {
            let labels = [
                ("grpc_code", code),
                ("grpc_method", method.name),
                ("grpc_service", method.service_name),
                ("grpc_type", method.shape_name()),
            ];
            page.sample(name, &labels, count);
        }
    }
}
