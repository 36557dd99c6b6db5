//! Both ends in one process: what is agreed on, and who is whom.

mod forms;

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
