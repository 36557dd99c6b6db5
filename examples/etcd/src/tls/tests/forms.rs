//! Certificates of other forms than those of our days: of version 1, and authorities as leaves.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rcgen::{Certificate, Issuer, SigningKey as _};

use super::super::signature::content;
use super::*;

/// An element of DER.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], &length[..], content].concat()
}

/// The same certificate in version 1, which has neither its own number nor extensions, signed once
/// more.
fn of_version_one(certificate: &Certificate, issuer: &KeyPair) -> Vec<u8> {
    let (parts, _) = content(certificate.der()).unwrap();
    let (signed, rest) = content(parts).unwrap();
    let (_, after_way) = content(rest).unwrap();
    let way = &rest[..rest.len() - after_way.len()];
    let (mut fields, mut left) = (Vec::new(), signed);
    while !left.is_empty() {
        let (_, rest) = content(left).unwrap();
        // The number of the version is [0], the extensions are [3].
        if !matches!(left[0], 0xa0 | 0xa3) {
            fields.extend_from_slice(&left[..left.len() - rest.len()]);
        }
        left = rest;
    }
    let signed = element(0x30, &fields);
    let signature = issuer.sign(&signed).unwrap();
    let bits = element(0x03, &[&[0], &signature[..]].concat());
    element(0x30, &[&signed[..], way, &bits].concat())
}

fn authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    change(&mut params);
    params
}

fn root(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    CertifiedIssuer::self_signed(authority(name, |_| {}), KeyPair::generate().unwrap()).unwrap()
}

fn person(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "root");
    change(&mut params);
    params
}

/// Writes certificates, of which the first is shown with this key, and whom to trust.
fn files(folder: &Path, shown: &[&[u8]], key: &KeyPair, trusted: &[u8]) -> TlsOptions {
    let file = |name: &str, text: String| {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        Some(file)
    };
    let chain: String = shown.iter().map(|der| pem(der)).collect();
    TlsOptions {
        cert_file: file("cert.pem", chain),
        key_file: file("key.pem", key.serialize_pem()),
        trusted_ca_file: file("ca.pem", pem(trusted)),
        ..TlsOptions::default()
    }
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// A server of the usual form that asks everybody for a certificate of `trusted`, and whom it lets
/// in as `visitor`.
fn visit(trusted: &CertifiedIssuer<'_, KeyPair>, visitor: &TlsOptions) -> Option<Option<PeerName>> {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = person(|_| {}).signed_by(&key, trusted).unwrap();
    let server = files(folder.path(), &[cert.der()], &key, trusted.der());
    let versions = [(Version::Tls12, Version::Tls12), (Version::Tls13, Version::Tls13)];
    let [old, new] = versions.map(|(min, max)| {
        let versions = (Some(min), Some(max));
        let server = TlsOptions { client_cert_auth: true, versions, ..server.clone() };
        shake(&server, visitor, "localhost")
    });
    assert_eq!(old, new, "both versions of the protocol see the same");
    new
}

fn as_root() -> Option<Option<PeerName>> {
    Some(Some(PeerName("root".into())))
}

// `openssl x509 -req` makes them to this day, and etcd takes them for its clients.
#[test]
fn clients_may_have_certificates_of_version_one() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, key) = (root("ours"), KeyPair::generate().unwrap());
    let usual = person(|_| {}).signed_by(&key, &ours).unwrap();
    let old = of_version_one(&usual, ours.key());
    let files = |shown: &[u8], key| files(folder.path(), &[shown], key, ours.der());
    assert_eq!(visit(&ours, &files(&old, &key)), as_root());
    let mut forged = old.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(visit(&ours, &files(&forged, &key)), None, "nobody has signed that");
    let namesake = of_version_one(&usual, root("ours").key());
    assert_eq!(visit(&ours, &files(&namesake, &key)), None, "an authority of the same name");
    let dates = [
        person(|it| it.not_after = rcgen::date_time_ymd(2020, 1, 1)),
        person(|it| it.not_before = rcgen::date_time_ymd(2999, 1, 1)),
    ];
    for params in dates {
        let usual = params.signed_by(&key, &ours).unwrap();
        let old = of_version_one(&usual, ours.key());
        assert_eq!(visit(&ours, &files(&old, &key)), None, "out of date");
    }
    let other = KeyPair::generate().unwrap();
    let refused = ClientTls::new(files(&old, &other)).map(drop).unwrap_err();
    assert!(refused.contains("cert.pem") && refused.contains("KeyMismatch"), "{refused}");
}

