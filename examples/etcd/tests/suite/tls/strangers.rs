//! Those who do not speak TLS, or not this kind of it, or do not go on speaking.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::secured::{Secured, papers, shown};
use crate::support::programs;

/// Beyond what may be under way at once.
const HALF_OPEN: usize = 600;

/// A flood of connections that never shake hands must not keep anybody else out.
#[test]
fn half_open_handshakes_keep_nobody_out() {
    if programs::real_or_skip("tls::strangers::half_open_handshakes").is_none() {
        return;
    }
    let (folder, authority, server) = papers();
    let mut member = Secured::start(folder, &shown(&server));
    let connect = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", member.port)).unwrap();
        // The head of a record that is never sent.
        stream.write_all(&[22, 3, 1, 1, 0]).unwrap();
        stream
    };
    let mut flood: Vec<TcpStream> = (0..HALF_OPEN).map(connect).collect();
    member.serves(&authority.file(), None);
    member.wait_until("too many handshakes at once");
    // Those who came first had to go; whoever came last may still take its time.
    let first = &mut flood[0];
    first.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(matches!(first.read(&mut [0; 8]), Ok(0) | Err(_)));
}

/// Somebody who forgot the s in https is told by the log, and not served.
#[test]
fn plain_text_is_turned_away() {
    let (folder, _, server) = papers();
    let mut member = Secured::start(folder, &shown(&server));
    let mut stream = TcpStream::connect(("127.0.0.1", member.port)).unwrap();
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.windows(5).any(|part| part == b"etcds"), "nothing is told in the clear");
    member.wait_until("tls: first record does not look like a TLS handshake");
}

/// What openssl says of a connection in which it insists on `words`.
fn openssl(member: &Secured, words: &[&str]) -> Option<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("127.0.0.1:{}", member.port)]).args(words);
    let output = command.stdin(std::process::Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Rules about versions and ciphers are for auditors: they must hold, not only be accepted.
#[test]
fn versions_and_ciphers_are_what_the_flags_say() {
    let (folder, _, server) = papers();
    let mut flags = shown(&server);
    flags.push("--tls-max-version=TLS1.2".to_owned());
    flags.push("--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".to_owned());
    let member = Secured::start(folder, &flags);
    let Some(agreed) = openssl(&member, &["-alpn", "h2"]) else {
        return crate::support::skip(
            "tls::strangers::versions_and_ciphers",
            "no openssl installed",
        );
    };
    assert!(agreed.contains("ECDHE-ECDSA-AES256-GCM-SHA384"), "{agreed}");
    assert!(agreed.contains("TLSv1.2") && agreed.contains("ALPN protocol: h2"), "{agreed}");
    let other = openssl(&member, &["-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]).unwrap();
    assert!(other.contains("Cipher is (NONE)"), "{other}");
    let newer = openssl(&member, &["-tls1_3"]).unwrap();
    assert!(newer.contains("Cipher is (NONE)"), "{newer}");
    let (folder, _) = member.stop();
    let member = Secured::start(
        folder,
        &[&shown(&server)[..], &["--tls-min-version=TLS1.3".to_owned()]].concat(),
    );
    let older = openssl(&member, &["-tls1_2"]).unwrap();
    assert!(older.contains("Cipher is (NONE)"), "{older}");
    let newest = openssl(&member, &["-alpn", "http/1.1"]).unwrap();
    assert!(newest.contains("TLSv1.3") && newest.contains("ALPN protocol: http/1.1"), "{newest}");
}
