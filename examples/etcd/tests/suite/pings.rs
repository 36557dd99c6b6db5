//! Clients that ping too often, by hand, at this server and at real etcd.
//!
//! What each scenario hears is written down as lines, and the lines must be the same.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::abuse::http2::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, call_of, frame, message, opening,
};
use crate::support::calls::{client_of, in_a_runtime, put};
use crate::support::server::{Server, clean_command, free_port};
use crate::support::{has_time_for, programs};
use crate::tls::papers::{Authority, Person};
use crate::tls::secured::Started;

const PATIENCE: Duration = Duration::from_secs(30);
/// The time between pings that the servers are told to allow.
const PACE: Duration = Duration::from_millis(400);
const PACE_FLAG: &str = "--grpc-keepalive-min-time=400ms";
const SENT_AWAY: &str = "goaway: code 11, too_many_pings";
const END: &str = "end";
const ACK: u8 = 1;

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// A client that says what it likes.
struct Raw {
    wire: Box<dyn Wire>,
    heard: Vec<u8>,
    next_stream: u32,
}

impl Raw {
    fn over(wire: impl Wire + 'static) -> Raw {
        let mut raw = Raw { wire: Box::new(wire), heard: Vec::new(), next_stream: 1 };
        raw.send(&opening());
        raw
    }

    fn connect(server: &Server) -> Raw {
        Raw::over(socket(&server.client_address()))
    }

    fn send(&mut self, bytes: &[u8]) {
        // Whoever was sent away finds the door closed.
        let _ = self.wire.write_all(bytes).and_then(|()| self.wire.flush());
    }

    /// The kind, flags and payload of the next frame; `None` is the end.
    fn frame(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        loop {
            if let Some((head, rest)) = self.heard.split_first_chunk::<9>() {
                let length = usize::from(head[1]) << 8 | usize::from(head[2]);
                if let Some(payload) = rest.get(..length) {
                    let frame = (head[3], head[4], payload.to_vec());
                    self.heard.drain(..9 + length);
                    return Some(frame);
                }
            }
            let mut bytes = [0; 4096];
            match self.wire.read(&mut bytes) {
                Ok(0) => return None,
                Ok(read) => self.heard.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing comes any more")
                }
                Err(_) => return None,
            }
        }
    }

    /// Pings, and waits for the answer; what was heard about it.
    fn ping(&mut self) -> String {
        self.send(&frame(PING, 0, 0, b"12345678"));
        self.heard_of_pings()
    }

    /// The next thing that is about pings.
    fn heard_of_pings(&mut self) -> String {
        loop {
            match self.frame() {
                None => return END.to_owned(),
                Some((PING, ACK, _)) => return "answered".to_owned(),
                Some((GOAWAY, _, payload)) => {
                    let code =
                        payload[4..8].iter().fold(0, |code, byte| code << 8 | u32::from(*byte));
                    let reason = String::from_utf8_lossy(&payload[8..]).into_owned();
                    return format!("goaway: code {code}, {reason}");
                }
                Some(_) => {}
            }
        }
    }

    /// Begins a call.
    fn call(&mut self, path: &str, request: &[u8], ends: bool) {
        let stream = self.next_stream;
        self.next_stream += 2;
        let flags = if ends { END_STREAM } else { 0 };
        let head = frame(HEADERS, END_HEADERS, stream, &call_of(path));
        self.send(&[head, frame(DATA, flags, stream, &message(request))].concat());
    }

    /// Puts, and waits until that is answered.
    fn put(&mut self) {
        self.call("/etcdserverpb.KV/Put", b"\x0a\x01k\x12\x01v", true);
        loop {
            let (kind, flags, _) = self.frame().expect("a put is answered");
            if kind == HEADERS && flags & END_STREAM != 0 {
                return;
            }
        }
    }

    /// Watches, and waits until that is answered.
    fn watch(&mut self) {
        self.call("/etcdserverpb.Watch/Watch", b"\x0a\x03\x0a\x01w", false);
        while self.frame().expect("a watch is answered").0 != DATA {}
    }
}

fn socket(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// What is heard until the end, pinging one by one.
fn one_by_one(raw: &mut Raw) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.last().is_none_or(|line| line != END) && heard.len() < 10 {
        let is_open = heard.last().is_none_or(|line| line == "answered");
        heard.push(if is_open { raw.ping() } else { raw.heard_of_pings() });
    }
    heard
}

/// What each scenario hears of a server that was started with [`PACE_FLAG`].
fn scenarios(server: &Server) -> Vec<(&'static str, Vec<String>)> {
    let mut all = Vec::new();
    let mut raw = Raw::connect(server);
    raw.send(&frame(PING, 0, 0, b"12345678").repeat(6));
    all.push(("six at once", (0..6).map(|_| raw.heard_of_pings()).collect()));
    let mut raw = Raw::connect(server);
    all.push(("one by one, no call open", one_by_one(&mut raw)));
    let mut raw = Raw::connect(server);
    raw.watch();
    all.push(("one by one, a watch open", one_by_one(&mut raw)));
    let mut raw = Raw::connect(server);
    let behind = (0..8).map(|_| {
        raw.put();
        raw.ping()
    });
    all.push(("behind answers", behind.collect()));
    let mut raw = Raw::connect(server);
    raw.watch();
    let paced = (0..5).map(|_| {
        // The time between pings is what this is about.
        std::thread::sleep(PACE + PACE / 4);
        raw.ping()
    });
    all.push(("as often as is allowed, a watch open", paced.collect()));
    let mut raw = Raw::connect(server);
    raw.send(&frame(PING, ACK, 0, b"12345678").repeat(50));
    all.push(("answers that nobody asked for", vec![raw.ping()]));
    all
}

