//! Leases in time: never early, late at most, and a full life again after a restart.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use drystone_kv::command::{AlarmChange, AlarmKind, LeaseGrant};
use drystone_kv::types::LeaseId;
use drystone_kv::{Command, Kv, LeaseInfo, Options};
use drystone_vfs::Clock as _;

use crate::common::{grant, keys, put, put_on, read as request, revoke};
use crate::running::{Machine, ok, options, read};

/// Looks at a future once.
fn look<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A renewal that is answered at once.
fn renew(kv: &Kv, id: i64) -> Option<i64> {
    look(pin!(kv.keep_alive(LeaseId(id)))).expect("answered at once")
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn grant_for(id: i64, ttl: i64) -> Command {
    Command::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl })
}

fn alive(kv: &Kv) -> Vec<String> {
    let reply = read(kv, &request("\0", "\0")).expect("the present is readable");
    keys(&reply).into_iter().map(str::to_owned).collect()
}

fn remaining(kv: &Kv, id: i64) -> i64 {
    kv.lease(LeaseId(id), false).expect("the lease stands").remaining
}

// A holder that renews in time must find its keys; one instant early would be a lost lock.
#[test]
fn a_lease_takes_its_keys_when_its_time_is_up_and_not_before() {
    let machine = Machine::new(1);
    let kv = machine.open();
    ok(&kv, grant(7));
    ok(&kv, put_on("a", "", 7));
    ok(&kv, put_on("b", "", 7));
    ok(&kv, put("c", ""));
    machine.clock.advance(seconds(60) - Duration::from_nanos(1));
    kv.expire_leases();
    assert_eq!((alive(&kv).len(), kv.revision()), (3, 4));
    machine.clock.advance(Duration::from_nanos(1));
    kv.expire_leases();
    assert_eq!((alive(&kv), kv.revision()), (vec!["c".to_owned()], 5), "in one revision");
    assert_eq!(kv.lease(LeaseId(7), true), None);
    // It went by a command like any other: a restart finds it gone.
    drop(kv);
    let kv = machine.open();
    assert_eq!((alive(&kv).len(), kv.revision(), kv.leases().len()), (1, 5, 0));
}

// Time passes where nobody looks; a store that is asked to expire nothing has expired nothing.
#[test]
fn a_lease_that_nobody_expires_lives_on() {
    let machine = Machine::new(2);
    let kv = machine.open();
    ok(&kv, grant(7));
    ok(&kv, put_on("a", "", 7));
    machine.clock.advance(seconds(75));
    assert_eq!(alive(&kv), ["a"]);
    let expected =
        LeaseInfo { id: LeaseId(7), granted: 60, remaining: -15, keys: vec!["a".into()] };
    assert_eq!(kv.lease(LeaseId(7), true), Some(expected), "overdue, and said to be");
}

// Trap 14. Holders renew by the name and read the full time; of a lease that is not there they
// learn just that.
#[test]
fn a_renewal_gives_the_full_time_again() {
    let machine = Machine::new(3);
    let kv = machine.open();
    ok(&kv, grant(7));
    assert_eq!(remaining(&kv, 7), 60);
    for _ in 0..5 {
        machine.clock.advance(seconds(50));
        kv.expire_leases();
        assert_eq!(remaining(&kv, 7), 10);
        assert_eq!(renew(&kv, 7), Some(60));
        assert_eq!(remaining(&kv, 7), 60);
    }
    assert_eq!(renew(&kv, 8), None);
    assert_eq!(kv.lease(LeaseId(8), false), None);
    ok(&kv, revoke(7));
    assert_eq!(renew(&kv, 7), None);
    assert_eq!(kv.status().applied, 2, "a renewal is not journaled");
}

// Whoever is told "renewed" relies on it. A lease that is due is not renewed any more, and the
// answer waits until it is gone, so that "missing" is the truth.
#[test]
fn a_due_lease_is_not_renewed_and_the_answer_waits_for_its_end() {
    let machine = Machine::new(4);
    let kv = machine.open();
    ok(&kv, grant(7));
    ok(&kv, put_on("a", "", 7));
    machine.clock.advance(seconds(60));
    let mut renewal = pin!(kv.keep_alive(LeaseId(7)));
    assert_eq!(look(renewal.as_mut()), None);
    assert_eq!(alive(&kv), ["a"]);
    kv.expire_leases();
    assert_eq!(look(renewal.as_mut()), Some(None));
    assert!(alive(&kv).is_empty());
    // A store that stops leaves nobody waiting.
    ok(&kv, grant(8));
    machine.clock.advance(seconds(60));
    let mut renewal = pin!(kv.keep_alive(LeaseId(8)));
    assert_eq!(look(renewal.as_mut()), None);
    kv.shutdown();
    assert_eq!(look(renewal.as_mut()), Some(None));
}

// Trap 16. Nobody knows how long the store was down: every holder gets the time to come back.
#[test]
fn a_restart_gives_every_lease_its_full_time() {
    for persists in [false, true] {
        let machine = Machine::new(5);
        let kv = machine.open();
        ok(&kv, grant(7));
        ok(&kv, put_on("a", "", 7));
        machine.clock.advance(seconds(59));
        if persists {
            kv.persist().unwrap();
        }
        drop(kv);
        let kv = machine.open();
        assert_eq!(remaining(&kv, 7), 60);
        machine.clock.advance(seconds(59));
        kv.expire_leases();
        assert_eq!(alive(&kv), ["a"]);
        machine.clock.advance(seconds(1));
        kv.expire_leases();
        assert!(alive(&kv).is_empty());
    }
}

