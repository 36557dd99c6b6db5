//! Members of a group: who is refused, and what is never forgotten.

use std::sync::Arc;

use bytes::Bytes;
use drystone_kv::command::{AlarmChange, AlarmKind, Command};
use drystone_kv::engine::{Batch, Engine as _, Space};
use drystone_kv::mem::Mem;
use drystone_kv::members::{Cluster, LEARNERS_MAX, Member};
use drystone_kv::reply::{ClusterReply, Reply};
use drystone_kv::{Error, Refusal, Store};

use crate::common::{Bench, dump, put};

fn voter(id: u64) -> Member {
    let peer_urls = vec![format!("http://m{id}:2380")];
    Member { id, peer_urls, ..Member::default() }
}

fn learner(id: u64) -> Member {
    Member { is_learner: true, ..voter(id) }
}

fn init(members: &[Member]) -> Command {
    Command::ClusterInit { cluster: 77, members: members.to_vec() }
}

fn add(member: Member) -> Command {
    Command::MemberAdd { member, learners_max: LEARNERS_MAX }
}

/// A store of a group of three voters.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.ok(&init(&[voter(3), voter(1), voter(2)]));
    bench
}

/// The cluster as the reply shows it.
fn reply(bench: &Bench, command: &Command) -> Arc<Cluster> {
    match bench.ok(command) {
        Reply::Cluster(ClusterReply { cluster, .. }) => cluster,
        other => panic!("{other:?}"),
    }
}

fn ids(cluster: &Cluster) -> Vec<u64> {
    cluster.members.iter().map(|member| member.id).collect()
}

// Every member of a new group proposes what it was configured with; one of them is first.
#[test]
fn the_first_to_form_a_cluster_wins_and_others_are_told() {
    let bench = bench();
    let first = bench.store.cluster();
    assert_eq!((first.id, ids(&first)), (Some(77), vec![1, 2, 3]));
    let other = Command::ClusterInit { cluster: 5, members: vec![voter(9)] };
    assert_eq!(reply(&bench, &other), first);
    assert_eq!(bench.store.cluster(), first);
    assert_eq!(bench.store.members(), first.members);
}

// A cluster that nobody can lead, or whose members cannot be told apart, is never formed.
#[test]
fn a_cluster_is_formed_of_distinct_members_with_a_vote() {
    let refused = |members: &[Member]| {
        let bench = Bench::new();
        let refusal = bench.apply(&init(members)).expect_err("it cannot be formed");
        assert_eq!(*bench.store.cluster(), Cluster::default(), "nothing is left of it");
        refusal
    };
    assert_eq!(refused(&[]), Refusal::LastVoter);
    assert_eq!(refused(&[learner(1)]), Refusal::LastVoter);
    assert_eq!(refused(&[voter(1), voter(1)]), Refusal::MemberExists);
    let twin = Member { id: 2, ..voter(1) };
    assert_eq!(refused(&[voter(1), twin]), Refusal::PeerUrlsExist);
    assert_eq!(refused(&[voter(0)]), Refusal::MemberNotFound);
    let bench = Bench::new();
    assert_eq!(bench.apply(&add(voter(1))), Err(Refusal::NoCluster));
    assert_eq!(bench.apply(&Command::MemberRemove { id: 1 }), Err(Refusal::MemberNotFound));
}

// A member that was removed may be down, and wake up years later: its id must mean it for ever.
#[test]
fn a_removed_id_never_returns() {
    let bench = bench();
    let left = reply(&bench, &Command::MemberRemove { id: 2 });
    assert_eq!((ids(&left), left.is_removed(2)), (vec![1, 3], true));
    let urls = vec!["http://new:2380".to_owned()];
    for command in [
        add(voter(2)),
        Command::MemberRemove { id: 2 },
        Command::MemberPromote { id: 2 },
        Command::MemberUpdate { id: 2, peer_urls: urls.clone() },
        Command::ClusterForce { cluster: 1, member: voter(2) },
    ] {
        assert_eq!(bench.apply(&command), Err(Refusal::MemberRemoved), "{command:?}");
    }
    // What it said of itself was on the way when it was removed.
    let said = Command::MemberPublish { id: 2, name: "two".into(), client_urls: urls };
    assert_eq!(bench.apply(&said), Err(Refusal::MemberNotFound));
    // Its address is free.
    let heir = Member { id: 4, ..voter(2) };
    assert_eq!(ids(&reply(&bench, &add(heir))), [1, 3, 4]);
}

