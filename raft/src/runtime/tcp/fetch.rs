//! Snapshots, each on a connection of its own, so that no heartbeat waits behind one.
//!
//! ```text
//!     who fetches                              who has it
//!       Request   group, position, offset ──►
//!                       ◄── Chunk … Chunk      each says where it belongs, and has a checksum
//!                       ◄── Ping               while the next is being read, but not for ever
//!                       ◄── End                where the snapshot ends
//!                        or Unavailable        why not
//! ```
//!
//! A transfer that was cut is taken up again with another Request, at the offset that was reached.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::runtime::tcp::dialler::connect;
use crate::runtime::tcp::frame::{self, Framed};
use crate::runtime::tcp::handshake::Purpose;
use crate::runtime::tcp::metrics::add;
use crate::runtime::tcp::peer_metrics::Transfer;
use crate::runtime::tcp::pipe::Pipe;
use crate::runtime::tcp::refusal::Refusal;
use crate::runtime::tcp::shared::Shared;
use crate::runtime::transport::Inbound;
use crate::store::GroupId;
use crate::types::{Index, NodeId, Position, Term};

/// What travels in one frame. Larger pieces are cut.
const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Pieces that wait on each side.
pub(super) const CHUNKS_MAX: usize = 4;
/// Pings in a row, while nobody reads the next piece, before the transfer is given up. They come
/// three times in a silence; whoever waits may want to end, and another node may have it as well.
const PINGS_MAX: u32 = 30;
const OFFSET_BYTES: usize = 8;
const REQUEST_BYTES: usize = 32;
/// What is said of why not.
const WHY_BYTES_MAX: usize = 256;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) group: GroupId,
    pub(super) position: Position,
    pub(super) offset: u64,
}

impl Request {
    fn encode(self) -> [u8; REQUEST_BYTES] {
        let mut out = [0; REQUEST_BYTES];
        let Position { term, index } = self.position;
        let fields = [self.group.0, term.0, index.0, self.offset];
        for (slot, field) in out.chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        out
    }

    fn decode(mut body: Bytes) -> Result<Request, Refusal> {
        if body.len() != REQUEST_BYTES {
            return Err(Refusal::Frame("a request of another length"));
        }
        let (group, term) = (GroupId(body.get_u64_le()), Term(body.get_u64_le()));
        let position = Position::new(term, Index(body.get_u64_le()));
        Ok(Request { group, position, offset: body.get_u64_le() })
    }
}

/// Serves a snapshot to `from`, on a connection that is known to be its.
pub(super) async fn serve(
    shared: &Shared,
    from: NodeId,
    pipe: Box<dyn Pipe>,
    key: u64,
) -> Result<(), Refusal> {
    let silence = shared.config.limits.silence;
    let mut framed = Framed::new(pipe, key, false, REQUEST_BYTES + 1);
    let read = timeout(shared.config.limits.handshake, framed.read());
    let (kind, body) = read.await.unwrap_or(Err(Refusal::Silent))?;
    if kind != frame::REQUEST {
        return Err(Refusal::Frame("not a request"));
    }
    let Request { group, position, offset } = Request::decode(body)?;
    let (reply, mut chunks) = mpsc::channel(CHUNKS_MAX);
    let counters = shared.peers.read().get(&from).map(|peer| Arc::clone(&peer.counters));
    let transfer = counters.as_ref().map(|counters| counters.sending.begin());
    let inbound = Inbound::Fetch { from, group, position, offset, reply };
    shared.inbox.send(inbound).await.map_err(|_| Refusal::Closed)?;
    let mut at = offset;
    loop {
        let wrote = match timeout(silence / 3, chunks.recv()).await {
            Err(_) => timeout(silence, framed.write_one(frame::PING, &[])).await,
            Ok(Some(Ok(bytes))) => timeout(silence, write(&mut framed, &mut at, &bytes)).await,
            Ok(None) => {
                let end = at.to_le_bytes();
                let wrote = timeout(silence, framed.write_one(frame::END, &[&end])).await;
                add(&shared.counters.snapshot_bytes_sent, (at - offset) as usize);
                let wrote = wrote.unwrap_or(Err(Refusal::Silent));
                if let (Ok(()), Some(transfer)) = (&wrote, transfer) {
                    transfer.end();
                    tracing::info!(peer = from, %group, %position, bytes = at, "sent a snapshot");
                }
                return wrote;
            }
            Ok(Some(Err(error))) => {
                tracing::warn!(peer = from, %group, %position, %error, "no snapshot to serve");
                // The other side reads it as text, be it cut within a letter.
                let why = error.to_string();
                let why = [&why.as_bytes()[..why.len().min(WHY_BYTES_MAX)]];
                let said = timeout(silence, framed.write_one(frame::UNAVAILABLE, &why)).await;
                return said.unwrap_or(Err(Refusal::Silent));
            }
        };
        wrote.unwrap_or(Err(Refusal::Silent))?;
    }
}

