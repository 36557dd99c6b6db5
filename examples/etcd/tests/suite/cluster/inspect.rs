//! Looks into the directories of all members: `drystone-etcd inspect`.

use serde_json::Value;

use super::fleet::{Fleet, wait};
use crate::inspect::look::{Told, told};

/// The entries that are known to be committed, without who was asked: that differs in nothing.
fn committed(told: &Told) -> Vec<Value> {
    told.entries.iter().filter(|entry| entry["committed"] == true).cloned().collect()
}

/// One history, whoever is asked for it: while they run, as far as each knows, and all of it when
/// they have stopped.
#[test]
fn all_members_show_the_same_members_and_commands() {
    let test = "all_members_show_the_same_members_and_commands";
    let Some(mut fleet) = Fleet::start(test, 3) else { return };
    let ids: Vec<u64> = (0..3).map(|at| fleet.id(at)).collect();
    for number in 0..30 {
        fleet.ctl_ok(&[number % 3], &["put", &format!("k/{number}"), &format!("v{number}")]);
    }
    let names = |told: &Told| {
        let members = told.summary["cluster"]["members"].as_array().cloned().unwrap_or_default();
        let one = |member: &Value| {
            (member["ID"].as_u64(), member["name"].clone(), member["clientURLs"].clone())
        };
        members.iter().map(one).collect::<Vec<_>>()
    };
    let mut expected: Vec<_> = (0..3)
        .map(|at| (Some(ids[at]), format!("m{at}").into(), serde_json::json!([fleet.url(at)])))
        .collect();
    expected.sort_by_key(|(id, _, _)| *id);
    let looks: Vec<Told> = (0..3).map(|at| told(&fleet.data(at), &[])).collect();
    for (at, told) in looks.iter().enumerate() {
        told.check_order();
        assert_eq!(told.code, Some(0), "{}", told.end);
        assert_eq!(names(told), expected);
        let mut voters = told.summary["cluster"]["voting"]["voters"].clone();
        voters.as_array_mut().expect("a list").sort_by_key(Value::as_u64);
        let all: Vec<Option<u64>> = expected.iter().map(|(id, _, _)| *id).collect();
        assert_eq!(voters, serde_json::json!(all));
        // What a member has heard of late may be in doubt there; what came long before is not.
        let mine = committed(told);
        assert!(mine.len() > 20, "m{at} knows of {} committed entries", mine.len());
        let other = committed(&looks[0]);
        let both = mine.len().min(other.len());
        assert_eq!(mine[..both], other[..both], "m{at} and m0");
    }
    (0..3).for_each(|at| fleet.signal(at, rustix::process::Signal::TERM));
    for at in 0..3 {
        fleet.wait_for_exit(at);
    }
    let looks: Vec<Told> = (0..3).map(|at| told(&fleet.data(at), &[])).collect();
    let everything = committed(&looks[0]);
    let puts: Vec<String> = looks[0].puts().into_iter().map(|(key, _, _)| key).collect();
    assert_eq!(puts, (0..30).map(|number| format!("k/{number}")).collect::<Vec<_>>());
    for told in &looks {
        // The last one may have stopped before it heard that its last entry is committed.
        let mine = committed(told);
        let both = mine.len().min(everything.len());
        assert_eq!(mine[..both], everything[..both]);
        assert!(told.puts().iter().all(|(_, _, committed)| *committed), "all puts are");
    }
}

/// A leader that is cut off writes what nobody will commit; a look says that it may not be. When
/// the others have gone on, what they wrote stands in its place.
#[test]
fn what_was_never_committed_is_marked_and_gives_way() {
    let test = "what_was_never_committed_is_marked_and_gives_way";
    let Some(mut fleet) = Fleet::start(test, 3) else { return };
    fleet.ctl_ok(&[0], &["put", "k", "kept"]);
    let old = fleet.leader();
    let others: Vec<usize> = (0..3).filter(|at| *at != old).collect();
    others.iter().for_each(|at| fleet.kill(*at));
    let lost = ["--command-timeout=1s", "put", "k", "lost"];
    assert!(!fleet.ctl(&[old], &lost).worked, "nobody else has it");
    let seen = wait(|| {
        let told = told(&fleet.data(old), &["entries", "--key=k"]);
        assert_eq!(told.code, Some(0), "{}", told.end);
        told.puts().into_iter().find(|(_, value, _)| value == "lost")
    });
    assert_eq!(seen, Some(("k".to_owned(), "lost".to_owned(), false)));
    fleet.kill(old);
    others.iter().for_each(|at| fleet.launch(*at));
    others.iter().for_each(|at| drop(fleet.wait_for(*at)));
    fleet.ctl_ok(&[others[0]], &["put", "k", "found"]);
    fleet.launch(old);
    fleet.wait_for(old);
    assert_eq!(fleet.get(old, "k"), "found");
    let values = wait(|| {
        let told = told(&fleet.data(old), &["entries", "--key=k"]);
        let values: Vec<String> = told.puts().into_iter().map(|(_, value, _)| value).collect();
        values.contains(&"found".to_owned()).then_some(values)
    });
    assert_eq!(values, Some(vec!["kept".to_owned(), "found".to_owned()]));
}
