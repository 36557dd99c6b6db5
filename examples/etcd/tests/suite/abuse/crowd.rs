//! Connections: too many, too slow, or gone again at once.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use drystone_etcd_api::etcdserverpb::WatchCreateRequest;
use socket2::SockRef;

use super::bystander::{Bystander, held, until};
use super::http2::{DATA, END_HEADERS, HEADERS, PREFACE, call_of, frame, opening};
use crate::support::calls::{self, client_of, in_a_runtime};
use crate::support::programs;
use crate::support::server::Server;
use crate::support::watch::Watch;

fn connect(server: &Server) -> TcpStream {
    let address = server.client_url();
    let address = address.strip_prefix("http://").expect("it is a URL");
    TcpStream::connect(address).expect("the server accepts connections")
}

/// How long a connection may stay without a request, as README.md has it, and some grace.
const SILENCE_MAX: Duration = Duration::from_secs(30 + 15);
/// What 700 connections that come to nothing may cost, MiB.
const IDLE_MIB_MAX: u64 = 48;

/// Whoever connects and says nothing, or says it a byte at a time, is served by being waited for;
/// nobody else is made to wait, and in the end he is sent away.
#[test]
fn silent_and_slow_peers_cost_little_and_are_sent_away() {
    let server = Server::start(&programs::ours(), &[]);
    let bystander = Bystander::watch_over(&server);
    let before = held(&server);
    let start = Instant::now();
    let silent: Vec<TcpStream> = (0..500).map(|_| connect(&server)).collect();
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
    let mut slow: Vec<(TcpStream, &[u8])> = Vec::new();
    for i in 0..200 {
        let bytes: &[u8] = if i % 2 == 0 { request } else { &PREFACE[..23] };
        slow.push((connect(&server), bytes));
    }
    let mut worst = before;
    let mut at = 0;
    // A byte each, ten times a second, until all are gone.
    while start.elapsed() < SILENCE_MAX && held(&server).files > before.files + 2 {
        for (stream, bytes) in &mut slow {
            let byte = bytes.get(at).copied().unwrap_or(b'x');
            // Of the preface nothing is left to send; of the request there is always more.
            if at < bytes.len() || bytes[0] == b'G' {
                let _ = stream.write_all(&[byte]);
            }
        }
        at += 1;
        let now = held(&server);
        worst.memory_mib = worst.memory_mib.max(now.memory_mib);
        worst.files = worst.files.max(now.files);
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = start.elapsed();
    println!("{before:?} before, {worst:?} at worst, all gone after {took:?}");
    assert!(worst.files >= before.files + 690, "all were connected at once");
    assert!(worst.memory_mib <= before.memory_mib + IDLE_MIB_MAX, "{worst:?}");
    assert!(took < SILENCE_MAX, "some stay for ever: {:?}", held(&server));
    for mut stream in silent {
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "the server has hung up");
    }
    bystander.was_served_promptly();
}

/// An HTTP/2 connection may be idle for as long as it likes; a call that trickles is only slow.
#[test]
fn trickling_calls_keep_nobody_waiting() {
    let server = Server::start(&programs::ours(), &[]);
    let bystander = Bystander::watch_over(&server);
    let before = held(&server);
    let call = frame(HEADERS, END_HEADERS, 1, &call_of("/etcdserverpb.KV/Put"));
    let mut peers: Vec<TcpStream> = (0..200).map(|_| connect(&server)).collect();
    for peer in &mut peers {
        peer.write_all(&[opening(), call.clone()].concat()).expect("the server reads");
    }
    for _ in 0..20 {
        for peer in &mut peers {
            peer.write_all(&frame(DATA, 0, 1, &[0])).expect("the server reads");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let now = held(&server);
    println!("{before:?} before, {now:?} with 200 calls that trickle");
    assert!(now.memory_mib <= before.memory_mib + IDLE_MIB_MAX);
    drop(peers);
    until("calls outlive their connections", || held(&server).files <= before.files + 2);
    bystander.was_served_promptly();
}

/// Two thousand clients come and go, some in the middle of a sentence.
#[test]
fn churn_leaks_nothing() {
    let server = Server::start(&programs::ours(), &[]);
    let bystander = Bystander::watch_over(&server);
    churn(&server, 200);
    let before = held(&server);
    churn(&server, 2000);
    until("connections stay behind", || held(&server).files <= before.files);
    let after = held(&server);
    println!("{before:?} after 200 connections, {after:?} after 2,200");
    assert!(after.memory_mib <= before.memory_mib + CHURN_MIB_MAX, "{before:?} became {after:?}");
    for gauge in ["etcd_debugging_mvcc_watcher_total", "etcd_debugging_mvcc_watch_stream_total"] {
        // A stream ends a moment after its connection.
        until("watches stay behind", || metrics(&server).contains(&format!("{gauge} 0\n")));
    }
    bystander.was_served_promptly();
}

/// What two thousand connections may leave behind, MiB: the allocator's change, not theirs.
const CHURN_MIB_MAX: u64 = 24;

fn churn(server: &Server, count: usize) {
    in_a_runtime(async {
        for number in 0..count {
            match number % 5 {
                0 => drop(connect(server)),
                1 => calls::get_once(&client_of(server).await, "a").await,
                2 => {
                    let client = client_of(server).await;
                    let request =
                        WatchCreateRequest { key: "a".into(), ..WatchCreateRequest::default() };
                    drop(Watch::open(&client, request).await.expect("the watch is there"));
                }
                3 => {
                    let mut stream = connect(server);
                    let call = frame(HEADERS, END_HEADERS, 1, &call_of("/etcdserverpb.KV/Put"));
                    stream.write_all(&[opening(), call].concat()).expect("the server reads");
                    reset(&stream);
                }
                _ => {
                    let mut stream = connect(server);
                    stream.write_all(b"GET /metr").expect("the server reads");
                    reset(&stream);
                }
            }
        }
    });
}

/// Makes the connection end with a reset instead of a farewell.
fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a socket can linger");
}

fn metrics(server: &Server) -> String {
    let mut stream = connect(server);
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("the server reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("the page is text");
    page
}

/// Files that the server may have open, connections included.
const FILES_MAX: usize = 400;

/// A full house: who is in goes on, who is out waits, and comes in when others leave.
#[test]
fn connections_beyond_the_limit_wait() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let script = programs::ours_after(&format!("ulimit -n {FILES_MAX}"), folder.path());
    let mut server = Server::start(&script, &[]);
    let bystander = Bystander::watch_over(&server);
    let crowd: Vec<TcpStream> = (0..2 * FILES_MAX).map(|_| connect(&server)).collect();
    until("the house fills", || held(&server).files > FILES_MAX / 2);
    let full = held(&server).files;
    println!("{full} files open of {FILES_MAX}, {} connections asked for", crowd.len());
    in_a_runtime(async {
        // Somebody waits outside.
        let waiting = drystone_etcd_api::client::connect_lazy(
            &server.client_url(),
            &drystone_etcd_api::client::Config::default(),
        );
        let waiting = waiting.expect("the URL is one");
        let mut waiting = tokio::spawn(async move { calls::get(&waiting, "a").await });
        let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
        assert!(early.is_err(), "there was no room");
        drop(crowd);
        let patience = Duration::from_secs(20);
        let late = tokio::time::timeout(patience, waiting).await.expect("there is room now");
        late.expect("the call is answered");
    });
    assert!(full < FILES_MAX, "files are left for the store");
    assert!(server.is_running());
    bystander.was_served_promptly();
}