// Two members at one address would be one member with two votes.
#[test]
fn peer_urls_are_one_members() {
    let bench = bench();
    let twin = Member { id: 4, ..voter(2) };
    assert_eq!(bench.apply(&add(twin)), Err(Refusal::PeerUrlsExist));
    let update = |id, of| Command::MemberUpdate { id, peer_urls: voter(of).peer_urls };
    assert_eq!(bench.apply(&update(1, 2)), Err(Refusal::PeerUrlsExist));
    assert_eq!(bench.apply(&update(9, 9)), Err(Refusal::MemberNotFound));
    // Its own are its own, and a change leaves everything else as it is.
    bench.ok(&update(1, 1));
    let moved = reply(&bench, &update(1, 8));
    assert_eq!(moved.member(1), Some(&Member { peer_urls: voter(8).peer_urls, ..voter(1) }));
}

// A new member begins as a learner: it slows nobody down until it has caught up.
#[test]
fn learners_are_few_and_are_promoted_once() {
    let bench = bench();
    assert_eq!(bench.apply(&add(voter(1))), Err(Refusal::MemberExists));
    bench.ok(&add(learner(4)));
    assert_eq!(bench.apply(&add(learner(5))), Err(Refusal::TooManyLearners));
    bench.ok(&Command::MemberAdd { member: learner(5), learners_max: 2 });
    bench.ok(&add(voter(6)));
    let promoted = reply(&bench, &Command::MemberPromote { id: 4 });
    assert_eq!(promoted.voters().map(|member| member.id).collect::<Vec<_>>(), [1, 2, 3, 4, 6]);
    let again = Command::MemberPromote { id: 4 };
    assert_eq!(bench.apply(&again), Err(Refusal::MemberNotLearner));
    assert_eq!(bench.apply(&Command::MemberPromote { id: 9 }), Err(Refusal::MemberNotFound));
}

// Without a voter nothing can be decided any more, not even to add one.
#[test]
fn the_last_voter_stays() {
    let bench = bench();
    bench.ok(&add(learner(4)));
    bench.ok(&Command::MemberRemove { id: 1 });
    bench.ok(&Command::MemberRemove { id: 2 });
    assert_eq!(bench.apply(&Command::MemberRemove { id: 3 }), Err(Refusal::LastVoter));
    bench.ok(&Command::MemberRemove { id: 4 });
    assert_eq!(ids(&bench.store.cluster()), [3]);
}

// Clients find a group by what its members publish.
#[test]
fn a_member_publishes_its_name_and_where_clients_reach_it() {
    let bench = bench();
    let client_urls = vec!["http://m1:2379".to_owned()];
    let (name, urls) = ("one".to_owned(), client_urls.clone());
    let cluster = reply(&bench, &Command::MemberPublish { id: 1, name, client_urls: urls });
    assert_eq!(cluster.member(1), Some(&Member { name: "one".into(), client_urls, ..voter(1) }));
}

// After a disaster one member goes on, and no other may come back with what it knows.
#[test]
fn a_forced_cluster_is_one_member_alone() {
    let bench = bench();
    bench.ok(&add(learner(4)));
    let survivor = |member| Command::ClusterForce { cluster: 99, member };
    assert_eq!(bench.apply(&survivor(learner(2))), Err(Refusal::LastVoter));
    let alone = reply(&bench, &survivor(voter(2)));
    assert_eq!((alone.id, ids(&alone)), (Some(99), vec![2]));
    assert_eq!(alone.removed, [1, 3, 4].into());
    // It may as well go on as somebody new, at an address that was another's.
    let alone = reply(&bench, &survivor(Member { id: 9, ..voter(1) }));
    assert_eq!((ids(&alone), alone.removed.len()), (vec![9], 4));
    // A backup of a store that never had a cluster is given one.
    let fresh = Bench::new();
    assert_eq!(ids(&reply(&fresh, &survivor(voter(1)))), [1]);
}

