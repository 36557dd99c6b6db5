//! Snapshots on their way between nodes: served to who fetches, fetched from who offers.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::boot::SnapshotMeta;
use crate::input::Input;
use crate::runtime::shard::Event;
use crate::runtime::transport::{Chunks, Transport};
use crate::store::{GroupId, SnapshotWriter, Store};
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

/// A snapshot to be fetched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offered {
    pub(crate) from: NodeId,
    pub(crate) group: GroupId,
    pub(crate) position: Position,
}

/// Fetches a snapshot, and says what came of it. A transfer that is cut goes on where it stopped.
pub(crate) fn fetch(
    store: Arc<Store>,
    transport: Arc<dyn Transport>,
    events: mpsc::Sender<Event>,
    slot: u32,
    offered: Offered,
) {
    tokio::task::spawn_blocking(move || {
        let fetched = receive(&store, &*transport, offered);
        let input = Input::SnapshotFetched(fetched.ok());
        let _ = events.blocking_send(Event::Input { slot, input });
    });
}

fn receive(store: &Store, transport: &dyn Transport, offered: Offered) -> io::Result<SnapshotMeta> {
    let Offered { from, group, position } = offered;
    let mut writer = store.snapshots().receive(group, position).map_err(io::Error::other)?;
    let mut in_vain = 0;
    loop {
        let before = writer.bytes();
        let chunks = transport.fetch(from, group, position, before);
        match pull(chunks, &mut writer) {
            Ok(()) => return writer.finish().map_err(io::Error::other),
            Err(Cut::Disk(error)) => return Err(error),
            // It is not there any more, or was never: the leader will offer another.
            Err(Cut::Network(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Err(error);
            }
            Err(Cut::Network(error)) => {
                in_vain = if writer.bytes() > before { 0 } else { in_vain + 1 };
                if in_vain == FETCHES_IN_VAIN_MAX {
                    return Err(error);
                }
                // On a thread for what blocks, where nobody else waits.
                Handle::current().block_on(tokio::time::sleep(FETCH_PAUSE * in_vain));
            }
        }
    }
}

/// Why no more of a snapshot came.
enum Cut {
    Network(io::Error),
    Disk(io::Error),
}

fn pull(mut chunks: Chunks, writer: &mut SnapshotWriter) -> Result<(), Cut> {
    while let Some(chunk) = chunks.blocking_recv() {
        writer.write_all(&chunk.map_err(Cut::Network)?).map_err(Cut::Disk)?;
    }
    Ok(())
}

/// Attempts in a row that bring nothing before a fetch is given up.
const FETCHES_IN_VAIN_MAX: u32 = 4;

/// How long to wait after the first of them; after the second twice as long, and so on.
const FETCH_PAUSE: Duration = Duration::from_millis(50);

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
