//! Members among themselves: each proves to each other who it is.

use std::path::Path;

use super::papers::{Authority, Papers, Person};
use super::secured::flag;
use crate::cluster::files::lives_as_one;
use crate::cluster::fleet::{Fleet, Road, wait};

const MEMBER: Person<'static> =
    Person { common_name: "member", hosts: &["127.0.0.1"], serial: 5, expired: false };

/// The flags of a member that shows these papers and wants to see others'.
fn mutual(ca: &Path, papers: &Papers) -> Vec<String> {
    vec![
        flag("peer-cert-file", &papers.cert),
        flag("peer-key-file", &papers.key),
        flag("peer-trusted-ca-file", ca),
        "--peer-client-cert-auth=true".to_owned(),
    ]
}

/// Three members with certificates elect, agree, lose one and have it back, and take in a fourth.
#[test]
fn members_under_tls_are_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let papers = authority.sign("member", MEMBER);
    let mut flags = mutual(&authority.file(), &papers);
    flags.push("--peer-cert-allowed-cn=other,member".to_owned());
    let Some(fleet) = Fleet::start_secured("tls::members::members_under_tls", 3, &flags) else {
        return;
    };
    lives_as_one(fleet, Road::Secured, &flags);
}

/// A certificate of the right authority and the wrong person does not make a member: both sides say
/// so, each in etcd's words.
#[test]
fn stranger_with_a_good_certificate_is_no_member() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let stranger = authority.sign("other", Person { common_name: "stranger", ..MEMBER });
    let name = "tls::members::stranger_with_a_good_certificate";
    let rule = "--peer-cert-allowed-cn=member";
    is_turned_away(name, &authority, &stranger, rule, NOT_ALLOWED);
}

/// Nor does one that was revoked, though it was a member's.
#[test]
fn member_with_a_revoked_certificate_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let revoked = authority.sign("other", Person { serial: 9, ..MEMBER });
    let list = flag("peer-crl-file", &authority.revoke(&[9]));
    let name = "tls::members::member_with_a_revoked_certificate";
    is_turned_away(name, &authority, &revoked, &list, REVOKED);
}

/// Nor one for other hosts than members are.
#[test]
fn member_of_another_host_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let other = authority.sign("other", Person { hosts: &["127.0.0.1"], ..MEMBER });
    let name = "tls::members::member_of_another_host";
    let rule = "--peer-cert-allowed-hostname=stone.local";
    is_turned_away(name, &authority, &other, rule, NOT_ALLOWED);
}

/// What is said by whoever was dialled, and to whoever dialled.
type Words = [&'static str; 2];

const NOT_ALLOWED: Words = ["client certificate authentication failed", "bad certificate"];
const REVOKED: Words = ["certificate revoked by the CRL", "revoked certificate"];

/// Three members, of which one comes back with other papers, and is kept out by a flag.
fn is_turned_away(name: &str, authority: &Authority, other: &Papers, rule: &str, words: Words) {
    let papers =
        authority.sign("member", Person { hosts: &["127.0.0.1", "stone.local"], ..MEMBER });
    let mut flags = mutual(&authority.file(), &papers);
    flags.push(rule.to_owned());
    let Some(mut fleet) = Fleet::start_secured(name, 3, &flags) else { return };
    let follower = fleet.follower();
    fleet.kill(follower);
    // The later flags count.
    let swapped = [flag("peer-cert-file", &other.cert), flag("peer-key-file", &other.key)];
    fleet.launch_with(follower, &swapped.each_ref().map(String::as_str));
    let leader = fleet.leader();
    let told = |number: usize, words: &str| {
        let found = wait(|| fleet.log(number).contains(words).then_some(()));
        assert!(found.is_some(), "{words}\n{}", fleet.log(number));
    };
    told(leader, "rejected connection on peer endpoint");
    told(leader, words[0]);
    told(follower, &format!("remote error: tls: {}", words[1]));
}

/// Whoever dials may show another certificate than whoever is dialled, which here gets nobody in.
#[test]
fn members_dial_with_papers_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let papers = authority.sign_for_server("member", MEMBER);
    let dialler = authority.sign("dialler", MEMBER);
    let mut flags = mutual(&authority.file(), &papers);
    flags.push(flag("peer-client-cert-file", &dialler.cert));
    flags.push(flag("peer-client-key-file", &dialler.key));
    let name = "tls::members::members_dial_with_papers_of_their_own";
    let Some(fleet) = Fleet::start_secured(name, 2, &flags) else { return };
    fleet.ctl_ok(&[0], &["put", "a", "1"]);
    assert_eq!(fleet.get(1, "a"), "1");
}

/// Members without certificates make them: nobody can listen, though anybody may come.
#[test]
fn members_make_certificates_for_themselves() {
    let flags = ["--peer-auto-tls".to_owned()];
    let name = "tls::members::members_make_certificates";
    let Some(fleet) = Fleet::start_secured(name, 2, &flags) else { return };
    fleet.ctl_ok(&[0], &["put", "a", "1"]);
    assert_eq!(fleet.get(1, "a"), "1");
    assert!(fleet.data(0).join("fixtures/peer/key.pem").exists());
}
