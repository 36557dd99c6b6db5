//! Members that reach each other by Unix sockets, as etcd's may.

use crate::cluster::fleet::{Fleet, Road};
use crate::tls::papers::{Authority, Person};

/// Members elect and agree, lose one and have it back, and take in a fourth, which others reach by
/// the road `newcomer`.
pub(crate) fn lives_as_one(mut fleet: Fleet, newcomer: Road, flags: &[String]) {
    let follower = fleet.follower();
    fleet.ctl_ok(&[follower], &["put", "a", "1"]);
    let leader = fleet.leader();
    assert_eq!(fleet.get(leader, "a"), "1", "{}\n{}", fleet.log(follower), fleet.log(leader));
    fleet.kill(follower);
    fleet.ctl_ok(&fleet.running(), &["put", "a", "2"]);
    fleet.launch(follower);
    fleet.wait_for(follower);
    assert_eq!(fleet.get(follower, "a"), "2");
    // A newcomer asks the others who it is, by their road.
    let newcomer = fleet.newcomer_by(newcomer, flags);
    let (url, running) = (fleet.peer_url(newcomer), fleet.running());
    fleet.ctl_ok(&running, &["member", "add", "m3", &format!("--peer-urls={url}")]);
    let all = fleet.initial_cluster();
    fleet.set_cluster(newcomer, &all, "existing");
    fleet.launch(newcomer);
    fleet.wait_for(newcomer);
    assert_eq!(fleet.get(newcomer, "a"), "2");
}

// The one that is killed leaves its socket behind; the one that comes has a port.
#[test]
fn members_by_files_are_a_cluster() {
    let Some(fleet) = Fleet::start_by("cluster::files", 3, Road::Files, &[]) else { return };
    let said = fleet.log(0);
    let served = r#""msg":"serving peer traffic","address":"/"#;
    assert!(said.contains(served), "a path is where it serves\n{said}");
    lives_as_one(fleet, Road::Plain, &[]);
}

// A path is no host: whoever is there is this machine. The one that comes has a port here too:
// etcdctl knows no paths for members under TLS.
#[test]
fn members_by_files_under_tls_are_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let papers = authority.sign("member", Person::SERVER);
    let ca = authority.file();
    let flags = [("cert-file", &papers.cert), ("key-file", &papers.key), ("trusted-ca-file", &ca)];
    let flags = flags.map(|(name, file)| format!("--peer-{name}={}", file.display()));
    let flags = [&flags[..], &["--peer-client-cert-auth=true".to_owned()]].concat();
    let name = "cluster::files";
    let Some(fleet) = Fleet::start_by(name, 3, Road::SecuredFiles, &flags) else { return };
    lives_as_one(fleet, Road::Secured, &flags);
}
