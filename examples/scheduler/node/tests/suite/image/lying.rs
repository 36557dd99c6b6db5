//! A registry that lies, breaks, stalls, or sends us elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mason_node::image::pull::{PullConfig, Puller};
use mason_node::image::{Digest, Error};

use super::server::{Asked, Sample, Server, answer};
use super::{name, pull, run, silent, store};

fn quick() -> PullConfig {
    PullConfig {
        backoff: Duration::from_millis(1),
        timeout: Duration::from_secs(10),
        tries: 3,
        ..PullConfig::default()
    }
}

/// A pull of `app` from a server that answers so.
fn from(
    config: PullConfig,
    answer: impl Fn(&Asked, usize) -> Vec<u8> + Send + Sync + 'static,
) -> (Result<(), Error>, Vec<Asked>) {
    let server = Server::start(answer);
    let (_temp, store) = store();
    let result = pull(&store, config, &format!("{}/app", server.host)).map(drop);
    let left = std::fs::read_dir(store.root().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "a pull leaves nothing in the making");
    assert_eq!(store.list().unwrap().len(), usize::from(result.is_ok()));
    (result, server.asked())
}

/// A proxy that changes a layer must not get it into a container.
#[test]
fn a_layer_that_is_another_is_refused() {
    let sample = Sample::new(10_000);
    let (result, _) = from(quick(), move |asked, _| {
        let mut other = sample.clone();
        other.layer[700] ^= 1;
        if sample.is_layer(asked) {
            answer("200 OK", &[], &other.layer)
        } else {
            sample.honest(asked)
        }
    });
    assert!(matches!(result, Err(Error::WrongDigest { .. })), "{result:?}");
}

/// A reference by digest names bytes, whatever the registry would rather send.
#[test]
fn a_manifest_that_is_another_is_refused() {
    let sample = Sample::new(10);
    let server = Server::start(move |asked, _| sample.honest(asked));
    let (_temp, store) = store();
    let text = format!("{}/app@{}", server.host, Digest::of(b"wanted"));
    let result = pull(&store, quick(), &text);
    assert!(matches!(result, Err(Error::WrongDigest { .. })), "{result:?}");
}

/// A line that breaks goes on where it broke: a large layer over a bad line must come through.
#[test]
fn a_broken_blob_goes_on_where_it_broke() {
    for ranges in [true, false] {
        let sample = Sample::new(300_000);
        let seen = sample.clone();
        let (result, asked) = from(quick(), move |asked, before| {
            if !sample.is_layer(asked) {
                return sample.honest(asked);
            }
            let layer = &sample.layer;
            match asked.header("range") {
                // Says how long it is, and ends in the middle.
                _ if before == 0 => {
                    let mut whole = answer("200 OK", &[], layer);
                    whole.truncate(whole.len() - 100_000);
                    whole
                }
                Some(range) if ranges => {
                    let from = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap();
                    let from: usize = from.parse().unwrap();
                    let total = layer.len();
                    let header = format!("content-range: bytes {from}-{}/{total}", total - 1);
                    answer("206 Partial Content", &[&header], &layer[from..])
                }
                _ => answer("200 OK", &[], layer),
            }
        });
        result.unwrap();
        let ranged = asked.iter().filter(|asked| asked.header("range").is_some()).count();
        assert_eq!(ranged, 1, "the second try asked for the rest");
        assert_eq!(asked.iter().filter(|asked| seen.is_layer(asked)).count(), 2);
    }
}

/// A registry may not use the node to reach the cloud's metadata or the machine next door.
#[test]
fn redirects_to_inner_addresses_and_other_schemes_are_refused() {
    for (to, why) in [
        ("http://169.254.169.254/latest/meta-data", "inner address"),
        ("http://10.0.0.1/x", "inner address"),
        ("http://[::ffff:169.254.169.254]/x", "inner address"),
        ("http://100.100.100.200/x", "inner address"),
        ("file:///etc/passwd", ""),
        ("ftp://example.com/x", "neither http nor https"),
        ("http://a:b@127.0.0.1/x", "name and password"),
    ] {
        let sample = Sample::new(10);
        let (result, _) = from(quick(), move |asked, _| {
            let location = format!("location: {to}");
            match sample.is_layer(asked) {
                true => answer("307 Temporary Redirect", &[&location], b""),
                false => sample.honest(asked),
            }
        });
        let text = result.unwrap_err().to_string();
        assert!(text.contains("refused") && text.contains(why), "{to}: {text}");
    }
}

