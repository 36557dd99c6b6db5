//! What waits to be sent to one peer.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::message::{Body, Message};
use crate::store::GroupId;

/// What a message counts beside its entries.
const MESSAGE_BYTES: usize = 128;

/// Messages to one group.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) group: GroupId,
    pub(super) messages: Vec<Message>,
    bytes: usize,
}

impl Parcel {
    pub(super) fn new(group: GroupId, messages: Vec<Message>) -> Parcel {
        let bytes = messages.iter().map(weight).sum();
        Parcel { group, messages, bytes }
    }
}

/// About what a message takes in memory, and more than it takes in a frame.
pub(super) fn weight(message: &Message) -> usize {
    let members = match &message.body {
        Body::Offer { meta } => meta.configuration.members().len() * 12,
        _ => 0,
    };
    MESSAGE_BYTES + message.entry_bytes() + members
}

/// A queue with a bound in bytes. Who puts into it never waits.
///
/// * `bytes` is the sum over the parcels.
/// * It is at most the bound, unless there is a single parcel.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    bell: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    parcels: VecDeque<Parcel>,
    bytes: usize,
}

impl Queue {
    fn pop(&mut self) -> Option<Parcel> {
        let parcel = self.parcels.pop_front()?;
        self.bytes -= parcel.bytes;
        Some(parcel)
    }
}

impl Outbox {
    pub(super) fn new(bytes_max: usize) -> Outbox {
        Outbox { queue: Mutex::default(), bell: Notify::new(), bytes_max }
    }

    /// Puts them at the end. The oldest give way: what they say has been said again or is outdated,
    /// and the protocol finds the gap. How many messages did.
    pub(super) fn put(&self, parcels: impl Iterator<Item = Parcel>) -> usize {
        let mut dropped = 0;
        let mut queue = self.queue.lock();
        for parcel in parcels {
            queue.bytes += parcel.bytes;
            queue.parcels.push_back(parcel);
            while queue.bytes > self.bytes_max && queue.parcels.len() > 1 {
                dropped += queue.pop().map_or(0, |parcel| parcel.messages.len());
            }
        }
        drop(queue);
        self.bell.notify_one();
        dropped
    }

    /// Takes parcels of about `bytes`, at least one if there is one.
    pub(super) fn take(&self, bytes: usize, into: &mut Vec<Parcel>) {
        let mut queue = self.queue.lock();
        let mut taken = 0;
        while taken < bytes {
            let Some(parcel) = queue.pop() else { break };
            taken += parcel.bytes;
            into.push(parcel);
        }
    }

    /// Throws everything away. How many messages that was.
    pub(super) fn clear(&self) -> usize {
        let mut queue = self.queue.lock();
        queue.bytes = 0;
        let parcels = std::mem::take(&mut queue.parcels);
        drop(queue);
        parcels.iter().map(|parcel| parcel.messages.len()).sum()
    }

    /// Until something was put in since it was waited for last.
    pub(super) async fn filled(&self) {
        self.bell.notified().await;
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        let queue = self.queue.lock();
        let sum: usize = queue.parcels.iter().map(|parcel| parcel.bytes).sum();
        assert_eq!(queue.bytes, sum, "bytes is the sum over the parcels");
        assert!(sum <= self.bytes_max || queue.parcels.len() == 1, "the bound holds");
    }
}
