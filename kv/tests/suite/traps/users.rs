//! Users: a command is judged when it is applied, by what its caller may do then.

use std::sync::Arc;

use bytes::Bytes;
use drystone_kv::auth::{Permission, PermissionKind};
use drystone_kv::command::{
    AlarmChange, AlarmKind, AuthChange, Command, Compare, CompareTarget, DeleteRange, LeaseRevoke,
    Put, RangeRequest, Relation, Txn, TxnOp,
};
use drystone_kv::mem::Mem;
use drystone_kv::types::LeaseId;
use drystone_kv::{Caller, Outcome, Refusal, Store};

use crate::common::{Bench, compact, delete, grant, put, put_on, range, revoke};

/// A store with the users root, alice (may write `a` to `m` and read `c` to `z`), bob (nothing).
struct Court {
    bench: Bench,
}

fn auth(change: AuthChange) -> Command {
    Command::Auth(change)
}

fn allow(role: &str, kind: PermissionKind, key: &'static str, end: &'static str) -> Command {
    let permission = Permission { kind, key: key.into(), range_end: end.into() };
    auth(AuthChange::RoleGrantPermission { role: role.into(), permission })
}

fn user_add(name: &str) -> Command {
    let password = Bytes::from_static(b"hash");
    auth(AuthChange::UserAdd { name: name.into(), password, no_password: false })
}

fn give(name: &str, role: &str) -> Command {
    auth(AuthChange::UserGrantRole { name: name.into(), role: role.into() })
}

impl Court {
    fn new() -> Court {
        let bench = Bench::new();
        for name in ["root", "alice", "bob"] {
            bench.ok(&user_add(name));
        }
        for role in ["low", "high"] {
            bench.ok(&auth(AuthChange::RoleAdd { name: role.into() }));
            bench.ok(&give("alice", role));
        }
        bench.ok(&allow("low", PermissionKind::Write, "a", "f"));
        bench.ok(&allow("high", PermissionKind::Write, "f", "m"));
        bench.ok(&allow("low", PermissionKind::Read, "c", "z"));
        bench.ok(&give("root", "root"));
        bench.ok(&auth(AuthChange::Enable));
        Court { bench }
    }

    fn ok(&self, command: &Command) {
        let done = self.ask_as(&Caller::System, command);
        done.unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"));
    }

    fn caller(&self, name: &str) -> Caller {
        Caller::User { name: name.into(), revision: self.bench.store.auth().revision }
    }

    fn ask_as(&self, caller: &Caller, command: &Command) -> Outcome {
        let index = self.bench.store.applied() + 1;
        let done = self.bench.store.apply_as([(index, caller, command)]);
        done.expect("memory does not fail").remove(0)
    }

    fn ask(&self, name: &str, command: &Command) -> Option<Refusal> {
        self.ask_as(&self.caller(name), command).err()
    }
}

const DENIED: Option<Refusal> = Some(Refusal::PermissionDenied);

fn with_prev(command: Command) -> Command {
    match command {
        Command::Put(put) => Command::Put(Put { prev_kv: true, ..put }),
        other => other,
    }
}

fn txn(success: Vec<TxnOp>, failure: Vec<TxnOp>) -> Command {
    Command::Txn(Txn { compares: Vec::new(), success, failure })
}

fn nested(command: Command) -> TxnOp {
    let Command::Txn(txn) = command else { panic!("only transactions nest") };
    TxnOp::Txn(txn)
}

fn remove(key: &'static str, end: &'static str) -> Command {
    Command::DeleteRange(DeleteRange { range: range(key, end), prev_kv: false })
}

fn get(key: &'static str, end: &'static str) -> TxnOp {
    TxnOp::Range(RangeRequest::new(range(key, end)))
}

