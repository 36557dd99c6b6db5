//! The bytes of a connection, whatever carries them.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use super::authority::Mender;
use crate::tls;

/// Bytes that are read at once while requests may need mending.
const MENDED_BYTES_MAX: usize = 4096;

/// A connection that belongs to no runtime yet.
#[derive(Debug)]
pub(crate) enum Plain {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Plain {
    /// Hands the connection to the runtime of this thread.
    pub(crate) fn adopt(self) -> io::Result<Stream> {
        match self {
            Plain::Tcp(stream) => TcpStream::from_std(stream).map(Stream::Tcp),
            Plain::Unix(stream) => UnixStream::from_std(stream).map(Stream::Unix),
        }
    }
}

/// A connection on a runtime.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// Under TLS, over one of the others.
    Tls(Box<TlsStream<Stream>>),
}

impl Stream {
    /// Where the other end is; a Unix socket is nowhere.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().ok(),
            Stream::Unix(_) => None,
            Stream::Tls(stream) => stream.get_ref().0.remote(),
        }
    }

    /// Whether what comes first is a TLS handshake. Nothing is read.
    pub(crate) async fn begins_tls(&self) -> io::Result<bool> {
        /// The type of the record that a handshake begins with (RFC 8446 §5.1).
        const HANDSHAKE: u8 = 22;
        let mut first = [0];
        let peeked = match self {
            Stream::Tcp(stream) => stream.peek(&mut first).await?,
            // No more than a look is possible at these, and nobody needs it.
            Stream::Unix(_) | Stream::Tls(_) => 0,
        };
        Ok(peeked == 1 && first[0] == HANDSHAKE)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf).map_err(tls::io_error),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A connection whose first bytes have been looked at and are to be read again, and whose requests
/// may need mending.
#[derive(Debug)]
pub(crate) struct Sniffed {
    stream: Stream,
    /// Bytes that are to be read before those of `stream`.
    ahead: BytesMut,
    mender: Option<Mender>,
}

impl Sniffed {
    /// `stream`, with `head` put back in front. What comes after the head is HTTP/2 or it is not.
    pub(crate) fn new(stream: Stream, head: &[u8], is_http2: bool) -> Sniffed {
        Sniffed { stream, ahead: BytesMut::from(head), mender: is_http2.then(Mender::new) }
    }

    /// Reads through the mender until something comes out of it.
    fn poll_mend(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mender = self.mender.as_mut().expect("the caller has seen it");
        let mut bytes = [MaybeUninit::uninit(); MENDED_BYTES_MAX];
        let mut buf = ReadBuf::uninit(&mut bytes);
        while self.ahead.is_empty() {
            buf.clear();
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            mender.take(buf.filled(), &mut self.ahead);
        }
        if mender.is_aside() {
            self.mender = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Sniffed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ahead.is_empty() {
            if this.mender.is_none() {
                return Pin::new(&mut this.stream).poll_read(cx, buf);
            }
            ready!(this.poll_mend(cx))?;
        }
        let take = buf.remaining().min(this.ahead.len());
        buf.put_slice(&this.ahead[..take]);
        this.ahead.advance(take);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Sniffed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
