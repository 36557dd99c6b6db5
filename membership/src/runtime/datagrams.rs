//! Datagrams in and out. Neither waits.
//!
//! A socket that is bound to all IPv6 addresses speaks IPv4 too, and calls its peers
//! `::ffff:10.0.0.1`; the others call them `10.0.0.1`. The core knows one spelling.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;

use super::metrics::{Counters, count};

/// The longest datagram.
pub(super) const DATAGRAM_BYTES_MAX: usize = 65_535;

/// The member's socket.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: UdpSocket,
    speaks_v6: bool,
    counters: Arc<Counters>,
}

impl Datagrams {
    pub(super) fn new(socket: UdpSocket, counters: Arc<Counters>) -> io::Result<Datagrams> {
        let speaks_v6 = socket.local_addr()?.is_ipv6();
        Ok(Datagrams { socket, speaks_v6, counters })
    }

    /// Returns when something waits, or perhaps does.
    pub(super) async fn readable(&self) {
        // An error is told again by whoever reads.
        drop(self.socket.readable().await);
    }

    /// One that waits, and where it came from.
    pub(super) fn next(&self, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        loop {
            match self.socket.try_recv_from(buf) {
                Ok((len, from)) => {
                    count(&self.counters.datagrams_in);
                    return Some((SocketAddr::new(from.ip().to_canonical(), from.port()), len));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody's port is closed: that comes of what we sent, and says nothing new.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(_) => return None,
            }
        }
    }

    /// Sends it, or loses it.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let to = match to.ip() {
            IpAddr::V4(ip) if self.speaks_v6 => (ip.to_ipv6_mapped(), to.port()).into(),
            _ => to,
        };
        match self.socket.try_send_to(bytes, to) {
            Ok(_) => count(&self.counters.datagrams_out),
            Err(error) => {
                count(&self.counters.datagrams_unsent);
                tracing::debug!(%to, %error, "a datagram was not sent");
            }
        }
    }
}
