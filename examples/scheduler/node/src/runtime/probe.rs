//! Asks a run whether it is well.
//!
//! A container's network is its own, so who asks goes in: a thread of this process moves into the
//! container's network namespace, connects to its loopback, and ends. Nothing in the container, and
//! no program besides, is needed for that. A command is run in the container itself.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mason_core::spec::Check;
use mason_core::types::RunId;
use mason_shim::request::Exec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Process, Runner, Running};

/// So much of an answer is read until its first line must have come.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// Asks once. It takes no longer than `timeout`, by more than it takes to notice.
///
/// # Errors
/// Why the answer is bad, for people.
pub fn check(
    runner: &Runner,
    (run, running): (&RunId, &Running),
    check: &Check,
    timeout: Duration,
) -> Result<(), String> {
    match check {
        Check::Exec { command } => exec(runner, run, command, timeout),
        Check::Tcp { port } => {
            let port = *port;
            inside(running.pid, move || connect(port, Instant::now() + timeout).map(drop))
        }
        Check::Http { port, path } => {
            let (port, path) = (*port, path.clone());
            inside(running.pid, move || http(port, &path, Instant::now() + timeout))
        }
    }
}

fn exec(runner: &Runner, run: &RunId, command: &[String], time: Duration) -> Result<(), String> {
    let exec = Exec { command: command.to_vec(), ..Exec::default() };
    let mut process = runner.exec(run, &exec).map_err(|error| error.to_string())?;
    process.stdin = None;
    let until = Instant::now() + time;
    drain(&process, until)?;
    match process.wait_for(left(until)) {
        Ok(Some(0)) => Ok(()),
        Ok(Some(code)) => Err(format!("`{}` ended with {code}", command.join(" "))),
        Ok(None) => Err(format!("`{}` takes longer than {time:?}", command.join(" "))),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads what it prints, which is of no use and must not stop it, until it has ended or the time
/// is over. Not to the end of the pipes: what it leaves behind may hold them for ever.
fn drain(process: &Process, until: Instant) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("hear what it prints: {error}");
    let ending = process.ending().map_err(failed)?;
    let mut bytes = [0; 4096];
    let mut pipes = vec![&process.stdout, &process.stderr];
    while Instant::now() < until {
        let mut fds = vec![PollFd::new(&ending, PollFlags::IN)];
        fds.extend(pipes.iter().map(|&pipe| PollFd::new(pipe, PollFlags::IN)));
        let time = left(until);
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let time = Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() };
        match poll(&mut fds, Some(&time)) {
            Err(Errno::INTR) => continue,
            polled => polled.map_err(|error| failed(error.into()))?,
        };
        if !fds[0].revents().is_empty() {
            break;
        }
        let ready: Vec<bool> = fds[1..].iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        pipes.retain(|pipe| {
            let mut pipe = *pipe;
            !ready.next().unwrap_or(false) || pipe.read(&mut bytes).is_ok_and(|count| count > 0)
        });
    }
    Ok(())
}

/// Does something in the network of a process.
fn inside<F>(pid: i32, ask: F) -> Result<(), String>
where
    F: FnOnce() -> Result<(), String> + Send + 'static,
{
    let path = format!("/proc/{pid}/ns/net");
    let network = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
    // Only a thread that ends may go elsewhere.
    let thread = std::thread::Builder::new().name("probe".to_owned()).spawn(move || {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(network.as_fd(), kind)
            .map_err(|error| format!("enter the container's network: {error}"))?;
        ask()
    });
    let thread = thread.map_err(|error| error.to_string())?;
    thread.join().map_err(|_| "the probe panicked".to_owned())?
}

/// A connection to the container's loopback, by either version.
fn connect(port: u16, until: Instant) -> Result<TcpStream, String> {
    let mut last = String::new();
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let address = SocketAddr::new(address, port);
        match TcpStream::connect_timeout(&address, left(until)) {
            Ok(stream) => return Ok(stream),
            // What version 4 says is what people expect to read.
            Err(error) if last.is_empty() => last = format!("port {port}: {error}"),
            Err(_) => {}
        }
    }
    Err(last)
}

fn http(port: u16, path: &str, until: Instant) -> Result<(), String> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if path.contains([' ', '\r', '\n']) {
        return Err(format!("`{path}` is no path"));
    }
    let mut stream = connect(port, until)?;
    let failed = |error: std::io::Error| format!("port {port}{path}: {error}");
    stream.set_write_timeout(Some(left(until))).map_err(failed)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: mason-probe\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut head = Vec::new();
    while !head.contains(&b'\n') && head.len() < HEAD_BYTES_MAX {
        let mut bytes = [0; 1024];
        // One byte at a time would keep it open for ever.
        if Instant::now() >= until {
            return Err(format!("port {port}{path}: no answer in time"));
        }
        stream.set_read_timeout(Some(left(until))).map_err(failed)?;
        match stream.read(&mut bytes).map_err(failed)? {
            0 => break,
            got => head.extend_from_slice(&bytes[..got]),
        }
    }
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    match status(line) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("port {port}{path}: status {status}")),
        None => Err(format!("port {port}{path}: the answer is no HTTP")),
    }
}

/// The status of an answer's first line.
fn status(line: &[u8]) -> Option<u16> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.trim().parse().ok()
}

/// What is left, never nothing: that would mean for ever.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says something else must not count as well.
    #[test]
    fn a_status_is_read_from_the_first_line() {
        for (line, expected) in [
            (&b"HTTP/1.1 200 OK\r"[..], Some(200)),
            (b"HTTP/1.0 404\r", Some(404)),
            (b"SSH-2.0-x 200", None),
            (b"HTTP/1.1", None),
            (b"\xff\xfe", None),
        ] {
            assert_eq!(status(line), expected);
        }
    }
}
