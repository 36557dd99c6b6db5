//! Bytes on the port that are no request of anybody's: noise, other protocols, broken HTTP/2.
//!
//! Each kind is thrown at the server over a fresh connection. It may answer or hang up; what it
//! must not do is fall, grow, or keep a bystander waiting.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::bystander::{Bystander, held, until};
use super::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, call_of, frame, header, message, opening,
};
use crate::support::programs;
use crate::support::server::Server;

/// Memory that the server may have gained after all the garbage: what its allocator keeps.
const GROWTH_MIB_MAX: u64 = 96;
/// How often a bystander is served meanwhile.
const BYSTANDER_ROUNDS_MIN: usize = 100;
/// How long a peer that was sent garbage may take to hang up or to fall silent.
const ANSWER_TIME: Duration = Duration::from_millis(300);

/// Sends `bytes` on a fresh connection, hears what comes, and hangs up.
fn throw(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(server);
    // The server may hang up in the middle; that is its right.
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
    }
    hear(&mut stream)
}

/// What the server says until it hangs up or falls silent.
fn hear(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(ANSWER_TIME)).expect("a socket has a timeout");
    let (mut heard, mut buffer) = (Vec::new(), [0; 64 * 1024]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return heard,
            Ok(count) => heard.extend(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return heard,
        }
    }
}

fn connect(server: &Server) -> TcpStream {
    let address = server.client_url();
    let address = address.strip_prefix("http://").expect("it is a URL");
    let stream = TcpStream::connect(address).expect("the server accepts connections");
    stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a socket has a timeout");
    stream
}

/// Throws all of `garbage` while a bystander looks on; the server is as before afterwards.
#[track_caller]
fn survives(garbage: &[(String, Vec<u8>)]) {
    let mut server = Server::start(&programs::ours(), &[]);
    let bystander = Bystander::watch_over(&server);
    let before = held(&server);
    // Long enough for the bystander to notice.
    while bystander.served() < BYSTANDER_ROUNDS_MIN {
        for (name, bytes) in garbage {
            throw(&server, bytes);
            assert!(server.is_running(), "{name} brought it down\n{}", server.log());
        }
    }
    is_as_before(&mut server, before.memory_mib);
    until("connections are kept open", || held(&server).files <= before.files + 2);
    bystander.was_served_promptly();
    let log = server.whole_log();
    assert!(!log.contains("panicked"), "{log}");
}

#[track_caller]
fn is_as_before(server: &mut Server, memory_mib: u64) {
    assert!(server.is_running(), "{}", server.log());
    let now = held(server).memory_mib;
    println!("memory: {memory_mib} MiB before, {now} MiB after");
    assert!(now <= memory_mib + GROWTH_MIB_MAX, "{memory_mib} MiB became {now} MiB");
}

/// Port scanners and mistaken clients send anything.
#[test]
fn noise_and_other_protocols_are_survived() {
    let mut dice = ChaCha8Rng::seed_from_u64(crate::support::seed("noise_and_other_protocols"));
    let mut noise = |bytes: usize| {
        let mut content = vec![0; bytes];
        dice.fill_bytes(&mut content);
        content
    };
    let mut garbage: Vec<(String, Vec<u8>)> = Vec::new();
    for bytes in [0, 1, 2, 23, 24, 25, 1000, 65_536, 1_000_000] {
        garbage.push((format!("{bytes} bytes of noise"), noise(bytes)));
    }
    garbage.push(("zeros".into(), vec![0; 100_000]));
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend(noise(507));
    garbage.push(("a TLS hello".into(), hello));
    garbage.push(("SSH".into(), b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()));
    garbage.push(("Redis".into(), b"*1\r\n$4\r\nPING\r\n".to_vec()));
    survives(&garbage);
}

/// HTTP/1 shares the port, and everybody has a tool that speaks it badly.
#[test]
fn broken_http1_is_survived() {
    let texts = [
        "GET /health HTTP/9.9\r\n\r\n",
        "GET\r\n\r\n",
        "GET /health\r\n\r\n",
        "\r\n\r\n\r\n",
        "GET /health HTTP/1.1\r\nno colon here\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        "POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        "POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        "POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         ffffffffffffffff\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         HTTP2-Settings: AAAA\r\n\r\n",
        "CONNECT example.com:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    let mut garbage: Vec<_> =
        texts.iter().map(|text| ((*text).to_owned(), text.as_bytes().to_vec())).collect();
    let long = "x".repeat(5 << 20);
    garbage.push(("a path of 5 MiB".into(), format!("GET /{long} HTTP/1.1\r\n\r\n").into()));
    garbage
        .push(("a header of 5 MiB".into(), format!("GET / HTTP/1.1\r\nA: {long}\r\n\r\n").into()));
    let many = "A: b\r\n".repeat(200_000);
    garbage.push(("200,000 headers".into(), format!("GET / HTTP/1.1\r\n{many}\r\n").into()));
    garbage.push(("a line that does not end".into(), long.into()));
    let pipelined = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2000);
    garbage.push(("2,000 requests at once".into(), pipelined.into()));
    survives(&garbage);
}

