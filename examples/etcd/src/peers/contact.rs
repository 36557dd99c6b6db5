//! Who is in touch with whom, as the log tells it.
//!
//! A member that cannot be heard and a leader that wakes too late are behind most elections for
//! which nobody finds a reason. The numbers show both; whoever reads a log after the fact wants
//! them there too, with their times. So once a second the numbers are looked at, and what has
//! changed since is written down: in the words of etcd, for which operators look.
//!
//! ```text
//!   peer became active        it answers
//!   peer became inactive      nothing was heard of it for an election timeout
//!   peer answers slowly       round trips of more than half an election timeout
//!   leader failed to send out heartbeat on time
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use drystone_raft::NodeId;
use drystone_raft::runtime::tcp::PeerMetrics;

use crate::identity::MemberId;
use crate::member::Shared;
use crate::shutdown::Shutdown;

/// How often the numbers are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// What was known of a peer at the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Contact {
    active: bool,
    /// How often it was lost, since the start.
    losses: u64,
    /// Round trips that took long, since the start.
    slow: u64,
}

/// What there is to tell of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Active,
    Inactive,
    /// So many round trips took long.
    Slow(u64),
}

impl Contact {
    /// What happened since `before`, in its order. A peer may have been found and lost, or lost and
    /// found, between two looks.
    fn changes(self, before: Contact) -> impl Iterator<Item = News> {
        let was_lost = self.losses > before.losses;
        // Only one that was found can be lost.
        let found = (was_lost && !before.active).then_some(News::Active);
        let lost = was_lost.then_some(News::Inactive);
        let back = (self.active && (was_lost || !before.active)).then_some(News::Active);
        let slow = self.slow.saturating_sub(before.slow);
        let slow = (slow > 0).then_some(News::Slow(slow));
        [found, lost, back, slow].into_iter().flatten()
    }
}

/// Writes down what changes, until the server stops.
pub(crate) async fn follow(member: Shared, mut stop: Shutdown) {
    let slow_after = member.config.election_timeout / 2;
    let (mut known, mut late) = (BTreeMap::new(), 0);
    loop {
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = stop.fired() => return,
        }
        known = look(&known, &member.office.traffic(), slow_after);
        let Ok(status) = member.kv.group_status().await else { return };
        if status.late_heartbeats > late {
            let count = status.late_heartbeats - late;
            tracing::warn!(count, "leader failed to send out heartbeat on time");
        }
        late = status.late_heartbeats;
    }
}

/// Tells what changed, and returns what is known now.
fn look(
    known: &BTreeMap<NodeId, Contact>,
    traffic: &[PeerMetrics],
    slow_after: Duration,
) -> BTreeMap<NodeId, Contact> {
    let mut now = BTreeMap::new();
    for peer in traffic {
        let slow = slower_than(peer.round_trips.buckets(), slow_after);
        let contact = Contact { active: peer.connected, losses: peer.disconnects, slow };
        let before = known.get(&peer.id).copied().unwrap_or_default();
        for news in contact.changes(before) {
            tell(MemberId(peer.id), news, slow_after);
        }
        now.insert(peer.id, contact);
    }
    now
}

fn tell(peer: MemberId, news: News, slow_after: Duration) {
    match news {
        News::Active => tracing::info!(remote_peer_id = %peer, "peer became active"),
        News::Inactive => tracing::warn!(remote_peer_id = %peer, "peer became inactive"),
        News::Slow(count) => {
            let expected_duration = format!("{slow_after:?}");
            tracing::warn!(remote_peer_id = %peer, count, expected_duration, "peer answers slowly");
        }
    }
}

/// How many certainly took longer than `limit`, of counts by their upper bounds.
fn slower_than(trips: impl Iterator<Item = (Option<Duration>, u64)>, limit: Duration) -> u64 {
    let mut beyond = Duration::ZERO;
    let mut slow = 0;
    for (bound, count) in trips {
        if beyond >= limit {
            slow += count;
        }
        beyond = bound.unwrap_or(Duration::MAX);
    }
    slow
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(before: Contact, now: Contact) -> Vec<News> {
        now.changes(before).collect()
    }

    #[test]
    fn what_did_not_change_is_not_told_again() {
        let never = Contact::default();
        let there = Contact { active: true, ..never };
        let gone = Contact { losses: 1, ..never };
        assert_eq!(news(never, never), []);
        assert_eq!(news(never, there), [News::Active]);
        assert_eq!(news(there, there), []);
        assert_eq!(news(there, gone), [News::Inactive]);
        assert_eq!(news(gone, gone), []);
        let slow = Contact { slow: 3, ..there };
        assert_eq!(news(there, slow), [News::Slow(3)]);
        assert_eq!(news(slow, slow), []);
    }

    #[test]
    fn what_happened_between_two_looks_is_told_in_its_order() {
        let lost = Contact { losses: 1, ..Contact::default() };
        assert_eq!(news(Contact::default(), lost), [News::Active, News::Inactive]);
        let there = Contact { active: true, losses: 1, slow: 0 };
        let again = Contact { losses: 2, ..there };
        assert_eq!(news(there, again), [News::Inactive, News::Active]);
    }

    #[test]
    fn a_round_trip_is_slow_if_all_between_its_bounds_are() {
        let trips = || {
            let bound = |millis| Some(Duration::from_millis(millis));
            [(bound(100), 1), (bound(200), 2), (bound(400), 4), (None, 8)].into_iter()
        };
        assert_eq!(slower_than(trips(), Duration::from_millis(100)), 14);
        assert_eq!(slower_than(trips(), Duration::from_millis(101)), 12);
        assert_eq!(slower_than(trips(), Duration::from_millis(400)), 8);
        assert_eq!(slower_than(trips(), Duration::from_millis(500)), 0);
    }
}
