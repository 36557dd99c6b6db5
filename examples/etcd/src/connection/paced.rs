//! A connection on which pings are counted.
//!
//! ```text
//!   peer ──► socket ──► Pings::receive ──► HTTP/2 library      each read
//!        ◄── socket ◄── Pings::send ◄───── HTTP/2 library      each write, what the socket took
//! ```
//!
//! Once there were too many, the library gets nothing more to read. What it still has to say (the
//! answer to the last ping) goes out; where a frame ends, the reason follows, and the end of the
//! direction. Then the peer has [`FAREWELL`] to go by itself: a socket that is closed with unread
//! bytes in it takes back what was sent last, and the peer would never see the reason.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::pings::Pings;
use super::stream::Sniffed;

/// How long a peer may take to go that was told to.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes that are read at once to be thrown away.
const SKIPPED_BYTES_MAX: usize = 4096;

/// A connection whose pings may be counted.
pub(super) struct Paced {
    stream: Sniffed,
    pings: Option<Pings>,
    /// Of a peer that has to go.
    farewell: Option<Box<Farewell>>,
}

/// What is left to be done for a peer that has to go.
struct Farewell {
    reason: Vec<u8>,
    /// How much of the reason is sent. Once it is begun, nothing of the library's may follow.
    sent: usize,
    /// Nothing follows any more.
    ended: bool,
    patience: Pin<Box<Sleep>>,
}

impl Farewell {
    fn new(pings: &Pings) -> Box<Farewell> {
        tracing::debug!("too many pings from a client");
        let patience = Box::pin(sleep(FAREWELL));
        Box::new(Farewell { reason: pings.goaway(), sent: 0, ended: false, patience })
    }

    /// Sends the reason and the end.
    fn poll_say(&mut self, cx: &mut Context<'_>, stream: &mut Sniffed) -> Poll<io::Result<()>> {
        while let Some(rest) = self.reason.get(self.sent..).filter(|rest| !rest.is_empty()) {
            self.sent += ready!(Pin::new(&mut *stream).poll_write(cx, rest))?;
        }
        if !self.ended {
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads nothing more for the library; ready when the peer has gone, or has to be left.
    fn poll_leave(&mut self, cx: &mut Context<'_>, stream: &mut Sniffed) -> Poll<io::Result<()>> {
        if self.patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionAborted)));
        }
        let mut bytes = [0; SKIPPED_BYTES_MAX];
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl Paced {
    /// With `pings` that are to be counted, if they are.
    pub(super) fn new(stream: Sniffed, pings: Option<Pings>) -> Paced {
        Paced { stream, pings, farewell: None }
    }

    /// Goes on saying why the peer has to go, if that was begun; whether it was.
    fn poll_mute(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(farewell) = &mut self.farewell else { return Poll::Ready(Ok(false)) };
        if farewell.sent > 0 {
            ready!(farewell.poll_say(cx, &mut self.stream))?;
            return Poll::Ready(Ok(true));
        }
        Poll::Ready(Ok(false))
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(farewell) = &mut this.farewell {
            return farewell.poll_leave(cx, &mut this.stream);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Some(pings) = &mut this.pings {
            let counted = pings.receive(&buf.filled()[before..]);
            buf.set_filled(before + counted);
            if pings.has_had_enough() {
                this.farewell = Some(Farewell::new(pings));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if ready!(self.poll_mute(cx))? {
            return Poll::Ready(Ok(buf.len()));
        }
        let this = &mut *self;
        let sent = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        if let Some(pings) = &mut this.pings {
            pings.send(&buf[..sent]);
        }
        Poll::Ready(Ok(sent))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if ready!(self.poll_mute(cx))? {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let this = &mut *self;
        let sent = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, bufs))?;
        if let Some(pings) = &mut this.pings {
            let mut rest = sent;
            for buf in bufs {
                let part = rest.min(buf.len());
                pings.send(&buf[..part]);
                rest -= part;
            }
        }
        Poll::Ready(Ok(sent))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The library flushes when it has nothing more to say: then the answer to the last ping is
    /// out, and it is time for the reason.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let is_between = this.pings.as_ref().is_none_or(Pings::is_between_frames);
        match &mut this.farewell {
            Some(farewell) if is_between => farewell.poll_say(cx, &mut this.stream),
            _ => Pin::new(&mut this.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
