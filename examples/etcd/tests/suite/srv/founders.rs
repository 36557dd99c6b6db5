//! Members that find each other by the records of a domain.

use std::fs;
use std::path::Path;

use super::names::{Data, Names};
use super::room::within;
use crate::cluster::fleet::Fleet;
use crate::support::programs;
use crate::tls::papers::{Authority, Person};

const PLAIN: &str = "_etcd-server._tcp.rack.test";
const SECURED: &str = "_etcd-server-ssl._tcp.rack.test";

/// Nobody yet; there are all programs in a room.
fn fleet(test: &str, program: &Path) -> Fleet {
    Fleet::without_members(test, program).expect("outside it was looked for them")
}

fn port_of(url: &str) -> u16 {
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
    port.expect("a URL of a fleet has a port")
}

fn host(number: usize) -> String {
    format!("m{number}.rack.test")
}

/// Writes a record for a member.
fn enlist(names: &Names, service: &str, fleet: &Fleet, number: usize) {
    names.add_service(service, &host(number), port_of(&fleet.peer_url(number)));
}

/// Three members with records that have started, and found a cluster.
fn three(test: &str, program: &Path, names: &Names, service: &str, flags: &[&str]) -> Fleet {
    let mut fleet = fleet(test, program);
    for _ in 0..3 {
        let number = fleet.newcomer();
        enlist(names, service, &fleet, number);
    }
    start(&mut fleet, flags);
    fleet
}

fn start(fleet: &mut Fleet, flags: &[&str]) {
    for number in 0..3 {
        fleet.launch_with(number, flags);
    }
    fleet.wait_for_all();
}

