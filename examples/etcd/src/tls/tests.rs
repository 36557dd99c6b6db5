//! Both ends in one process: what is agreed on, and who is whom.

use std::fs;
use std::os::unix::net::UnixStream as Std;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;
use crate::connection::{PeerName, Stream};

/// An authority, and a certificate that it has signed for somebody at `localhost`.
fn papers(folder: &Path, common_name: &str) -> TlsOptions {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, &authority).unwrap();
    let file = |name: &str, text: String| {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        Some(file)
    };
    TlsOptions {
        cert_file: file("cert.pem", cert.pem()),
        key_file: file("key.pem", key.serialize_pem()),
        trusted_ca_file: file("ca.pem", authority.pem()),
        ..TlsOptions::default()
    }
}

/// Shakes hands; whom the server takes the other for, if it lets it in.
fn shake(server: &TlsOptions, client: &TlsOptions, host: &str) -> Option<Option<PeerName>> {
    let server = ServerTls::new(server.clone(), Endpoint::Client).unwrap();
    let client = ClientTls::new(client.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (here, there) = Std::pair().unwrap();
        let ends = [here, there].map(|end| {
            end.set_nonblocking(true).unwrap();
            Stream::Unix(UnixStream::from_std(end).unwrap())
        });
        let [here, there] = ends;
        let serving = async {
            let Secured { mut stream, name } = server.accept(here).await?;
            stream.write_all(b"welcome").await.ok()?;
            stream.flush().await.ok()?;
            Some(name)
        };
        let visiting = async {
            let mut stream = client.connect(host, there).await.ok()?;
            let mut said = [0; 7];
            stream.read_exact(&mut said).await.ok()?;
            (said == *b"welcome").then_some(())
        };
        let (name, welcome) = tokio::join!(serving, visiting);
        welcome.and(name)
    })
}

// A user is whom the certificate names, and only where the operator has said that it counts.
#[test]
fn common_name_counts_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let plain = papers(folder.path(), "root");
    let asking = TlsOptions { client_cert_auth: true, ..plain.clone() };
    let root = PeerName("root".into());
    assert_eq!(shake(&asking, &plain, "localhost"), Some(Some(root)));
    assert_eq!(shake(&plain, &plain, "localhost"), Some(None));
    let nobody = papers(folder.path(), "");
    let asking = TlsOptions { client_cert_auth: true, ..nobody.clone() };
    assert_eq!(shake(&asking, &nobody, "localhost"), Some(None));
}

// Somebody else at a member's address is not that member, unless certificates are home-made.
#[test]
fn server_is_whom_the_caller_wants() {
    let folder = tempfile::tempdir().unwrap();
    let options = papers(folder.path(), "a");
    assert_eq!(shake(&options, &options, "elsewhere"), None);
    let trusting = TlsOptions { self_signed: true, ..options.clone() };
    assert_eq!(shake(&options, &trusting, "elsewhere"), Some(None));
    let listed = TlsOptions { allowed_cns: vec!["a".to_owned()], ..options.clone() };
    assert_eq!(shake(&options, &listed, "localhost"), Some(None));
    let other = TlsOptions { allowed_cns: vec!["b".to_owned()], ..options.clone() };
    assert_eq!(shake(&options, &other, "localhost"), None, "it is dialled, and not on the list");
}

// Without an authority nobody's signature is known: that must not mean that everybody gets in.
#[test]
fn no_authority_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let options = papers(folder.path(), "a");
    let alone = TlsOptions { client_cert_auth: true, trusted_ca_file: None, ..options.clone() };
    assert_eq!(shake(&alone, &options, "localhost"), None);
    let blind = TlsOptions { trusted_ca_file: None, ..options.clone() };
    assert_eq!(shake(&options, &blind, "localhost"), None);
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