// Links come from whoever connects: one that is no authority must not make others.
#[test]
fn links_have_to_be_authorities() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, link_key, key) =
        (root("ours"), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let through = |link: CertificateParams| {
        let der = link.signed_by(&link_key, &ours).unwrap();
        let issuer = Issuer::from_params(&link, &link_key);
        let old = of_version_one(&person(|_| {}).signed_by(&key, &issuer).unwrap(), &link_key);
        visit(&ours, &files(folder.path(), &[&old, der.der()], &key, ours.der()))
    };
    assert_eq!(through(authority("link", |_| {})), as_root());
    assert_eq!(through(person(|_| {})), None, "a client's certificate signs nobody");
    let of_use = |usages| authority("link", |it| it.key_usages = usages);
    assert_eq!(through(of_use(vec![rcgen::KeyUsagePurpose::KeyCertSign])), as_root());
    assert_eq!(through(of_use(vec![rcgen::KeyUsagePurpose::CrlSign])), None, "not to sign others");
    let old = authority("link", |it| it.not_after = rcgen::date_time_ymd(2020, 1, 1));
    assert_eq!(through(old), None, "a link out of date");
    let for_hosts = authority("link", |it| {
        it.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(through(for_hosts), None, "an authority for hosts alone");
}

// An authority of a company signs one for a department, and the department shows it as its own.
#[test]
fn authority_may_be_shown_by_whoever_has_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, key) = (root("ours"), KeyPair::generate().unwrap());
    let ca = |it: &mut CertificateParams| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let shown = person(ca).signed_by(&key, &ours).unwrap();
    let options = files(folder.path(), &[shown.der()], &key, ours.der());
    assert_eq!(visit(&ours, &options), as_root());
    assert_eq!(shake(&options, &options, "localhost"), Some(None));
    assert_eq!(shake(&options, &options, "elsewhere"), None, "it is for a host");
    assert_eq!(visit(&root("ours"), &options), None, "same name, other key");
    // Room for no link below: then there is room for none above a leaf that is reached by two.
    let narrow = |it: &mut CertificateParams| {
        it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    };
    let (upper, lower) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let chain = |change: fn(&mut CertificateParams)| {
        let first = authority("upper", change);
        let first_der = first.signed_by(&upper, &ours).unwrap();
        let second = authority("lower", |_| {});
        let first = Issuer::from_params(&first, &upper);
        let second_der = second.signed_by(&lower, &first).unwrap();
        let second = Issuer::from_params(&second, &lower);
        let leaf = person(ca).signed_by(&key, &second).unwrap();
        let shown: [&[u8]; 3] = [leaf.der(), second_der.der(), first_der.der()];
        visit(&ours, &files(folder.path(), &shown, &key, ours.der()))
    };
    assert_eq!(chain(|_| {}), as_root());
    assert_eq!(chain(narrow), None);
}

/// A certificate that is its own authority, as `openssl req -x509` makes it, in both places.
fn own_authority(folder: &Path, change: impl FnOnce(&mut CertificateParams)) -> TlsOptions {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "root");
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    let file = |name: &str, text: String| {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        Some(file)
    };
    let cert_file = file("own.pem", cert.pem());
    TlsOptions {
        trusted_ca_file: cert_file.clone(),
        cert_file,
        key_file: file("own-key.pem", key.serialize_pem()),
        client_cert_auth: true,
        ..TlsOptions::default()
    }
}

// etcd takes a trusted certificate for what it is; webpki alone would refuse all that are
// authorities. What is not trusted, out of date or for something else is refused all the same.
#[test]
fn certificate_may_be_its_own_authority() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let own = own_authority(folders[0].path(), |_| {});
    let root = PeerName("root".into());
    assert_eq!(shake(&own, &own, "localhost"), Some(Some(root)));
    assert_eq!(shake(&own, &own, "elsewhere"), None, "it is for a host");
    let other = own_authority(folders[1].path(), |_| {});
    let stranger = TlsOptions { trusted_ca_file: own.trusted_ca_file.clone(), ..other.clone() };
    assert_eq!(shake(&own, &stranger, "localhost"), None, "same name, other key");
    assert_eq!(shake(&stranger, &own, "localhost"), None);
    let old =
        own_authority(folders[1].path(), |it| it.not_after = rcgen::date_time_ymd(2020, 1, 1));
    assert_eq!(shake(&old, &old, "localhost"), None, "out of date");
    let early =
        own_authority(folders[1].path(), |it| it.not_before = rcgen::date_time_ymd(2999, 1, 1));
    assert_eq!(shake(&early, &early, "localhost"), None, "not yet in date");
    let hosts = own_authority(folders[1].path(), |it| {
        it.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(shake(&hosts, &hosts, "localhost"), None, "not for who connects");
    let asks_nobody =
        TlsOptions { trusted_ca_file: None, client_cert_auth: false, ..hosts.clone() };
    let visitor = TlsOptions { cert_file: None, key_file: None, ..hosts };
    assert_eq!(shake(&asks_nobody, &visitor, "localhost"), Some(None), "but for a host");
}
