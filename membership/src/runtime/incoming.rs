//! Streams that others open: whole messages, from anyone, at a bounded cost.
//!
//! ```text
//!     ┌── length ──┬── message ──────────┬── length ──┬── …
//!     │  4, LE     │  so many bytes      │            │
//! ```
//!
//! Anyone can connect, so a guest gets what it has paid for: memory as its bytes arrive, not as it
//! announces them; a seat for [`SILENCE`] while it says nothing, and for [`SLOWNESS`] while it is
//! in the middle of a message. When all seats are taken, the guest that was silent the longest
//! gives way to the newcomer. A message that the core refuses is its sender's last.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::metrics::{Counters, count};

/// The most bytes of one message: the largest metadata, twice.
pub const FRAME_BYTES_MAX: usize = 2 << 20;
/// The most bytes of messages that have arrived, or have begun to, and were not handled yet.
pub const INBOUND_BYTES_MAX: usize = 32 << 20;
/// The most connections that others have to us.
pub const GUESTS_MAX: usize = 256;
/// Messages that wait for the driver at most.
pub(super) const FRAMES_MAX: usize = 64;

/// How long a guest may say nothing. Our own kind hangs up before.
const SILENCE: Duration = Duration::from_secs(10);
/// How long one message may take.
const SLOWNESS: Duration = Duration::from_secs(10);
/// How long we rest when the system has no room for a connection.
const REST: Duration = Duration::from_millis(100);
/// So much is read at a time, and paid for before.
const CHUNK_BYTES: usize = 64 << 10;

const _: () = assert!(FRAME_BYTES_MAX <= INBOUND_BYTES_MAX, "one message always finds room");

/// A message, and the room that it takes.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    refused: Arc<AtomicBool>,
    _room: OwnedSemaphorePermit,
}

impl Frame {
    /// The core refuses it: no more of this guest.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }
}

/// Who sits where.
#[derive(Debug)]
struct Seat {
    task: AbortHandle,
    /// Milliseconds after the beginning when its last message came.
    spoke: Arc<AtomicU64>,
}

/// What all guests share.
#[derive(Debug, Clone)]
struct House {
    frames: mpsc::Sender<Frame>,
    room: Arc<Semaphore>,
    counters: Arc<Counters>,
    began: Instant,
}

/// Takes guests until it is dropped.
pub(super) async fn run(
    listener: TcpListener,
    frames: mpsc::Sender<Frame>,
    counters: Arc<Counters>,
) {
    let room = Arc::new(Semaphore::new(INBOUND_BYTES_MAX));
    let house = House { frames, room, counters, began: Instant::now() };
    let (mut guests, mut seats, mut number) = (JoinSet::new(), BTreeMap::new(), 0_u64);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "no connection taken");
                    sleep(REST).await;
                    continue;
                }
            },
            Some(gone) = guests.join_next() => {
                // Who was displaced has no seat any more.
                if let Ok(number) = gone {
                    seats.remove(&number);
                }
                continue;
            }
        };
        if seats.len() >= GUESTS_MAX {
            displace(&mut seats, &house.counters);
        }
        count(&house.counters.guests);
        number += 1;
        let spoke = Arc::new(AtomicU64::new(house.now()));
        let guest = welcome(house.clone(), stream, Arc::clone(&spoke), number);
        seats.insert(number, Seat { task: guests.spawn(guest), spoke });
    }
}

/// Ends the connection that has been silent the longest.
fn displace(seats: &mut BTreeMap<u64, Seat>, counters: &Counters) {
    let longest = seats.iter().min_by_key(|(_, seat)| seat.spoke.load(Ordering::Relaxed));
    let number = *longest.expect("all seats are taken").0;
    let seat = seats.remove(&number).expect("it was just found");
    seat.task.abort();
    count(&counters.guests_displaced);
}

async fn welcome(house: House, mut stream: TcpStream, spoke: Arc<AtomicU64>, number: u64) -> u64 {
    let refused = Arc::new(AtomicBool::new(false));
    while !refused.load(Ordering::Relaxed) {
        match house.frame(&mut stream).await {
            Ok(Some((bytes, room))) => {
                spoke.store(house.now(), Ordering::Relaxed);
                let frame = Frame { bytes, refused: Arc::clone(&refused), _room: room };
                if house.frames.send(frame).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                count(&house.counters.guests_shown_out);
                tracing::debug!(%error, "a connection is ended");
                break;
            }
        }
    }
    number
}

impl House {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The next message; none if the other end has hung up between two.
    async fn frame(
        &self,
        stream: &mut TcpStream,
    ) -> io::Result<Option<(Vec<u8>, OwnedSemaphorePermit)>> {
        let mut head = [0; 4];
        let first = timeout(SILENCE, stream.read(&mut head)).await??;
        if first == 0 {
            return Ok(None);
        }
        let rest = async {
            stream.read_exact(&mut head[first..]).await?;
            let len = u32::from_le_bytes(head) as usize;
            if len == 0 || len > FRAME_BYTES_MAX {
                return Err(io::Error::other(format!("a message of {len} bytes")));
            }
            self.body(stream, len).await
        };
        timeout(SLOWNESS, rest).await?.map(Some)
    }

    async fn body(
        &self,
        stream: &mut TcpStream,
        len: usize,
    ) -> io::Result<(Vec<u8>, OwnedSemaphorePermit)> {
        let (mut bytes, mut paid) = (Vec::new(), None);
        while bytes.len() < len {
            let more = CHUNK_BYTES.min(len - bytes.len());
            // Something has to be there before it gets room: an announcement costs us nothing.
            stream.readable().await?;
            let room = Arc::clone(&self.room).acquire_many_owned(more as u32).await;
            let room = room.expect("nobody closes it");
            match &mut paid {
                None => paid = Some(room),
                Some(paid) => paid.merge(room),
            }
            let at = bytes.len();
            bytes.resize(at + more, 0);
            stream.read_exact(&mut bytes[at..]).await?;
        }
        Ok((bytes, paid.expect("a message has a byte at least")))
    }
}