// etcd's trap 24: two roles side by side cover a range, and what is told of the past is read.
#[test]
fn keys_are_judged_by_the_union_of_roles() {
    let court = Court::new();
    for allowed in
        [put("a", ""), put("l", ""), remove("b", "l"), with_prev(put("c", "")), delete("c", "m")]
    {
        assert_eq!(court.ask("alice", &allowed), None, "{allowed:?}");
        assert_eq!(court.ask("bob", &allowed), DENIED, "{allowed:?}");
        assert_eq!(court.ask("root", &allowed), None, "{allowed:?}");
    }
    for denied in [
        put("m", ""),
        put("0", ""),
        remove("a", "m\0"),
        remove("a", "\0"),
        with_prev(put("b", "")),
        delete("b", "d"),
    ] {
        assert_eq!(court.ask("alice", &denied), DENIED, "{denied:?}");
        assert_eq!(court.ask("root", &denied), None, "{denied:?}");
    }
}

// A branch that does not run is judged all the same: whether it would is a look at keys.
#[test]
fn transactions_are_judged_whole() {
    let court = Court::new();
    let on_m = || Command::Put(Put::new("m", ""));
    let put_m = || {
        let Command::Put(put) = on_m() else { unreachable!() };
        TxnOp::Put(put)
    };
    let compare = |key: &'static str, end: &'static str| {
        let (relation, target) = (Relation::Equal, CompareTarget::Version(0));
        let compares = vec![Compare { range: range(key, end), relation, target }];
        Command::Txn(Txn { compares, ..Txn::default() })
    };
    assert_eq!(court.ask("alice", &txn(vec![get("c", "z")], vec![])), None);
    assert_eq!(court.ask("alice", &compare("c", "z")), None);
    for denied in [
        txn(vec![], vec![put_m()]),
        txn(vec![nested(txn(vec![], vec![get("b", "")]))], vec![]),
        txn(vec![get("c", "\0")], vec![]),
        compare("b", ""),
        compare("c", "\0"),
    ] {
        assert_eq!(court.ask("alice", &denied), DENIED, "{denied:?}");
        assert_eq!(court.ask("root", &denied), None, "{denied:?}");
    }
    assert_eq!(court.ask_as(&Caller::Nobody, &txn(vec![], vec![])), Err(Refusal::UserNameEmpty));
}

// Whoever ends a lease deletes its keys.
#[test]
fn leases_are_judged_by_the_keys_on_them() {
    let court = Court::new();
    assert_eq!(court.ask("bob", &grant(1)), None);
    assert_eq!(court.ask_as(&Caller::Nobody, &grant(2)), Err(Refusal::UserNameEmpty));
    assert_eq!(court.ask("alice", &put_on("a", "", 1)), None);
    assert_eq!(court.ask("alice", &revoke(1)), None);
    court.ok(&grant(1));
    court.ok(&put_on("x", "", 1));
    assert_eq!(court.ask("alice", &put_on("a", "", 1)), DENIED);
    let put = Put { lease: Some(LeaseId(1)), ..Put::new("a", "") };
    assert_eq!(court.ask("alice", &txn(vec![TxnOp::Put(put)], vec![])), DENIED);
    assert_eq!(court.ask("alice", &revoke(1)), DENIED);
    // The group ends it when its time is up, whatever hangs on it.
    let end = Command::LeaseRevoke(LeaseRevoke { id: LeaseId(1) });
    assert!(court.ask_as(&Caller::System, &end).is_ok());
}

// Only root decides over others; the group itself is not asked who it is.
#[test]
fn what_concerns_everybody_is_for_root() {
    let court = Court::new();
    let alarm = AlarmChange { raise: false, member: 1, kind: AlarmKind::NoSpace };
    for command in [
        compact(1),
        Command::Alarm(alarm),
        Command::MemberRemove { id: 1 },
        user_add("eve"),
        give("alice", "root"),
        auth(AuthChange::Disable),
    ] {
        assert_eq!(court.ask("alice", &command), DENIED, "{command:?}");
        assert_eq!(court.ask("eve", &command), Some(Refusal::UserNotFound), "{command:?}");
        let nobody = court.ask_as(&Caller::Nobody, &command);
        assert_eq!(nobody, Err(Refusal::UserNameEmpty), "{command:?}");
    }
    assert_eq!(court.ask("root", &compact(1)), None);
    let member = court.ask("root", &Command::MemberRemove { id: 1 });
    assert_eq!(member, Some(Refusal::MemberNotFound), "root gets as far as the table");
    assert_eq!(court.ask("root", &auth(AuthChange::Disable)), None);
    assert!(court.ask_as(&Caller::Nobody, &put("any", "")).is_ok(), "off is off");
}

