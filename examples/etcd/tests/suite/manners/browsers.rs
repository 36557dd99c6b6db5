//! Requests that pages in browsers send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::gateway::http;
use crate::support::programs;
use crate::support::server::Server;

fn send(server: &Server, head: &str) -> String {
    let mut stream = TcpStream::connect(server.client_address()).expect("it listens");
    let text = format!("{head}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(text.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers in text");
    answer.to_ascii_lowercase()
}

/// A dashboard may be served from elsewhere; a page that pretends to be this server may not.
#[test]
fn pages_see_what_the_flags_let_them_see() {
    let flags = ["--cors=http://a.local", "--host-whitelist=127.0.0.1"];
    let server = Server::start(&programs::ours(), &flags);
    let from_a = "GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://a.local";
    let answer = send(&server, from_a);
    assert!(answer.contains("access-control-allow-origin: http://a.local"), "{answer}");
    let from_b = "GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://b.local";
    assert!(!send(&server, from_b).contains("access-control"), "nobody has named it");
    let preflight = "OPTIONS /v3/kv/put HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://a.local";
    let answer = send(&server, preflight);
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(answer.contains("allow-methods: post, get, options, put, delete"), "{answer}");
    let rebound = "GET /version HTTP/1.1\r\nHost: evil.example";
    let answer = send(&server, rebound);
    assert!(answer.starts_with("http/1.1 421") && !answer.contains("etcdserver"), "{answer}");
}

/// Whoever switches the gateway off means it: as with etcd, nothing is behind its paths.
#[test]
fn json_is_not_served_where_it_is_switched_off() {
    let test = "manners::browsers::json_is_not_served_where_it_is_switched_off";
    let answer = |program: &std::path::Path| {
        let server = Server::start(program, &["--enable-grpc-gateway=false"]);
        let range = http::request(&server, "POST", "/v3/kv/range", "", br#"{"key":"Zm9v"}"#);
        assert_eq!(http::request(&server, "GET", "/version", "", b"").status, 200);
        (range.status, range.body)
    };
    let ours = answer(&programs::ours());
    assert_eq!(ours, (404, "404 page not found\n".to_owned()));
    if let Some(real) = programs::real_or_skip(test) {
        assert_eq!(ours, answer(&real.etcd));
    }
}
