//! Calls at any member, and members that come and go.

use super::*;

/// What a member has answered, it also shows to whoever reads it without asking the others; after
/// `linearize`, so does every member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_member_takes_any_call() {
    let party = Party::new(3, |_| {}).await;
    for id in 1..=3 {
        let (key, value) = (format!("k{id}"), format!("v{id}"));
        set(&party.at(id), &key, &value).await;
        assert_eq!(get(&party.at(id), &key), Some(value.clone()), "at member {id}, at once");
        for other in 1..=3 {
            party.at(other).linearize().await.unwrap();
            assert_eq!(get(&party.at(other), &key), Some(value.clone()), "at member {other}");
        }
    }
    assert_eq!(party.agree().await, 4);
}

/// A single member needs nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn group_of_one_serves_and_comes_back() {
    for engine in EngineKind::ALL {
        let mut party = Party::new(1, |_| {}).await;
        party.kill(1).await;
        party.disks.clear();
        party.tune = match engine {
            EngineKind::Memory => |options| options.store.engine = Some(EngineKind::Memory),
            EngineKind::Btree => |options| options.store.engine = Some(EngineKind::Btree),
            EngineKind::Lsm => |options| options.store.engine = Some(EngineKind::Lsm),
        };
        let mut one = party.start(1).await;
        for i in 0..100 {
            set(&one, &format!("k{}", i % 10), &i.to_string()).await;
        }
        let before = one.hash(None).expect("a sound store has a hash");
        for _ in 0..2 {
            drop(one);
            party.kill(1).await;
            one = party.start(1).await;
            one.linearize().await.unwrap();
            assert_eq!(one.hash(None).expect("a sound store has a hash"), before, "{engine}");
        }
        assert_eq!(set(&one, "more", "1").await, before.revision + 1);
    }
}

/// Callers do not notice that the leader is gone, beyond the time of an election.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn group_goes_on_without_its_leader() {
    let mut party = Party::new(3, |_| {}).await;
    let leader = party.leader().await;
    set(&party.at(leader), "a", "1").await;
    party.kill(leader).await;
    let other = party.ids()[0];
    set(&party.at(other), "a", "2").await;
    party.at(other).linearize().await.unwrap();
    assert_eq!(get(&party.at(other), "a").as_deref(), Some("2"));
    party.start(leader).await;
    set(&party.at(leader), "a", "3").await;
    assert_eq!(party.agree().await, 4);
}

/// Who is cut off shows what it has to whoever wants no more, and says nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_that_is_cut_off_says_what_it_has_and_no_more() {
    let party = Party::new(3, |options| options.request_timeout = Duration::from_millis(700)).await;
    let leader = party.leader().await;
    set(&party.at(leader), "a", "1").await;
    party.agree().await;
    party.isolate(leader);
    let alone = party.at(leader);
    assert!(matches!(alone.linearize().await, Err(Error::TimedOut)));
    let lost = alone.propose(put("a", "lost")).await;
    assert!(matches!(lost, Err(Error::TimedOut | Error::LeaderLost)), "{lost:?}");
    assert_eq!(get(&alone, "a").as_deref(), Some("1"));
    let other = party.ids().into_iter().find(|id| *id != leader).expect("it is not alone");
    while party.at(other).propose(put("a", "2")).await.is_err() {}
    party.heal();
    party.leader().await;
    alone.linearize().await.unwrap();
    assert_eq!(get(&alone, "a").as_deref(), Some("2"));
    party.agree().await;
}

/// A member that stops in order hands over first: nobody waits for an election.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_stops_hands_over() {
    let party = Party::new(3, |options| options.election = Duration::from_secs(2)).await;
    let leader = party.leader().await;
    set(&party.at(leader), "a", "1").await;
    let stopping = party.exchange.lock().replicas.remove(&leader).unwrap();
    stopping.shutdown().await.unwrap();
    party.channels.leave(leader);
    assert!(matches!(stopping.propose(put("a", "x")).await, Err(Error::Stopped)));
    let began = tokio::time::Instant::now();
    set(&party.at(party.ids()[0]), "a", "2").await;
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
}

/// The leadership goes where it is told to, and nowhere that it cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_moved() {
    let party = Party::new(3, |_| {}).await;
    let leader = party.leader().await;
    set(&party.at(leader), "a", "1").await;
    let heir = party.follower().await;
    assert!(matches!(party.at(heir).move_leader(heir).await, Err(Error::NotLeader)));
    assert!(matches!(party.at(leader).move_leader(99).await, Err(Error::BadTransferee)));
    party.at(leader).move_leader(heir).await.unwrap();
    assert_eq!(party.leader().await, heir);
    set(&party.at(leader), "a", "2").await;
}

/// More than the queue holds is refused at once: "too many requests", and not memory that grows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused() {
    let party = Party::new(3, |options| {
        options.store.proposals_max = 10;
        options.request_timeout = Duration::from_secs(2);
    });
    let party = party.await;
    let leader = party.leader().await;
    set(&party.at(leader), "a", "1").await;
    party.isolate(leader);
    let alone = party.at(leader);
    let calls: Vec<_> = (0..50)
        .map(|i| {
            let alone = alone.clone();
            tokio::spawn(async move { alone.propose(put(&format!("k{i}"), "v")).await })
        })
        .collect();
    let mut busy = 0;
    for call in calls {
        busy += usize::from(matches!(call.await.unwrap(), Err(Error::Busy)));
    }
    assert_eq!(busy, 40);
}
