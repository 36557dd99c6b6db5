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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::runtime::tcp::frame::{self, Framed, Lane};
use crate::runtime::tcp::handshake::{self, Hello, Purpose, VERSIONS};
use crate::runtime::tcp::metrics::add;
use crate::runtime::tcp::outbox::Outbox;
use crate::runtime::tcp::parcels::pack;
use crate::runtime::tcp::peer_metrics::PeerCounters;
use crate::runtime::tcp::pipe::{Given, Pipe};
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
    /// At least one.
    pub(super) addresses: Vec<String>,
    /// Which of them answered last.
    good: AtomicUsize,
    pub(super) outbox: Outbox,
    /// The peer was forgotten, or has moved.
    pub(super) gone: Notify,
    pub(super) counters: Arc<PeerCounters>,
}

impl Peer {
    pub(super) fn new(
        id: NodeId,
        addresses: Vec<String>,
        outbox: Outbox,
        counters: Arc<PeerCounters>,
    ) -> Peer {
        Peer { id, addresses, good: AtomicUsize::new(0), outbox, gone: Notify::new(), counters }
    }

    /// The address that answered last, or is to be tried first.
    fn address(&self) -> &str {
        &self.addresses[self.good.load(Ordering::Relaxed)]
    }
}

/// Opens a connection to a peer, wherever it answers first; the last refusal if it does nowhere.
pub(super) async fn connect(
    shared: &Shared,
    peer: &Peer,
    purpose: Purpose,
    body_bytes_max: usize,
) -> Result<Framed, Refusal> {
    let (count, first) = (peer.addresses.len(), peer.good.load(Ordering::Relaxed));
    let mut refusal = Refusal::Silent;
    for at in (first..first + count).map(|at| at % count) {
        match connect_at(shared, peer.id, &peer.addresses[at], purpose, body_bytes_max).await {
            Ok(framed) => {
                peer.good.store(at, Ordering::Relaxed);
                return Ok(framed);
            }
            Err(found) => refusal = found,
        }
    }
    Err(refusal)
}

/// Opens a connection to an address and makes sure that it is the peer's.
async fn connect_at(
    shared: &Shared,
    to: NodeId,
    address: &str,
    purpose: Purpose,
    body_bytes_max: usize,
) -> Result<Framed, Refusal> {
    let dialling = async {
        let mut pipe = open(shared, to, address).await?;
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

/// A connection to an address, made by whoever makes them.
async fn open(shared: &Shared, to: NodeId, address: &str) -> Result<Box<dyn Pipe>, Refusal> {
    if let Some(dial) = &shared.config.dial {
        return Ok(Box::new(Given(dial.dial(address).await?)));
    }
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    secure(shared, to, socket).await
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
    peer.counters.set_connected(false);
    throw_away(&shared, &peer);
}

fn throw_away(shared: &Shared, peer: &Peer) {
    let dropped = peer.outbox.clear();
    add(&shared.counters.dropped_unreachable, dropped);
    add(&peer.counters.dropped, dropped);
}

async fn keep(shared: &Shared, peer: &Peer) -> std::convert::Infallible {
    let limits = &shared.config.limits;
    let (mut wait, mut told) = (limits.backoff.0, false);
    loop {
        let began = Instant::now();
        let body_bytes_max = PONG_BYTES_MAX;
        let dialled = connect(shared, peer, Purpose::Messages, body_bytes_max).await;
        let refusal = match dialled {
            Ok(framed) => {
                add(&shared.counters.dialled, 1);
                tracing::debug!(peer = peer.id, address = peer.address(), "connected");
                told = false;
                peer.counters.set_connected(true);
                talk(shared, peer, framed, &mut told).await.err().unwrap_or(Refusal::Closed)
            }
            Err(refusal) => refusal,
        };
        shared.counters.refused(&refusal);
        peer.counters.set_connected(false);
        throw_away(shared, peer);
        if !told {
            let addresses = peer.addresses.join(" ");
            tracing::warn!(peer = peer.id, addresses, %refusal, "out of reach");
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

/// Sends what waits, until something breaks. `told` is whether it was said that the peer is down.
async fn talk(
    shared: &Shared,
    peer: &Peer,
    mut framed: Framed,
    told: &mut bool,
) -> Result<(), Refusal> {
    let limits = &shared.config.limits;
    let (mut parcels, mut out) = (Vec::new(), Vec::new());
    let pause = limits.patience.min(limits.silence) / 3;
    let mut pulse = Pulse { heard: Instant::now(), asked: None, counters: &peer.counters };
    let mut ping_at = pulse.heard + pause;
    loop {
        peer.outbox.take(limits.write_bytes, &mut parcels);
        if parcels.is_empty() {
            tokio::select! {
                () = peer.outbox.filled() => {}
                pong = framed.read() => pulse.take(pong)?,
                () = sleep_until(ping_at) => {}
            }
        } else if pulse.asked.is_some()
            && let Some(pong) = at_once(&mut framed).await
        {
            // Left until there is time to listen, the round trip would look longer than it was.
            pulse.take(pong)?;
        }
        let packed = pack(&mut parcels, &mut framed, limits.frame_bytes_max, &mut out);
        if packed.large > 0 {
            add(&shared.counters.dropped_large, packed.large);
            add(&peer.counters.dropped, packed.large);
            tracing::error!(peer = peer.id, dropped = packed.large, "messages larger than a frame");
        }
        add(&shared.counters.frames_sent, packed.frames);
        if Instant::now() >= ping_at {
            // There was no time to listen while there was something to say.
            while let Some(pong) = at_once(&mut framed).await {
                pulse.take(pong)?;
            }
            let silent = pulse.heard.elapsed();
            if silent > limits.silence {
                return Err(Refusal::Silent);
            }
            peer.counters.set_connected(silent <= limits.patience);
            if silent <= limits.patience {
                *told = false;
            } else if !*told {
                // It may be busy, or gone: whoever depends on it had better act, but what was sent
                // may yet arrive.
                tracing::info!(peer = peer.id, "peer is silent");
                *told = shared.inbox.try_send(Inbound::Down(peer.id)).is_ok();
            }
            let start = Lane::begin(&mut out, frame::PING);
            framed.seal(&mut out, start);
            // One that waits for its answer goes on waiting.
            pulse.asked.get_or_insert_with(Instant::now);
            ping_at = Instant::now() + pause;
        }
        if !out.is_empty() {
            let writing = timeout(limits.silence, framed.write(&out));
            writing.await.unwrap_or(Err(Refusal::Silent))?;
            add(&shared.counters.messages_sent, packed.messages);
            add(&shared.counters.bytes_sent, out.len());
            add(&peer.counters.bytes_sent, out.len());
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

/// The sign of life of a peer.
struct Pulse<'p> {
    /// When it was heard last.
    heard: Instant,
    /// When the oldest ping was sent that it has not answered.
    asked: Option<Instant>,
    counters: &'p PeerCounters,
}

impl Pulse<'_> {
    /// Takes what came, which can only be a pong.
    fn take(&mut self, frame: Result<(u8, bytes::Bytes), Refusal>) -> Result<(), Refusal> {
        match frame?.0 {
            frame::PONG => self.heard = Instant::now(),
            _ => return Err(Refusal::Frame("something else than a pong")),
        }
        if let Some(asked) = self.asked.take() {
            self.counters.round_trip(self.heard - asked);
        }
        self.counters.set_connected(true);
        Ok(())
    }
}
