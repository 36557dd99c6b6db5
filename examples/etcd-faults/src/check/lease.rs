//! A lease ends: not before its time, and not long after.
//!
//! ```text
//!            keepalive sent   answered, TTL 3 s             its keys are seen to be gone
//!   client ──────●─────────────────●───────────────┊──────────────●───────────
//!                └──────────── 3 s ────────────────┘
//!                the server renewed it after this,    so this must not be before that
//! ```
//!
//! The time is counted from the *sending* of the last renewal that was answered, by the clock of
//! the client, so no delay can make a good server look bad. That a lease ends at all is asked at
//! the end, long after its holder stopped.

use std::collections::BTreeMap;

use crate::history::{History, Moment, Operation, Outcome};
use crate::request::{Body, Op, Request};
use crate::violation::{Checker, Violation};

use super::author::Authors;
use super::shown::Shown;

/// Seconds that a lease has left where nobody counts them. Between two leaders etcd says so: only a
/// leader counts, and a new one gives every lease its whole time again.
const NEVER: i64 = i64::MAX / 1_000_000_000;

/// What clients did with one lease.
#[derive(Debug, Default)]
struct Lease {
    ttl: i64,
    /// Grants and renewals that were answered, by when they were sent and answered.
    renewals: Vec<(Moment, Moment)>,
    /// The first time that a client asked to end it.
    revoked: Option<Moment>,
    /// When clients were told that it is no more.
    gone: Vec<Moment>,
}

impl Lease {
    /// Up to when it must live, as far as was known at a moment.
    fn must_live(&self, at: Moment) -> Option<Moment> {
        let sent = self.renewals.iter().filter(|(_, answered)| *answered < at);
        sent.map(|(sent, _)| sent.plus_seconds(self.ttl)).max()
    }

    fn revoked_before(&self, at: Moment) -> bool {
        self.revoked.is_some_and(|called| called < at)
    }
}

/// Looks at all leases.
pub(super) fn check(
    history: &History,
    authors: &Authors,
    shown: &Shown,
) -> (usize, Vec<Violation>) {
    let mut found = Vec::new();
    let mut wrong = |text: String| found.push(Violation::new(Checker::Lease, text));
    let leases = leases(history, &mut wrong);
    for (id, revision) in &authors.ends {
        let (Some(lease), Some(at)) = (leases.get(id), shown.first(*revision)) else {
            wrong(format!("revision {revision} is the end of lease {id:x}, which nobody made"));
            continue;
        };
        // A renewal that was sent and answered after the end renewed what was no more.
        let until = lease.renewals.iter().map(|(sent, _)| sent.plus_seconds(lease.ttl)).max();
        if let Some(until) = until.filter(|until| at < *until && !lease.revoked_before(at)) {
            wrong(format!(
                "lease {id:x} of {} s had to live until {until}; at {at} its keys were gone \
                 (revision {revision})",
                lease.ttl
            ));
        }
    }
    for (id, lease) in &leases {
        for at in &lease.gone {
            let until = lease.must_live(*at);
            if let Some(until) = until.filter(|until| at < until && !lease.revoked_before(*at)) {
                wrong(format!("lease {id:x} had to live until {until}; it was gone at {at}"));
            }
        }
    }
    for audit in &history.audits {
        for id in &audit.leases {
            wrong(format!("lease {id:x} lives on m{} without a holder", audit.slot));
        }
        for kv in audit.keys.iter().filter(|kv| kv.lease != 0) {
            wrong(format!("{kv:?} outlives the holder of its lease on m{}", audit.slot));
        }
    }
    (leases.len(), found)
}

fn leases(history: &History, wrong: &mut impl FnMut(String)) -> BTreeMap<i64, Lease> {
    let mut leases: BTreeMap<i64, Lease> = BTreeMap::new();
    for operation in &history.operations {
        if let Request::Grant { lease, ttl } = operation.request {
            leases.entry(lease).or_default().ttl = ttl;
        }
    }
    for operation in &history.operations {
        let (Some(id), Operation { called, returned, .. }) = (subject(operation), operation) else {
            continue;
        };
        let lease = leases.entry(id).or_default();
        if let Some(text) = wrong_ttl(operation, lease.ttl) {
            wrong(format!("lease {id:x} of {} s: {text}", lease.ttl));
        }
        match (&operation.request, &operation.outcome) {
            (Request::Revoke { .. }, Outcome::Done(_) | Outcome::Unknown(_)) => {
                let first = lease.revoked.map_or(*called, |before| before.min(*called));
                lease.revoked = Some(first);
            }
            (Request::Grant { .. } | Request::KeepAlive { .. }, Outcome::Done(reply))
                if matches!(reply.body, Body::Lease { left: 1.., .. }) =>
            {
                lease.renewals.push((*called, *returned));
            }
            (Request::KeepAlive { .. } | Request::TimeToLive { .. }, Outcome::Done(reply))
                if matches!(reply.body, Body::Lease { left: ..=-1, .. })
                    || matches!(operation.request, Request::KeepAlive { .. }) =>
            {
                lease.gone.push(*returned);
            }
            (Request::One(Op::Put { .. }) | Request::KeepAlive { .. }, Outcome::Refused(why))
                if why.contains("lease not found") =>
            {
                lease.gone.push(*returned);
            }
            _ => {}
        }
    }
    leases
}

