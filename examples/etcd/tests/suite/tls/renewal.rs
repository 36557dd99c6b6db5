//! Certificates that change under a running member.

use std::fs;

use super::papers::Person;
use super::secured::{Secured, flag, papers, shown};
use crate::support::programs;

/// Renewal is somebody else's job, and nobody restarts a member for it.
#[test]
fn renewed_certificate_is_shown_without_a_restart() {
    if programs::real_or_skip("tls::renewal::renewed_certificate").is_none() {
        return;
    }
    let (folder, authority, _) = papers();
    let late = Person { expired: true, ..Person::SERVER };
    let server = authority.sign("server", late);
    let ca = authority.file();
    let mut member = Secured::start(folder, &shown(&server));
    member.refuses(&ca, None, "remote error: tls: bad certificate");
    authority.sign("server", Person { serial: 9, ..Person::SERVER });
    member.serves(&ca, None);
    // Half a file: those who come meanwhile are turned away, and told about in the log.
    let whole = fs::read(&server.key).unwrap();
    fs::write(&server.key, &whole[..whole.len() / 2]).unwrap();
    member.refuses(&ca, None, "failed to find a private key");
    fs::write(&server.key, &whole).unwrap();
    member.serves(&ca, None);
}

/// Whoever is revoked while the member runs is out at once, and with the next connection.
#[test]
fn new_revocation_counts_at_once() {
    if programs::real_or_skip("tls::renewal::new_revocation_counts_at_once").is_none() {
        return;
    }
    let (folder, authority, server) = papers();
    let client = authority.sign("client", Person::CLIENT);
    let mut flags = shown(&server);
    flags.push(flag("trusted-ca-file", &authority.file()));
    flags.push(flag("client-crl-file", &authority.revoke(&[])));
    let mut member = Secured::start(folder, &flags);
    member.serves(&authority.file(), Some(&client));
    authority.revoke(&[Person::CLIENT.serial]);
    member.refuses(&authority.file(), Some(&client), "revoked by the CRL");
}
