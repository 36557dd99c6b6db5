//! Members that come, change, and go.

use rustix::process::Signal;

use super::fleet::{Fleet, wait};

/// The id in what `member add` says: `Member <id> added to cluster …`.
fn added(told: &str) -> String {
    let id = told.split_whitespace().nth(1);
    id.unwrap_or_else(|| panic!("no id in: {told}")).to_owned()
}

/// What `member add` says that the newcomer is to be told.
fn initial_cluster(told: &str) -> String {
    let line = told.lines().find_map(|line| line.strip_prefix("ETCD_INITIAL_CLUSTER="));
    line.unwrap_or_else(|| panic!("no cluster in: {told}")).trim_matches('"').to_owned()
}

/// Adds a member, starts it, and waits until it has heard of a leader; its number and id.
pub(super) fn add(fleet: &mut Fleet, at: usize, words: &[&str]) -> (usize, String) {
    let number = fleet.newcomer();
    let (name, url) = (format!("m{number}"), format!("--peer-urls={}", fleet.peer_url(number)));
    let told = fleet.ctl_ok(&[at], &[&["member", "add", &name, &url], words].concat());
    fleet.set_cluster(number, &initial_cluster(&told), "existing");
    fleet.launch(number);
    fleet.wait_for(number);
    (number, added(&told))
}

/// A whole life: it learns, votes, moves, and goes.
#[test]
fn member_learns_votes_moves_and_goes() {
    let test = "member_learns_votes_moves_and_goes";
    let Some(mut fleet) = Fleet::start(test, 3) else { return };
    fleet.ctl_ok(&[0], &["put", "k", "v"]);
    let (new, id) = add(&mut fleet, 1, &["--learner"]);
    assert_eq!(format!("{:x}", fleet.id(new)), id);
    let listed = fleet.ctl_ok(&[2], &["member", "list"]);
    let line = listed.lines().find(|line| line.starts_with(&id)).expect("it is listed");
    assert!(line.contains(", started, m3, ") && line.ends_with(", true"), "{line}");
    let said = fleet.ctl(&[new], &["put", "k", "w"]);
    assert!(!said.worked && said.err.contains("rpc not supported for learner"), "{said:?}");
    let learned = wait(|| {
        let said = fleet.ctl(&[new], &["get", "k", "--consistency=s", "--print-value-only"]);
        (said.out == "v").then_some(())
    });
    assert!(learned.is_some(), "a learner gets all data\n{}", fleet.log(new));

    let promoted = wait(|| {
        let said = fleet.ctl(&[0], &["member", "promote", &id]);
        let early = said.err.contains("in sync with leader");
        assert!(said.worked || early, "{said:?}");
        said.worked.then_some(said.out)
    });
    let promoted = promoted.expect("a learner that has all data can be promoted");
    assert!(promoted.contains(&format!("Member {id:>16} promoted in cluster")), "{promoted}");
    assert!(wait(|| fleet.ctl(&[new], &["put", "k", "w"]).worked.then_some(())).is_some());
    assert_eq!(fleet.get(0, "k"), "w");

    // It moves to another port. Its other flags still say where it began, which etcd lets pass.
    fleet.kill(new);
    fleet.move_peer(new);
    let url = format!("--peer-urls={}", fleet.peer_url(new));
    let told = fleet.ctl_ok(&[0], &["member", "update", &id, &url]);
    assert!(told.contains(&format!("Member {id:>16} updated in cluster")), "{told}");
    fleet.launch(new);
    fleet.wait_for(new);
    fleet.ctl_ok(&[1], &["put", "k", "x"]);
    assert_eq!(fleet.get(new, "k"), "x");

    let told = fleet.ctl_ok(&[0], &["member", "remove", &id]);
    assert!(told.contains(&format!("Member {id:>16} removed from cluster")), "{told}");
    fleet.wait_for_exit(new);
    assert!(fleet.log(new).contains("removed from the cluster"), "{}", fleet.log(new));
    assert_eq!(fleet.ctl_ok(&[0], &["member", "list"]).lines().count(), 3);
    // It does not come back.
    fleet.launch(new);
    fleet.wait_for_exit(new);
    assert_eq!(fleet.log(new).matches("permanently removed").count(), 2, "{}", fleet.log(new));
    fleet.ctl_ok(&[0, 1, 2], &["put", "k", "y"]);
}