// An operator who corrects the date must not end every lock in the cluster.
#[test]
fn the_date_has_no_part_in_it() {
    let machine = Machine::new(6);
    let kv = machine.open();
    ok(&kv, grant(7));
    machine.clock.set_wall(seconds(1_000_000_000));
    kv.expire_leases();
    assert_eq!(remaining(&kv, 7), 60);
    machine.clock.set_wall(Duration::ZERO);
    machine.clock.advance(seconds(60));
    kv.expire_leases();
    assert_eq!(kv.lease(LeaseId(7), false), None);
    assert_eq!(machine.clock.wall(), seconds(60));
}

// Clients page through leases in the order in which they will end.
#[test]
fn leases_are_listed_by_their_end() {
    let machine = Machine::new(7);
    let kv = machine.open();
    for (id, ttl) in [(1, 30), (2, 10), (3, 20)] {
        ok(&kv, grant_for(id, ttl));
    }
    assert_eq!(kv.leases(), [2, 3, 1].map(LeaseId));
    machine.clock.advance(seconds(5));
    assert_eq!(renew(&kv, 2), Some(10));
    assert_eq!(kv.leases(), [2, 3, 1].map(LeaseId), "ends at 15, 20 and 30");
    machine.clock.advance(seconds(9));
    assert_eq!(renew(&kv, 2), Some(10));
    assert_eq!(kv.leases(), [3, 2, 1].map(LeaseId));
}

// The server raises short times; what comes as nothing or less is due at once, and the longest time
// does not overflow.
#[test]
fn odd_times_to_live_are_borne() {
    let machine = Machine::new(8);
    let kv = machine.open();
    for (id, ttl) in [(1, 0), (2, -5), (3, i64::MIN), (4, 9_000_000_000)] {
        ok(&kv, grant_for(id, ttl));
    }
    kv.expire_leases();
    assert_eq!(kv.leases(), [LeaseId(4)]);
    machine.clock.advance(seconds(8_999_999_999));
    kv.expire_leases();
    assert_eq!(remaining(&kv, 4), 1);
}

// A storm of expiries comes in portions, so that clients have their turn in between; all go.
#[test]
fn a_storm_of_expiries_comes_in_portions() {
    let machine = Machine::new(9);
    let kv = machine.open();
    let grants: Vec<_> = (1..=1200).map(|id| kv.propose(grant_for(id, 10))).collect();
    assert!(grants.into_iter().all(|proposal| proposal.wait().is_ok()));
    machine.clock.advance(seconds(10));
    let mut left = vec![];
    while !kv.leases().is_empty() {
        kv.expire_leases();
        left.push(kv.leases().len());
    }
    assert_eq!(left, [700, 200, 0]);
}

// The background keeps to its portions: the next comes when half a second has passed on the clock,
// however long the others have been due.
#[test]
fn the_background_expires_leases_at_a_bounded_rate() {
    let machine = Machine::new(12);
    let kv = machine.try_open(Options { background: true, ..options() }).unwrap();
    let grants: Vec<_> = (1..=1200).map(|id| kv.propose(grant_for(id, 10))).collect();
    assert!(grants.into_iter().all(|proposal| proposal.wait().is_ok()));
    machine.clock.advance(seconds(10));
    for left in [700, 200, 0] {
        while kv.leases().len() > left {
            std::thread::yield_now();
        }
        for _ in 0..2000 {
            assert_eq!(kv.leases().len(), left);
            std::thread::yield_now();
        }
        machine.clock.advance(Duration::from_millis(500));
    }
}

// A revocation that is refused (nobody may change a store known to be wrong) is tried again when it
// can be done, and until then the lease stays due.
#[test]
fn a_refused_revocation_is_tried_again() {
    let machine = Machine::new(10);
    let kv = machine.open();
    ok(&kv, grant(7));
    let change = |raise| Command::Alarm(AlarmChange { raise, member: 1, kind: AlarmKind::Corrupt });
    ok(&kv, change(true));
    machine.clock.advance(seconds(60));
    let applied = kv.status().applied;
    kv.expire_leases();
    assert_eq!(kv.leases(), [LeaseId(7)]);
    assert_eq!(kv.status().applied, applied, "the journal is not filled with what must be refused");
    ok(&kv, change(false));
    let mut renewal = pin!(kv.keep_alive(LeaseId(7)));
    assert_eq!(look(renewal.as_mut()), None, "still due");
    kv.expire_leases();
    assert_eq!(look(renewal.as_mut()), Some(None));
}

// Left alone, the store's own threads find what is due.
#[test]
fn the_background_expires_leases() {
    let machine = Machine::new(11);
    let kv = machine.try_open(Options { background: true, ..options() }).unwrap();
    ok(&kv, grant_for(7, 5));
    ok(&kv, put_on("a", "", 7));
    machine.clock.advance(seconds(5));
    while kv.lease(LeaseId(7), false).is_some() {
        std::thread::yield_now();
    }
    ok(&kv, put("b", ""));
    assert_eq!(alive(&kv), ["b"]);
}
