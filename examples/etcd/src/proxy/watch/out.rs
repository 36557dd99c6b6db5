//! What goes out on a client's stream: a queue that is bounded by messages and by bytes.

use std::sync::Arc;

use drystone_etcd_api::etcdserverpb::WatchResponse;
use futures_util::{Stream, StreamExt as _};
use prost::Message as _;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Messages that may wait for a client, as in etcd.
const MESSAGES_MAX: usize = 1024;
/// Bytes of them; a larger message waits for an empty queue.
const BYTES_MAX: usize = 8 << 20;

/// A message, and the room that it takes until the connection takes it.
struct Parcel {
    message: Result<WatchResponse, Status>,
    room: Option<OwnedSemaphorePermit>,
}

/// The near end of the queue.
#[derive(Clone)]
pub(super) struct Out {
    queue: mpsc::Sender<Parcel>,
    bytes: Arc<Semaphore>,
}

/// A place in the queue for one short message.
pub(super) struct Place(OwnedPermit<Parcel>);

impl Place {
    /// Sends what it was kept for.
    pub(super) fn fill(self, message: Result<WatchResponse, Status>) {
        self.0.send(Parcel { message, room: None });
    }
}

/// An empty queue: the end where messages go in, and the messages.
pub(super) fn channel() -> (Out, impl Stream<Item = Result<WatchResponse, Status>>) {
    let (queue, parcels) = mpsc::channel(MESSAGES_MAX);
    let out = Out { queue, bytes: Arc::new(Semaphore::new(BYTES_MAX)) };
    let messages = ReceiverStream::new(parcels).map(|parcel: Parcel| {
        drop(parcel.room);
        parcel.message
    });
    (out, messages)
}

fn bytes_of(message: &WatchResponse) -> u32 {
    u32::try_from(message.encoded_len().min(BYTES_MAX)).expect("the bound fits")
}

impl Out {
    /// Sends all of them if there is room; whether there was.
    pub(super) fn try_send_all(&self, messages: Vec<WatchResponse>) -> bool {
        let Ok(places) = self.queue.try_reserve_many(messages.len()) else { return false };
        let mut rooms = Vec::with_capacity(messages.len());
        for message in &messages {
            let Ok(room) = self.bytes.clone().try_acquire_many_owned(bytes_of(message)) else {
                return false;
            };
            rooms.push(room);
        }
        for (place, (message, room)) in places.zip(messages.into_iter().zip(rooms)) {
            place.send(Parcel { message: Ok(message), room: Some(room) });
        }
        true
    }

    /// Sends one once there is room, or the client is gone.
    pub(super) async fn send(&self, message: Result<WatchResponse, Status>) {
        let room = match &message {
            Ok(message) => {
                let bytes = self.bytes.clone().acquire_many_owned(bytes_of(message));
                tokio::select! {
                    room = bytes => room.ok(),
                    () = self.queue.closed() => return,
                }
            }
            Err(_) => None,
        };
        // The client may be gone.
        let _ = self.queue.send(Parcel { message, room }).await;
    }

    /// Sends the last word about something, now or when there is room.
    pub(super) fn send_late(&self, message: Result<WatchResponse, Status>) {
        let parcel = Parcel { message, room: None };
        if let Err(mpsc::error::TrySendError::Full(parcel)) = self.queue.try_send(parcel) {
            let queue = self.queue.clone();
            tokio::spawn(async move { queue.send(parcel).await.ok() });
        }
    }

    /// A place to be filled later; nothing once the client is gone.
    pub(super) async fn place(&self) -> Option<Place> {
        self.queue.clone().reserve_owned().await.ok().map(Place)
    }

    /// Resolves when the client is gone.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Whether the client is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> WatchResponse {
        WatchResponse { cancel_reason: "x".repeat(bytes), ..WatchResponse::default() }
    }

    // A client that does not read must cost what is promised and no more, whether events are many
    // or large.
    #[tokio::test]
    async fn the_queue_is_bounded_by_messages_and_by_bytes() {
        let (out, messages) = channel();
        let mut messages = Box::pin(messages);
        let many = (1..=MESSAGES_MAX + 1).find(|_| !out.try_send_all(vec![message(1)]));
        assert_eq!(many, Some(MESSAGES_MAX + 1));
        let (out, _messages) = channel();
        let large = (1..=MESSAGES_MAX).find(|_| !out.try_send_all(vec![message(1 << 20)]));
        assert_eq!(large, Some(8), "eight of them and their frames are above the bound");
        assert!(!out.try_send_all(vec![message(1 << 20), message(1)]), "all or none");
        assert!(messages.next().await.is_some());
    }

    // One that is larger than the bound would otherwise never be sent.
    #[tokio::test]
    async fn a_message_above_the_bound_waits_for_an_empty_queue() {
        let (out, messages) = channel();
        let mut messages = Box::pin(messages);
        assert!(out.try_send_all(vec![message(2 * BYTES_MAX)]));
        assert!(!out.try_send_all(vec![message(1)]));
        assert!(messages.next().await.is_some());
        assert!(out.try_send_all(vec![message(1)]));
    }
}
