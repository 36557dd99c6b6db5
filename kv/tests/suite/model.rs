//! Random operations on a store, beside a model of etcd's: every answer the same, every refusal the
//! same, the past as readable as the present.

use drystone_kv::Auth;
use drystone_kv::auth::Permission;
use drystone_kv::command::{Command, Txn, TxnOp};
use drystone_kv::limits::Limits;
use drystone_kv::store::Status;

use crate::common::{Bench, each_seed, is_slow, refusal};
use crate::requests::Requests;
use drystone_kv_model::{Model, Users, allowed};

/// One run: a store and its model side by side.
struct World {
    requests: Requests,
    bench: Bench,
    oracle: Model,
    limits: Limits,
    /// Percentage of commands that are applied although the limits refuse them: a journal may hold
    /// what the limits of today do not allow.
    unlimited_percent: u32,
    commands: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut requests = Requests::new(seed);
        // Small enough that the budget of operations runs out now and then.
        let txn_ops_max = if requests.percent(50) { 128 } else { 6 };
        let unlimited_percent = if requests.percent(30) { 100 } else { 0 };
        World {
            requests,
            bench: Bench::new(),
            oracle: Model::new(),
            limits: Limits { txn_ops_max, ..Limits::default() },
            unlimited_percent,
            commands: 0,
        }
    }

    fn step(&mut self) {
        let command = self.requests.command(&self.oracle);
        let limited = self.limits.check(&command);
        assert_eq!(limited, allowed(&command, &self.limits), "limits of {command:?}");
        if limited.is_ok() || self.requests.percent(self.unlimited_percent) {
            self.commands += 1;
            let expected = self.oracle.apply(&command);
            assert_eq!(self.bench.apply(&command), expected, "{command:?}");
        }
        self.sweep_a_little();
        self.check_status();
        self.read_a_little();
    }

    fn sweep_a_little(&mut self) {
        if self.requests.percent(30) {
            self.bench.store.sweep_step().expect("memory does not fail");
        }
    }

    fn check_status(&self) {
        let Status { revision, compacted, applied, keys, leases, alarms, swept, engine: _ } =
            self.bench.store.status();
        let oracle = &self.oracle;
        assert_eq!((revision, compacted), (oracle.revision, oracle.compacted));
        assert_eq!(applied, self.commands, "the journal's position moves with refusals too");
        assert_eq!(keys, oracle.present().len() as u64);
        assert_eq!(leases, oracle.leases.len());
        assert_eq!(alarms, oracle.alarms.iter().copied().collect::<Vec<_>>());
        assert_eq!(*self.bench.store.cluster(), oracle.cluster);
        assert_eq!(self.bench.store.members(), oracle.cluster.members);
        assert_eq!(users(&self.bench.store.auth()), oracle.users.sorted());
        assert!(swept <= compacted, "nothing is swept that is not compacted");
    }

    fn read_a_little(&mut self) {
        for _ in 0..3 {
            let request = self.requests.read(&self.oracle);
            let expected = self.oracle.range(&request);
            assert_eq!(self.bench.range(&request), expected, "{request:?}");

            // The same question by the other way of asking it.
            let success = vec![TxnOp::Range(request)];
            let txn = Txn { success, ..Txn::default() };
            let read = refusal(self.bench.store.read_txn(&txn));
            assert_eq!(read, self.oracle.read_txn(&txn), "{txn:?}");
        }
        let txn = self.requests.read_txn(&self.oracle);
        let read = refusal(self.bench.store.read_txn(&txn));
        assert_eq!(read, self.oracle.read_txn(&txn), "{txn:?}");
        for (&id, &ttl) in &self.oracle.leases {
            let lease = self.bench.store.lease(id).expect("it was granted");
            assert_eq!(lease.ttl, ttl);
            assert!(lease.keys.iter().eq(&self.oracle.keys_of(id)), "keys of lease {id}");
        }
    }
}

/// Users and roles as the model writes them.
fn users(auth: &Auth) -> Users {
    let users = auth.users.iter().map(|(name, user)| {
        let roles = user.roles.iter().cloned().collect();
        (name.clone(), user.password.clone(), user.no_password, roles)
    });
    let permission = |one: &Permission| (one.key.clone(), one.range_end.clone(), one.kind);
    let roles =
        auth.roles.iter().map(|(name, role)| (name.clone(), role.iter().map(permission).collect()));
    let (users, roles) = (users.collect(), roles.collect());
    Users { enabled: auth.enabled, revision: auth.revision, users, roles }
}

