//! Takes connections, finds out who is there, and hands on what it says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::runtime::tcp::fetch;
use crate::runtime::tcp::frame::{self, Framed};
use crate::runtime::tcp::gate::Kick;
use crate::runtime::tcp::handshake::{self, Hello, Purpose};
use crate::runtime::tcp::metrics::add;
use crate::runtime::tcp::parcels::unpack;
use crate::runtime::tcp::pipe::{Given, Pipe, Wire};
use crate::runtime::tcp::refusal::Refusal;
use crate::runtime::tcp::shared::Shared;
use crate::runtime::transport::Inbound;
use crate::types::NodeId;

/// How long to wait when the system has no sockets left.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Takes connections until the transport ends.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((socket, address)) => welcome(&shared, Arrival::Socket(socket), address),
                Err(error) => {
                    tracing::error!(%error, "no connection could be taken");
                    sleep(EXHAUSTED).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shared.closed() => {}
    }
}

/// A connection as it came.
pub(super) enum Arrival {
    /// Nothing was done with it yet.
    Socket(TcpStream),
    /// The caller has secured it.
    Wire(Box<dyn Wire>),
}

/// Lets somebody in, who has still to say who it is.
pub(super) fn welcome(shared: &Arc<Shared>, arrival: Arrival, address: SocketAddr) {
    add(&shared.counters.opened, 1);
    let (id, kick, oldest) = shared.gate.lock().enter(&shared.config.limits);
    if let Some(oldest) = oldest {
        oldest.notify_one();
    }
    let (shared, trusted) = (Arc::clone(shared), AtomicBool::new(false));
    tokio::spawn(guest(Guest { shared, id, kick, address, trusted }, arrival));
}

/// A connection that was taken.
struct Guest {
    shared: Arc<Shared>,
    id: u64,
    kick: Kick,
    address: SocketAddr,
    /// It has shown who it is.
    trusted: AtomicBool,
}

async fn guest(guest: Guest, arrival: Arrival) {
    let refusal = tokio::select! {
        () = guest.kick.notified() => guest.kicked(),
        () = guest.shared.closed() => return,
        end = guest.receive(arrival) => match end {
            Ok(()) => return,
            Err(refusal) => refusal,
        },
    };
    guest.shared.counters.refused(&refusal);
    match refusal {
        // Peers come and go.
        Refusal::Closed | Refusal::Replaced => {
            tracing::debug!(address = %guest.address, %refusal, "a connection was ended");
        }
        _ => tracing::warn!(address = %guest.address, %refusal, "a connection was refused"),
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.shared.gate.lock().leave_waiting(self.id);
    }
}

impl Guest {
    /// Why it has to go: for the sake of somebody unknown, or of itself.
    fn kicked(&self) -> Refusal {
        if self.trusted.load(Ordering::Relaxed) { Refusal::Replaced } else { Refusal::Full }
    }

    async fn receive(&self, arrival: Arrival) -> Result<(), Refusal> {
        let shared = &self.shared;
        let greeting = async {
            let mut pipe: Box<dyn Pipe> = match arrival {
                Arrival::Socket(socket) => {
                    socket.set_nodelay(true)?;
                    secure(shared, socket).await?
                }
                Arrival::Wire(wire) => Box::new(Given(wire)),
            };
            let judge = |hello: &Hello, pipe: &dyn Pipe| judge(shared, hello, pipe);
            let node = shared.config.node;
            let (hello, purpose, key) = handshake::accept(&mut *pipe, node, judge).await?;
            Ok((pipe, hello, purpose, key))
        };
        let greeting = timeout(shared.config.limits.handshake, greeting).await;
        let (pipe, hello, purpose, key) = greeting.unwrap_or(Err(Refusal::Silent))?;
        self.trusted.store(true, Ordering::Relaxed);
        shared.gate.lock().leave_waiting(self.id);
        let from = hello.sender;
        let _place = self.place(from, purpose)?;
        add(&shared.counters.accepted, 1);
        match purpose {
            Purpose::Messages => {
                let framed = Framed::new(pipe, key, false, shared.config.limits.frame_bytes_max);
                let ended = self.listen(from, framed).await;
                let broken = !matches!(ended, Ok(()) | Err(Refusal::Closed | Refusal::Replaced));
                if broken && let Some(peer) = shared.peers.read().get(&from) {
                    add(&peer.counters.broken, 1);
                }
                ended
            }
            Purpose::Snapshot => fetch::serve(shared, from, pipe, key).await,
        }
    }

