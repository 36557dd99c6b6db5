//! What was exchanged with clients, and with each other member.

use drystone_raft::runtime::tcp::{PeerMetrics, Transfers};

use super::histogram::Buckets;
use super::page::{Kind, Page};
use crate::identity::MemberId;
use crate::member::Member;

pub(super) fn write(page: &mut Page, member: &Member) {
    use Kind::Counter;
    let metrics = &member.metrics;
    let (help, bytes) = ("Bytes of messages from clients.", metrics.client_bytes_received.value());
    page.number("etcd_network_client_grpc_received_bytes_total", help, Counter, bytes);
    let (help, bytes) = ("Bytes of messages to clients.", metrics.client_bytes_sent.value());
    page.number("etcd_network_client_grpc_sent_bytes_total", help, Counter, bytes);
    let peers = member.office.traffic();
    // Alone, none of these would have a number.
    if !peers.is_empty() {
        write_peers(page, &member.identity.member.to_string(), &peers);
    }
}

fn write_peers(page: &mut Page, local: &str, peers: &[PeerMetrics]) {
    use Kind::{Counter, Gauge};
    let names: Vec<String> = peers.iter().map(|peer| MemberId(peer.id).to_string()).collect();
    let mut each =
        |name: &str, help, kind, labels: &[&'static str], value: fn(&PeerMetrics) -> u64| {
            page.head(name, help, kind);
            for (peer, remote) in peers.iter().zip(&names) {
                let labels: Vec<_> = labels
                    .iter()
                    .map(|label| (*label, if *label == "Local" { local } else { remote }))
                    .collect();
                page.sample(name, &labels, value(peer));
            }
        };
    let both = ["Local", "Remote"];
    let help = "Members that are known beside this one.";
    each("etcd_network_known_peers", help, Gauge, &both, |_| 1);
    let help = "Members that are connected and answer.";
    each("etcd_network_active_peers", help, Gauge, &both, |peer| u64::from(peer.connected));
    let help = "How often a member was lost.";
    each("etcd_network_disconnected_peers_total", help, Counter, &both, |peer| peer.disconnects);
    let help = "Bytes sent to other members.";
    each("etcd_network_peer_sent_bytes_total", help, Counter, &["To"], |peer| peer.bytes_sent);
    let (name, help) =
        ("etcd_network_peer_received_bytes_total", "Bytes of messages from members.");
    each(name, help, Counter, &["From"], |peer| peer.bytes_received);
    let (name, help) = ("etcd_network_peer_sent_failures_total", "Messages lost on the way out.");
    each(name, help, Counter, &["To"], |peer| peer.dropped);
    let name = "etcd_network_peer_received_failures_total";
    let help = "Connections from members that broke.";
    each(name, help, Counter, &["From"], |peer| peer.broken);
    let (name, help) = ("etcd_network_snapshot_send_success", "States that a member has fetched.");
    each(name, help, Counter, &["To"], |peer| peer.snapshots_sent.done);
    let (name, help) = ("etcd_network_snapshot_send_failures", "States that were not sent whole.");
    each(name, help, Counter, &["To"], |peer| peer.snapshots_sent.failed);
    let name = "etcd_network_snapshot_send_inflights_total";
    let help = "States on their way to a member.";
    each(name, help, Gauge, &["To"], |peer| peer.snapshots_sent.under_way);
    let (name, help) = ("etcd_network_snapshot_receive_success", "States fetched from a member.");
    each(name, help, Counter, &["From"], |peer| peer.snapshots_received.done);
    let name = "etcd_network_snapshot_receive_failures";
    let help = "States that did not come whole.";
    each(name, help, Counter, &["From"], |peer| peer.snapshots_received.failed);
    let name = "etcd_network_snapshot_receive_inflights_total";
    let help = "States on their way from a member.";
    each(name, help, Gauge, &["From"], |peer| peer.snapshots_received.under_way);
    let name = "etcd_network_snapshot_send_total_duration_seconds";
    write_transfers(page, name, "To", peers, |peer| &peer.snapshots_sent);
    let name = "etcd_network_snapshot_receive_total_duration_seconds";
    write_transfers(page, name, "From", peers, |peer| &peer.snapshots_received);
    let name = "etcd_network_peer_round_trip_time_seconds";
    page.head(name, "How long members took to answer pings.", Kind::Histogram);
    for (peer, remote) in peers.iter().zip(&names) {
        let (buckets, sum) = (peer.round_trips.buckets().collect(), peer.round_trips.sum());
        page.buckets(name, &[("To", remote)], &Buckets { buckets, sum });
    }
}

/// How long whole states took on their way.
fn write_transfers(
    page: &mut Page,
    name: &str,
    label: &str,
    peers: &[PeerMetrics],
    transfers: fn(&PeerMetrics) -> &Transfers,
) {
    page.head(name, "How long whole states took on their way.", Kind::Histogram);
    for peer in peers {
        let (remote, transfers) = (MemberId(peer.id).to_string(), transfers(peer));
        let (buckets, sum) = (transfers.buckets().collect(), transfers.sum());
        page.buckets(name, &[(label, &remote)], &Buckets { buckets, sum });
    }
}