/// Gives the place of a member to a new one, at the same addresses, as an operator does whose
/// machine has lost its disk.
fn replace(fleet: &mut Fleet, number: usize, at: usize) {
    let id = format!("{:x}", fleet.id(number));
    fleet.kill(number);
    std::fs::remove_dir_all(fleet.data(number)).expect("it is there");
    // The others may just be without a leader, or count somebody as out of touch.
    let until_done = |words: &[&str]| {
        let done = wait(|| {
            let said = fleet.ctl(&[at], words);
            let done = said.worked || said.err.contains("not found");
            done.then_some(said.out)
        });
        done.unwrap_or_else(|| panic!("{words:?}\n{}", fleet.log(at)))
    };
    until_done(&["member", "remove", &id]);
    let url = format!("--peer-urls={}", fleet.peer_url(number));
    let told = until_done(&["member", "add", &format!("m{number}"), &url]);
    fleet.set_cluster(number, &initial_cluster(&told), "existing");
    fleet.launch(number);
    fleet.wait_for(number);
    let put = wait(|| fleet.ctl(&[number], &["put", "replaced", "v"]).worked.then_some(()));
    assert!(put.is_some(), "{}", fleet.log(number));
}

/// Kills all three where they stand, and starts them again.
fn restart_all(fleet: &mut Fleet) {
    for number in 0..3 {
        fleet.kill(number);
    }
    for number in 0..3 {
        fleet.launch(number);
    }
    fleet.wait_for_all();
}

/// What a member has saved may be older than what it once knew: in it, others are still who they
/// were. All of them were replaced since, at the same addresses; then the power fails. Had the
/// members gone by what they find, none would have been heard by another again.
#[test]
fn old_states_do_not_hide_who_is_where() {
    let Some(mut fleet) = Fleet::start("old_states_do_not_hide", 3) else { return };
    fleet.ctl_ok(&[0], &["put", "k", "v"]);
    fleet.ctl_ok(&[0], &["defrag"]);
    replace(&mut fleet, 1, 0);
    fleet.ctl_ok(&[1], &["defrag"]);
    replace(&mut fleet, 2, 0);
    let ids = [0, 1, 2].map(|number| format!("{:016x} ", fleet.id(number)));
    let noted = wait(|| {
        let lists =
            [0, 1, 2].map(|number| std::fs::read_to_string(fleet.data(number).join("peers")));
        let has_all = |list: &String| ids.iter().all(|id| list.contains(id));
        lists.iter().flatten().filter(|list| has_all(list)).nth(2).map(drop)
    });
    assert!(noted.is_some(), "all have written down who is there");
    restart_all(&mut fleet);
    for number in 0..3 {
        assert!(wait(|| fleet.ctl(&[number], &["put", "k", "w"]).worked.then_some(())).is_some());
    }
}

/// All others were replaced while it was away, and it knows none of them. Somebody leads, and it
/// hears of it, but it could not answer: it asks where it has once been answered who they are.
#[test]
fn member_that_was_away_finds_those_who_came_meanwhile() {
    // With the check nobody is added while one is out of reach.
    let flags = ["--strict-reconfig-check=false"];
    let Some(mut fleet) = Fleet::start_with("member_that_was_away", 5, &flags) else { return };
    fleet.ctl_ok(&[0], &["put", "k", "v"]);
    fleet.kill(0);
    for number in 1..5 {
        replace(&mut fleet, number, number % 4 + 1);
    }
    fleet.ctl_ok(&[1], &["put", "k", "w"]);
    fleet.launch(0);
    let found = wait(|| fleet.ctl(&[0], &["get", "k"]).out.contains('w').then_some(()));
    assert!(found.is_some(), "it has found them\n{}", fleet.log(0));
    assert!(wait(|| fleet.ctl(&[0], &["put", "k", "x"]).worked.then_some(())).is_some());
}