/// The preface alone proves nothing: what follows may be anything.
#[test]
fn broken_http2_is_survived() {
    let mut dice = ChaCha8Rng::seed_from_u64(crate::support::seed("broken_http2"));
    let mut garbage = Vec::new();
    for cut in [1, 12, 23] {
        garbage.push((format!("{cut} bytes of the preface"), PREFACE[..cut].to_vec()));
    }
    garbage.push(("a misspelt preface".into(), b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n".to_vec()));
    for (name, frames) in wrong_frames() {
        garbage.push((name.into(), [opening(), frames].concat()));
    }
    for round in 0..60 {
        let mut bytes = opening();
        for _ in 0..dice.random_range(1..50) {
            let mut payload = vec![0; dice.random_range(0..300)];
            dice.fill_bytes(&mut payload);
            let stream = if dice.random() { dice.random_range(0..9) } else { dice.random() };
            bytes.extend(frame(dice.random_range(0..12), dice.random(), stream, &payload));
        }
        garbage.push((format!("random frames, round {round}"), bytes));
    }
    survives(&garbage);
}

fn wrong_frames() -> Vec<(&'static str, Vec<u8>)> {
    let get = call_of("/etcdserverpb.KV/Range");
    let open = frame(HEADERS, END_HEADERS, 1, &get);
    let with = |frames: Vec<u8>| [open.clone(), frames].concat();
    vec![
        ("settings of odd length", frame(SETTINGS, 0, 0, &[1, 2, 3])),
        ("settings on a stream", frame(SETTINGS, 0, 3, &[])),
        ("a window of 2^32", frame(SETTINGS, 0, 0, &[0, 4, 255, 255, 255, 255])),
        ("frames of 0 bytes", frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 0])),
        ("data without a stream", frame(DATA, 0, 0, b"x")),
        ("data on an idle stream", frame(DATA, 0, 5, b"x")),
        ("headers on an even stream", frame(HEADERS, END_HEADERS, 2, &get)),
        ("headers that are no HPACK", frame(HEADERS, END_HEADERS, 1, &[0xff; 200])),
        (
            "a table that is too large",
            frame(HEADERS, END_HEADERS, 1, &[0x3f, 0xff, 0xff, 0xff, 0x7f]),
        ),
        ("padding longer than the frame", frame(DATA, 8, 1, &[200, 0])),
        ("a call without a path", frame(HEADERS, END_HEADERS | END_STREAM, 1, &header("a", "b"))),
        ("headers in capitals", frame(HEADERS, END_HEADERS, 1, &header("Content-Type", "x"))),
        ("a continuation of nothing", frame(CONTINUATION, 0, 1, &get)),
        ("data between headers", [frame(HEADERS, 0, 1, &get), frame(DATA, 0, 1, b"x")].concat()),
        (
            "a window that overflows",
            with(frame(WINDOW_UPDATE, 0, 1, &[0x7f, 255, 255, 255]).repeat(2)),
        ),
        ("a window of nothing", with(frame(WINDOW_UPDATE, 0, 1, &[0; 4]))),
        ("a reset of an idle stream", frame(RST_STREAM, 0, 99, &[0; 4])),
        ("a ping that is too short", frame(PING, 0, 0, b"1234567")),
        ("a stream before itself", frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])),
        ("a farewell, then more", [frame(GOAWAY, 0, 0, &[0; 8]), open.clone()].concat()),
        ("a frame longer than allowed", {
            let mut long = frame(DATA, 0, 1, &[]);
            long[..3].copy_from_slice(&[255, 255, 255]);
            with([long, vec![0; 1 << 20]].concat())
        }),
        ("unknown frames", frame(0xee, 0xff, 1, &[7; 1000]).repeat(100)),
        ("a message longer than it says", with(frame(DATA, END_STREAM, 1, &message(b"x")[..5]))),
    ]
}

/// Floods that once brought down other servers (CVE-2019-9512, -9514, -9515, -9518, 2023-44487,
/// 2024-27316): many small frames, each of which costs more than it weighs. The peer reads nothing.
#[test]
fn floods_of_small_frames_are_survived() {
    let mut server = Server::start(&programs::ours(), &[]);
    let bystander = Bystander::watch_over(&server);
    let before = held(&server).memory_mib;
    let put = call_of("/etcdserverpb.KV/Put");
    let reset = |stream: u32| {
        let call = frame(HEADERS, END_HEADERS, stream, &put);
        [call, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    };
    let field = header("x-filler", &"y".repeat(1000));
    let indexed = [&[0x40][..], &field[1..]].concat();
    let bomb = [call_of("/etcdserverpb.KV/Range"), indexed, vec![0xbe; 16_000]].concat();
    let floods: Vec<(&str, Vec<u8>)> = vec![
        ("pings", frame(PING, 0, 0, b"12345678").repeat(1_000_000)),
        ("settings", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]).repeat(500_000)),
        ("empty data", {
            let empty = frame(DATA, 0, 1, &[]).repeat(1_000_000);
            [frame(HEADERS, END_HEADERS, 1, &put), empty].concat()
        }),
        ("calls taken back", (0..100_000).flat_map(|n| reset(2 * n + 1)).collect()),
        ("headers without an end", {
            let more = frame(CONTINUATION, 0, 1, &field.repeat(10)).repeat(2000);
            [frame(HEADERS, 0, 1, &put), more].concat()
        }),
        ("headers that unpack to 16 MB", frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb)),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(500_000)),
        ("unknown methods", {
            let call = call_of("/etcdserverpb.KV/Frobnicate");
            let call = |n: u32| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &call);
            (0..50_000).flat_map(call).collect()
        }),
    ];
    let mut peers = Vec::new();
    for (name, frames) in floods {
        let mut stream = connect(&server);
        // It blocks where the server stops reading, which is the best defence there is.
        stream.set_write_timeout(Some(Duration::from_secs(3))).expect("a socket has a timeout");
        let taken = stream.write_all(&[opening(), frames].concat());
        println!("{name}: {taken:?}, then {} MiB", held(&server).memory_mib);
        is_as_before(&mut server, before);
        // It stays connected, and still reads nothing.
        peers.push(stream);
    }
    is_as_before(&mut server, before);
    drop(peers);
    bystander.was_served_promptly();
    let log = server.whole_log();
    assert!(!log.contains("panicked"), "{log}");
}
