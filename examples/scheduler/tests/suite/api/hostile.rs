//! Requests that nobody's tool would send: each has an answer, and the server lives on.

use mason::api::wire::{Health, Summary};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Site, check_refused};
use crate::support::{Kind, run};

/// The store makes no difference here.
macro_rules! on_ours {
    ($($name:ident: $test:ident)*) => {$(
        #[test]
        fn $name() {
            run(concat!(module_path!(), "::", stringify!($name)), Kind::Ours, $test);
        }
    )*};
}

on_ours! {
    garbage_is_refused: garbage
    paths_lead_nowhere_else: paths
    bodies_have_bounds: bodies
    heads_have_bounds: heads
    one_who_says_nothing_is_left_alone: silence
    selectors_and_queries_are_checked: queries
    the_token_is_asked_for_everywhere: token
    followers_have_a_bound: followers
    many_at_once_are_all_answered: many
}

/// The status line's number; 0 if there is none.
fn status(answer: &str) -> u16 {
    let code = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.and_then(|code| code.parse().ok()).unwrap_or(0)
}

async fn lives(site: &Site) {
    site.client.get::<Health>("/v1/health").await.unwrap();
}

/// Whatever comes out of a port scanner.
async fn garbage(_: Kind) {
    let site = Site::start(Kind::Ours).await;
    for bytes in [
        &b""[..],
        b"\0\0\0\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/health\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/apply HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/apply HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\
          content-length: 2\r\n\r\nxx",
        b"POST /v1/apply HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\xff\xfe: x\r\n\r\n",
    ] {
        let answer = site.raw(bytes).await;
        assert!(matches!(status(&answer), 0 | 400..=505), "{bytes:?}: {answer}");
        lives(&site).await;
    }
    for (line, code) in [
        ("GET /", 404),
        ("GET /v1", 404),
        ("GET /v2/objects", 404),
        ("BREW /v1/objects", 405),
        ("POST /v1/objects", 405),
        ("PUT /v1/nodes/n1/cordon", 405),
        ("GET /v1/objects/a/b/explode", 405),
    ] {
        let answer = site.say(line, "").await;
        assert_eq!(status(&answer), code, "{answer}");
        assert!(answer.contains("{\"error\":\""), "a refusal in JSON: {answer}");
    }
}

/// A name becomes a part of a key of the store, and of a path at an agent.
async fn paths(_: Kind) {
    let site = Site::start(Kind::Ours).await;
    for path in [
        "/v1/objects/default/..%2f..%2fsecret",
        "/v1/objects/..%2fsecret/default",
        "/v1/objects/default/%2e%2e",
        "/v1/objects/default/a%00b",
        "/v1/objects/default/%ff%fe",
        "/v1/objects/default/%zz",
        "/v1/objects/default/A",
        "/v1/objects/%20/a",
        "/v1/runs/..%2f..%2fnodes/logs",
        "/v1/runs/a%0d%0aX-Evil:1/logs",
        "/v1/nodes/..%2f/images",
        "/v1/nodes/%2e%2e",
        "/v1/nodes/.hidden",
    ] {
        let answer = site.say(&format!("GET {path}"), "").await;
        assert_eq!(status(&answer), 400, "{path}: {answer}");
    }
    let long = format!("GET /v1/objects/default/{}", "a".repeat(5_000));
    let answer = site.say(&long, "").await;
    assert!(status(&answer) == 400 && answer.len() < 1_000, "{answer}");
    for path in ["/v1/objects/default/../../v1/health", "/v1//health", "/v1/health/", "//v1/health"]
    {
        let answer = site.say(&format!("GET {path}"), "").await;
        assert!(matches!(status(&answer), 400 | 404), "{path}: {answer}");
    }
    lives(&site).await;
}

