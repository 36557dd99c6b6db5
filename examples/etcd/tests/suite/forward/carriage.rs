//! Bytes on their way through, with a test at both ends.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::Gateway;
use crate::cluster::fleet::PATIENCE;

/// More than two buffers and what kernels keep on both ways.
const FAR_TOO_MUCH: usize = 64 << 20;

/// Where a test waits for what a gateway brings.
fn end() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    (listener, address)
}

fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(gateway.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// Who has said all still hears the answer, from either side.
#[test]
fn a_side_that_has_said_all_still_hears_the_other() {
    let (listener, address) = end();
    let gateway = Gateway::ours(&[address], &[]);
    let server = thread::spawn(move || {
        let (mut first, _) = listener.accept().expect("it comes");
        let mut heard = String::new();
        first.read_to_string(&mut heard).expect("the client ends its direction");
        first.write_all(heard.to_uppercase().as_bytes()).expect("the client still reads");
        drop(first);
        let (mut second, _) = listener.accept().expect("it comes");
        second.write_all(b"hello").expect("it reads");
        second.shutdown(Shutdown::Write).expect("it is open");
        let mut heard = String::new();
        second.read_to_string(&mut heard).expect("the client ends its direction");
        heard
    });
    let mut client = connect(&gateway);
    client.write_all(b"question").expect("it reads");
    client.shutdown(Shutdown::Write).expect("it is open");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("the answer ends");
    assert_eq!(answer, "QUESTION");
    let mut client = connect(&gateway);
    let mut greeting = String::new();
    client.read_to_string(&mut greeting).expect("the server ends its direction");
    client.write_all(b"and still").expect("the server still reads");
    drop(client);
    assert_eq!(
        (greeting.as_str(), server.join().expect("it ends").as_str()),
        ("hello", "and still")
    );
}

/// Who does not read stops the one who writes, and loses nothing.
#[test]
fn a_side_that_does_not_read_stops_the_other() {
    let (listener, address) = end();
    let gateway = Gateway::ours(&[address], &[]);
    let mut client = connect(&gateway);
    let (mut member, _) = listener.accept().expect("it comes");
    member.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout can be set");
    let piece: Vec<u8> = (0..=250).cycle().take(251 * 64).collect();
    let mut sent = 0;
    let stopped = loop {
        match member.write(&piece[sent % 251..]) {
            Ok(bytes) => sent += bytes,
            Err(error) => break error.kind(),
        }
        assert!(sent < FAR_TOO_MUCH, "nobody holds that much");
    };
    assert!(matches!(stopped, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stopped}");
    drop(member);
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).expect("it comes to an end");
    assert_eq!(bytes.len(), sent);
    assert!(bytes.iter().zip((0..=250).cycle()).all(|(byte, expected)| *byte == expected));
}

/// While nobody is there, connections are closed at once; once somebody is, he is found.
#[test]
fn endpoints_that_were_away_are_found_after_the_delay() {
    let (listener, address) = end();
    drop(listener);
    let mut gateway = Gateway::ours(std::slice::from_ref(&address), &["--retry-delay=200ms"]);
    let mut heard = Vec::new();
    assert_eq!(connect(&gateway).read_to_end(&mut heard).expect("it is closed"), 0);
    gateway.process.wait_until("\"deactivated endpoint\"");
    gateway.process.wait_until("failed to activate endpoint (stay inactive for another interval)");
    let log = gateway.process.log();
    let refused = format!("dial tcp {address}: connect: connection refused");
    assert!(log.contains(&refused) && log.contains("\"interval\":\"200ms\""), "{log}");
    let listener = TcpListener::bind(&address).expect("nobody else has taken it");
    gateway.process.wait_until("\"activated\"");
    // The attempt that found it is a connection as well.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("it comes");
            // Nobody may be there any more.
            let _ = stream.write_all(b"here");
        }
    });
    let mut heard = String::new();
    connect(&gateway).read_to_string(&mut heard).expect("it answers");
    assert_eq!(heard, "here");
}
