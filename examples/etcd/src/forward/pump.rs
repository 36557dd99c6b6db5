//! Carrying bytes between those who come and the endpoints.
//!
//! ```text
//!   client ═══► BUFFER_BYTES ═══► member     what one side does not take, the other cannot send
//!          ◄═══ BUFFER_BYTES ◄═══
//! ```

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::balance::Balance;
use crate::config::go_text;
use crate::srv::Record;

/// How long an endpoint may take to take a connection.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that are under way in one direction of one connection, beside those in the kernel.
const BUFFER_BYTES: usize = 16 * 1024;
/// A peer whose machine vanished is noticed by TCP itself after a few of these.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// How long to rest when the system has no more file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// File descriptors that are not for connections.
const FDS_RESERVED: u64 = 32;

/// `host:port` of an endpoint.
pub(super) fn address(record: &Record) -> String {
    match record.target.contains(':') {
        true => format!("[{}]:{}", record.target, record.port),
        false => format!("{}:{}", record.target, record.port),
    }
}

/// Takes connections for ever. `interval` is how often inactive endpoints are tried, for people.
pub(super) async fn serve(
    listener: TcpListener,
    balance: Arc<Mutex<Balance>>,
    interval: String,
) -> Infallible {
    let (room, interval) = (Arc::new(Semaphore::new(room())), Arc::<str>::from(interval));
    loop {
        let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((client, _)) => {
                let (balance, interval) = (balance.clone(), interval.clone());
                tokio::spawn(async move {
                    carry(client, &balance, &interval).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Tries inactive endpoints every so often, for ever.
pub(super) async fn revive(balance: Arc<Mutex<Balance>>, delay: Duration) -> Infallible {
    loop {
        sleep(delay).await;
        let inactive = balance.lock().inactive();
        for number in inactive {
            let (balance, place) = (balance.clone(), address(balance.lock().record(number)));
            tokio::spawn(async move {
                match dial(&place).await {
                    Ok(_) => {
                        balance.lock().mark(number, true);
                        tracing::info!(address = place, "activated");
                    }
                    Err(error) => {
                        let what = "failed to activate endpoint (stay inactive for another \
                            interval)";
                        let (interval, error) = (go_text(delay), words(&place, &error));
                        tracing::warn!(address = place, interval, error, "{what}");
                    }
                }
            });
        }
    }
}

/// How many connections there may be at once: each has a file descriptor on either side.
fn room() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let fds = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit on open files");
            limit.current
        }
    };
    let pairs = fds.map_or(u64::MAX, |fds| fds.saturating_sub(FDS_RESERVED).max(2)) / 2;
    usize::try_from(pairs).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

/// Carries one connection to its end. Errors are the affair of its two sides.
async fn carry(mut client: TcpStream, balance: &Mutex<Balance>, interval: &str) {
    let Some(mut member) = reach(balance, interval).await else { return };
    if prepare(&client).is_err() {
        return;
    }
    let carried =
        copy_bidirectional_with_sizes(&mut client, &mut member, BUFFER_BYTES, BUFFER_BYTES).await;
    if let Err(error) = carried {
        tracing::debug!(%error, "connection ended with an error");
    }
}

/// A connection to the next endpoint that takes one.
async fn reach(balance: &Mutex<Balance>, interval: &str) -> Option<TcpStream> {
    loop {
        let (number, place) = {
            let mut balance = balance.lock();
            let number = balance.pick(|below| rand::random_range(0..below))?;
            (number, address(balance.record(number)))
        };
        let error = match dial(&place).await {
            Ok(stream) => return Some(stream),
            Err(error) => error,
        };
        // Others may have found out at the same time.
        if balance.lock().mark(number, false) {
            let error = words(&place, &error);
            tracing::warn!(address = place, interval, error, "deactivated endpoint");
        }
    }
}

async fn dial(place: &str) -> io::Result<TcpStream> {
    let dialled = timeout(DIAL_TIMEOUT, TcpStream::connect(place)).await;
    let stream = dialled.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))?;
    prepare(&stream)?;
    Ok(stream)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE).with_interval(TCP_KEEPALIVE);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// An error in Go's words.
fn words(place: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("dial tcp {place}: connect: connection refused")
        }
        io::ErrorKind::TimedOut => format!("dial tcp {place}: i/o timeout"),
        _ => format!("dial tcp {place}: {error}"),
    }
}
