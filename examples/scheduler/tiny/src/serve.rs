//! A small HTTP server: something to probe, to balance over, and to roll out.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use crate::usage;

/// Longest line or header block that is read of a request.
const REQUEST_BYTES_MAX: u64 = 16 << 10;

/// Answers 200 on any path with the host's name and the path. `/health` answers 503 while the file
/// exists that was named (`/tmp/unhealthy` if none was).
pub(crate) fn serve(words: &[String], out: &mut dyn Write) -> io::Result<u8> {
    let text = "serve PORT [FILE]";
    let port: u16 = words.first().and_then(|word| word.parse().ok()).ok_or_else(|| usage(text))?;
    let sick = words.get(1).map_or("/tmp/unhealthy", String::as_str).to_owned();
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    writeln!(out, "serving on port {}", listener.local_addr()?.port())?;
    out.flush()?;
    for stream in listener.incoming().flatten() {
        let sick = sick.clone();
        // A client that says nothing holds a thread, not the server.
        std::thread::spawn(move || answer(&stream, Path::new(&sick)));
    }
    Ok(0)
}

fn answer(stream: &TcpStream, sick: &Path) -> io::Result<()> {
    let mut lines = BufReader::new(stream.take(REQUEST_BYTES_MAX)).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or("/");
    let status = match path {
        "/health" if sick.exists() => "503 Service Unavailable",
        _ => "200 OK",
    };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let body = format!("{} {path}\n", host.trim());
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-type: text/plain\r\nconnection: close\
         \r\n\r\n{body}",
        body.len()
    )
}