async fn write(framed: &mut Framed, at: &mut u64, bytes: &[u8]) -> Result<(), Refusal> {
    for chunk in bytes.chunks(CHUNK_BYTES_MAX) {
        framed.write_one(frame::CHUNK, &[&at.to_le_bytes(), chunk]).await?;
        *at += chunk.len() as u64;
    }
    Ok(())
}

/// Fetches a snapshot from `from` into `chunks`, which end well or with an error.
pub(super) async fn run(
    shared: Arc<Shared>,
    from: NodeId,
    request: Request,
    chunks: mpsc::Sender<io::Result<Bytes>>,
) {
    let counters = shared.peers.read().get(&from).map(|peer| Arc::clone(&peer.counters));
    let transfer = counters.as_ref().map(|counters| counters.receiving.begin());
    let end = tokio::select! {
        () = shared.closed() => Err(Refusal::Closed),
        () = chunks.closed() => return,
        end = pull(&shared, from, request, &chunks) => end,
    };
    if end.is_ok() && !chunks.is_closed() {
        let Request { group, position, .. } = request;
        tracing::info!(peer = from, %group, %position, "received a snapshot");
        transfer.into_iter().for_each(Transfer::end);
    } else if let Err(refusal) = end {
        shared.counters.refused(&refusal);
        tracing::warn!(peer = from, group = %request.group, %refusal, "a snapshot was cut");
        let _ = chunks.send(Err(refusal.into_io())).await;
    }
}

async fn pull(
    shared: &Shared,
    from: NodeId,
    request: Request,
    chunks: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), Refusal> {
    let peer = shared.peers.read().get(&from).cloned();
    let peer = peer.ok_or(io::Error::from(io::ErrorKind::HostUnreachable))?;
    let body_bytes_max = 1 + OFFSET_BYTES + CHUNK_BYTES_MAX;
    let mut framed = connect(shared, &peer, Purpose::Snapshot, body_bytes_max).await?;
    framed.write_one(frame::REQUEST, &[&request.encode()]).await?;
    let mut at = request.offset;
    let mut pings = 0;
    loop {
        let read = timeout(shared.config.limits.silence, framed.read());
        let (kind, mut body) = read.await.unwrap_or(Err(Refusal::Silent))?;
        pings = if kind == frame::PING { pings + 1 } else { 0 };
        match kind {
            frame::PING if pings > PINGS_MAX => return Err(Refusal::Silent),
            frame::PING => continue,
            frame::UNAVAILABLE => {
                let why = String::from_utf8_lossy(&body[..body.len().min(WHY_BYTES_MAX)]);
                return Err(io::Error::new(io::ErrorKind::NotFound, why.into_owned()).into());
            }
            frame::CHUNK | frame::END => {}
            _ => return Err(Refusal::Frame("not a part of a snapshot")),
        }
        if body.len() < OFFSET_BYTES || body.get_u64_le() != at {
            return Err(Refusal::Frame("a part of a snapshot that belongs elsewhere"));
        }
        if kind == frame::END {
            return Ok(());
        }
        at += body.len() as u64;
        add(&shared.counters.snapshot_bytes_received, body.len());
        if chunks.send(Ok(body)).await.is_err() {
            return Ok(());
        }
    }
}
