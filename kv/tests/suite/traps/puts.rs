//! Puts: generations, versions, what is kept and what is not.

use drystone_kv::Refusal;
use drystone_kv::command::{Command, Put};
use drystone_kv::limits::Limits;
use drystone_kv::reply::{PutReply, Reply};
use drystone_kv::types::{KeyValue, LeaseId};

use crate::common::{Bench, delete, grant, put, put_on, read};

fn kv(value: &'static str, created: u64, modified: u64, version: u64, lease: i64) -> KeyValue {
    KeyValue {
        key: "k".into(),
        value: value.into(),
        create_revision: created,
        mod_revision: modified,
        version,
        lease: LeaseId(lease),
    }
}

fn standing(bench: &Bench) -> KeyValue {
    bench.range(&read("k", "")).expect("the present is readable").kvs.remove(0)
}

fn keep_value(lease: i64) -> Command {
    Command::Put(Put { value: None, lease: Some(LeaseId(lease)), ..Put::new("k", "") })
}

fn keep_lease(value: &'static str) -> Command {
    Command::Put(Put { lease: None, ..Put::new("k", value) })
}

// Clients compare revisions with what they read on an empty store.
#[test]
fn a_fresh_store_stands_at_one_and_the_first_put_makes_two() {
    let bench = Bench::new();
    assert_eq!(bench.range(&read("k", "")).unwrap().revision, 1);
    assert_eq!(bench.ok(&put("k", "v")), Reply::Put(PutReply { revision: 2, prev: None }));
}

// A put that changes nothing still is an event that watchers see.
#[test]
fn a_put_of_the_same_value_is_a_revision() {
    let bench = Bench::new();
    bench.ok(&put("k", "v"));
    bench.ok(&put("k", "v"));
    assert_eq!(standing(&bench), kv("v", 2, 3, 2, 0));
}

// Locks and caches tell a key from its successor of the same name by these two numbers.
#[test]
fn a_delete_ends_the_generation() {
    let bench = Bench::new();
    bench.ok(&put("k", "v"));
    bench.ok(&put("k", "w"));
    bench.ok(&delete("k", ""));
    bench.ok(&put("k", "x"));
    assert_eq!(standing(&bench), kv("x", 5, 5, 1, 0));
}

// The previous key-value comes if it was asked for and was there.
#[test]
fn the_previous_value_comes_when_asked_for() {
    let bench = Bench::new();
    let asking = |value| Command::Put(Put { prev_kv: true, ..Put::new("k", value) });
    assert_eq!(bench.ok(&asking("a")), Reply::Put(PutReply { revision: 2, prev: None }));
    let prev = Some(kv("a", 2, 2, 1, 0));
    assert_eq!(bench.ok(&asking("b")), Reply::Put(PutReply { revision: 3, prev }));
    assert_eq!(bench.ok(&put("k", "c")), Reply::Put(PutReply { revision: 4, prev: None }));
    bench.ok(&delete("k", ""));
    assert_eq!(bench.ok(&asking("d")), Reply::Put(PutReply { revision: 6, prev: None }));
}

// Holders move a value to a new lease without reading it, and renew a value without losing the
// lease; a key that is not there has neither.
#[test]
fn a_put_keeps_what_it_is_told_to_keep() {
    let bench = Bench::new();
    bench.ok(&grant(7));
    bench.ok(&grant(8));
    assert_eq!(bench.apply(&keep_value(0)), Err(Refusal::KeyNotFound));
    assert_eq!(bench.apply(&keep_lease("v")), Err(Refusal::KeyNotFound));
    bench.ok(&put_on("k", "v", 7));
    bench.ok(&keep_value(8));
    assert_eq!(standing(&bench), kv("v", 2, 3, 2, 8));
    bench.ok(&keep_lease("w"));
    assert_eq!(standing(&bench), kv("w", 2, 4, 3, 8));
    bench.ok(&delete("k", ""));
    assert_eq!(bench.apply(&keep_lease("v")), Err(Refusal::KeyNotFound), "it was there once");
    assert_eq!(bench.store.revision(), 5, "refusals make no revision");
}

// Asking to keep the value is not asking to see it.
#[test]
fn a_put_that_keeps_the_value_says_nothing_of_it_unasked() {
    let bench = Bench::new();
    bench.ok(&put("k", "v"));
    assert_eq!(bench.ok(&keep_value(0)), Reply::Put(PutReply { revision: 3, prev: None }));
}

// A lease is looked for before the key, as etcd does for a put that stands alone.
#[test]
fn a_put_on_an_unknown_lease_is_refused() {
    let bench = Bench::new();
    assert_eq!(bench.apply(&put_on("k", "v", 7)), Err(Refusal::LeaseNotFound));
    assert_eq!(bench.apply(&keep_value(7)), Err(Refusal::LeaseNotFound));
    assert_eq!(bench.store.revision(), 1);
}

// Empty values are values; empty keys are not keys.
#[test]
fn an_empty_value_stands_and_an_empty_key_is_refused() {
    let bench = Bench::new();
    bench.ok(&put("k", ""));
    assert_eq!(standing(&bench), kv("", 2, 2, 1, 0));
    assert_eq!(Limits::default().check(&put("", "v")), Err(Refusal::EmptyKey));
}

// Trap 29. A request beyond the limit is refused by its size before it costs anything.
#[test]
fn a_command_is_bounded_by_its_encoded_size() {
    let limits = Limits::default();
    assert_eq!(limits.check_bytes(1_572_864), Ok(()));
    assert_eq!(limits.check_bytes(1_572_865), Err(Refusal::TooLarge));
}