/// The lease that an operation is about.
fn subject(operation: &Operation) -> Option<i64> {
    match &operation.request {
        Request::Grant { lease, .. }
        | Request::Revoke { lease }
        | Request::KeepAlive { lease }
        | Request::TimeToLive { lease } => Some(*lease),
        Request::One(Op::Put { lease, .. }) if *lease != 0 => Some(*lease),
        Request::One(_) | Request::Txn(_) | Request::Compact { .. } => None,
    }
}

/// What is wrong with the times in an answer.
fn wrong_ttl(operation: &Operation, ttl: i64) -> Option<String> {
    let Body::Lease { granted, left } = operation.reply()?.body else { return None };
    let right = match operation.request {
        Request::Grant { .. } => granted == ttl,
        Request::KeepAlive { .. } => left == ttl || left <= 0,
        Request::TimeToLive { .. } if left == -1 => true,
        Request::TimeToLive { .. } => granted == ttl && (left <= ttl || left == NEVER),
        _ => true,
    };
    (!right).then(|| format!("{:?} says granted {granted}, left {left}", operation.request))
}

#[cfg(test)]
mod tests {
    use super::super::author;
    use super::super::log::Log;
    use super::super::sample::{Sample, deletion, get, put_on};
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const GRANT: Request = Request::Grant { lease: 5, ttl: 3 };
    const KEEP: Request = Request::KeepAlive { lease: 5 };

    fn seconds(times: std::ops::Range<u64>) -> std::ops::Range<u64> {
        times.start * SECOND..times.end * SECOND
    }

    /// A lease of 3 s, made at 0, with a key on it, renewed at 2 (sent) to 4 (answered).
    fn sample() -> Sample {
        let mut sample = Sample::new();
        sample.about_lease(seconds(0..1), GRANT, 3, 3);
        sample.done(seconds(1..2), put_on("a", "1", 5));
        sample.about_lease(seconds(2..4), KEEP, 0, 3);
        sample
    }

    fn check(sample: &Sample) -> String {
        let (log, _) = Log::new(sample.events());
        let shown = Shown::new(sample.history());
        let (authors, _) = author::find(sample.history(), &log, &shown);
        let found = super::check(sample.history(), &authors, &shown).1;
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// Its key goes, and is seen to be gone at this second.
    fn ends(mut sample: Sample, at: u64) -> String {
        sample.happens(&[deletion("a", 3)]);
        sample.done(at * SECOND - 1..at * SECOND, get("a"));
        check(&sample)
    }

    /// From the sending of the last renewal its time is counted, not from the answer.
    #[test]
    fn a_lease_that_ends_in_time_passes() {
        assert_eq!(ends(sample(), 5), "");
        assert_eq!(ends(sample(), 9), "");
    }

    /// A moment too early is too early.
    #[test]
    fn an_early_end_is_seen() {
        assert!(ends(sample(), 4).contains("had to live until 5"), "{}", ends(sample(), 4));
    }

    /// Who ends a lease himself has no claim; nor has one whose request to do so was lost.
    #[test]
    fn a_revoked_lease_may_end_at_once() {
        let revoke = Request::Revoke { lease: 5 };
        let mut one = sample();
        one.about_lease(3 * SECOND - 2..3 * SECOND, revoke.clone(), 0, 0);
        assert_eq!(ends(one, 3), "");
        let mut one = sample();
        let lost = Outcome::Unknown("lost".to_owned());
        one.outcome(3 * SECOND - 2..3 * SECOND, revoke.clone(), lost);
        assert_eq!(ends(one, 3), "");
        let mut one = sample();
        let refused = Outcome::Refused("no".to_owned());
        one.outcome(3 * SECOND - 2..3 * SECOND, revoke, refused);
        assert!(ends(one, 3).contains("had to live"));
    }

    /// A renewal of unknown outcome claims nothing.
    #[test]
    fn a_lost_renewal_claims_nothing() {
        let mut sample = sample();
        sample.outcome(seconds(4..5), KEEP, Outcome::Unknown("lost".to_owned()));
        assert_eq!(ends(sample, 5), "");
    }

    /// "Gone" is an end too, even if there was no key to show it.
    #[test]
    fn gone_too_early_is_seen() {
        let gone = |at: u64| {
            let mut sample = sample();
            sample.about_lease(at * SECOND - 1..at * SECOND, KEEP, 0, 0);
            check(&sample)
        };
        assert!(gone(4).is_empty() && gone(5).is_empty(), "the renewal was under way until 4");
        let mut sample = sample();
        sample.about_lease(4 * SECOND + 1..4 * SECOND + 2, KEEP, 0, 0);
        assert!(check(&sample).contains("it was gone"), "{}", check(&sample));
    }

    /// What is granted is what is renewed, and what is told.
    #[test]
    fn another_ttl_is_seen() {
        for (request, granted, left) in
            [(GRANT, 4, 4), (KEEP, 0, 4), (Request::TimeToLive { lease: 5 }, 4, 3)]
        {
            let mut sample = sample();
            sample.about_lease(seconds(4..5), request, granted, left);
            assert!(check(&sample).contains("says granted"), "{}", check(&sample));
        }
    }

    /// A lease that nobody holds must end, and take its keys along.
    #[test]
    fn an_endless_lease_is_seen() {
        let mut sample = sample();
        sample.end();
        assert!(check(&sample).contains("outlives"), "{}", check(&sample));
        sample.history_mut().audits[0].leases.push(5);
        assert!(check(&sample).contains("without a holder"), "{}", check(&sample));
    }
}
