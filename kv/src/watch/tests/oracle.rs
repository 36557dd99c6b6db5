//! A store that is nothing but the list of its changes, and small helpers to read streams.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::key_range::KeyRange;
use crate::record::Record;
use crate::types::{KeyValue, LeaseId, Revision};
use crate::watch::*;

/// One operation: a key, and its new value or `None` to delete it.
pub(super) type Op = (Bytes, Option<Bytes>);

pub(super) fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Op {
    (key.into(), Some(value.into()))
}

pub(super) fn delete(key: impl Into<Bytes>) -> Op {
    (key.into(), None)
}

/// Every change ever made, and how much of it can still be read.
#[derive(Default)]
struct List {
    changes: Vec<Change>,
    by_key: BTreeMap<Bytes, Vec<usize>>,
    newest: u64,
    compacted: u64,
    /// A compaction that strikes in the middle of the next read.
    strike: Option<u64>,
}

impl List {
    fn latest(&self, key: &[u8]) -> Option<&KeyValue> {
        self.before(key, u64::MAX)
    }

    fn before(&self, key: &[u8], main: u64) -> Option<&KeyValue> {
        let of_key = self.by_key.get(key)?;
        let older = of_key.iter().rev().map(|&index| &self.changes[index]);
        match &older.into_iter().find(|change| change.revision.main < main)?.record {
            Record::Put(kv) => Some(kv),
            Record::Tombstone { .. } => None,
        }
    }

    fn push(&mut self, revision: Revision, op: Op) -> Change {
        let (key, value) = op;
        let record = match value {
            None => Record::Tombstone { key: key.clone() },
            Some(value) => {
                let old = self.latest(&key);
                Record::Put(KeyValue {
                    key: key.clone(),
                    value,
                    create_revision: old.map_or(revision.main, |kv| kv.create_revision),
                    mod_revision: revision.main,
                    version: old.map_or(1, |kv| kv.version + 1),
                    lease: LeaseId::NONE,
                })
            }
        };
        let change = Change { revision, record };
        self.by_key.entry(key).or_default().push(self.changes.len());
        self.changes.push(change.clone());
        change
    }

    fn first_at(&self, main: u64) -> usize {
        self.changes.partition_point(|change| change.revision.main < main)
    }

    /// Whether compaction has left the change in place.
    fn remains(&self, index: usize) -> bool {
        let change = &self.changes[index];
        if change.revision.main > self.compacted {
            return true;
        }
        let of_key = &self.by_key[change.key()];
        let later = of_key.iter().find(|&&other| other > index);
        let newest = later.is_none_or(|&later| self.changes[later].revision.main > self.compacted);
        newest && (!change.is_delete() || change.revision.main == self.compacted)
    }
}

/// [`List`] as a history, counting what is asked of it.
#[derive(Default)]
pub(super) struct Oracle {
    list: Mutex<List>,
    pub(super) scans: AtomicU64,
    pub(super) scanned: AtomicU64,
    pub(super) key_reads: AtomicU64,
    pub(super) broken: AtomicBool,
}

impl Oracle {
    pub(super) fn new() -> Arc<Oracle> {
        let oracle = Oracle::default();
        oracle.list.lock().newest = 1;
        Arc::new(oracle)
    }

    /// Makes one revision of `ops` and publishes it; the hub is not told.
    pub(super) fn publish(&self, ops: impl IntoIterator<Item = Op>) -> Vec<Change> {
        let mut list = self.list.lock();
        let main = list.newest + 1;
        let revisions = (0..).map(|sub| Revision::new(main, sub));
        let changes: Vec<Change> =
            revisions.zip(ops).map(|(revision, op)| list.push(revision, op)).collect();
        list.newest = main;
        changes
    }

    pub(super) fn compact(&self, revision: u64) {
        let mut list = self.list.lock();
        assert!(revision <= list.newest && revision >= list.compacted);
        list.compacted = revision;
    }

    /// Lets a compaction strike while the next read is under way.
    pub(super) fn compact_during_read(&self, revision: u64) {
        self.list.lock().strike = Some(revision);
    }

    /// How many changes were made before `main`, compacted or not.
    pub(super) fn count_before(&self, main: u64) -> usize {
        self.list.lock().first_at(main)
    }

    /// The first change from the `index`-th on that passes, compacted or not, and its index.
    pub(super) fn find(
        &self,
        index: usize,
        passes: impl Fn(&Change) -> bool,
    ) -> Option<(usize, Change)> {
        let list = self.list.lock();
        let mut rest = (index..).zip(&list.changes[index..]);
        rest.find(|(_, change)| passes(change)).map(|(index, change)| (index, change.clone()))
    }

    /// The key as it stood before `main`, as if nothing had ever been compacted.
    pub(super) fn truly_before(&self, key: &[u8], main: u64) -> Option<KeyValue> {
        self.list.lock().before(key, main).cloned()
    }

    fn read(
        &self,
        from: u64,
        limits: ReadLimits,
        per_key: Option<&[u8]>,
        want: &dyn Fn(&[u8]) -> bool,
        out: &mut Vec<Change>,
    ) -> Result<u64, HistoryError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Unreadable::new("the disk is gone").into());
        }
        let mut list = self.list.lock();
        if from < list.compacted {
            return Err(HistoryError::Compacted { compacted: list.compacted });
        }
        if let Some(revision) = list.strike.take() {
            list.compacted = list.compacted.max(revision);
        }
        let (mut bytes, mut revisions, mut last) = (0, 0, None);
        let first = list.first_at(from);
        for (index, change) in (first..).zip(&list.changes[first..]) {
            let main = change.revision.main;
            if per_key.is_some_and(|key| key != change.key().as_ref()) {
                continue;
            }
            if last.is_some_and(|last| last != main) {
                revisions += 1;
                if revisions >= limits.revisions_max || bytes >= limits.bytes_max {
                    return Ok(main);
                }
            }
            last = Some(main);
            self.scanned.fetch_add(1, Ordering::Relaxed);
            if list.remains(index) && want(change.key()) {
                bytes += change.bytes();
                out.push(change.clone());
            }
        }
        Ok(list.newest + 1)
    }
}