// Every rule of the data model at once, in mixtures that no one would write down: the store answers
// as the model does, now and at every revision that is still readable.
#[test]
fn a_store_answers_as_the_model_does() {
    let steps = if is_slow() { 400 } else { 250 };
    each_seed("a_store_answers_as_the_model_does", 40, 1500, |seed| {
        let mut world = World::new(seed);
        for _ in 0..steps {
            world.step();
        }
        // All that is readable, read whole.
        world.bench.sweep();
        assert_eq!(world.bench.store.swept(), world.oracle.compacted);
        for at in world.oracle.compacted.unwrap_or(0)..=world.oracle.revision {
            let mut request =
                drystone_kv::command::RangeRequest::new(drystone_kv::key_range::KeyRange::all());
            request.revision = Some(at);
            assert_eq!(world.bench.range(&request), world.oracle.range(&request), "at {at}");
        }
    });
}

// The generator must reach what it is for: a model test that only ever refuses proves nothing.
#[test]
fn random_commands_reach_every_kind_of_answer() {
    use drystone_kv::Refusal;
    let mut requests = Requests::new(7);
    let mut oracle = Model::new();
    let limits = Limits { txn_ops_max: 6, ..Limits::default() };
    let mut replies = [0; 9];
    let mut refused = std::collections::BTreeMap::<&str, u32>::new();
    let (mut nested, mut compared) = (0, 0);
    for _ in 0..20_000 {
        let command = requests.command(&oracle);
        let outcome = allowed(&command, &limits).and_then(|()| oracle.apply(&command));
        if oracle.history.len() > 1000 {
            oracle = Model::new();
        }
        let Err(refusal) = outcome else {
            let kind = match &command {
                Command::Put(_) => 0,
                Command::DeleteRange(_) => 1,
                Command::Txn(txn) => {
                    let has_txn = |ops: &[TxnOp]| ops.iter().any(|op| matches!(op, TxnOp::Txn(_)));
                    nested += u32::from(has_txn(&txn.success) || has_txn(&txn.failure));
                    compared += u32::from(!txn.compares.is_empty());
                    2
                }
                Command::Compact(_) => 3,
                Command::LeaseGrant(_) => 4,
                Command::LeaseRevoke(_) => 5,
                Command::Alarm(_) => 6,
                Command::Auth(_) => 7,
                _ => {
                    assert!(command.is_of_members());
                    8
                }
            };
            replies[kind] += 1;
            continue;
        };
        let name = match refusal {
            Refusal::EmptyKey => "empty key",
            Refusal::KeyNotFound => "key not found",
            Refusal::TooManyOps => "too many",
            Refusal::DuplicateKey => "duplicate",
            Refusal::Compacted { .. } => "compacted",
            Refusal::FutureRevision { .. } => "future",
            Refusal::LeaseNotFound => "lease not found",
            Refusal::LeaseExists => "lease exists",
            Refusal::LeaseTtlTooLarge => "ttl",
            Refusal::NoSpace => "no space",
            Refusal::Corrupt => "corrupt",
            Refusal::TooLarge => "too large",
            Refusal::NoCluster => "no cluster",
            Refusal::MemberExists => "member exists",
            Refusal::PeerUrlsExist => "peer URLs exist",
            Refusal::MemberNotFound => "member not found",
            Refusal::MemberRemoved => "member removed",
            Refusal::MemberNotLearner => "not a learner",
            Refusal::TooManyLearners => "too many learners",
            Refusal::LastVoter => "last voter",
            Refusal::AuthNotEnabled => "auth is off",
            Refusal::AuthFailed => "auth failed",
            Refusal::AuthRevisionOld => "auth revision old",
            Refusal::UserNameEmpty => "user name empty",
            Refusal::RoleNameEmpty => "role name empty",
            Refusal::RootUserMissing => "no root user",
            Refusal::RootRoleMissing => "root user is not root",
            Refusal::UserExists => "user exists",
            Refusal::UserNotFound => "user not found",
            Refusal::RoleExists => "role exists",
            Refusal::RoleNotFound => "role not found",
            Refusal::RoleNotGranted => "role not granted",
            Refusal::PermissionNotGranted => "permission not granted",
            Refusal::InvalidAuthManagement => "invalid auth management",
            other => panic!("nothing here can be {other}"),
        };
        *refused.entry(name).or_default() += 1;
    }
    println!(
        "answered {replies:?}, nested {nested}, with compares {compared}, refused {refused:?}"
    );
    assert!(replies.iter().all(|&count| count >= 20), "{replies:?}");
    assert!(nested >= 50 && compared >= 50, "{nested} {compared}");
    assert_eq!(refused.len(), 32, "{refused:?}");
}
