//! Streams that we open: one to each address, for as long as there is something to say.
//!
//! ```text
//!     send ──► outbox ──► dial ──► frame, frame, … ──► nothing for REUSE ──► hang up
//!                │          └ nobody there: what waits is lost, and the next one dials anew
//!                └ full: the oldest gives way
//! ```
//!
//! The core never depends on a message that goes by stream: what is lost is asked for again. So
//! nothing here is tried twice, but for one case: a connection that is open may have been closed at
//! the other end while nobody looked.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::incoming::FRAME_BYTES_MAX;
use super::metrics::{Counters, add, count};

/// The most bytes that wait for one peer.
pub const OUTBOX_BYTES_MAX: usize = 8 << 20;
/// The most peers to which there is a connection of ours, or which we dial.
pub const OUTBOXES_MAX: usize = 256;

/// How long a connection is kept for the next message.
const REUSE: Duration = Duration::from_secs(5);
/// How long dialling may take.
const DIAL: Duration = Duration::from_secs(5);
/// How long a peer may take for one message.
const SLOWNESS: Duration = Duration::from_secs(10);

const _: () = assert!(FRAME_BYTES_MAX <= OUTBOX_BYTES_MAX, "one message always finds room");

/// What waits for one peer.
#[derive(Debug, Default)]
struct Outbox {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Its task waits for a message.
    idle: bool,
    /// Its task is about to end: nothing put here goes out.
    closed: bool,
}

/// A peer that we talk to.
#[derive(Debug)]
struct Peer {
    outbox: Arc<Outbox>,
    task: JoinHandle<()>,
}

/// All outboxes. Dropping them ends their tasks.
#[derive(Debug)]
pub(super) struct Outgoing {
    peers: BTreeMap<SocketAddr, Peer>,
    /// What our connections come from: a machine with several addresses shows the right one.
    source: Option<IpAddr>,
    counters: Arc<Counters>,
}

impl Outgoing {
    pub(super) fn new(source: IpAddr, counters: Arc<Counters>) -> Outgoing {
        let source = Some(source).filter(|ip| !ip.is_unspecified());
        Outgoing { peers: BTreeMap::new(), source, counters }
    }

    /// Puts a message into the outbox. Never waits.
    pub(super) fn send(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        if bytes.len() > FRAME_BYTES_MAX {
            count(&self.counters.frames_unsent);
            tracing::error!(%to, bytes = bytes.len(), "a message is too long for a stream");
            return;
        }
        let mut bytes = Some(bytes);
        if let Some(peer) = self.peers.get(&to)
            && let Some(dropped) = peer.outbox.put(&mut bytes)
        {
            add(&self.counters.frames_unsent, dropped);
            return;
        }
        if self.peers.remove(&to).is_none() && !self.make_room() {
            count(&self.counters.frames_unsent);
            return;
        }
        let outbox = Arc::new(Outbox::default());
        let fresh = outbox.put(&mut bytes);
        assert_eq!(fresh, Some(0), "an empty outbox takes a message");
        let courier = Courier {
            to,
            source: self.source.filter(|ip| ip.is_ipv4() == to.is_ipv4()),
            outbox: Arc::clone(&outbox),
            counters: Arc::clone(&self.counters),
        };
        let task = tokio::spawn(courier.run());
        self.peers.insert(to, Peer { outbox, task });
    }

    /// Whether there is room for one more peer, perhaps at the cost of one that we do not talk to.
    fn make_room(&mut self) -> bool {
        if self.peers.len() < OUTBOXES_MAX {
            return true;
        }
        self.peers.retain(|_, peer| !peer.task.is_finished());
        if self.peers.len() < OUTBOXES_MAX {
            return true;
        }
        let idle = self.peers.iter().find(|(_, peer)| peer.outbox.waiting.lock().idle);
        let Some(to) = idle.map(|(to, _)| *to) else { return false };
        let peer = self.peers.remove(&to).expect("it was just found");
        peer.task.abort();
        true
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.peers.values().for_each(|peer| peer.task.abort());
    }
}

impl Outbox {
    /// Takes a message, and says how many gave way; none if the outbox is closed.
    fn put(&self, bytes: &mut Option<Vec<u8>>) -> Option<usize> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return None;
        }
        let bytes = bytes.take().expect("there is something to put");
        let mut dropped = 0;
        while waiting.bytes + bytes.len() > OUTBOX_BYTES_MAX {
            let oldest = waiting.messages.pop_front().expect("what waits has bytes");
            waiting.bytes -= oldest.len();
            dropped += 1;
        }
        waiting.bytes += bytes.len();
        waiting.messages.push_back(bytes);
        waiting.idle = false;
        drop(waiting);
        self.more.notify_one();
        Some(dropped)
    }

    async fn next(&self) -> Vec<u8> {
        loop {
            let more = self.more.notified();
            {
                let mut waiting = self.waiting.lock();
                if let Some(bytes) = waiting.messages.pop_front() {
                    waiting.bytes -= bytes.len();
                    return bytes;
                }
                waiting.idle = true;
            }
            more.await;
        }
    }

    /// Closes it if nothing waits.
    fn close_if_empty(&self) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.closed = waiting.messages.is_empty();
        waiting.closed
    }

    /// Closes it, and says how many messages are lost.
    fn close(&self) -> usize {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.bytes = 0;
        std::mem::take(&mut waiting.messages).len()
    }
}

/// The task of one peer.
struct Courier {
    to: SocketAddr,
    source: Option<IpAddr>,
    outbox: Arc<Outbox>,
    counters: Arc<Counters>,
}

impl Courier {
    async fn run(self) {
        let mut open: Option<TcpStream> = None;
        loop {
            let bytes = tokio::select! {
                bytes = self.outbox.next() => bytes,
                () = hung_up(&mut open) => {
                    open = None;
                    continue;
                }
                () = tokio::time::sleep(REUSE) => {
                    if self.outbox.close_if_empty() {
                        return;
                    }
                    continue;
                }
            };
            match self.deliver(&mut open, &bytes).await {
                Ok(()) => count(&self.counters.frames_out),
                Err(error) => {
                    tracing::debug!(to = %self.to, %error, "messages by stream are lost");
                    add(&self.counters.frames_unsent, 1 + self.outbox.close());
                    return;
                }
            }
        }
    }

    async fn deliver(&self, open: &mut Option<TcpStream>, bytes: &[u8]) -> io::Result<()> {
        if let Some(stream) = open {
            if write(stream, bytes).await.is_ok() {
                return Ok(());
            }
            *open = None;
        }
        let stream = open.insert(timeout(DIAL, self.dial()).await??);
        write(stream, bytes).await
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let socket = if self.to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(source) = self.source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream = socket.connect(self.to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let head = (bytes.len() as u32).to_le_bytes();
    let mut frame = bytes::Buf::chain(&head[..], bytes);
    timeout(SLOWNESS, stream.write_all_buf(&mut frame)).await?
}

/// Returns when the other end has closed the connection. It has nothing to say on it.
async fn hung_up(open: &mut Option<TcpStream>) {
    match open {
        Some(stream) => drop(stream.read(&mut [0]).await),
        None => std::future::pending().await,
    }
}
