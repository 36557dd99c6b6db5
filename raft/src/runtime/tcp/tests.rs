//! The transport over real sockets: every port is free for the taking, every wait has an end.

mod bounds;
mod dial;
mod exchange;
mod formats;
mod hostile;
mod snapshots;
#[cfg(feature = "tls")]
mod tls;

use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};

use crate::entry::{Entry, Payload};
use crate::message::{Body, Message};
use crate::runtime::tcp::{Limits, RefusalKind, Tcp, TcpConfig};
use crate::runtime::transport::{Inbound, Transport};
use crate::store::GroupId;
use crate::types::{Index, NodeId, Position, Term};

const CLUSTER: u64 = 0xd2;

/// Longer than anything here takes on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(20);

/// Longer than any whole test takes on such a machine.
const TEST_DEADLINE: Duration = Duration::from_secs(180);

/// Runs a test on two threads of its own. It fails by its name if it does not end, or if something
/// that it leaves behind does not, be all its threads blocked.
fn in_time(test: impl Future<Output = ()> + Send + 'static) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    let (done, ended) = std::sync::mpsc::channel();
    let test = runtime.spawn(test);
    runtime.spawn(async move { done.send(test.await) });
    let ended = ended.recv_timeout(TEST_DEADLINE);
    let stopping = Instant::now();
    runtime.shutdown_timeout(DEADLINE);
    match ended {
        Ok(Ok(())) => assert!(stopping.elapsed() < DEADLINE, "{name} leaves a thread that blocks"),
        Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        Err(_) => panic!("{name} does not end"),
    }
}

/// Patience that tests have time for.
fn limits() -> Limits {
    Limits {
        handshake: Duration::from_millis(700),
        patience: Duration::from_millis(600),
        silence: Duration::from_millis(1_500),
        backoff: (Duration::from_millis(5), Duration::from_millis(50)),
        ..Limits::default()
    }
}

fn config(node: NodeId) -> TcpConfig {
    TcpConfig::new(CLUSTER, node).limits(limits())
}

/// A node with nothing but its place in the network.
struct Seat {
    tcp: Tcp,
    inbound: mpsc::Receiver<Inbound>,
}

impl Seat {
    async fn new(config: TcpConfig) -> Seat {
        Seat::at("127.0.0.1:0", config).await
    }

    async fn at(address: &str, config: TcpConfig) -> Seat {
        let deadline = Instant::now() + DEADLINE;
        loop {
            // The port of a node that was stopped may take a moment to be free.
            match Tcp::bind(address, config.clone()).await {
                Ok((tcp, inbound)) => return Seat { tcp, inbound },
                Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
            }
            tokio::task::yield_now().await;
        }
    }

    fn address(&self) -> String {
        self.tcp.local_addr().to_string()
    }

    fn learn(&self, id: NodeId, other: &Seat) {
        self.tcp.peer(id, Some(other.address()));
    }

    fn refused(&self, kind: RefusalKind) -> u64 {
        self.tcp.metrics().refused(kind)
    }

    /// The next messages to come in, whatever else does.
    async fn next(&mut self) -> (NodeId, Vec<(GroupId, Vec<Message>)>) {
        let next = async {
            loop {
                match self.inbound.recv().await.expect("the transport is there") {
                    Inbound::Messages { from, group, messages } => {
                        return (from, vec![(group, messages)]);
                    }
                    Inbound::Many { from, mail } => return (from, mail),
                    Inbound::Down(_) | Inbound::Fetch { .. } => {}
                }
            }
        };
        timeout(DEADLINE, next).await.expect("messages come in")
    }

    /// The rounds of the heartbeats that come in, up to and with `last`.
    async fn rounds(&mut self, last: u64) -> Vec<u64> {
        let mut rounds = Vec::new();
        while rounds.last() != Some(&last) {
            let (_, mail) = self.next().await;
            rounds.extend(mail.iter().flat_map(|(_, messages)| messages).map(round));
        }
        rounds
    }

    async fn down(&mut self) -> NodeId {
        let down = async {
            loop {
                if let Inbound::Down(id) = self.inbound.recv().await.expect("it is there") {
                    return id;
                }
            }
        };
        timeout(DEADLINE, down).await.expect("a peer is down")
    }

    /// Sends heartbeats until one comes in over there.
    async fn reach(&self, to: NodeId, there: &mut Seat) {
        let mut ticks = interval(Duration::from_millis(20));
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.tcp.send(to, GroupId(0), vec![heartbeat(self.tcp.shared.config.node, to, 0)]);
            let found = timeout(Duration::from_millis(20), there.next()).await;
            if found.is_ok() {
                return;
            }
            assert!(Instant::now() < deadline, "node {to} is never reached");
            ticks.tick().await;
        }
    }
}

/// Two nodes that know each other.
async fn pair() -> (Seat, Seat) {
    let (one, two) = (Seat::new(config(1)).await, Seat::new(config(2)).await);
    one.learn(2, &two);
    two.learn(1, &one);
    (one, two)
}

fn heartbeat(from: NodeId, to: NodeId, round: u64) -> Message {
    let body = Body::Heartbeat { commit: Index(7), round, quiesce: false };
    Message { from, to, generation: 0, term: Term(3), body }
}

fn round(message: &Message) -> u64 {
    match message.body {
        Body::Heartbeat { round, .. } | Body::Append { round, .. } => round,
        _ => panic!("neither a heartbeat nor entries"),
    }
}

fn append(from: NodeId, to: NodeId, round: u64, payload: Bytes) -> Message {
    let entry = Entry { term: Term(3), index: Index(9), payload: Payload::Data(payload) };
    let prev = Position::new(Term(3), Index(8));
    let body = Body::Append { prev, commit: Index(7), round, entries: [entry].into() };
    Message { from, to, generation: 0, term: Term(3), body }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let mut ticks = interval(Duration::from_millis(5));
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came: {what}");
        ticks.tick().await;
    }
}

/// Carries bytes between a dialler and `to`, keeps those of the dialler, and cuts a connection
/// after so many bytes from `to`.
struct Relay {
    address: String,
    recorded: std::sync::Arc<parking_lot::Mutex<Vec<u8>>>,
}

impl Relay {
    async fn new(to: String, cut_after: usize) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let recorded = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
        let record = std::sync::Arc::clone(&recorded);
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let Ok(to) = TcpStream::connect(&to).await else { continue };
                let record = std::sync::Arc::clone(&record);
                tokio::spawn(carry(from, to, record, cut_after));
            }
        });
        Relay { address, recorded }
    }
}

async fn carry(
    from: TcpStream,
    to: TcpStream,
    record: std::sync::Arc<parking_lot::Mutex<Vec<u8>>>,
    cut_after: usize,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut from, mut to) = (from, to);
    let (mut there, mut back) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut left = cut_after;
    while left > 0 {
        tokio::select! {
            read = from.read(&mut there) => match read {
                Ok(count @ 1..) => {
                    record.lock().extend_from_slice(&there[..count]);
                    if to.write_all(&there[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
            read = to.read(&mut back) => match read {
                Ok(count @ 1..) => {
                    let count = count.min(left);
                    left -= count;
                    if from.write_all(&back[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