/// A member may have several addresses, of which some lead nowhere just now. The others reach it
/// all the same: it votes, and what it is asked it hands on.
#[test]
fn member_is_reached_at_any_of_its_addresses() {
    let Some(mut fleet) = Fleet::start("member_is_reached_at_any", 3) else { return };
    // Nobody listens at the first ports.
    for number in 0..3 {
        let id = format!("{:x}", fleet.id(number));
        let (nowhere, there) = (number + 1, fleet.peer_url(number));
        let urls = format!("--peer-urls=http://127.0.0.1:{nowhere},{there}");
        fleet.ctl_ok(&[number], &["member", "update", &id, &urls]);
    }
    restart_all(&mut fleet);
    for number in 0..3 {
        let key = format!("k{number}");
        let handed_on = wait(|| fleet.ctl(&[number], &["put", &key, "v"]).worked.then_some(()));
        assert!(handed_on.is_some(), "{}", fleet.log(number));
        assert_eq!(fleet.get((number + 1) % 3, &key), "v");
    }
}

/// A cluster begins as one and grows.
#[test]
fn one_member_grows_to_three() {
    let Some(mut fleet) = Fleet::start("one_member_grows_to_three", 1) else { return };
    fleet.ctl_ok(&[0], &["put", "k", "v"]);
    for count in 2..=3 {
        let (new, _) = add(&mut fleet, 0, &[]);
        assert_eq!(fleet.get(new, "k"), "v");
        assert_eq!(fleet.ctl_ok(&[new], &["member", "list"]).lines().count(), count);
    }
    // The first can go now.
    let id = format!("{:x}", fleet.id(0));
    fleet.ctl_ok(&[1], &["member", "remove", &id]);
    fleet.wait_for_exit(0);
    assert!(wait(|| fleet.ctl(&[1], &["put", "k", "w"]).worked.then_some(())).is_some());
    assert_eq!(fleet.get(2, "k"), "w");
}

/// The only member is told to go while the one that is to follow it has come, and has nothing yet:
/// it hands over all there is before it goes.
#[test]
fn only_member_stays_until_another_has_its_vote() {
    // With the check it is told that it cannot go yet.
    let flags = ["--strict-reconfig-check=false"];
    let Some(mut fleet) = Fleet::start_with("only_member_stays", 1, &flags) else { return };
    fleet.ctl_ok(&[0], &["put", "k", "v"]);
    let id = format!("{:x}", fleet.id(0));
    let new = fleet.newcomer();
    let (name, url) = (format!("m{new}"), format!("--peer-urls={}", fleet.peer_url(new)));
    let told = fleet.ctl_ok(&[0], &["member", "add", &name, &url]);
    fleet.set_cluster(new, &initial_cluster(&told), "existing");
    fleet.launch(new);
    let came = wait(|| fleet.data(new).join("replica").exists().then_some(()));
    assert!(came.is_some(), "it has been told who the others are\n{}", fleet.log(new));
    fleet.signal(new, Signal::STOP);
    // If it was so quick as to have a vote, nothing can be changed without it.
    let removed = fleet.ctl(&[0], &["member", "remove", &id]).worked;
    if removed {
        let stays = "stays until another has its vote";
        assert!(wait(|| fleet.log(0).contains(stays).then_some(())).is_some(), "{}", fleet.log(0));
    }
    fleet.signal(new, Signal::CONT);
    if !removed {
        let removed = wait(|| fleet.ctl(&[0], &["member", "remove", &id]).worked.then_some(()));
        assert!(removed.is_some(), "{}", fleet.log(0));
    }
    fleet.wait_for_exit(0);
    assert!(wait(|| fleet.ctl(&[new], &["put", "l", "w"]).worked.then_some(())).is_some());
    assert_eq!(fleet.get(new, "k"), "v");
}

