//! One port number for both protocols.
//!
//! The others know a member by one address, and reach it there by datagrams and by streams. With
//! port 0 the system picks a number for TCP that somebody else may have for UDP, so it is tried
//! again; a number that was asked for is had for both, or not at all.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

use super::error::{Error, Result};

/// How many numbers are tried before we give up.
const TRIES_MAX: usize = 64;
/// What the system may hold for us: a member of a large cluster hears many at once. It gives less
/// where the administrator says so.
const BUFFER_BYTES: usize = 2 << 20;

/// Both sockets, at one port.
pub(super) async fn bind(addr: SocketAddr) -> Result<(TcpListener, UdpSocket)> {
    let refused = |protocol, source| Error::Bind { protocol, addr, source };
    let mut tries = 0;
    loop {
        let listener = TcpListener::bind(addr).await.map_err(|error| refused("tcp", error))?;
        let here = listener.local_addr().map_err(|error| refused("tcp", error))?;
        tries += 1;
        match bind_udp(here) {
            Ok(socket) => return Ok((listener, socket)),
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries < TRIES_MAX => {
                if addr.port() != 0 {
                    return Err(refused("udp", error));
                }
            }
            Err(error) => return Err(refused("udp", error)),
        }
    }
}

fn bind_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    // Smaller buffers lose more and are no reason not to run.
    drop(socket.set_recv_buffer_size(BUFFER_BYTES));
    drop(socket.set_send_buffer_size(BUFFER_BYTES));
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}