/// The same rule and the same words as gRPC's server in Go has.
#[test]
fn pings_too_soon_are_counted_as_by_etcd() {
    let test = "pings::pings_too_soon_are_counted_as_by_etcd";
    let ours = scenarios(&Server::start(&programs::ours(), &[PACE_FLAG]));
    let away = ["answered", "answered", "answered", "answered", SENT_AWAY, END];
    for (name, heard) in &ours[..3] {
        assert_eq!(heard[..], away, "{name}");
    }
    for (name, heard) in &ours[3..] {
        assert!(heard.iter().all(|line| line == "answered"), "{name}: {heard:?}");
    }
    let real = programs::real_or_skip(test).map(|real| real.etcd);
    let later = programs::later_or_skip(test).map(|later| later.etcd);
    for etcd in real.into_iter().chain(later) {
        let theirs = scenarios(&Server::start(&etcd, &[PACE_FLAG]));
        assert_eq!(ours, theirs, "{}", etcd.display());
    }
}

/// A call under way ends with the connection, and the server forgets it: others are served.
#[test]
fn others_are_served_while_one_is_sent_away() {
    let server = Server::start(&programs::ours(), &[]);
    let mut other = Raw::connect(&server);
    for _ in 0..20 {
        let mut raw = Raw::connect(&server);
        raw.watch();
        assert_eq!(one_by_one(&mut raw).last().map(String::as_str), Some(END));
        other.put();
    }
    // Whoever does not go is left.
    let mut deaf = Raw::connect(&server);
    deaf.send(&frame(PING, 0, 0, b"12345678").repeat(4));
    let began = Instant::now();
    while deaf.heard_of_pings() != END {
        assert!(began.elapsed() < PATIENCE, "the connection stays");
    }
}

/// A member under TLS with a port where `speak` may speak.
fn under_tls(
    program: &Path,
    flags: &[String],
    speak: impl FnOnce(Raw) -> Vec<String>,
) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let authority = Authority::new(&folder.path().join("papers"));
    let papers = authority.sign("server", Person::SERVER);
    let (client, peer) = (free_port(), free_port());
    let (url, peer) = (format!("https://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let mut command = clean_command(program);
    command.arg("--data-dir").arg(folder.path().join("data"));
    command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("default={peer}")]).args(flags);
    command.arg("--cert-file").arg(&papers.cert).arg("--key-file").arg(&papers.key);
    let mut process = Started::new(command, &folder.path().join("log"));
    process.wait_until("ready to serve client requests");
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(authority.file()).expect("it was just written");
    roots.add(root).expect("it is an authority");
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("localhost").expect("that is a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("it can be begun");
    speak(Raw::over(StreamOwned::new(session, socket(&format!("127.0.0.1:{client}")))))
}

/// Under TLS it is Go's server for HTTP/2 that serves etcd's clients, unless HTTP is elsewhere.
#[test]
fn pings_under_tls_count_where_grpc_has_the_port_to_itself() {
    let test = "pings::pings_under_tls_count_where_grpc_has_the_port_to_itself";
    let ours = programs::ours();
    let shared = under_tls(&ours, &[], |mut raw| one_by_one(&mut raw));
    assert_eq!(shared, ["answered"; 10]);
    if let Some(real) = programs::real_or_skip(test) {
        assert_eq!(under_tls(&real.etcd, &[], |mut raw| one_by_one(&mut raw)), shared);
    }
    let http = format!("--listen-client-http-urls=http://127.0.0.1:{}", free_port());
    let alone = under_tls(&ours, &[http], |mut raw| one_by_one(&mut raw));
    assert_eq!(alone[4..], [SENT_AWAY, END]);
}

/// The real client asks for a ping a second, which its library makes one every ten: a watch that
/// hears of nothing outlives more of them than would be forgiven.
#[test]
fn watch_of_etcdctl_lives_on_pings() {
    let test = "pings::watch_of_etcdctl_lives_on_pings";
    if !has_time_for(test) {
        return;
    }
    let Some(real) = programs::real_or_skip(test) else { return };
    let server = Server::start(&programs::ours(), &[]);
    let mut command = clean_command(&real.etcdctl);
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", server.client_url()));
    command.args(["--keepalive-time=1s", "--keepalive-timeout=5s", "watch", "w"]);
    let folder = tempfile::tempdir().unwrap();
    let mut watch = Started::new(command, &folder.path().join("log"));
    std::thread::sleep(Duration::from_secs(45));
    in_a_runtime(async { put(&client_of(&server).await, "w", "heard", 0).await });
    watch.wait_until("heard");
    assert!(!watch.log().contains("too_many_pings"), "{}", watch.log());
}