/// Numbers, names and URLs of the members, as `etcdctl` shows them.
fn members(fleet: &Fleet) -> Vec<String> {
    let list = fleet.ctl_ok(&[0], &["member", "list"]);
    let mut lines: Vec<String> = list.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Records take the place of `--initial-cluster`: the answer comes over TCP, for it is too long; a
/// member that has data asks for none; and another joins by them.
#[test]
fn records_found_a_cluster_and_let_others_join() {
    let test = "srv::founders::records_found_a_cluster_and_let_others_join";
    within(test, || {
        let names = Names::serve();
        let flags = ["--discovery-srv=rack.test"];
        let mut fleet = three(test, &programs::ours(), &names, PLAIN, &flags);
        assert!(names.over_tcp() >= 3, "three records do not fit a datagram");
        fleet.ctl_ok(&[0], &["put", "a", "1"]);
        assert_eq!(fleet.get(2, "a"), "1");
        let log = fleet.log(1);
        let url = format!("http://m1.rack.test:{}", port_of(&fleet.peer_url(1)));
        assert!(log.contains(&format!("\"m1={url}\"")), "{log}");
        assert!(log.contains("got bootstrap from DNS for etcd-server"), "{log}");
        assert!(fleet.ctl_ok(&[0], &["member", "list"]).contains(&url));
        // Who has data does not ask.
        names.remove(PLAIN);
        fleet.kill(1);
        fleet.launch_with(1, &flags);
        fleet.wait_for_all();
        assert_eq!(fleet.get(1, "a"), "1");
        for number in 0..3 {
            enlist(&names, PLAIN, &fleet, number);
        }
        let late = fleet.newcomer();
        enlist(&names, PLAIN, &fleet, late);
        let url = format!("http://m3.rack.test:{}", port_of(&fleet.peer_url(late)));
        fleet.ctl_ok(&[0], &["member", "add", "m3", &format!("--peer-urls={url}")]);
        fleet.launch_with(late, &[flags[0], "--initial-cluster-state=existing"]);
        fleet.wait_for(late);
        assert_eq!(fleet.get(late, "a"), "1");
    });
}

/// Under TLS there is another service, and certificates have the names in its records.
#[test]
fn records_of_the_secured_service_found_a_cluster_under_tls() {
    let test = "srv::founders::records_of_the_secured_service_found_a_cluster_under_tls";
    within(test, || {
        let names = Names::serve();
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        let mut fleet = fleet(test, &programs::ours());
        for number in 0..3 {
            let host = host(number);
            let hosts = ["127.0.0.1", &host];
            let person = Person { hosts: &hosts, ..Person::SERVER };
            let papers = authority.sign(&host, person);
            let flag = |name: &str, file: &Path| format!("--peer-{name}={}", file.display());
            fleet.newcomer_with(&[
                flag("cert-file", &papers.cert),
                flag("key-file", &papers.key),
                flag("trusted-ca-file", &authority.file()),
                "--peer-client-cert-auth".to_owned(),
            ]);
            enlist(&names, SECURED, &fleet, number);
        }
        start(&mut fleet, &["--discovery-srv=rack.test"]);
        fleet.ctl_ok(&[0], &["put", "a", "1"]);
        assert_eq!(fleet.get(2, "a"), "1");
        let members = fleet.ctl_ok(&[1], &["member", "list"]);
        assert_eq!(members.matches("https://m").count(), 3, "{members}");
    });
}

/// The numbers of members and cluster follow from the records: ours are those of real etcd, and
/// the suffix of a service tells two clusters of one domain apart.
#[test]
fn members_have_the_numbers_that_etcd_gives() {
    let test = "srv::founders::members_have_the_numbers_that_etcd_gives";
    let Some(later) = programs::later_or_skip(test) else { return };
    within(test, || {
        let names = Names::serve();
        let service = "_etcd-server-left._tcp.rack.test";
        // Somebody else's, who is not to be asked.
        names.add_service(PLAIN, "m9.rack.test", 1);
        let flags = ["--discovery-srv=rack.test", "--discovery-srv-name=left"];
        let mut fleet = three(test, &later.etcd, &names, service, &flags);
        let theirs = members(&fleet);
        for number in 0..3 {
            fleet.kill(number);
            fs::remove_dir_all(fleet.data(number)).unwrap();
        }
        fleet.change_program(&programs::ours());
        start(&mut fleet, &flags);
        let ours = members(&fleet);
        assert_eq!(ours, theirs);
    });
}

/// What a member that cannot start says last, and its status.
fn failure(
    test: &str,
    program: &Path,
    names: &Names,
    service: Option<&str>,
    extra: &[&str],
) -> String {
    let mut fleet = fleet(test, program);
    let number = fleet.newcomer();
    names.remove(PLAIN);
    names.remove(SECURED);
    if let Some(service) = service {
        names.add_service(service, "m8.rack.test", 1);
        names.add_service(service, "m9.rack.test", 2);
    }
    let flags = [&["--discovery-srv=rack.test"], extra].concat();
    fleet.launch_with(number, &flags);
    let status = fleet.wait_for_exit(number);
    let log = fleet.log(number);
    assert_eq!(status.code(), Some(1), "{}: {log}", program.display());
    assert!(!fleet.data(number).join("identity").exists(), "nothing was begun");
    log
}

/// Whoever founded a cluster alone because nobody was found would be another cluster.
#[test]
fn missing_and_foreign_records_end_the_start_as_with_etcd() {
    let test = "srv::founders::missing_and_foreign_records_end_the_start_as_with_etcd";
    let Some(later) = programs::later_or_skip(test) else { return };
    within(test, || {
        let names = Names::serve();
        let etcd = programs::real().expect("outside it was looked for it").etcd;
        let check = |program: &Path, service: Option<&str>, extra: &[&str], parts: &[&str]| {
            let log = failure(test, program, &names, service, extra).replace("\\\"", "\"");
            for part in parts {
                assert!(log.contains(part), "{}: {part}\n{log}", program.display());
            }
        };
        let missing = [
            "error setting up initial cluster: error querying DNS SRV records for \
             _etcd-server-ssl lookup _etcd-server-ssl._tcp.rack.test on 127.0.0.1:53: no such host",
            "error querying DNS SRV records for _etcd-server lookup \
             _etcd-server._tcp.rack.test on 127.0.0.1:53: no such host",
        ];
        let foreign = "error setting up initial cluster: cannot find local etcd member \"m0\" in \
            SRV records";
        let nowhere = ["--initial-advertise-peer-urls=http://nowhere.rack.test:1"];
        for program in [&programs::ours(), &later.etcd, &etcd] {
            // 3.4 is content with nothing less than records for TLS, and does not look further.
            let said = if *program == etcd { 1 } else { 2 };
            check(program, None, &[], &missing[..said]);
            check(program, Some(SECURED), &[], &[foreign]);
            check(program, Some(SECURED), &nowhere, &["lookup nowhere.rack.test"]);
        }
        // Both ports are known, and spoken to otherwise.
        let secured = ["--initial-advertise-peer-urls=https://127.0.0.1:2"];
        let mismatch = "scheme mismatch with expected peer https://127.0.0.1:2";
        check(&programs::ours(), Some(PLAIN), &secured, &[foreign, mismatch]);
        // A target that is nowhere is none.
        let lost = Data::Srv { priority: 0, weight: 0, port: 1, target: "lost.test".to_owned() };
        names.remove(PLAIN);
        names.add(PLAIN, lost);
        let mut fleet = fleet(test, &programs::ours());
        let number = fleet.newcomer();
        fleet.launch_with(number, &["--discovery-srv=rack.test"]);
        assert_eq!(fleet.wait_for_exit(number).code(), Some(1));
        assert!(fleet.log(number).contains("lookup lost.test: no such host"));
    });
}