    /// A place inside, if there still is one.
    fn place(&self, from: NodeId, purpose: Purpose) -> Result<Place<'_>, Refusal> {
        let shared = &self.shared;
        let mut gate = shared.gate.lock();
        if !gate.has_room(from, purpose, &shared.config.limits, |id| shared.knows(id)) {
            return Err(Refusal::Full);
        }
        let before = gate.take(from, purpose, self.id, &self.kick);
        drop(gate);
        if let Some(before) = before {
            before.notify_one();
        }
        Ok(Place { shared, from, purpose, id: self.id })
    }

    async fn listen(&self, from: NodeId, mut framed: Framed) -> Result<(), Refusal> {
        let shared = &self.shared;
        let silence = shared.config.limits.silence;
        loop {
            let read = timeout(silence, framed.read());
            let (kind, body) = read.await.unwrap_or(Err(Refusal::Silent))?;
            match kind {
                frame::MESSAGES => {
                    let peer = shared.peers.read().get(&from).cloned();
                    if let Some(peer) = peer {
                        add(&peer.counters.bytes_received, body.len());
                    }
                    let mut mail = unpack(body, from, shared.config.node)?;
                    let messages = mail.iter().map(|(_, messages)| messages.len()).sum();
                    add(&shared.counters.frames_received, 1);
                    add(&shared.counters.messages_received, messages);
                    let inbound = if mail.len() == 1 {
                        let (group, messages) = mail.remove(0);
                        Inbound::Messages { from, group, messages }
                    } else {
                        Inbound::Many { from, mail }
                    };
                    // Whoever does not take what came in makes peers wait, not memory grow.
                    shared.inbox.send(inbound).await.map_err(|_| Refusal::Closed)?;
                }
                frame::PING => {
                    let pong = timeout(silence, framed.write_one(frame::PONG, &[]));
                    pong.await.unwrap_or(Err(Refusal::Silent))?;
                }
                _ => return Err(Refusal::Frame("neither messages nor a ping")),
            }
        }
    }
}

/// A place inside, while it is taken.
struct Place<'a> {
    shared: &'a Shared,
    from: NodeId,
    purpose: Purpose,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.gate.lock().leave(self.from, self.purpose, self.id);
    }
}

#[cfg(feature = "tls")]
async fn secure(shared: &Shared, socket: TcpStream) -> Result<Box<dyn Pipe>, Refusal> {
    match &shared.config.tls {
        Some(tls) => Ok(tls.accept(socket).await?),
        None => Ok(Box::new(socket)),
    }
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unused_async, reason = "under TLS there is something to wait for")]
async fn secure(_: &Shared, socket: TcpStream) -> Result<Box<dyn Pipe>, Refusal> {
    Ok(Box::new(socket))
}

/// Whether whoever says this is let in.
fn judge(shared: &Shared, hello: &Hello, pipe: &dyn Pipe) -> Result<Purpose, Refusal> {
    let config = &shared.config;
    if hello.cluster != config.cluster {
        return Err(Refusal::Cluster { theirs: hello.cluster, ours: config.cluster });
    }
    if hello.receiver != config.node {
        return Err(Refusal::Receiver { wanted: hello.receiver });
    }
    let sender = hello.sender;
    if sender == 0 || sender == config.node || !pipe.vouches_for(sender) {
        return Err(Refusal::Sender { claimed: sender });
    }
    let purpose = match hello.purpose {
        1 => Purpose::Messages,
        2 => Purpose::Snapshot,
        _ => return Err(Refusal::Frame("a purpose that there is not")),
    };
    let room = shared.gate.lock().has_room(sender, purpose, &config.limits, |id| shared.knows(id));
    if room { Ok(purpose) } else { Err(Refusal::Full) }
}
