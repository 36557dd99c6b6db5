//! Papers for tests: an authority, and the certificates that it signs, as files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Signs certificates, and keeps them in a folder.
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Papers {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// What a certificate says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person<'a> {
    pub(crate) common_name: &'a str,
    /// Hosts and addresses.
    pub(crate) hosts: &'a [&'a str],
    pub(crate) serial: u64,
    /// Since yesterday's yesterday, until yesterday.
    pub(crate) expired: bool,
}

impl Person<'_> {
    pub(crate) const SERVER: Person<'static> = Person {
        common_name: "server",
        hosts: &["127.0.0.1", "localhost"],
        serial: 1,
        expired: false,
    };
    pub(crate) const CLIENT: Person<'static> =
        Person { common_name: "client", hosts: &[], serial: 2, expired: false };
}

impl Authority {
    /// A new one, whose certificate and those that it signs are in `folder`.
    pub(crate) fn new(folder: &Path) -> Authority {
        fs::create_dir_all(folder).expect("papers can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("papers can be made");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority for tests");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("papers can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("papers can be made");
        let authority = Authority { folder: folder.to_owned(), issuer };
        fs::write(authority.file(), authority.issuer.pem()).expect("papers can be made");
        authority
    }

    /// Its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Papers under a name, in the place of those that were there.
    pub(crate) fn sign(&self, name: &str, person: Person<'_>) -> Papers {
        let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign_for(name, person, &usages)
    }

    /// The same that only a server can show.
    pub(crate) fn sign_for_server(&self, name: &str, person: Person<'_>) -> Papers {
        self.sign_for(name, person, &[ExtendedKeyUsagePurpose::ServerAuth])
    }

    fn sign_for(
        &self,
        name: &str,
        person: Person<'_>,
        usages: &[ExtendedKeyUsagePurpose],
    ) -> Papers {
        let hosts: Vec<String> = person.hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("papers can be made");
        params.distinguished_name.push(DnType::CommonName, person.common_name);
        params.serial_number = Some(SerialNumber::from(person.serial));
        params.extended_key_usages = usages.to_vec();
        let now = SystemTime::now();
        let (from, to) = match person.expired {
            true => (now - 2 * DAY, now - DAY),
            false => (now - DAY, now + DAY),
        };
        (params.not_before, params.not_after) = (from.into(), to.into());
        let key = KeyPair::generate().expect("papers can be made");
        let cert = params.signed_by(&key, &self.issuer).expect("papers can be made");
        let papers = Papers {
            cert: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}-key.pem")),
        };
        fs::write(&papers.key, key.serialize_pem()).expect("papers can be made");
        fs::write(&papers.cert, cert.pem()).expect("papers can be made");
        papers
    }

    /// A list that revokes these certificates.
    pub(crate) fn revoke(&self, serials: &[u64]) -> PathBuf {
        let now = SystemTime::now();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + DAY).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("papers can be made");
        let file = self.folder.join("revoked.crl");
        // In DER, as etcd reads it.
        fs::write(&file, list.der()).expect("papers can be made");
        file
    }
}
