//! A name server for tests, at 127.0.0.1:53: SRV and A records, over UDP and TCP.
//!
//! ```text
//!   id │ flags │ 1 │ answers │ 0 │ 0      header, 2 bytes each (RFC 1035 §4.1.1)
//!   3 "rack" 4 "test" 0 │ type │ class    question, sent back as it came
//!   c00c │ type │ class │ ttl │ length │ data      answers; c00c is the name in the question
//! ```
//!
//! It serves until the process ends. Whoever asks over UDP for more than fits is told to come over
//! TCP, and here nothing but one record fits.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

const TYPE_A: u16 = 1;
const TYPE_SRV: u16 = 33;
/// An answer, recursion is there (and wanted, as in every question).
const FLAGS: u16 = 0x8180;
const FLAG_TRUNCATED: u16 = 0x0200;
const NO_SUCH_NAME: u16 = 3;
const HEADER_BYTES: usize = 12;

/// What stands at a name.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    A(Ipv4Addr),
    Srv { priority: u16, weight: u16, port: u16, target: String },
}

/// A name server.
#[derive(Debug, Default)]
pub(crate) struct Names {
    zone: Mutex<BTreeMap<String, Vec<Data>>>,
    /// Questions that came over TCP.
    over_tcp: AtomicU32,
}

impl Names {
    /// One that knows nothing yet.
    pub(crate) fn serve() -> Arc<Names> {
        let names = Arc::<Names>::default();
        let socket = UdpSocket::bind("127.0.0.1:53").expect("port 53 is free in the room");
        let listener = TcpListener::bind("127.0.0.1:53").expect("port 53 is free in the room");
        let server = names.clone();
        thread::spawn(move || server.serve_udp(&socket));
        let server = names.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, server) = (stream.expect("a connection is there"), server.clone());
                thread::spawn(move || server.serve_tcp(stream));
            }
        });
        names
    }

    /// Adds a record.
    pub(crate) fn add(&self, name: &str, data: Data) {
        self.zone().entry(name.to_owned()).or_default().push(data);
    }

    /// Adds a service at a host of 127.0.0.1.
    pub(crate) fn add_service(&self, service: &str, host: &str, port: u16) {
        let (priority, weight, target) = (0, 0, host.to_owned());
        self.add(service, Data::Srv { priority, weight, port, target });
        self.zone().insert(host.to_owned(), vec![Data::A(Ipv4Addr::LOCALHOST)]);
    }

    /// Removes all that stands at a name.
    pub(crate) fn remove(&self, name: &str) {
        self.zone().remove(name);
    }

    /// How many questions have come over TCP.
    pub(crate) fn over_tcp(&self) -> u32 {
        self.over_tcp.load(Ordering::SeqCst)
    }

    fn zone(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<Data>>> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buf = [0; 512];
        while let Ok((read, from)) = socket.recv_from(&mut buf) {
            if let Some(answer) = self.answer(&buf[..read], true) {
                // Whoever has gone will not miss it.
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    fn serve_tcp(&self, mut stream: TcpStream) {
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut question).is_err() {
                return;
            }
            self.over_tcp.fetch_add(1, Ordering::SeqCst);
            let Some(answer) = self.answer(&question, false) else { return };
            let length = u16::try_from(answer.len()).expect("a zone for tests is small");
            let framed = [&length.to_be_bytes()[..], &answer].concat();
            if stream.write_all(&framed).is_err() {
                return;
            }
        }
    }

    /// The answer to a message; `None` if it is no question.
    fn answer(&self, message: &[u8], is_short: bool) -> Option<Vec<u8>> {
        let (name, end) = name_in(message, HEADER_BYTES)?;
        let kind = u16::from_be_bytes([*message.get(end)?, *message.get(end + 1)?]);
        let zone = self.zone();
        let at_name = zone.get(&name.to_lowercase());
        let found: Vec<Vec<u8>> = at_name
            .into_iter()
            .flatten()
            .filter_map(|data| match data {
                Data::A(address) => (kind == TYPE_A).then(|| address.octets().to_vec()),
                Data::Srv { priority, weight, port, target } => (kind == TYPE_SRV).then(|| {
                    let numbers = [priority, weight, port].map(|number| number.to_be_bytes());
                    [&numbers.concat()[..], &name_out(target)].concat()
                }),
            })
            .collect();
        let is_truncated = is_short && found.len() > 1;
        let mut flags = FLAGS;
        if at_name.is_none() {
            flags |= NO_SUCH_NAME;
        }
        if is_truncated {
            flags |= FLAG_TRUNCATED;
        }
        let found = if is_truncated { Vec::new() } else { found };
        let count = u16::try_from(found.len()).expect("a zone for tests is small");
        let mut out = message[..2].to_vec();
        for field in [flags, 1, count, 0, 0] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(message.get(HEADER_BYTES..end + 4)?);
        for data in found {
            out.extend_from_slice(&[0xc0, 0x0c]);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&[0, 1, 0, 0, 0, 1]);
            let length = u16::try_from(data.len()).expect("a record is short");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&data);
        }
        Some(out)
    }
}

/// The name that begins at a place, and where it ends.
fn name_in(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).into_owned());
        at += length;
    }
}

fn name_out(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).expect("a label is short"));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}
