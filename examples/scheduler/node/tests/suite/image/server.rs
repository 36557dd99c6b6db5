//! A registry that does what a test tells it to, on a thread of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mason_node::image::Digest;

/// What was asked: path, and headers in lower case.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) headers: Vec<String>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.headers.iter().find_map(|line| line.strip_prefix(start.as_str()))
    }
}

/// What to answer: raw bytes, after which the connection ends. Empty: never answer.
pub(super) type Answer = Vec<u8>;

pub(super) struct Server {
    pub(super) host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    ended: Arc<AtomicBool>,
}

impl Server {
    /// Answers with what `answer` makes of the request and of how many asked that path before.
    pub(super) fn start(
        answer: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::<Asked>::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let (log, stop) = (Arc::clone(&asked), Arc::clone(&ended));
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(asked) = read(&stream) else { return };
                    let before = {
                        let mut log = log.lock().unwrap();
                        log.push(asked.clone());
                        log.iter().filter(|other| other.path == asked.path).count() - 1
                    };
                    let bytes = answer(&asked, before);
                    if bytes.is_empty() {
                        // Holds the line until the other side gives up.
                        let _ = std::io::copy(&mut stream, &mut std::io::sink());
                    }
                    let _ = stream.write_all(&bytes);
                    if bytes.windows(13).any(|bytes| bytes == b"x-then: stall") {
                        let _ = std::io::copy(&mut stream, &mut std::io::sink());
                    }
                });
            }
        });
        Server { host, asked, ended }
    }

    /// The same behind TLS, at `localhost`; and the certificate to trust, in DER.
    pub(super) fn secure(answer: impl Fn(&Asked) -> Answer + Send + 'static) -> (String, Vec<u8>) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = own.cert.der().clone();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream);
                if let Some(asked) = read(&mut stream) {
                    let _ = stream.write_all(&answer(&asked));
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        });
        (format!("localhost:{port}"), certificate.to_vec())
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.host);
    }
}

fn read(stream: impl std::io::Read) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines.take_while(|line| !line.is_empty());
    let lower = |line: String| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
        None => line,
    };
    Some(Asked { path, headers: headers.map(lower).collect() })
}

/// An answer with a body.
pub(super) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut bytes = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    for header in headers {
        bytes.push_str(header);
        bytes.push_str("\r\n");
    }
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_slice(b"connection: close\r\n\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// An image `app` with one layer of so many bytes that cannot be packed well.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) manifest: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) layer: Vec<u8>,
}

impl Sample {
    pub(super) fn new(bytes: usize) -> Sample {
        let noise: Vec<u8> = (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect();
        let mut layer = Vec::new();
        let mut block = [0; 512];
        let mut put = |at: usize, text: &str| {
            block[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, "noise");
        put(100, "0000644");
        put(124, &format!("{bytes:011o}"));
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        layer.extend_from_slice(&block);
        layer.extend_from_slice(&noise);
        layer.resize(layer.len().next_multiple_of(512) + 1024, 0);
        let config = format!(
            r#"{{"os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            Digest::of(&layer)
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
            describe(config.as_bytes()),
            describe(&layer)
        );
        Sample { manifest: manifest.into_bytes(), config: config.into_bytes(), layer }
    }

    /// An honest answer to any request for it.
    pub(super) fn honest(&self, asked: &Asked) -> Answer {
        let path = &asked.path;
        let found = match () {
            () if path.contains("/manifests/") => &self.manifest,
            () if path.ends_with(&Digest::of(&self.config).to_string()) => &self.config,
            () if path.ends_with(&Digest::of(&self.layer).to_string()) => &self.layer,
            () => return answer("404 Not Found", &[], b""),
        };
        answer("200 OK", &[], found)
    }

    /// Whether that asks for the layer.
    pub(super) fn is_layer(&self, asked: &Asked) -> bool {
        asked.path.ends_with(&Digest::of(&self.layer).to_string())
    }
}

fn describe(bytes: &[u8]) -> String {
    let digest = Digest::of(bytes);
    format!(r#"{{"mediaType":"","digest":"{digest}","size":{}}}"#, bytes.len())
}
