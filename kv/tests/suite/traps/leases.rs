//! Leases, as far as every copy of the store agrees on them.

use drystone_kv::Refusal;
use drystone_kv::command::{Command, LeaseGrant, Put};
use drystone_kv::engine::{Direction, Engine as _, Snapshot as _, Space};
use drystone_kv::limits::Limits;
use drystone_kv::record::Record;
use drystone_kv::reply::{LeaseGrantReply, LeaseRevokeReply, Reply};
use drystone_kv::types::{LeaseId, Revision};

use crate::common::{Bench, delete, grant, put, put_on, read, revoke, text};

fn grant_for(id: i64, ttl: i64) -> Command {
    Command::LeaseGrant(LeaseGrant { id: LeaseId(id), ttl })
}

fn hanging(bench: &Bench, id: i64) -> Vec<String> {
    let lease = bench.store.lease(LeaseId(id)).expect("the lease stands");
    lease.keys.iter().map(|key| text(key).to_owned()).collect()
}

// Trap 13. All keys of a lease go in one revision, in the order of the keys, as one event of many
// parts for watchers.
#[test]
fn a_revocation_is_one_revision_in_key_order() {
    let bench = Bench::new();
    bench.ok(&grant(7));
    for key in ["c", "a", "d", "b"] {
        bench.ok(&put_on(key, "", 7));
    }
    bench.ok(&put("e", ""));
    assert_eq!(bench.ok(&revoke(7)), Reply::LeaseRevoke(LeaseRevokeReply { revision: 7 }));
    let snapshot = bench.store.engine().snapshot();
    let from = Revision::new(7, 0).to_bytes();
    let records = snapshot.range(Space::Record, &from, None, Direction::Forward);
    let gone: Vec<_> = records
        .map(|entry| {
            let (key, value) = entry.unwrap();
            let revision = Revision::from_bytes(&key).unwrap();
            match Record::decode(revision.main, value).unwrap() {
                Record::Tombstone { key } => (revision, text(&key).to_owned()),
                Record::Put(kv) => panic!("a revocation sets nothing: {kv:?}"),
            }
        })
        .collect();
    let expected = ["a", "b", "c", "d"].into_iter().enumerate();
    let expected: Vec<_> =
        expected.map(|(sub, key)| (Revision::new(7, sub as u32), key.to_owned())).collect();
    assert_eq!(gone, expected);
    assert_eq!(bench.range(&read("\0", "\0")).unwrap().count, 1);
    assert!(bench.store.leases().is_empty());
    assert_eq!(bench.apply(&revoke(7)), Err(Refusal::LeaseNotFound));
}

// A lease without keys is no change of any key.
#[test]
fn a_grant_and_the_end_of_an_empty_lease_make_no_revision() {
    let bench = Bench::new();
    let granted = LeaseGrantReply { revision: 1, id: LeaseId(7), ttl: 60 };
    assert_eq!(bench.ok(&grant(7)), Reply::LeaseGrant(granted));
    assert_eq!(bench.ok(&revoke(7)), Reply::LeaseRevoke(LeaseRevokeReply { revision: 1 }));
}

// A name in use is somebody else's lease; its keys must not fall to the newcomer.
#[test]
fn a_lease_is_granted_once_until_it_is_revoked() {
    let bench = Bench::new();
    bench.ok(&grant(7));
    assert_eq!(bench.apply(&grant_for(7, 5)), Err(Refusal::LeaseExists));
    assert_eq!(bench.store.lease(LeaseId(7)).unwrap().ttl, 60);
    bench.ok(&revoke(7));
    bench.ok(&grant_for(7, 5));
    assert_eq!(bench.store.leases(), [(LeaseId(7), 5)]);
}

// Trap 15. The longest time is checked before the name; the shortest is the server's to raise, and
// what comes to us as small, even as negative, was meant so.
#[test]
fn a_time_to_live_is_bounded_above_only() {
    let bench = Bench::new();
    assert_eq!(bench.apply(&grant_for(1, 9_000_000_001)), Err(Refusal::LeaseTtlTooLarge));
    bench.ok(&grant_for(1, 9_000_000_000));
    assert_eq!(bench.apply(&grant_for(1, i64::MAX)), Err(Refusal::LeaseTtlTooLarge));
    bench.ok(&grant_for(2, 0));
    bench.ok(&grant_for(3, -5));
    assert_eq!(bench.store.leases().len(), 3);
}

// Zero is "no lease" on the wire; any other number is a name, negative ones too.
#[test]
fn a_lease_has_any_name_but_zero() {
    let bench = Bench::new();
    let limits = Limits::default();
    assert_eq!(limits.check(&grant(0)), Err(Refusal::LeaseNotFound));
    assert_eq!(bench.apply(&grant(0)), Err(Refusal::LeaseNotFound));
    for id in [-1, i64::MIN, i64::MAX] {
        assert_eq!(limits.check(&grant(id)), Ok(()));
        bench.ok(&grant(id));
        bench.ok(&put_on("k", "", id));
        assert_eq!(hanging(&bench, id), ["k"]);
    }
}

// Trap 13. A key belongs to the lease of its newest put alone: an overwrite without a lease lets
// go, one that keeps the lease does not, and a delete lets go.
#[test]
fn an_overwrite_moves_the_key_between_leases() {
    let bench = Bench::new();
    bench.ok(&grant(7));
    bench.ok(&grant(8));
    bench.ok(&put_on("k", "", 7));
    bench.ok(&put_on("k", "", 7));
    assert_eq!(hanging(&bench, 7), ["k"]);
    bench.ok(&put_on("k", "", 8));
    assert_eq!((hanging(&bench, 7), hanging(&bench, 8)), (vec![], vec!["k".to_owned()]));
    bench.ok(&Command::Put(Put { lease: None, ..Put::new("k", "kept") }));
    assert_eq!(hanging(&bench, 8), ["k"]);
    bench.ok(&put("k", "free"));
    assert!(hanging(&bench, 8).is_empty());
    bench.ok(&revoke(7));
    bench.ok(&revoke(8));
    assert_eq!(bench.range(&read("k", "")).unwrap().kvs[0].value, "free");
}

// A deleted key that comes back without the lease must outlive it.
#[test]
fn a_deleted_key_no_longer_hangs_on_its_lease() {
    let bench = Bench::new();
    bench.ok(&grant(7));
    bench.ok(&put_on("k", "", 7));
    bench.ok(&delete("k", ""));
    assert!(hanging(&bench, 7).is_empty());
    bench.ok(&put("k", "again"));
    bench.ok(&revoke(7));
    assert_eq!(bench.range(&read("k", "")).unwrap().count, 1);
}