/// A disk is gone for good: another member takes the place of the one that had it.
#[test]
fn dead_member_is_replaced() {
    let Some(mut fleet) = Fleet::start("dead_member_is_replaced", 3) else { return };
    for i in 0..20 {
        fleet.ctl_ok(&[0], &["put", &format!("k{i}"), "v"]);
    }
    let (dead, id) = (2, format!("{:x}", fleet.id(2)));
    fleet.kill(dead);
    std::fs::remove_dir_all(fleet.data(dead)).expect("it is there");
    fleet.ctl_ok(&[0], &["member", "remove", &id]);
    let url = format!("--peer-urls={}", fleet.peer_url(dead));
    let told = fleet.ctl_ok(&[0], &["member", "add", "m2", &url]);
    assert_ne!(added(&told), id, "another member, at the same place");
    fleet.set_cluster(dead, &initial_cluster(&told), "existing");
    fleet.launch(dead);
    fleet.wait_for(dead);
    assert_eq!(fleet.get(dead, "k19"), "v");
    // It counts: without one of the others there is a quorum still.
    fleet.kill(0);
    assert!(wait(|| fleet.ctl(&[dead], &["put", "k", "w"]).worked.then_some(())).is_some());
    assert_eq!(fleet.get(1, "k"), "w");
}

/// The one that a newcomer asks first was away when it was added, and has nobody who could tell it:
/// it does not turn the newcomer away for good.
#[test]
fn newcomer_asks_again_who_has_not_heard_of_it() {
    // With the check nobody is added while another is away.
    let flags = ["--strict-reconfig-check=false"];
    let Some(mut fleet) = Fleet::start_with("newcomer_asks_again", 3, &flags) else { return };
    let before = fleet.initial_cluster();
    // So that it knows, when it is back, whom there was.
    fleet.ctl_ok(&[0], &["defrag"]);
    fleet.kill(0);
    let new = fleet.newcomer();
    let url = fleet.peer_url(new);
    let add = ["member", "add", "m3", &format!("--peer-urls={url}")];
    let added = wait(|| {
        let said = fleet.ctl(&[1], &add);
        // If the one that was killed led, the first attempt may have done it unheard.
        (said.worked || said.err.contains("already exists")).then_some(())
    });
    assert!(added.is_some(), "{}", fleet.log(1));
    fleet.signal(1, Signal::STOP);
    fleet.signal(2, Signal::STOP);
    fleet.launch(0);
    let twice = |log: String| (log.matches("serving peer traffic").count() == 2).then_some(());
    assert!(wait(|| twice(fleet.log(0))).is_some(), "{}", fleet.log(0));
    fleet.set_cluster(new, &format!("{before},m3={url}"), "existing");
    fleet.launch(new);
    let asks_again = wait(|| fleet.log(new).contains("asking again").then_some(()));
    assert!(asks_again.is_some(), "{}", fleet.log(new));
    assert!(fleet.log(new).contains("member count is unequal"), "{}", fleet.log(new));
    fleet.signal(1, Signal::CONT);
    fleet.signal(2, Signal::CONT);
    fleet.wait_for(new);
    assert!(wait(|| fleet.ctl(&[new], &["put", "k", "v"]).worked.then_some(())).is_some());
}

/// Whoever is not expected, or expects others, must not get in.
#[test]
fn strangers_are_turned_away() {
    let Some(mut fleet) = Fleet::start("strangers_are_turned_away", 1) else { return };
    let (url, first) = (fleet.peer_url(0), fleet.newcomer());
    let own = fleet.peer_url(first);
    fleet.set_cluster(first, &format!("m0={url},m1={own}"), "existing");
    fleet.launch(first);
    assert_eq!(fleet.wait_for_exit(first).code(), Some(1));
    let log = fleet.log(first);
    assert!(log.contains("error validating peerURLs"), "{log}");
    assert!(log.contains("member count is unequal"), "{log}");
    assert!(!fleet.data(first).exists(), "nothing is left of the attempt");
    // A newcomer whose flags contradict each other.
    fleet.move_peer(first);
    fleet.launch(first);
    assert_eq!(fleet.wait_for_exit(first).code(), Some(1));
    let log = fleet.log(first);
    assert!(log.contains("but --initial-advertise-peer-urls has"), "{log}");
    assert!(!fleet.data(first).exists(), "nothing is left of the attempt");
}
