//! Where a member comes from: its certificate has to name that place.
//!
//! etcd's rule for the certificates that members show when they dial, unless
//! `--peer-skip-client-san-verification` is given. A certificate that names no hosts at all is good
//! anywhere; one that names addresses is good from there; one that names hosts is good from where
//! the hosts are, by the system's resolver.
//!
//! For `*.etcd.local`, etcd asks the resolver backwards, for the name of an address. Whoever owns
//! an address owns that answer, so it is not asked here: good is where those known members are
//! whose hosts the star stands for.

use std::io;
use std::net::IpAddr;

use super::certificate::{self, Names};

/// Whether somebody with these names may come from `address`; `members` are the hosts of all that
/// are known.
///
/// # Errors
///
/// If not, in etcd's words.
pub(super) async fn check(
    names: &Names,
    address: IpAddr,
    members: &[String],
) -> Result<(), String> {
    check_by(names, address, members, resolve).await
}

/// Where a host is, as the system says.
async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((host, 0)).await?.map(|found| found.ip()).collect())
}

async fn check_by(
    names: &Names,
    address: IpAddr,
    members: &[String],
    resolve: impl AsyncFn(&str) -> io::Result<Vec<IpAddr>>,
) -> Result<(), String> {
    let address = address.to_canonical();
    if names.hosts.is_empty() && names.addresses.is_empty() {
        return Ok(());
    }
    if names.addresses.iter().any(|known| known.to_canonical() == address) {
        return Ok(());
    }
    if names.hosts.is_empty() {
        let known: Vec<String> = names.addresses.iter().map(IpAddr::to_string).collect();
        let known = known.join(", ");
        return Err(format!("x509: certificate is valid for {known}, not {address}"));
    }
    let mut last = String::new();
    let spelt = names.hosts.iter().filter(|host| !host.starts_with('*'));
    let meant = members.iter().filter(|host| certificate::is_for(names, host));
    for host in spelt.chain(meant) {
        match resolve(host).await {
            Ok(found) if found.iter().any(|one| one.to_canonical() == address) => return Ok(()),
            Ok(_) => {}
            Err(error) => last = format!(" (lookup {host}: {error})"),
        }
    }
    let (address, hosts) = (address.to_string(), &names.hosts);
    Err(format!("tls: {address:?} does not match any of DNSNames {hosts:?}{last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges by a resolver that knows of two hosts.
    fn judged(hosts: &[&str], addresses: &[&str], from: &str) -> Result<(), String> {
        let names = Names {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            ..Names::default()
        };
        let members = ["m0.etcd.local".to_owned(), "other.local".to_owned()];
        let resolve = async |host: &str| match host {
            "m0.etcd.local" => Ok(vec!["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()]),
            "other.local" => Ok(vec!["10.0.0.9".parse().unwrap()]),
            _ => Err(io::Error::other("no such host")),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check_by(&names, from.parse().unwrap(), &members, resolve))
    }

    // A stolen certificate shall not be of use on another machine.
    #[test]
    fn certificate_is_good_only_where_it_says() {
        assert_eq!(judged(&[], &[], "10.0.0.1"), Ok(()));
        assert_eq!(judged(&[], &["10.0.0.1"], "10.0.0.1"), Ok(()));
        assert_eq!(judged(&[], &["10.0.0.1"], "::ffff:10.0.0.1"), Ok(()));
        let error = judged(&[], &["10.0.0.1"], "10.0.0.2").unwrap_err();
        assert_eq!(error, "x509: certificate is valid for 10.0.0.1, not 10.0.0.2");
        assert_eq!(judged(&["m0.etcd.local"], &["10.7.7.7"], "10.0.0.1"), Ok(()));
        let error = judged(&["m0.etcd.local"], &[], "10.9.8.7").unwrap_err();
        assert!(error.contains("does not match any of DNSNames"), "{error}");
        let error = judged(&["gone.local"], &[], "10.0.0.1").unwrap_err();
        assert!(error.contains("no such host"), "{error}");
    }

    // Charts give all members one certificate for `*.etcd-headless…`.
    #[test]
    fn star_is_good_where_a_member_is_that_it_stands_for() {
        assert_eq!(judged(&["*.etcd.local"], &[], "10.0.0.1"), Ok(()));
        assert!(judged(&["*.etcd.local"], &[], "10.0.0.9").is_err(), "another's member");
        assert!(judged(&["*.elsewhere.local"], &[], "10.0.0.1").is_err());
    }
}
