//! Accepting connections and handing them to workers.
//!
//! ```text
//!   port ──► one listener ──► the worker with the fewest connections
//! ```
//!
//! The other way, a listener per worker on one port (SO_REUSEPORT), lets the kernel deal
//! connections out by a hash of their addresses. With the handful of connections that a cluster's
//! clients keep open for days, a hash puts most of them on one core often enough; counting never
//! does.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::sync::Semaphore;

use crate::config::ListenAddress;
use crate::connection::{Plain, Stream};
use crate::dispatch::Dispatch;
use crate::shutdown::Shutdown;
use crate::tls::{Secured, ServerTls};
use crate::worker::Workers;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// How long somebody may take to show whether it comes under TLS.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to rest when the system has no more file descriptors: connections that close give some.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// A peer whose machine vanished is noticed by TCP itself after a few of these.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// A bound address, and how one comes in there.
pub(crate) struct Listener {
    socket: Socket,
    door: Door,
}

enum Socket {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket, removed when dropped.
    Unix(UnixListener, SocketFile),
}

/// How one comes in: in the clear, under TLS, or as one likes.
#[derive(Clone)]
pub(crate) struct Door {
    plain: bool,
    tls: Option<Arc<ServerTls>>,
}

impl Door {
    /// In the clear or under TLS, if not both.
    ///
    /// # Panics
    ///
    /// If neither.
    pub(crate) fn new(plain: bool, tls: Option<Arc<ServerTls>>) -> Door {
        assert!(plain || tls.is_some(), "a door has to open somehow");
        Door { plain, tls }
    }

    /// How one comes in under TLS, if one can.
    pub(crate) fn tls(&self) -> Option<&Arc<ServerTls>> {
        self.tls.as_ref()
    }

    /// Lets somebody in; `None` if they did not get through.
    pub(crate) async fn pass(&self, stream: Stream) -> Option<Secured> {
        let tls = match &self.tls {
            Some(tls) if !self.plain => tls,
            Some(tls) => {
                let begins = tokio::time::timeout(LOOK_TIMEOUT, stream.begins_tls()).await;
                match begins.ok()?.ok()? {
                    true => tls,
                    false => return Some(Secured { stream, name: None }),
                }
            }
            None => return Some(Secured { stream, name: None }),
        };
        tls.accept(stream).await
    }
}

/// The file of a Unix socket.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it first.
        let _ = fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Binds to `address`; a socket file that nobody listens on is replaced.
    pub(crate) fn bind(
        address: &ListenAddress,
        door: Door,
        reuse_port: bool,
    ) -> io::Result<Listener> {
        let socket = match address {
            ListenAddress::Tcp(address) => bind_tcp(*address, reuse_port).map(Socket::Tcp)?,
            ListenAddress::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                Socket::Unix(listener, SocketFile(path.clone()))
            }
        };
        Ok(Listener { socket, door })
    }

    /// Where it listens, as a URL with the real port.
    pub(crate) fn url(&self) -> String {
        let secure = if self.is_secure() { "s" } else { "" };
        match &self.socket {
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => format!("http{secure}://{address}"),
                Err(error) => format!("http{secure}://?({error})"),
            },
            Socket::Unix(_, file) => format!("unix{secure}://{}", file.0.display()),
        }
    }

    /// Where it listens, unless that is a file.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// What one comes in by.
    pub(crate) fn door(&self) -> Door {
        self.door.clone()
    }

    /// Whether nobody comes in in the clear.
    pub(crate) fn is_secure(&self) -> bool {
        !self.door.plain
    }

    /// Hands connections to `workers` until the server stops. At most `room` are open at once, over
    /// all listeners that share it; further ones wait in the kernel's backlog.
    pub(crate) async fn serve(
        self,
        workers: Arc<Workers>,
        dispatch: Dispatch,
        room: Arc<Semaphore>,
        mut shutdown: Shutdown,
    ) {
        loop {
            let next = async {
                let permit = room.clone().acquire_owned().await;
                (permit.expect("the semaphore is never closed"), self.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                next = next => next,
                () = shutdown.fired() => return,
            };
            match accepted {
                Ok(stream) => workers.take(stream, self.door.clone(), dispatch.clone(), permit),
                Err(error) => rest_after(&error).await,
            }
        }
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Plain> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE);
                let keepalive = keepalive.with_interval(TCP_KEEPALIVE);
                SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
                stream.into_std().map(Plain::Tcp)
            }
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                stream.into_std().map(Plain::Unix)
            }
        }
    }
}

/// Binds to a port; with `reuse_port`, also to one that another process has bound in this way.
pub(crate) fn bind_tcp(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A restart must not wait for the connections of the last run to be forgotten.
    socket.set_reuseaddr(true)?;
    if reuse_port {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Removes what a killed server has left; a file that is no socket is not ours to remove.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::from(io::ErrorKind::AddrInUse));
            }
            fs::remove_file(path)
        }
        Ok(_) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Waits before connections are accepted again after one could not be.
pub(crate) async fn rest_after(error: &io::Error) {
    if !is_peers_fault(error) {
        tracing::warn!(%error, "cannot accept connections");
        tokio::time::sleep(ACCEPT_RETRY).await;
    }
}

/// Errors that concern one connection, gone before it was accepted.
fn is_peers_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput | NotConnected)
}