/// Registries keep blobs elsewhere; who is asked there must not get our password.
#[test]
fn a_redirect_is_followed_without_our_password() {
    let sample = Sample::new(5000);
    let layer = sample.layer.clone();
    let elsewhere = Server::start(move |_, _| answer("200 OK", &[], &layer));
    let to = format!("location: http://{}/blob", elsewhere.host);
    let registry = Server::start(move |asked, _| match asked.header("authorization") {
        None => answer("401 Unauthorized", &["www-authenticate: Basic realm=\"x\""], b""),
        Some(given) => {
            assert_eq!(given, "Basic bWU6c2VjcmV0");
            if sample.is_layer(asked) {
                answer("302 Found", &[&to], b"")
            } else {
                sample.honest(asked)
            }
        }
    });
    let (_temp, store) = store();
    let mut config = quick();
    config.credentials.add(&registry.host, "me", "secret");
    pull(&store, config, &format!("{}/app", registry.host)).unwrap();
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
    // Without credentials the answer is that, and not "not found".
    let (_temp, store) = super::store();
    let result = pull(&store, quick(), &format!("{}/app", registry.host));
    assert!(matches!(result, Err(Error::Unauthorized { .. })), "{result:?}");
}

/// The usual way of public registries: a token first.
#[test]
fn a_token_is_fetched_and_used() {
    let sample = Sample::new(100);
    let server = Server::start(move |asked, _| {
        if asked.path.starts_with("/token?") {
            return answer("200 OK", &[], br#"{"token":"T"}"#);
        }
        match asked.header("authorization") {
            Some("Bearer T") => sample.honest(asked),
            _ => {
                let host = asked.header("host").unwrap();
                let want =
                    format!("www-authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"");
                answer("401 Unauthorized", &[&want], b"")
            }
        }
    });
    let (_temp, store) = store();
    pull(&store, quick(), &format!("{}/app", server.host)).unwrap();
    let tokens: Vec<Asked> =
        server.asked().into_iter().filter(|asked| asked.path.starts_with("/token")).collect();
    assert_eq!(tokens[0].path, "/token?service=s&scope=repository:app:pull");
    assert_eq!(tokens.len(), 1, "the token is used again");
}

/// The token server is the registry's choice as well, and may not be an inner address either.
#[test]
fn a_token_server_at_an_inner_address_is_refused() {
    let (result, _) = from(quick(), |_, _| {
        let want = "www-authenticate: Bearer realm=\"http://169.254.169.254/token\"";
        answer("401 Unauthorized", &[want], b"")
    });
    let text = result.unwrap_err().to_string();
    assert!(text.contains("inner address"), "{text}");
}

/// A registry that is restarted answers 500 for a while. One that stays so must not hold us for
/// ever.
#[test]
fn passing_failures_are_tried_again_and_lasting_ones_are_told() {
    let sample = Sample::new(100);
    let (result, asked) = from(quick(), move |asked, before| match before {
        0 => answer("500 Internal Server Error", &[], b""),
        1 => answer("429 Too Many Requests", &[], b""),
        _ => sample.honest(asked),
    });
    result.unwrap();
    assert_eq!(asked.len(), 9, "manifest, config and layer, three times each");
    let (result, asked) = from(quick(), |_, _| answer("503 Service Unavailable", &[], b""));
    let text = result.unwrap_err().to_string();
    assert!(text.contains("unreachable") && text.contains("503"), "{text}");
    assert_eq!(asked.len(), 3);
    let (result, asked) = from(quick(), |_, _| answer("404 Not Found", &[], b""));
    assert!(matches!(result, Err(Error::NotFound { .. })), "{result:?}");
    assert_eq!(asked.len(), 1, "what is not there is not asked for again");
}

/// A registry that is down, and one that takes the call and says nothing.
#[test]
fn nobody_there_and_silence_are_unreachable() {
    let (_temp, store) = store();
    let gone = Server::start(|_, _| Vec::new());
    let config = PullConfig { timeout: Duration::from_millis(50), ..quick() };
    let result = pull(&store, config.clone(), &format!("{}/app", gone.host));
    let text = result.unwrap_err().to_string();
    assert!(text.contains("unreachable") && text.contains("timed out"), "{text}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    drop(listener);
    let result = pull(&store, config, &format!("{host}/app"));
    let text = result.unwrap_err().to_string();
    assert!(text.contains("unreachable") && text.contains(&host.to_string()), "{text}");
}

/// A line that goes silent in the middle of a layer is given up, and the rest asked for anew.
#[test]
fn a_blob_that_stalls_is_asked_for_again() {
    let sample = Sample::new(200_000);
    let config = PullConfig { timeout: Duration::from_millis(300), ..quick() };
    let (result, asked) = from(config, move |asked, before| {
        if !sample.is_layer(asked) || before > 0 {
            return sample.honest(asked);
        }
        let mut half = answer("200 OK", &["x-then: stall"], &sample.layer);
        half.truncate(half.len() / 2);
        half
    });
    result.unwrap();
    assert!(asked.iter().any(|asked| asked.header("range").is_some()));
}

/// What is held in memory must not be as large as the sender likes.
#[test]
fn a_huge_manifest_and_a_blob_longer_than_said_are_refused() {
    let (result, _) = from(quick(), |_, _| answer("200 OK", &[], &vec![b' '; 5 << 20]));
    let text = result.unwrap_err().to_string();
    assert!(text.contains("document_bytes_max"), "{text}");
    let sample = Sample::new(100);
    let (result, _) = from(quick(), move |asked, _| match sample.is_layer(asked) {
        true => answer("200 OK", &[], &[sample.layer.as_slice(), b"more"].concat()),
        false => sample.honest(asked),
    });
    assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
    let small = PullConfig { blob_bytes_max: 1000, ..quick() };
    let sample = Sample::new(100);
    let (result, _) = from(small, move |asked, _| sample.honest(asked));
    assert!(result.unwrap_err().to_string().contains("blob_bytes_max"));
}

/// Without TLS anyone on the way reads the password: only where it was allowed.
#[test]
fn http_is_for_loopback_and_listed_registries() {
    let (_temp, store) = store();
    let mirrors = [("docker.io".to_owned(), "http://registry.example:5000".to_owned())].into();
    let result = pull(&store, PullConfig { mirrors, ..quick() }, "busybox");
    assert!(result.unwrap_err().to_string().contains("neither on loopback nor listed"));
}

/// Ten tasks of one image on a node are one download; each hears the same end.
#[test]
fn two_pulls_of_one_image_are_one() {
    let sample = Sample::new(3 << 20);
    let seen = sample.clone();
    let server = Server::start(move |asked, _| sample.honest(asked));
    let (_temp, store) = store();
    let puller = Puller::new(store.clone(), quick()).unwrap();
    let text = name(&format!("{}/app", server.host));
    let bytes = Arc::new(AtomicU64::new(0));
    let most = Arc::clone(&bytes);
    let (one, two) = run(async {
        let heard = Arc::new(move |progress: mason_node::image::pull::Progress| {
            most.fetch_max(progress.bytes, Ordering::SeqCst);
        });
        tokio::join!(puller.pull(&text, heard), puller.pull(&text, silent()))
    });
    assert_eq!(one.unwrap().digest, two.unwrap().digest);
    let layers = server.asked().iter().filter(|asked| seen.is_layer(asked)).count();
    assert_eq!((layers, store.unpack_count()), (1, 1));
    assert_eq!(bytes.load(Ordering::SeqCst), seen.layer.len() as u64, "progress was told");
}

/// Most registries speak TLS: who they are is checked, and they may not talk us out of it.
#[test]
fn tls_is_checked_and_never_left() {
    let sample = Sample::new(50_000);
    let (host, certificate) = Server::secure(move |asked| match asked.path.contains("/away/") {
        true => answer("302 Found", &["location: http://127.0.0.1:1/x"], b""),
        false => sample.honest(asked),
    });
    let (_temp, store) = store();
    let mirrors = [("docker.io".to_owned(), format!("https://{host}"))].into();
    let mut config = PullConfig { mirrors, ..quick() };
    let stranger = pull(&store, config.clone(), "app").unwrap_err().to_string();
    assert!(stranger.contains("no TLS with"), "{stranger}");
    config.roots.push(certificate);
    pull(&store, config.clone(), "app").unwrap();
    let left = pull(&store, config, "away/app").unwrap_err().to_string();
    assert!(left.contains("a redirect from https to http"), "{left}");
}