impl History for Oracle {
    fn newest(&self) -> u64 {
        self.list.lock().newest
    }

    fn compacted(&self) -> u64 {
        self.list.lock().compacted
    }

    fn changes(
        &self,
        from: u64,
        limits: ReadLimits,
        want: &dyn Fn(&[u8]) -> bool,
        out: &mut Vec<Change>,
    ) -> Result<u64, HistoryError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.read(from, limits, None, want, out)
    }

    fn key_changes(
        &self,
        key: &[u8],
        from: u64,
        limits: ReadLimits,
        out: &mut Vec<Change>,
    ) -> Result<u64, HistoryError> {
        self.key_reads.fetch_add(1, Ordering::Relaxed);
        self.read(from, limits, Some(key), &|_| true, out)
    }

    fn before(&self, key: &[u8], main: u64) -> Result<Option<KeyValue>, Unreadable> {
        let list = self.list.lock();
        let readable = main > list.compacted;
        Ok(list.before(key, main).filter(|_| readable).cloned())
    }
}

/// A history and its hub.
pub(super) struct World {
    pub(super) oracle: Arc<Oracle>,
    pub(super) hub: Hub,
}

impl World {
    pub(super) fn new() -> World {
        World { oracle: Oracle::new(), hub: Hub::new(1) }
    }

    /// Makes one revision and tells the hub; returns the revision.
    pub(super) fn write(&self, ops: impl IntoIterator<Item = Op>) -> u64 {
        let changes = self.oracle.publish(ops);
        self.hub.notify(&changes);
        changes[0].revision.main
    }

    /// Makes `count` revisions, each putting `key`.
    pub(super) fn write_many(&self, key: &'static str, count: u64) {
        for number in 0..count {
            self.write([put(key, number.to_string())]);
        }
    }

    pub(super) fn stream(&self) -> WatchStream {
        self.stream_with(StreamOptions::default())
    }

    pub(super) fn stream_with(&self, options: StreamOptions) -> WatchStream {
        let history: Arc<dyn History> = Arc::clone(&self.oracle) as _;
        self.hub.stream(history, options)
    }
}

/// A watch of one key.
pub(super) fn key(key: &'static str) -> WatchRequest {
    WatchRequest::new(KeyRange::single(key))
}

/// A watch of a prefix.
pub(super) fn prefix(prefix: &'static str) -> WatchRequest {
    WatchRequest::new(KeyRange::prefix(prefix))
}

/// A waker that remembers being called.
#[derive(Default)]
pub(super) struct Bell(AtomicBool);

impl Bell {
    pub(super) fn new() -> (Arc<Bell>, Waker) {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        (bell, waker)
    }

    /// Whether it was called since this was last asked.
    pub(super) fn rang(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The next message, or `None` if there is nothing to say, now or ever.
pub(super) fn next(stream: &mut WatchStream) -> Option<WatchMessage> {
    let (bell, waker) = Bell::new();
    loop {
        match stream.poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(message) => return message.map(Result::unwrap),
            Poll::Pending if bell.rang() => {}
            Poll::Pending => return None,
        }
    }
}

/// All messages that there are now.
pub(super) fn drain(stream: &mut WatchStream) -> Vec<WatchMessage> {
    std::iter::from_fn(|| next(stream)).collect()
}

/// Messages for people: one a line, as short as can be.
pub(super) fn lines(messages: &[WatchMessage]) -> Vec<String> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let event = |event: &Event| {
        let at = format!("{}@{}", text(&event.kv.key), event.kv.mod_revision);
        let prev =
            event.prev.as_ref().map_or(String::new(), |kv| format!(" was {}", text(&kv.value)));
        match event.kind {
            EventKind::Put => format!("{at}={}{prev}", text(&event.kv.value)),
            EventKind::Delete => format!("{at} gone{prev}"),
        }
    };
    let line = |message: &WatchMessage| match message {
        WatchMessage::Created { id, revision } => format!("{} created {revision}", id.0),
        WatchMessage::Events { id, revision, events, more_fragments } => {
            let more = if *more_fragments { " ..." } else { "" };
            let events: Vec<String> = events.iter().map(event).collect();
            format!("{} [{revision}] {}{more}", id.0, events.join(", "))
        }
        WatchMessage::Progress { id: Some(id), revision } => {
            format!("{} progress {revision}", id.0)
        }
        WatchMessage::Progress { id: None, revision } => format!("progress {revision}"),
        WatchMessage::Canceled { id, reason: CancelReason::Requested, .. } => {
            format!("{} canceled", id.0)
        }
        WatchMessage::Canceled { id, reason: CancelReason::Denied, .. } => {
            format!("{} denied", id.0)
        }
        WatchMessage::Canceled { id, reason: CancelReason::Compacted { compacted }, .. } => {
            format!("{} compacted {compacted}", id.0)
        }
    };
    messages.iter().map(line).collect()
}

/// Reads all there is and compares it, line by line.
#[track_caller]
pub(super) fn expect(stream: &mut WatchStream, expected: &[&str]) {
    assert_eq!(lines(&drain(stream)), expected);
}