// Members are no keys: no revision, no watcher, no quota. And an alarm, which may be about a member
// that has to go, must not be in the way; it stands until it is cleared, as in etcd.
#[test]
fn members_make_no_revision_and_heed_no_alarm() {
    let bench = bench();
    bench.ok(&put("k", "v"));
    for kind in [AlarmKind::NoSpace, AlarmKind::Corrupt] {
        bench.ok(&Command::Alarm(AlarmChange { raise: true, member: 3, kind }));
    }
    let replied = bench.ok(&Command::MemberRemove { id: 3 });
    let cluster = bench.store.cluster();
    assert_eq!(replied, Reply::Cluster(ClusterReply { revision: 2, cluster }));
    assert_eq!(bench.store.status().alarms.len(), 2);
}

// Whoever looks at the members holds what it has seen, and nothing is copied to look.
#[test]
fn looking_is_free_and_what_was_seen_stays() {
    let bench = bench();
    let (before, again) = (bench.store.cluster(), bench.store.cluster());
    assert!(Arc::ptr_eq(&before, &again));
    bench.ok(&Command::MemberRemove { id: 1 });
    assert_eq!((ids(&before), ids(&bench.store.cluster())), (vec![1, 2, 3], vec![2, 3]));
}

// What is too large to be read back is refused when it is applied, too: whatever has applied it
// before has it in its engine.
#[test]
fn what_could_not_be_read_back_never_comes_in() {
    let bench = bench();
    let before = dump(&*bench.store.engine());
    let long = Member { name: "n".repeat(1025), ..voter(4) };
    let many = Member { client_urls: vec![String::new(); 65], ..voter(4) };
    let url = Member { peer_urls: vec!["u".repeat(2049)], ..voter(4) };
    for member in [long, many, url] {
        let force = Command::ClusterForce { cluster: 1, member: member.clone() };
        for command in [add(member), force] {
            assert_eq!(bench.apply(&command), Err(Refusal::TooLarge), "{command:?}");
        }
    }
    let after = dump(&*bench.store.engine());
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!((after.len(), changed), (before.len(), 1), "but for the position");
}

// An engine whose table of members makes no sense is not taken for one that has none.
#[test]
fn a_damaged_table_of_members_does_not_open() {
    let bench = bench();
    bench.ok(&Command::MemberRemove { id: 2 });
    let sound = dump(&*bench.store.engine());
    let open = |change: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new();
        for (space, key, value) in &sound {
            batch.put(*space, key, value.clone());
        }
        change(&mut batch);
        let engine = Mem::volatile();
        engine.write(batch).expect("memory does not fail");
        Store::open(engine)
    };
    let key = |prefix: &[u8], id: u64| [prefix, &id.to_be_bytes()].concat();
    let (one, three) = (key(b"member/", 1), key(b"member/", 3));
    let found = sound.iter().find(|(_, key, _)| *key == one);
    let bytes = found.expect("the format has it there").2.clone();
    assert_eq!(open(&|_| {}).expect("sound").cluster(), bench.store.cluster());
    let put = |key: &[u8], value: Bytes| {
        let key = key.to_vec();
        move |batch: &mut Batch| batch.put(Space::Meta, &key, value.clone())
    };
    type Damage = Box<dyn Fn(&mut Batch)>;
    let damages: [Damage; 8] = [
        Box::new(put(&one, bytes.slice(1..))),
        Box::new(put(&one, [&bytes[..], b"\0"].concat().into())),
        Box::new(put(&three, bytes.clone())),
        Box::new(put(&key(b"removed/", 1), Bytes::new())),
        Box::new(put(&one[..14], bytes)),
        Box::new(put(b"cluster", Bytes::from_static(b"seven"))),
        Box::new(|batch| batch.delete(Space::Meta, b"cluster")),
        Box::new(move |batch| {
            batch.delete(Space::Meta, &one);
            batch.delete(Space::Meta, &three);
        }),
    ];
    for (n, damage) in damages.iter().enumerate() {
        assert!(matches!(open(damage), Err(Error::BadRecord { .. })), "damage {n}");
    }
}
