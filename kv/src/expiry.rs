//! When leases die: the clock side of leases, which no two copies of a store share.
//!
//! Only the member that drives the store counts time. It does not delete anything: it finds leases
//! that are due and has them revoked by a command, like any client. A lease may outlive its time
//! (the driver was slow, or has just started and gave every lease its full time again), but never
//! dies early.
//!
//! A lease that is due stays due: it cannot be renewed any more, so a holder that was answered
//! "renewed" can rely on it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::types::LeaseId;

/// The deadlines of all leases, on a monotonic clock whose readings the caller passes in.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    leases: HashMap<LeaseId, Countdown>,
    queue: BTreeSet<(Duration, LeaseId)>,
}

#[derive(Clone, Copy, Debug)]
struct Countdown {
    deadline: Duration,
    ttl: Duration,
    /// Due, and handed out by [`Expiry::take_due`]: its revocation is on the way.
    dying: bool,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease lives for another so many seconds.
    Renewed(i64),
    /// There is no such lease.
    Missing,
    /// The lease is due: wait until it is revoked, then answer as if it were missing.
    Dying,
}

impl Expiry {
    /// Starts the countdown of a lease that was granted, at its full time to live.
    pub(crate) fn grant(&mut self, id: LeaseId, ttl_seconds: i64, now: Duration) {
        let ttl = Duration::from_secs(u64::try_from(ttl_seconds).unwrap_or(0));
        self.revoke(id);
        let deadline = now.saturating_add(ttl);
        self.leases.insert(id, Countdown { deadline, ttl, dying: false });
        self.queue.insert((deadline, id));
    }

    /// Forgets a lease that was revoked.
    pub(crate) fn revoke(&mut self, id: LeaseId) {
        if let Some(countdown) = self.leases.remove(&id) {
            self.queue.remove(&(countdown.deadline, id));
        }
    }

    /// Starts a lease's countdown over.
    pub(crate) fn renew(&mut self, id: LeaseId, now: Duration) -> Renewal {
        let Some(countdown) = self.leases.get_mut(&id) else { return Renewal::Missing };
        if countdown.dying || countdown.deadline <= now {
            return Renewal::Dying;
        }
        self.queue.remove(&(countdown.deadline, id));
        countdown.deadline = now.saturating_add(countdown.ttl);
        self.queue.insert((countdown.deadline, id));
        Renewal::Renewed(i64::try_from(countdown.ttl.as_secs()).unwrap_or(i64::MAX))
    }

    /// Time left, whole seconds, rounded down; negative when a lease is overdue.
    pub(crate) fn remaining(&self, id: LeaseId, now: Duration) -> Option<i64> {
        let deadline = self.leases.get(&id)?.deadline;
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        Some(match deadline.checked_sub(now) {
            Some(left) => seconds(left),
            None => -seconds(now - deadline),
        })
    }

    /// All leases, the one that dies first in front.
    pub(crate) fn by_deadline(&self) -> Vec<LeaseId> {
        let mut leases: Vec<_> = self.leases.iter().map(|(&id, c)| (c.deadline, id)).collect();
        leases.sort_unstable();
        leases.into_iter().map(|(_, id)| id).collect()
    }

    /// Up to `count_max` leases that are due and not yet handed out. Each is handed out once; if
    /// its revocation fails, [`Expiry::retry`] puts it back.
    pub(crate) fn take_due(&mut self, now: Duration, count_max: usize) -> Vec<LeaseId> {
        let mut due = Vec::new();
        while due.len() < count_max {
            let Some(&(deadline, id)) = self.queue.first() else { break };
            if deadline > now {
                break;
            }
            self.queue.pop_first();
            self.leases.get_mut(&id).expect("queued leases stand").dying = true;
            due.push(id);
        }
        due
    }

    /// Puts a lease back whose revocation did not come about.
    pub(crate) fn retry(&mut self, id: LeaseId) {
        if let Some(countdown) = self.leases.get_mut(&id) {
            self.queue.insert((countdown.deadline, id));
        }
    }

    /// When the next lease is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.queue.first().map(|&(deadline, _)| deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LeaseId = LeaseId(1);
    const B: LeaseId = LeaseId(2);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    // Expiry may be late, never early: one instant before the deadline nothing is due.
    #[test]
    fn a_lease_is_due_at_its_deadline_and_not_before() {
        let mut expiry = Expiry::default();
        expiry.grant(A, 10, at(100));
        assert_eq!(expiry.take_due(at(110) - Duration::from_nanos(1), 9), []);
        assert_eq!(expiry.take_due(at(110), 9), [A]);
        assert_eq!(expiry.take_due(at(200), 9), [], "handed out once");
    }

    // A holder told "renewed" must be able to rely on it, so a due lease cannot be renewed.
    #[test]
    fn a_due_lease_cannot_be_renewed() {
        let mut expiry = Expiry::default();
        expiry.grant(A, 10, at(0));
        assert_eq!(expiry.renew(A, at(9)), Renewal::Renewed(10));
        assert_eq!(expiry.take_due(at(18), 9), []);
        assert_eq!(expiry.renew(A, at(19)), Renewal::Dying);
        assert_eq!(expiry.take_due(at(19), 9), [A]);
        assert_eq!(expiry.renew(A, at(19)), Renewal::Dying);
        expiry.revoke(A);
        assert_eq!(expiry.renew(A, at(19)), Renewal::Missing);
    }

    // A revocation can fail (a full queue); the lease must come up again.
    #[test]
    fn a_failed_revocation_comes_up_again() {
        let mut expiry = Expiry::default();
        expiry.grant(A, 1, at(0));
        expiry.grant(B, 2, at(0));
        assert_eq!(expiry.take_due(at(5), 1), [A]);
        expiry.retry(A);
        assert_eq!(expiry.take_due(at(5), 9), [A, B]);
    }

    // Clients page through leases by expiry; an overdue one shows a negative rest.
    #[test]
    fn leases_are_listed_by_deadline() {
        let mut expiry = Expiry::default();
        expiry.grant(A, 20, at(0));
        expiry.grant(B, 10, at(0));
        assert_eq!(expiry.by_deadline(), [B, A]);
        assert_eq!(expiry.remaining(B, at(4)), Some(6));
        assert_eq!(expiry.remaining(B, at(13)), Some(-3));
        assert_eq!(expiry.remaining(LeaseId(9), at(0)), None);
    }
}
