//! Members that are added, promoted, removed and replaced.

use drystone_kv::Refusal;
use drystone_kv::members::LEARNERS_MAX;
use drystone_raft::Suffrage;

use super::*;

fn add(member: Member) -> Command {
    Command::MemberAdd { member, learners_max: LEARNERS_MAX }
}

/// Waits until the group counts a member as this.
async fn counts_as(replica: &Replica, id: NodeId, suffrage: Option<Suffrage>) {
    loop {
        let members = replica.group_status().await.expect("it runs").members;
        if members.member(id).map(|member| member.suffrage) == suffrage {
            return;
        }
        pause().await;
    }
}

/// The table is founded by the first leader, once, and is the same everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_is_founded_once() {
    let party = Party::new(3, |_| {}).await;
    for id in 1..=3 {
        while party.at(id).cluster().id.is_none() {
            pause().await;
        }
        let cluster = party.at(id).cluster();
        assert_eq!((cluster.id, &cluster.members), (Some(7), &party.founders));
    }
}

/// A group of one that is told of a second goes on while that one has not come, and has two when
/// it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_that_is_added_gets_its_vote_when_it_has_the_data() {
    let mut party = Party::new(1, |_| {}).await;
    let one = party.at(1);
    for i in 0..50 {
        set(&one, &format!("k{i}"), "v").await;
    }
    one.change_members(add(member(2))).await.unwrap();
    set(&one, "alone", "still").await;
    counts_as(&one, 2, Some(Suffrage::Learner)).await;
    party.start_with(2, Vec::new()).await;
    counts_as(&one, 2, Some(Suffrage::Voter)).await;
    set(&party.at(2), "both", "now").await;
    party.agree().await;
    assert_eq!(party.at(2).cluster().members.len(), 2);
}

/// A learner gets all and has no vote, until it is promoted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn learner_is_promoted() {
    let mut party = Party::new(1, |_| {}).await;
    let one = party.at(1);
    let mut learner = member(2);
    learner.is_learner = true;
    one.change_members(add(learner)).await.unwrap();
    let mut third = member(3);
    third.is_learner = true;
    let refused = one.change_members(add(third)).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::TooManyLearners))), "{refused:?}");
    assert!(!one.progress().await.unwrap().is_in_sync(2), "it is not there");
    let two = party.start_with(2, Vec::new()).await;
    for i in 0..50 {
        set(&one, &format!("k{i}"), "v").await;
    }
    party.agree().await;
    counts_as(&one, 2, Some(Suffrage::Learner)).await;
    assert!(one.progress().await.unwrap().is_in_sync(2));
    two.change_members(Command::MemberPromote { id: 2 }).await.unwrap();
    counts_as(&one, 2, Some(Suffrage::Voter)).await;
    party.kill(1).await;
    let limit = Duration::from_millis(500);
    let alone = tokio::time::timeout(limit, two.propose(put("a", "1"))).await;
    assert!(alone.is_err(), "one of two is no quorum");
}

/// A member that is dead for good is replaced by one of another name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_member_is_replaced() {
    let mut party = Party::new(3, |_| {}).await;
    let leader = party.leader().await;
    set(&party.at(leader), "a", "1").await;
    let dead = party.follower().await;
    party.kill(dead).await;
    let left = party.at(leader);
    left.change_members(Command::MemberRemove { id: dead }).await.unwrap();
    counts_as(&left, dead, None).await;
    left.change_members(add(member(4))).await.unwrap();
    party.start_with(4, Vec::new()).await;
    counts_as(&left, 4, Some(Suffrage::Voter)).await;
    party.agree().await;
    // Its name never returns.
    let back = left.change_members(add(member(dead))).await;
    assert!(matches!(back, Err(Error::Refused(Refusal::MemberRemoved))), "{back:?}");
    // The new one counts: with it, any other may be missing.
    let other = party.ids().into_iter().find(|id| *id != 4 && *id != leader).unwrap();
    party.kill(other).await;
    set(&party.at(4), "a", "2").await;
}

/// The only member is told to go as soon as another is named in its place, which has not even
/// started. It stays until that one has its data and its vote: nobody else has either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_voter_stays_until_another_has_its_vote() {
    let mut party = Party::new(1, |_| {}).await;
    let one = party.at(1);
    set(&one, "a", "1").await;
    one.change_members(add(member(2))).await.unwrap();
    one.change_members(Command::MemberRemove { id: 1 }).await.unwrap();
    counts_as(&one, 1, Some(Suffrage::Voter)).await;
    let two = party.start_with(2, Vec::new()).await;
    counts_as(&two, 2, Some(Suffrage::Voter)).await;
    counts_as(&two, 1, None).await;
    party.kill(1).await;
    set(&two, "a", "2").await;
    assert_eq!(two.cluster().members.len(), 1);
}

/// A leader may be told to remove itself: the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_removes_itself() {
    let party = Party::new(3, |_| {}).await;
    let leader = party.leader().await;
    set(&party.at(leader), "a", "1").await;
    party.at(leader).change_members(Command::MemberRemove { id: leader }).await.unwrap();
    let other =
        party.at(party.ids().into_iter().find(|id| *id != leader).expect("it is not alone"));
    counts_as(&other, leader, None).await;
    party.kill(leader).await;
    set(&other, "a", "2").await;
    assert!(other.cluster().is_removed(leader));
    party.agree().await;
}
