//! Snapshots on their way between nodes: served to who fetches, fetched from who offers.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::boot::SnapshotMeta;
use crate::input::Input;
use crate::runtime::shard::Event;
use crate::runtime::transport::Chunks;
use crate::store::{GroupId, Store};
use crate::types::{Index, NodeId, Position};

/// Puts a snapshot's bytes into `reply`, from `offset` on, as fast as it takes them, unless too
/// many are served already.
pub(crate) fn serve(
    store: Arc<Store>,
    leave: Option<OwnedSemaphorePermit>,
    group: GroupId,
    position: Position,
    offset: u64,
    reply: mpsc::Sender<io::Result<Bytes>>,
) {
    let Some(leave) = leave else {
        // Whoever cannot be told finds out from the end.
        let _ = reply.try_send(Err(io::ErrorKind::ResourceBusy.into()));
        return;
    };
    tokio::task::spawn_blocking(move || {
        let _leave = leave;
        let mut at = offset;
        loop {
            let part = store.snapshots().part(group, position, at);
            let ended = part.as_ref().map_or(true, Vec::is_empty);
            if let Ok(bytes) = &part {
                at += bytes.len() as u64;
            }
            if part.as_ref().is_ok_and(Vec::is_empty) {
                return;
            }
            // Whoever went away has given it up.
            if reply.blocking_send(part.map(Bytes::from)).is_err() || ended {
                return;
            }
        }
    });
}

/// Looks for a sound snapshot that `to` can go on from.
pub(crate) fn open(
    store: Arc<Store>,
    events: mpsc::Sender<Event>,
    slot: u32,
    group: GroupId,
    to: NodeId,
    base: Index,
) {
    tokio::task::spawn_blocking(move || {
        let newest = store.snapshots().newest(group).ok().flatten();
        let event = match newest.filter(|meta| meta.last.index >= base && meta.last.index.0 > 0) {
            None => Event::NoSnapshot { slot, to },
            Some(meta) => match store.snapshots().verify(group, meta.last) {
                Ok(true) => Event::Input { slot, input: Input::SnapshotOpen { to, meta } },
                _ => Event::Input { slot, input: Input::SnapshotUnsound { to } },
            },
        };
        let _ = events.blocking_send(event);
    });
}

/// Takes in a snapshot that is being fetched, and says what came of it.
pub(crate) fn fetch(
    store: Arc<Store>,
    mut chunks: Chunks,
    events: mpsc::Sender<Event>,
    slot: u32,
    group: GroupId,
    position: Position,
) {
    tokio::task::spawn_blocking(move || {
        let mut receive = || -> io::Result<SnapshotMeta> {
            let mut writer =
                store.snapshots().receive(group, position).map_err(io::Error::other)?;
            while let Some(chunk) = chunks.blocking_recv() {
                writer.write_all(&chunk?)?;
            }
            writer.finish().map_err(io::Error::other)
        };
        let input = Input::SnapshotFetched(receive().ok());
        let _ = events.blocking_send(Event::Input { slot, input });
    });
}

/// Entries that a follower wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) to: NodeId,
    pub(crate) after: Index,
    pub(crate) through: Index,
    pub(crate) bytes_max: usize,
}

/// Reads entries from the log for a follower.
pub(crate) fn load(
    store: Arc<Store>,
    events: mpsc::Sender<Event>,
    slot: u32,
    group: GroupId,
    wanted: Wanted,
) {
    tokio::task::spawn_blocking(move || {
        let Wanted { to, after, through, bytes_max } = wanted;
        let answer = store.answer_load(group, to, after, through, bytes_max);
        let input = answer.unwrap_or(Input::StorageFailed);
        let _ = events.blocking_send(Event::Input { slot, input });
    });
}
