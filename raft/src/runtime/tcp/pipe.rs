//! A stream of bytes to a peer, be it plain or under TLS.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What a connection needs of its socket.
pub(super) trait Pipe: AsyncRead + AsyncWrite + Unpin + Send + Sync {
    /// Whether the other end has proven to be this node; plain connections believe it.
    fn vouches_for(&self, node: crate::types::NodeId) -> bool;
}

impl Pipe for TcpStream {
    fn vouches_for(&self, _: crate::types::NodeId) -> bool {
        true
    }
}
