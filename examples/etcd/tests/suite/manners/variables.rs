//! `/debug/vars`, as scripts read it that were written for etcd.

use std::path::Path;

use serde_json::Value;

use crate::cluster::fleet::Fleet;
use crate::gateway::http;
use crate::support::programs;
use crate::support::server::Server;

/// The document that a server shows.
fn page(server: &Server) -> Value {
    let answer = http::request(server, "GET", "/debug/vars", "", b"");
    let kind = answer.header("content-type");
    assert_eq!((answer.status, kind), (200, Some("application/json; charset=utf-8")));
    answer.json()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// The same names, with values of the same kinds; of Go's memory only what there is.
#[test]
fn variables_have_the_names_of_etcds() {
    let test = "manners::variables::variables_have_the_names_of_etcds";
    let ours = Server::start(&programs::ours(), &[]);
    let document = page(&ours);
    let status = &document["raft.status"];
    let id = format!("{:x}", ours.ids().member);
    for field in ["id", "vote", "lead"] {
        assert_eq!(status[field], id.as_str(), "{status}");
    }
    assert_eq!((&status["raftState"], &status["term"]), (&"StateLeader".into(), &1.into()));
    assert!(document["cmdline"].as_array().unwrap().contains(&"--data-dir".into()));
    assert!(document["file_descriptor_limit"].as_u64().unwrap() > 0);
    let compare = |etcd: &Path| {
        let theirs = Server::start(etcd, &[]);
        let their_document = page(&theirs);
        let posted = [&ours, &theirs].map(|it| http::request(it, "POST", "/debug/vars", "", b""));
        assert_eq!((posted[0].status, posted[1].status), (405, 405));
        assert_eq!(keys(&document), keys(&their_document));
        let their_status = &their_document["raft.status"];
        assert_eq!(keys(status), keys(their_status));
        for (name, value) in status.as_object().unwrap() {
            let same = std::mem::discriminant(value) == std::mem::discriminant(&their_status[name]);
            assert!(same, "{name}: {value} and {}", their_status[name]);
        }
        let progress = |status: &Value| {
            let progress = status["progress"].as_object().unwrap();
            progress.values().map(|it| keys(it).join(",")).collect::<Vec<_>>()
        };
        assert_eq!(progress(status), progress(their_status));
        let memory = keys(&their_document["memstats"]);
        assert!(keys(&document["memstats"]).iter().all(|name| memory.contains(name)));
    };
    if let Some(real) = programs::real_or_skip(test) {
        compare(&real.etcd);
    }
    if let Some(later) = programs::later_or_skip(test) {
        compare(&later.etcd);
    }
    // Of a Go program that is asked for it, there is more to be seen.
    for path in ["/debug/vars/", "/debug/pprof/"] {
        assert_eq!(http::request(&ours, "GET", path, "", b"").status, 404, "{path}");
    }
}

/// A leader shows how far the others are, and the others who leads.
#[test]
fn leader_shows_the_progress_of_all() {
    let test = "manners::variables::leader_shows_the_progress_of_all";
    let Some(fleet) = Fleet::start(test, 3) else { return };
    let (leader, follower) = (fleet.leader(), fleet.follower());
    let status = |number: usize| {
        let (_, body) = fleet.http(number, "/debug/vars");
        serde_json::from_str::<Value>(&body).unwrap()["raft.status"].clone()
    };
    let id = format!("{:x}", fleet.id(leader));
    let (leads, follows) = (status(leader), status(follower));
    assert_eq!((&leads["lead"], &follows["lead"]), (&id.as_str().into(), &id.as_str().into()));
    assert_eq!(follows["raftState"], "StateFollower");
    assert_eq!(keys(&leads["progress"]).len(), 3, "{leads}");
    assert!(keys(&follows["progress"]).is_empty(), "{follows}");
}
