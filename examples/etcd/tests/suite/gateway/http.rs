//! HTTP/1.1 by hand, as `curl` speaks it: nothing between a test and the bytes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::server::Server;

/// How long an answer may take. Generous: machines that test are busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }

    /// The body, which is one document.
    pub(crate) fn json(&self) -> Value {
        let json = serde_json::from_str(&self.body);
        json.unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A connection with a request on it.
pub(crate) struct Exchange {
    stream: BufReader<TcpStream>,
    chunked: bool,
}

/// Sends `body` to `path`, and reads the whole answer.
pub(crate) fn post(server: &Server, path: &str, body: impl AsRef<[u8]>) -> Answer {
    request(server, "POST", path, "", body.as_ref())
}

/// The same with another method, and lines of more headers.
pub(crate) fn request(
    server: &Server,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> Answer {
    let length = format!("content-length: {}\r\nconnection: close\r\n{headers}", body.len());
    let mut exchange = Exchange::begin(server, method, path, &length);
    // A server that refuses may not read all of it.
    let _ = exchange.stream.get_mut().write_all(body);
    exchange.answer()
}

impl Exchange {
    /// Sends the head of a request.
    pub(crate) fn begin(server: &Server, method: &str, path: &str, headers: &str) -> Exchange {
        let mut stream =
            TcpStream::connect(server.client_address()).expect("the server accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket has a timeout");
        let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).expect("the server reads");
        Exchange { stream: BufReader::new(stream), chunked: false }
    }

    /// Sends the head of a request whose body comes bit by bit.
    pub(crate) fn open(server: &Server, path: &str) -> Exchange {
        Exchange::begin(server, "POST", path, "transfer-encoding: chunked\r\n")
    }

    /// Sends a part of the body.
    pub(crate) fn send(&mut self, part: impl AsRef<[u8]>) {
        let part = part.as_ref();
        let chunk = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
        self.stream.get_mut().write_all(&chunk).expect("the server reads");
    }

    /// Ends the body.
    pub(crate) fn end(&mut self) {
        self.stream.get_mut().write_all(b"0\r\n\r\n").expect("the server reads");
    }

    /// Sends what is no part of anything.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads the head of the answer.
    pub(crate) fn head(&mut self) -> Answer {
        let first = self.text_line();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer of HTTP: {first:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.text_line();
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let answer = Answer { status, headers, body: String::new() };
        self.chunked = answer.header("transfer-encoding") == Some("chunked");
        answer
    }

    /// The next line of a stream, after the head; `None` at its end.
    pub(crate) fn line(&mut self) -> Option<Value> {
        assert!(self.chunked, "an answer that streams is chunked");
        let chunk = self.chunk()?;
        assert!(chunk.ends_with('\n'), "a chunk is a line: {chunk:?}");
        Some(serde_json::from_str(&chunk).expect("a line is a document"))
    }

    /// Reads the whole answer.
    pub(crate) fn answer(mut self) -> Answer {
        let mut answer = self.head();
        if self.chunked {
            while let Some(chunk) = self.chunk() {
                answer.body.push_str(&chunk);
            }
        } else {
            let length = answer.header("content-length").and_then(|length| length.parse().ok());
            let mut body = vec![0; length.expect("a body has a length")];
            self.stream.read_exact(&mut body).expect("the body comes");
            answer.body = String::from_utf8(body).expect("answers are text");
        }
        answer
    }

    fn chunk(&mut self) -> Option<String> {
        let size = usize::from_str_radix(&self.text_line(), 16).expect("a chunk has a size");
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).expect("the chunk comes");
        chunk.truncate(size);
        (size > 0).then(|| String::from_utf8(chunk).expect("answers are text"))
    }

    fn text_line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("the server answers");
        line.trim_end().to_owned()
    }
}