/// A gigabyte, a mile of brackets, half a letter: none of it is kept, or followed.
async fn bodies(_: Kind) {
    let site = Site::start(Kind::Ours).await;
    let deep = "[".repeat(100_000);
    let object = format!("{{\"text\":{}", "{\"a\":".repeat(50_000));
    for (body, code) in [
        (deep.as_str(), 400),
        (&object, 400),
        ("{", 400),
        ("nonsense", 400),
        ("null", 400),
        ("{}", 400),
        ("{\"text\":\"\",\"namespace\":\"default\",\"more\":1}", 400),
        ("{\"text\":\"{kind: Job, name: a, image: a}\",\"namespace\":\"default\"} x", 400),
        ("{\"text\":5,\"namespace\":\"default\"}", 400),
    ] {
        let answer = site.say("POST /v1/apply", body).await;
        let start: String = body.chars().take(40).collect();
        assert_eq!(status(&answer), code, "{start}: {answer}");
        assert!(answer.len() < 2_000, "{start}: {} bytes", answer.len());
    }
    let answer = site.say("POST /v1/apply", "{\"text\":\"\",\"namespace\":\"d\",\"more\":1}").await;
    assert!(answer.contains("unknown field `more`"), "{answer}");
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(5 << 20));
    assert_eq!(status(&site.say("POST /v1/apply", &large).await), 413);
    let large = format!("{{\"image\":\"{}\"}}", "x".repeat(20 << 10));
    assert_eq!(status(&site.say("POST /v1/objects/default/a/image", &large).await), 413);
    let head = "POST /v1/apply HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let broken = [head.as_bytes(), b"content-length: 11\r\n\r\n{\"text\":\"\xff\xfe"].concat();
    assert_eq!(status(&site.raw(&broken).await), 400);
    let head = head.replace("connection: close\r\n", "");
    let short = [head.as_bytes(), b"content-length: 1000\r\n\r\n{"].concat();
    assert!(matches!(status(&site.raw(&short).await), 0 | 400));
    // A text that reads, and stands for far more than it is.
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c \
                [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e \
                [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    check_refused(site.apply(bomb).await, 400, "");
    lives(&site).await;
}

/// Headers without end, or of one that is.
async fn heads(_: Kind) {
    let site = Site::start(Kind::Ours).await;
    let line = "GET /v1/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let many: String = (0..1_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = site.raw(format!("{line}{many}\r\n").as_bytes()).await;
    assert_eq!(status(&answer), 431, "{answer}");
    let long = format!("{line}x: {}\r\n\r\n", "y".repeat(200 << 10));
    let answer = site.raw(long.as_bytes()).await;
    assert!(matches!(status(&answer), 0 | 431), "{answer}");
    let query = format!("GET /v1/objects?label={}", "a".repeat(20_000));
    assert_eq!(status(&site.say(&query, "").await), 400);
    let elsewhere = "GET /v1/health HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&site.raw(elsewhere.as_bytes()).await), 403);
    lives(&site).await;
}

/// Connections that are only held open must not keep others out.
async fn silence(_: Kind) {
    let site = Site::start(Kind::Ours).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(b"POST /v1/apply HTTP/1.1\r\nhost: localh").await.unwrap();
        silent.push(stream);
    }
    lives(&site).await;
    // In time they are closed, and what they said was no request. That takes half a minute.
    if std::env::var_os("SLOW").is_none() {
        return;
    }
    for mut stream in silent {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(matches!(status(&String::from_utf8_lossy(&answer)), 0 | 408), "{answer:?}");
    }
    lives(&site).await;
}

/// A selector that does not read must not select everything.
async fn queries(_: Kind) {
    let site = Site::start(Kind::Ours).await;
    site.apply("{kind: Job, name: a, image: a, labels: {app: x}}").await.unwrap();
    let list =
        async |query: &str| site.client.get::<Vec<Summary>>(format!("/v1/objects?{query}")).await;
    assert_eq!(list("label=app%3Dx,app%21%3Dy").await.unwrap().len(), 1);
    assert_eq!(list("label=app%21%3Dx").await.unwrap().len(), 0);
    assert_eq!(list("owner=default/cron").await.unwrap().len(), 0);
    for (query, text) in [
        ("label=a%3D%3D%3Db", "label[0]: "),
        ("label=,", "label[1]: "),
        ("label=a%00", "label[0]: "),
        ("label=%ff", ""),
        ("kind=pod", "kind: `pod` is none of job"),
        ("owner=x", "owner: `x` does not name a job"),
        ("namespace=..%2f", "namespace `../`"),
        ("labels=a", "unknown field `labels`"),
        ("kind=job&kind=job", "duplicate field"),
    ] {
        check_refused(list(query).await, 400, text);
    }
}

/// Wherever one comes in, the token is asked for first.
async fn token(_: Kind) {
    let site = Site::start_with(Kind::Ours, Some("0123456789abcdef")).await;
    lives(&site).await;
    for line in [
        "GET /v1/health",
        "GET /v1/nothing",
        "POST /v1/apply",
        "BREW /v1/objects",
        "GET /v1/runs/x/logs",
        "GET /v1/events?follow=true",
    ] {
        let answer = site.say(line, "{").await;
        assert_eq!(status(&answer), 401, "{line}: {answer}");
        assert!(answer.to_lowercase().contains("www-authenticate: bearer"), "{answer}");
    }
    // A body that nobody may send is not waited for.
    let head = "POST /v1/apply HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                content-length: 9999999\r\n\r\n";
    assert_eq!(status(&site.raw(head.as_bytes()).await), 401);
    let everywhere = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let api = mason::api::Api::new(site.store.clone(), &site.server, None);
    let error = mason::api::serve(everywhere, api, None).await.unwrap_err().to_string();
    assert!(error.contains("without a token"), "{error}");
}

/// Who follows holds something open; there is an end to that, and it is said.
async fn followers(_: Kind) {
    let site = Site::start(Kind::Ours).await;
    let mut open = Vec::new();
    let refused = loop {
        match site.client.lines("/v1/events?follow=true").await {
            Ok(lines) => open.push(lines),
            Err(error) => break error,
        }
        assert!(open.len() <= 256, "a bound");
    };
    check_refused(Err::<(), _>(refused), 429, "256 requests follow something already");
    assert_eq!(open.len(), 256);
    // Others are answered; and a place that is left is free.
    lives(&site).await;
    open.clear();
    crate::support::until(async || site.client.lines("/v1/events?follow=true").await.ok()).await;
}

/// A hundred clients at once are a busy morning.
async fn many(_: Kind) {
    let site = Site::start(Kind::Ours).await;
    let one = async |n: usize| {
        let name = format!("job-{n}");
        site.apply(&format!("{{kind: Job, name: {name}, image: a}}")).await.unwrap();
        site.client.get::<mason::api::wire::Detail>(format!("/v1/objects/default/{name}")).await
    };
    let all = futures_util::future::join_all((0..100).map(one)).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(site.client.get::<Vec<Summary>>("/v1/objects").await.unwrap().len(), 100);
}
