//! This member: who leads, what was proposed, how reads and probes fared.

use drystone_raft::Role;

use super::page::{Kind, Page};
use crate::member::Member;
use crate::version;

pub(super) fn write(page: &mut Page, member: &Member, committed: u64, applied: u64) {
    use Kind::{Counter, Gauge};
    let metrics = &member.metrics;
    write_names(page, member);
    let rank = member.kv.rank();
    let (has_leader, leads) =
        (u64::from(rank.leader.is_some()), u64::from(rank.role == Role::Leader));
    page.number("etcd_server_has_leader", "Whether there is a leader.", Gauge, has_leader);
    page.number("etcd_server_is_leader", "Whether this member leads.", Gauge, leads);
    let learns = u64::from(member.is_learner());
    page.number("etcd_server_is_learner", "Whether this member learns.", Gauge, learns);
    let mut counter = |name: &str, help, value| page.number(name, help, Counter, value);
    let (name, help) = ("etcd_server_leader_changes_seen_total", "How often the leader changed.");
    counter(name, help, metrics.leader_changes.value());
    let (name, help) = ("etcd_server_learner_promote_successes", "Learners promoted here.");
    counter(name, help, metrics.promotions.value());
    let (name, help) = ("etcd_server_read_indexes_failed_total", "Reads that nobody confirmed.");
    counter(name, help, metrics.read_indexes_failed.value());
    let name = "etcd_server_slow_read_indexes_total";
    counter(name, "Reads that were confirmed late.", metrics.read_indexes_slow.value());
    let (name, help) = ("etcd_server_slow_apply_total", "Commands that took long to apply.");
    counter(name, help, metrics.applies.slow.value());
    let (name, help) = ("etcd_server_proposals_failed_total", "Commands that were not done.");
    counter(name, help, metrics.proposals_failed.value());
    counter("etcd_server_health_success", "Probes passed.", metrics.health_successes.value());
    counter("etcd_server_health_failures", "Probes failed.", metrics.health_failures.value());
    let help = "The newest command that a quorum has.";
    page.number("etcd_server_proposals_committed_total", help, Gauge, committed);
    let help = "The newest command that is applied here.";
    page.number("etcd_server_proposals_applied_total", help, Gauge, applied);
    let help = "Commands that wait to be answered.";
    let pending = member.kv.proposals_pending() as u64;
    page.number("etcd_server_proposals_pending", help, Gauge, pending);
    let help = "Whether the state of another member takes the place of this one's.";
    let restoring = u64::from(metrics.applies.is_restoring());
    page.number("etcd_server_snapshot_apply_in_progress_total", help, Gauge, restoring);
    let (help, quota) = ("Bytes at which writes stop.", member.config.quota_bytes.unwrap_or(0));
    page.number("etcd_server_quota_backend_bytes", help, Gauge, quota);
    let name = "promhttp_metric_handler_requests_total";
    page.head(name, "Pages of metrics shown, by status.", Counter);
    // There is nothing in a page that could fail.
    for (code, count) in [("200", metrics.pages.value()), ("500", 0), ("503", 0)] {
        page.sample(name, &[("code", code)], count);
    }
}

/// How long commands take to apply, and heartbeats that were late.
pub(super) fn write_applies(page: &mut Page, member: &Member, late_heartbeats: u64) {
    let applies = &member.metrics.applies;
    let name = "etcd_server_apply_duration_seconds";
    page.head(name, "How long commands took to apply, by what they do.", Kind::Histogram);
    for (op, done, times) in applies.times() {
        let times = times.read();
        // As in etcd, what never happened is not listed.
        if times.buckets.iter().any(|(_, count)| *count > 0) {
            let success = if done { "true" } else { "false" };
            page.buckets(name, &[("version", "v3"), ("op", op), ("success", success)], &times);
        }
    }
    let (name, help) = ("etcd_server_heartbeat_send_failures_total", "Heartbeats sent too late.");
    page.number(name, help, Kind::Counter, late_heartbeats);
    let name = "etcd_debugging_server_lease_expired_total";
    let help = "Leases ended here because their time was up.";
    page.number(name, help, Kind::Counter, applies.leases_expired.value());
}

fn write_names(page: &mut Page, member: &Member) {
    let labels = [("server_version", version::SERVER)];
    page.labeled("etcd_server_version", "Which version is running.", Kind::Gauge, &labels, 1);
    let labels = [("cluster_version", "3.6")];
    page.labeled("etcd_cluster_version", "Which version the cluster has.", Kind::Gauge, &labels, 1);
    let id = member.identity.member.to_string();
    let help = "The member's number, in hexadecimal.";
    page.labeled("etcd_server_id", help, Kind::Gauge, &[("server_id", &id)], 1);
}
