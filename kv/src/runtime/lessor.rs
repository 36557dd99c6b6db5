//! Who counts down leases: the leader, and it alone.
//!
//! A lease must not end before the time that its holder was last promised. Each member has a clock
//! of its own, so only one may count, and a new one cannot know how much was left: it gives every
//! lease its full time again.
//!
//! ```text
//!   elected ──► all of its log applied ──► in office ──► counts, renews, revokes what is due
//!                                             │
//!   deposed ◄─────────────────────────────────┘          forgets all countdowns
//! ```
//!
//! * It takes up office behind a read that a quorum has confirmed: every revocation that an older
//!   leader got through is applied by then.
//! * A renewal counts only if a quorum confirms, after the request came, that the term is still
//!   the one of the office. A leader that was cut off, or slept, promises nothing.
//! * What is due is revoked by a command of this member's own. If it was deposed meanwhile, no
//!   quorum takes it.

use std::sync::Arc;
use std::time::Duration;

use drystone_raft::Term;
use drystone_vfs::Clock;
use parking_lot::Mutex;

use crate::bell::Bell;
use crate::command::Command;
use crate::expiry::{Expiry, Renewal};
use crate::reply::Reply;
use crate::types::LeaseId;

/// Counts down leases while it is in office.
pub struct Lessor {
    clock: Arc<dyn Clock>,
    office: Mutex<Option<Office>>,
    /// Rung when a lease went, or the office changed hands.
    pub(crate) bell: Bell,
}

struct Office {
    term: Term,
    expiry: Expiry,
}

impl Lessor {
    /// One that is not in office.
    pub fn new(clock: Arc<dyn Clock>) -> Lessor {
        Lessor { clock, office: Mutex::default(), bell: Bell::default() }
    }

    /// Begins to count, in this term. `leases` lists those that stand; it is asked while no
    /// command can pass unseen.
    pub fn take_up(&self, term: Term, leases: impl FnOnce() -> Vec<(LeaseId, i64)>) {
        let mut office = self.office.lock();
        let now = self.clock.monotonic();
        let mut expiry = Expiry::default();
        for (id, ttl) in leases() {
            expiry.grant(id, ttl, now);
        }
        *office = Some(Office { term, expiry });
        drop(office);
        self.bell.ring();
    }

    /// Forgets all countdowns, unless they are those of this term.
    pub fn lay_down(&self, but: Option<Term>) {
        let mut office = self.office.lock();
        if office.as_ref().is_some_and(|office| Some(office.term) != but) {
            *office = None;
        }
        drop(office);
        self.bell.ring();
    }

    /// The term that it is in office for.
    pub fn term(&self) -> Option<Term> {
        self.office.lock().as_ref().map(|office| office.term)
    }

    /// Takes note of commands that were applied.
    pub fn note<'c>(&self, applied: impl Iterator<Item = (&'c Command, Option<&'c Reply>)>) {
        let mut went = false;
        for (command, reply) in applied {
            match (command, reply) {
                (Command::LeaseGrant(grant), Some(_)) => {
                    if let Some(office) = &mut *self.office.lock() {
                        office.expiry.grant(grant.id, grant.ttl, self.clock.monotonic());
                    }
                }
                (Command::LeaseRevoke(revoke), Some(_)) => {
                    went = true;
                    if let Some(office) = &mut *self.office.lock() {
                        office.expiry.revoke(revoke.id);
                    }
                }
                _ => {}
            }
        }
        if went {
            self.bell.ring();
        }
    }

    /// Starts a lease's countdown over; `None` if it is not in office for this term.
    pub fn renew(&self, id: LeaseId, term: Term) -> Option<Renewal> {
        let mut office = self.office.lock();
        let office = office.as_mut().filter(|office| office.term == term)?;
        Some(office.expiry.renew(id, self.clock.monotonic()))
    }

    /// Time left, whole seconds; `None` out of office, or if there is no such lease.
    pub fn remaining(&self, id: LeaseId) -> Option<i64> {
        let office = self.office.lock();
        office.as_ref()?.expiry.remaining(id, self.clock.monotonic())
    }

    /// All leases, the one that expires first in front; `None` out of office.
    pub fn by_deadline(&self) -> Option<Vec<LeaseId>> {
        self.office.lock().as_ref().map(|office| office.expiry.by_deadline())
    }

    /// Some that are due, each handed out once.
    pub fn take_due(&self, count_max: usize) -> Vec<LeaseId> {
        let now = self.clock.monotonic();
        let mut office = self.office.lock();
        office.as_mut().map_or_else(Vec::new, |office| office.expiry.take_due(now, count_max))
    }

    /// Puts one back whose revocation did not come about.
    pub fn retry(&self, id: LeaseId) {
        if let Some(office) = &mut *self.office.lock() {
            office.expiry.retry(id);
        }
    }

    /// Time until the next one is due.
    pub fn next_due(&self) -> Option<Duration> {
        let deadline = self.office.lock().as_ref()?.expiry.next_deadline()?;
        Some(deadline.saturating_sub(self.clock.monotonic()))
    }
}
