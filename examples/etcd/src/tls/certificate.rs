//! What stands in a certificate: a name for the person or machine, names and addresses of hosts.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use super::files;

/// The names that a certificate is for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Whom it is for; empty if it does not say.
    pub(super) common: String,
    /// Hosts, `*.` as the first label of some.
    pub(super) hosts: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    /// Leading zeros left out.
    pub(super) serial: Vec<u8>,
}

/// The names in a certificate; none in what is no certificate.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Names {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Names::default() };
    let common = parsed.subject().iter_common_name().last();
    let common = common.and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned();
    let mut names = Names { common, serial: significant(parsed.raw_serial()), ..Names::default() };
    let alternative = parsed.subject_alternative_name().ok().flatten();
    for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(host) => names.hosts.push((*host).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let sixteen = || <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
                names.addresses.extend(four.or_else(|_| sixteen()));
            }
            _ => {}
        }
    }
    names
}

/// Whom the first certificate of a file is for; empty if it does not say.
///
/// # Errors
///
/// If there is none.
pub(crate) fn common_name(file: &Path) -> Result<String, String> {
    Ok(files::chain(file)?.first().map(|first| names(first).common).unwrap_or_default())
}

/// Whether a certificate is for this host, which may be an address: `*` stands for one label.
pub(super) fn is_for(names: &Names, host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return names.addresses.contains(&address);
    }
    let host = host.trim_end_matches('.');
    names.hosts.iter().any(|name| match name.strip_prefix("*.") {
        Some(rest) => host
            .split_once('.')
            .is_some_and(|(label, domain)| !label.is_empty() && domain.eq_ignore_ascii_case(rest)),
        None => name.eq_ignore_ascii_case(host),
    })
}

/// The serial numbers in a list of revoked certificates, in DER or PEM.
pub(super) fn revoked(list: &[u8]) -> Result<HashSet<Vec<u8>>, String> {
    let pem = x509_parser::pem::parse_x509_pem(list).ok();
    let der = pem.as_ref().map_or(list, |(_, pem)| &pem.contents[..]);
    let parsed = CertificateRevocationList::from_der(der);
    let (_, parsed) = parsed.map_err(|error| format!("x509: malformed crl: {error}"))?;
    Ok(parsed.iter_revoked_certificates().map(|one| significant(one.raw_serial())).collect())
}

/// A number without its leading zeros.
fn significant(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(hosts: &[&str]) -> Names {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Names { hosts, ..Names::default() }
    }

    // One label and no more: a certificate for *.a.b must not open c.d.a.b.
    #[test]
    fn star_stands_for_one_label() {
        let names = named(&["*.etcd.local", "m0"]);
        assert!(is_for(&names, "m1.etcd.local"));
        assert!(is_for(&names, "M1.ETCD.LOCAL."));
        assert!(is_for(&names, "m0"));
        assert!(!is_for(&names, "a.m1.etcd.local"));
        assert!(!is_for(&names, "etcd.local"));
        assert!(!is_for(&names, "127.0.0.1"));
    }

    // Everything in it comes from a stranger.
    #[test]
    fn garbage_has_no_names() {
        assert_eq!(names(&CertificateDer::from(vec![0x30, 0x82, 0xff, 0xff])), Names::default());
        assert!(revoked(b"-----BEGIN X509 CRL-----\n").is_err());
    }
}