// The race of trap 24: between the look at the token and the command, permissions were taken away.
#[test]
fn callers_of_an_older_auth_revision_are_refused() {
    let court = Court::new();
    let (alice, root) = (court.caller("alice"), court.caller("root"));
    let taken = AuthChange::UserRevokeRole { name: "alice".into(), role: "low".into() };
    court.ok(&auth(taken));
    for key in ["a", "g"] {
        assert_eq!(court.ask_as(&alice, &put(key, "")), Err(Refusal::AuthRevisionOld));
        assert_eq!(court.ask_as(&root, &put(key, "")), Err(Refusal::AuthRevisionOld));
    }
    assert_eq!(court.ask("alice", &put("a", "")), DENIED);
    assert_eq!(court.ask("alice", &put("g", "")), None);
    // A password was right at a revision that is no more: it may have been changed since.
    let before = court.bench.store.auth().revision - 1;
    let token =
        |revision| auth(AuthChange::Authenticate { user: "alice".into(), revision, token: None });
    assert_eq!(court.ask_as(&Caller::System, &token(before)), Err(Refusal::AuthRevisionOld));
    assert!(court.ask_as(&Caller::System, &token(before + 1)).is_ok());
    assert!(court.ask_as(&alice, &grant(9)).is_ok(), "to be a user is enough for a lease");
}

// Root could lock everybody out, itself included.
#[test]
fn root_stays_root_while_anything_is_checked() {
    let court = Court::new();
    let root = || "root".to_owned();
    court.ok(&auth(AuthChange::RoleAdd { name: root() }));
    for change in [
        AuthChange::UserDelete { name: root() },
        AuthChange::RoleDelete { name: root() },
        AuthChange::UserRevokeRole { name: root(), role: root() },
    ] {
        let refused = court.ask("root", &auth(change.clone()));
        assert_eq!(refused, Some(Refusal::InvalidAuthManagement), "{change:?}");
    }
    for end in ["a", "b"] {
        let reversed = court.ask("root", &allow("low", PermissionKind::Read, "b", end));
        assert_eq!(reversed, Some(Refusal::InvalidAuthManagement));
    }
    let no_key = court.ask("root", &allow("low", PermissionKind::Read, "", "\0"));
    assert_eq!(no_key, Some(Refusal::InvalidAuthManagement));
}

// A member that restarts, or is sent the state of another, must go on refusing.
#[test]
fn users_are_in_the_state_that_is_loaded_and_sent() {
    let court = Court::new();
    let expected = court.bench.store.auth();
    let mut bytes = Vec::new();
    court.bench.store.checkpoint().unwrap().write(&mut bytes).unwrap();
    let engine = Mem::volatile();
    drystone_kv::checkpoint::load(&engine, &mut bytes.as_slice()).unwrap();
    let copy = Store::open(engine).unwrap();
    assert_eq!(copy.auth(), expected);
    assert_eq!(copy.auth_epoch(), expected.revision);
    let fresh = Arc::new(Store::open(Mem::volatile()).unwrap());
    assert_eq!(fresh.auth_epoch(), 0);
    let engine = Mem::volatile();
    drystone_kv::checkpoint::load(&engine, &mut bytes.as_slice()).unwrap();
    fresh.replace(engine).unwrap();
    assert_eq!((fresh.auth(), fresh.auth_epoch()), (expected.clone(), expected.revision));
}
