//! When leases die: the clock side of leases, which no two copies of a store share.
//!
//! Only the member that drives the store counts time. It does not delete anything: it finds leases
//! that are due and has them revoked by a command, like any client. A lease may outlive its time
//! (the driver was slow, or has just started and gave every lease its full time again), but never
//! dies early.
//!
//! A lease that is due stays due: it cannot be renewed any more, so a holder that was answered
//! "renewed" can rely on it.
//!
//! **Renewals are many, deaths are few.** So a renewal only writes down the new deadline, and the
//! lease keeps its place in the queue, at a deadline that it once had. Whoever finds it in front
//! there puts it back where it belongs:
//!
//! ```text
//!   queue      A at 10     B at 12     C at 15          front first
//!   deadline   A 40        B 12        C 33
//!                └─ at time 12: back into the queue, at 40; then B is due
//! ```

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::types::LeaseId;

/// How many leases that are not due [`Expiry::take_due`] puts back at a time; bounds how long
/// others wait for it.
const PUT_BACK_MAX: usize = 1024;

/// The deadlines of all leases, on a monotonic clock whose readings the caller passes in.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    leases: HashMap<LeaseId, Countdown>,
    /// Each lease once, unless it is dying, where [`Countdown::queued`] says.
    queue: BTreeSet<(Duration, LeaseId)>,
}

#[derive(Clone, Copy, Debug)]
struct Countdown {
    deadline: Duration,
    /// Where it stands in the queue: not behind its deadline.
    queued: Duration,
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
        self.leases.insert(id, Countdown { deadline, queued: deadline, ttl, dying: false });
        self.queue.insert((deadline, id));
    }

    /// Forgets a lease that was revoked.
    pub(crate) fn revoke(&mut self, id: LeaseId) {
        if let Some(countdown) = self.leases.remove(&id) {
            self.queue.remove(&(countdown.queued, id));
        }
    }

    /// Starts a lease's countdown over.
    pub(crate) fn renew(&mut self, id: LeaseId, now: Duration) -> Renewal {
        let Some(countdown) = self.leases.get_mut(&id) else { return Renewal::Missing };
        if countdown.dying || countdown.deadline <= now {
            return Renewal::Dying;
        }
        countdown.deadline = now.saturating_add(countdown.ttl);
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
    /// its revocation fails, [`Expiry::retry`] puts it back. If none is handed out, some may still
    /// be due: [`Expiry::next_deadline`] says when to ask again.
    pub(crate) fn take_due(&mut self, now: Duration, count_max: usize) -> Vec<LeaseId> {
        let (mut due, mut put_back) = (Vec::new(), 0);
        while due.len() < count_max && put_back < PUT_BACK_MAX {
            let Some(&(queued, id)) = self.queue.first() else { break };
            if queued > now {
                break;
            }
            self.queue.pop_first();
            let countdown = self.leases.get_mut(&id).expect("queued leases stand");
            if countdown.deadline > now {
                countdown.queued = countdown.deadline;
                self.queue.insert((countdown.queued, id));
                put_back += 1;
            } else {
                countdown.dying = true;
                due.push(id);
            }
        }
        due
    }

    /// Puts a lease back whose revocation did not come about.
    pub(crate) fn retry(&mut self, id: LeaseId) {
        if let Some(countdown) = self.leases.get_mut(&id) {
            countdown.queued = countdown.deadline;
            self.queue.insert((countdown.queued, id));
        }
    }

    /// When a lease may be due next, and not later than one is.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.queue.first().map(|&(queued, _)| queued)
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

    // A renewal leaves the lease where it was in the queue; those behind it must not wait for that,
    // nor may it be handed out, nor stay when it is revoked.
    #[test]
    fn renewed_leases_in_front_keep_nobody_alive() {
        let mut expiry = Expiry::default();
        let crowd = PUT_BACK_MAX as i64 + 1;
        (1..=crowd).for_each(|id| expiry.grant(LeaseId(id), 10, at(0)));
        expiry.grant(LeaseId(crowd + 1), 11, at(0));
        for id in 1..=crowd {
            assert_eq!(expiry.renew(LeaseId(id), at(9)), Renewal::Renewed(10));
        }
        assert_eq!(expiry.take_due(at(12), 9), [], "so many are put back in one go");
        assert_eq!(expiry.next_deadline(), Some(at(10)), "and there is more to do");
        assert_eq!(expiry.take_due(at(12), 9), [LeaseId(crowd + 1)]);
        assert_eq!(expiry.next_deadline(), Some(at(19)));
        (1..=crowd).for_each(|id| expiry.revoke(LeaseId(id)));
        assert_eq!(expiry.next_deadline(), None);
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
