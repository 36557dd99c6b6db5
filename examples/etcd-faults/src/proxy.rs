//! The door through which the other members reach one member.
//!
//! ```text
//!   member 0 ──┐                              ┌── reader ─► queue of (due, bytes) ─► writer ──►
//!   member 1 ──┼─► listener ─ who is it? ─────┤            link from → to
//!              │   (of member 2)              └── the same the other way, link to → from
//! ```
//!
//! Every connection between members passes one, so links can be slow on any kernel, also where
//! `tc netem` is missing. Both directions of a connection are delayed on their own: what a member
//! answers on a connection that another one opened belongs to the link back.
//!
//! Bytes that are held are not lost, as TCP would not lose them either: they arrive, very late,
//! once the link is good again, unless one end has given up meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::link::Links;

/// Chunks on their way in one direction of one connection.
const CHUNKS_MAX: usize = 1_024;
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// How often a held link is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Says which member opened a connection, by the address it comes from.
pub(crate) type Who = Arc<dyn Fn(SocketAddr) -> Option<usize> + Send + Sync>;

/// One door.
#[derive(Clone)]
pub(crate) struct Proxy {
    /// Whose it is.
    pub(crate) slot: usize,
    /// Where that member listens.
    pub(crate) behind: SocketAddr,
    /// Whether connections to it come from the door of the member that opened them. Where packets
    /// are dropped by address, this is how those of the answering side are told apart.
    pub(crate) faces: Option<Vec<SocketAddr>>,
    /// Who is it?
    pub(crate) who: Who,
    /// What stands between the members.
    pub(crate) links: Arc<Links>,
}

impl Proxy {
    /// Lets members in, for as long as the runtime runs.
    pub(crate) async fn serve(self, listener: TcpListener) {
        loop {
            // What fails here is a connection that is gone already.
            let Ok((stream, address)) = listener.accept().await else { continue };
            tokio::spawn(self.clone().connection(stream, address));
        }
    }

    async fn connection(self, front: TcpStream, address: SocketAddr) {
        let from = (self.who)(address);
        let Ok(back) = self.behind(from).await else { return };
        let nodelay = front.set_nodelay(true).and_then(|()| back.set_nodelay(true));
        if nodelay.is_err() {
            return;
        }
        let ((front_in, front_out), (back_in, back_out)) = (front.into_split(), back.into_split());
        let (links, slot) = (&self.links, Some(self.slot));
        tokio::spawn(pump(front_in, back_out, Arc::clone(links), from, slot));
        tokio::spawn(pump(back_in, front_out, Arc::clone(links), slot, from));
    }

    async fn behind(&self, from: Option<usize>) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let (Some(faces), Some(from)) = (&self.faces, from) {
            socket.bind(SocketAddr::new(faces[from].ip(), 0))?;
        }
        socket.connect(self.behind).await
    }
}

/// Carries bytes one way until one end is done.
async fn pump(
    mut input: OwnedReadHalf,
    output: OwnedWriteHalf,
    links: Arc<Links>,
    from: Option<usize>,
    to: Option<usize>,
) {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::spawn(write(receiver, output, Arc::clone(&links), from, to));
    let (mut last_due, mut dice) = (Instant::now(), 1_u64);
    let mut buf = vec![0; CHUNK_BYTES_MAX];
    while let Ok(count @ 1..) = input.read(&mut buf).await {
        // Any spread will do here; which one is no part of the plan.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = links.between(from, to).map_or(Duration::ZERO, |link| link.delay(dice >> 33));
        // A stream keeps its order.
        last_due = last_due.max(Instant::now() + delay);
        if sender.send((last_due, buf[..count].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn write(
    mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut output: OwnedWriteHalf,
    links: Arc<Links>,
    from: Option<usize>,
    to: Option<usize>,
) {
    let held = || links.between(from, to).is_some_and(super::link::Link::is_held);
    while let Some((due, bytes)) = chunks.recv().await {
        tokio::time::sleep_until(due).await;
        while held() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        if output.write_all(&bytes).await.is_err() {
            return;
        }
    }
    while held() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    // The other end may be gone; then there is nobody to tell.
    let _ = output.shutdown().await;
}
