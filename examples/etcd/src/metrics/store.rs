//! Keys, the disk, leases and watches.

use super::page::{Kind, Page};
use super::{Metrics, gauge};
use crate::member::Member;

pub(super) fn write(page: &mut Page, member: &Member) {
    let metrics = &member.metrics;
    write_keys(page, member);
    write_disk(page, metrics);
    write_leases_and_watches(page, metrics);
    write_backlog(page, member);
    let (name, help) = ("etcd_debugging_auth_revision", "Changes of users, and one.");
    page.number(name, help, Kind::Gauge, member.kv.auth().revision);
}

fn write_keys(page: &mut Page, member: &Member) {
    use Kind::{Counter, Gauge};
    let (metrics, status) = (&member.metrics, member.kv.status());
    // Each has two names, of which old dashboards know the second.
    let counters = [
        ("put", "Puts done.", &metrics.puts),
        ("delete", "Keys deleted.", &metrics.deletes),
        ("range", "Ranges read.", &metrics.ranges),
        ("txn", "Transactions done.", &metrics.txns),
    ];
    for (what, help, counter) in counters {
        let value = counter.value();
        page.number(&format!("etcd_mvcc_{what}_total"), help, Counter, value);
        page.number(&format!("etcd_debugging_mvcc_{what}_total"), help, Counter, value);
    }
    let name = "etcd_debugging_mvcc_total_put_size_in_bytes";
    let (help, bytes) = ("Bytes of keys and values put.", metrics.applies.put_bytes.value());
    page.number(name, help, Gauge, bytes);
    let (help, bytes) = ("Bytes the store takes.", status.engine.bytes);
    page.number("etcd_mvcc_db_total_size_in_bytes", help, Gauge, bytes);
    page.number("etcd_debugging_mvcc_db_total_size_in_bytes", help, Gauge, bytes);
    let (help, bytes) = ("Bytes of the store in use.", status.engine.bytes_in_use);
    page.number("etcd_mvcc_db_total_size_in_use_in_bytes", help, Gauge, bytes);
    page.number("etcd_debugging_mvcc_keys_total", "Keys alive.", Gauge, status.keys);
    let (help, revision) = ("The newest revision.", status.revision);
    page.number("etcd_debugging_mvcc_current_revision", help, Gauge, revision);
    let help = "The revision compacted last; -1 before the first.";
    let compacted = status.compacted.map_or("-1".to_owned(), |revision| revision.to_string());
    page.number("etcd_debugging_mvcc_compact_revision", help, Gauge, compacted);
    let name = "etcd_server_range_duration_seconds";
    page.head(name, "How long ranges took.", Kind::Histogram);
    page.buckets(name, &[("success", "true")], &metrics.ranges_read.read());
    page.buckets(name, &[("success", "false")], &metrics.ranges_failed.read());
    let name = "etcd_mvcc_hash_rev_duration_seconds";
    page.histogram(name, "How long hashes of the data took.", &metrics.hashes);
}

/// What watchers have not been told yet.
fn write_backlog(page: &mut Page, member: &Member) {
    let backlog = member.kv.watch_backlog();
    let (name, help) = ("etcd_debugging_mvcc_pending_events_total", "Events that wait to be sent.");
    page.number(name, help, Kind::Gauge, backlog.events);
    let name = "etcd_debugging_mvcc_slow_watcher_total";
    let help = "Watchers that have to catch up.";
    page.number(name, help, Kind::Gauge, backlog.lagging);
}

fn write_disk(page: &mut Page, metrics: &Metrics) {
    let disk = &metrics.disk;
    let (name, help) = ("etcd_disk_wal_fsync_duration_seconds", "How long syncs of the log took.");
    page.histogram(name, help, &disk.log_syncs);
    let (name, help) = ("etcd_disk_wal_write_duration_seconds", "How long writes to the log took.");
    page.histogram(name, help, &disk.log_writes);
    let (help, bytes) = ("Bytes written to the log.", disk.log_bytes.value());
    page.number("etcd_disk_wal_write_bytes_total", help, Kind::Gauge, bytes);
    let name = "etcd_disk_backend_commit_duration_seconds";
    page.histogram(name, "How long syncs of the engine took.", &disk.engine_syncs);
    let name = "etcd_snap_fsync_duration_seconds";
    page.histogram(name, "How long syncs of whole states took.", &disk.state_syncs);
    let name = "etcd_disk_backend_snapshot_duration_seconds";
    page.histogram(name, "How long clients took copies of the data.", &metrics.backups);
    let name = "etcd_disk_backend_defrag_duration_seconds";
    page.histogram(name, "How long defragmentations took.", &metrics.defragments);
    let under_way = gauge(&metrics.defragments_under_way);
    let help = "Defragmentations under way.";
    page.number("etcd_disk_defrag_inflight", help, Kind::Gauge, under_way);
}

fn write_leases_and_watches(page: &mut Page, metrics: &Metrics) {
    use Kind::{Counter, Gauge};
    let (help, count) = ("Leases granted.", metrics.leases_granted.value());
    page.number("etcd_debugging_lease_granted_total", help, Counter, count);
    let (help, count) = ("Leases revoked by clients.", metrics.leases_revoked.value());
    page.number("etcd_debugging_lease_revoked_total", help, Counter, count);
    let (help, count) = ("Leases renewed.", metrics.leases_renewed.value());
    page.number("etcd_debugging_lease_renewed_total", help, Counter, count);
    let help = "Seconds that leases were granted for.";
    page.histogram("etcd_debugging_lease_ttl_total", help, &metrics.lease_times);
    let (help, count) = ("Watch streams open.", gauge(&metrics.watch_streams));
    page.number("etcd_debugging_mvcc_watch_stream_total", help, Gauge, count);
    let (help, count) = ("Watchers standing.", gauge(&metrics.watchers));
    page.number("etcd_debugging_mvcc_watcher_total", help, Gauge, count);
    let (help, count) = ("Events sent to watchers.", metrics.events.value());
    page.number("etcd_debugging_mvcc_events_total", help, Counter, count);
}
