//! A stream of bytes to a peer, be it plain, under TLS, or of the caller's own making.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::types::NodeId;

/// What a connection needs of its socket.
pub(super) trait Pipe: AsyncRead + AsyncWrite + Unpin + Send + Sync {
    /// Whether the other end has proven to be this node; plain connections believe it.
    fn vouches_for(&self, node: NodeId) -> bool;
}

impl Pipe for TcpStream {
    fn vouches_for(&self, _: NodeId) -> bool {
        true
    }
}

/// A connection to a peer that the caller has made or taken, and secured as it sees fit.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Wire for T {}

/// How the caller makes connections, where it does not leave that to the transport.
pub trait Dial: fmt::Debug + Send + Sync {
    /// Connects to an address as it was given to [`Tcp::peer`](super::Tcp::peer). Whoever dials
    /// makes sure that it is a peer that answers; which one it is, the two ends tell each other.
    fn dial<'a>(&'a self, address: &'a str) -> Dialling<'a>;
}

/// A connection on its way.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send + 'a>>;

/// The caller's connection as a pipe: it is for the caller to know who may be at the other end.
pub(super) struct Given(pub(super) Box<dyn Wire>);

impl Pipe for Given {
    fn vouches_for(&self, _: NodeId) -> bool {
        true
    }
}

impl AsyncRead for Given {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Given {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
