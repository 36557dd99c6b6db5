//! Keeps one connection to one peer, and sends what waits for it.
//!
//! ```text
//!      ┌──────────► dial ──► handshake ──► talk: take what waits, one write, again
//!      │ back-off     │          │           │       nothing waits: ping now and then
//!      └──────────────┴──────────┴───────────┘
//!        what waits is thrown away: who comes back must not be met by old news
//! ```
//!
//! What is put into the outbox while a write is under way becomes the next write. Under load, many
//! messages thereby share a frame and a system call, and no timer is needed for it.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::runtime::tcp::frame::{self, Framed, Lane};
use crate::runtime::tcp::handshake::{self, Hello, Purpose, VERSIONS};
use crate::runtime::tcp::metrics::add;
use crate::runtime::tcp::outbox::Outbox;
use crate::runtime::tcp::parcels::pack;
use crate::runtime::tcp::pipe::Pipe;
use crate::runtime::tcp::refusal::Refusal;
use crate::runtime::tcp::shared::Shared;
use crate::runtime::transport::Inbound;
use crate::types::NodeId;

/// What a peer sends where it only answers pings.
const PONG_BYTES_MAX: usize = 64;

/// A peer: where it is, and what waits for it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: NodeId,
    pub(super) address: String,
    pub(super) outbox: Outbox,
    /// The peer was forgotten, or has moved.
    pub(super) gone: tokio::sync::Notify,
}

/// Opens a connection to a peer and makes sure of it.
pub(super) async fn connect(
    shared: &Shared,
    to: NodeId,
    address: &str,
    purpose: Purpose,
    body_bytes_max: usize,
) -> Result<Framed, Refusal> {
    let dialling = async {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let mut pipe = secure(shared, to, socket).await?;
        let hello = Hello {
            versions: VERSIONS,
            purpose: purpose as u8,
            cluster: shared.config.cluster,
            sender: shared.config.node,
            receiver: to,
            challenge: handshake::challenge(),
        };
        let key = handshake::dial(&mut *pipe, &hello).await?;
        Ok(Framed::new(pipe, key, true, body_bytes_max))
    };
    timeout(shared.config.limits.handshake, dialling).await.unwrap_or(Err(Refusal::Silent))
}

#[cfg(feature = "tls")]
async fn secure(shared: &Shared, to: NodeId, socket: TcpStream) -> Result<Box<dyn Pipe>, Refusal> {
    match &shared.config.tls {
        Some(tls) => Ok(tls.connect(to, socket).await?),
        None => Ok(Box::new(socket)),
    }
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unused_async, reason = "under TLS there is something to wait for")]
async fn secure(_: &Shared, _: NodeId, socket: TcpStream) -> Result<Box<dyn Pipe>, Refusal> {
    Ok(Box::new(socket))
}

/// Runs until the peer is forgotten or the transport ends.
pub(super) async fn run(shared: Arc<Shared>, peer: Arc<Peer>) {
    tokio::select! {
        () = peer.gone.notified() => {}
        () = shared.closed() => {}
        never = keep(&shared, &peer) => match never {},
    }
    add(&shared.counters.dropped_unreachable, peer.outbox.clear());
}

async fn keep(shared: &Shared, peer: &Peer) -> std::convert::Infallible {
    let limits = &shared.config.limits;
    let (mut wait, mut told) = (limits.backoff.0, false);
    loop {
        let began = Instant::now();
        let body_bytes_max = PONG_BYTES_MAX;
        let dialled =
            connect(shared, peer.id, &peer.address, Purpose::Messages, body_bytes_max).await;
        let refusal = match dialled {
            Ok(framed) => {
                add(&shared.counters.dialled, 1);
                tracing::debug!(peer = peer.id, address = peer.address, "connected");
                told = false;
                talk(shared, peer, framed).await.err().unwrap_or(Refusal::Closed)
            }
            Err(refusal) => refusal,
        };
        shared.counters.refused(&refusal);
        add(&shared.counters.dropped_unreachable, peer.outbox.clear());
        if !told {
            tracing::warn!(peer = peer.id, address = peer.address, %refusal, "out of reach");
            // Once is enough; but if nobody could be told, try again.
            told = shared.inbox.try_send(Inbound::Down(peer.id)).is_ok();
        }
        if began.elapsed() > limits.backoff.1 {
            wait = limits.backoff.0;
        }
        sleep(jittered(wait)).await;
        wait = (wait * 2).min(limits.backoff.1);
    }
}

/// Between a half and the whole of it, so that peers of one that fell do not come back in step.
fn jittered(wait: Duration) -> Duration {
    let half = wait / 2;
    let part = u32::try_from(handshake::random() % 1024).expect("below 1024");
    half + half * part / 1024
}

/// Sends what waits, until something breaks.
async fn talk(shared: &Shared, peer: &Peer, mut framed: Framed) -> Result<(), Refusal> {
    let limits = &shared.config.limits;
    let (mut parcels, mut out) = (Vec::new(), Vec::new());
    let mut heard = Instant::now();
    let mut ping_at = heard + limits.silence / 3;
    loop {
        peer.outbox.take(limits.write_bytes, &mut parcels);
        if parcels.is_empty() {
            tokio::select! {
                () = peer.outbox.filled() => {}
                pong = framed.read() => heard = pong_at(pong)?,
                () = sleep_until(ping_at) => {}
            }
        }
        let packed = pack(&mut parcels, &mut framed, limits.frame_bytes_max, &mut out);
        if packed.large > 0 {
            add(&shared.counters.dropped_large, packed.large);
            tracing::error!(peer = peer.id, dropped = packed.large, "messages larger than a frame");
        }
        add(&shared.counters.frames_sent, packed.frames);
        if Instant::now() >= ping_at {
            // There was no time to listen while there was something to say.
            while let Some(pong) = at_once(&mut framed).await {
                heard = pong_at(pong)?;
            }
            if heard.elapsed() > limits.silence {
                return Err(Refusal::Silent);
            }
            let start = Lane::begin(&mut out, frame::PING);
            framed.seal(&mut out, start);
            ping_at = Instant::now() + limits.silence / 3;
        }
        if !out.is_empty() {
            let writing = timeout(limits.silence, framed.write(&out));
            writing.await.unwrap_or(Err(Refusal::Silent))?;
            add(&shared.counters.messages_sent, packed.messages);
            add(&shared.counters.bytes_sent, out.len());
        }
        if out.capacity() > 4 * limits.write_bytes {
            out = Vec::new();
        }
        out.clear();
    }
}

/// A frame that is there already.
async fn at_once(framed: &mut Framed) -> Option<Result<(u8, bytes::Bytes), Refusal>> {
    tokio::select! {
        biased;
        frame = framed.read() => Some(frame),
        () = ready(()) => None,
    }
}

fn pong_at(frame: Result<(u8, bytes::Bytes), Refusal>) -> Result<Instant, Refusal> {
    match frame?.0 {
        frame::PONG => Ok(Instant::now()),
        _ => Err(Refusal::Frame("something else than a pong")),
    }
}
