//! A watcher of a client: what it wants, and where it stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use drystone_etcd_api::etcdserverpb as pb;
use drystone_etcd_api::mvccpb::Event;
use drystone_etcd_api::mvccpb::event::EventType;
use parking_lot::Mutex;
use pb::WatchResponse;
use pb::watch_create_request::FilterType;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use super::feed::Command;
use super::out::{Out, Place};

/// A larger message is sent in fragments to whoever wants that, as etcd does with its default of
/// 1.5 MiB for requests and half a MiB for what gRPC puts around them.
const FRAGMENT_BYTES_MAX: usize = 2 << 20;

/// How the creation of a watcher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Created,
    /// The member did not want it; it has been said.
    Refused,
}

/// A creation that has not ended yet.
pub(super) struct Birth {
    /// Room for the word with which it ends: that must not come behind anything else, nor wait for
    /// a client that does not read.
    pub(super) place: Place,
    pub(super) outcome: oneshot::Sender<Outcome>,
}

/// A watcher of a client.
pub(super) struct Watcher {
    /// The number of its stream.
    pub(super) session: u64,
    pub(super) id: i64,
    prev_kv: bool,
    progress: bool,
    fragment: bool,
    no_put: bool,
    no_delete: bool,
    /// All events below have been seen to, and none from here on; 0 until that is known.
    pub(super) next: i64,
    pub(super) out: Out,
    pub(super) leash: Arc<Leash>,
    /// Its creation, until that has ended.
    birth: Option<Birth>,
}

impl Watcher {
    /// As a client wants it, on its stream `out`.
    pub(super) fn new(
        create: &pb::WatchCreateRequest,
        (session, id): (u64, i64),
        out: Out,
        birth: Birth,
    ) -> Watcher {
        let has = |filter: FilterType| create.filters.contains(&filter.into());
        Watcher {
            session,
            id,
            prev_kv: create.prev_kv,
            progress: create.progress_notify,
            fragment: create.fragment,
            no_put: has(FilterType::Noput),
            no_delete: has(FilterType::Nodelete),
            next: create.start_revision,
            out,
            leash: Arc::default(),
            birth: Some(birth),
        }
    }

    /// What it is to be sent of a member's message, which has events or tells of progress. It
    /// stands behind that message afterwards.
    pub(super) fn see(&mut self, message: &WatchResponse) -> Vec<WatchResponse> {
        let from = self.next;
        let Some(last) = message.events.last().map(revision_of) else {
            let revision = message.header.as_ref().map_or(0, |header| header.revision);
            self.next = self.next.max(revision + 1);
            let told = WatchResponse { watch_id: self.id, ..message.clone() };
            return if self.progress { vec![told] } else { Vec::new() };
        };
        self.next = self.next.max(last + 1);
        let seen = message.events.iter().filter(|event| revision_of(event) >= from);
        let wanted = seen.filter(|event| match event.r#type() {
            EventType::Put => !self.no_put,
            EventType::Delete => !self.no_delete,
        });
        let events: Vec<Event> = wanted
            .map(|event| match self.prev_kv {
                true => event.clone(),
                false => Event { prev_kv: None, ..event.clone() },
            })
            .collect();
        if events.is_empty() {
            return Vec::new();
        }
        let header = message.header;
        let whole = WatchResponse { header, watch_id: self.id, events, ..Default::default() };
        match self.fragment {
            true => in_fragments(whole),
            false => vec![whole],
        }
    }

    /// Whether its creation has not been said yet.
    pub(super) fn is_new(&self) -> bool {
        self.birth.is_some()
    }

    /// Says that it is created, as a member did or would.
    pub(super) fn be_created(&mut self, created: WatchResponse) {
        if let Some(Birth { place, outcome }) = self.birth.take() {
            place.fill(Ok(created));
            // The stream may have ended meanwhile.
            let _ = outcome.send(Outcome::Created);
        }
    }

    /// Sends the last word, for which there may be no room yet. The watcher is over.
    pub(super) fn bid_farewell(mut self, last: Result<WatchResponse, Status>) {
        self.leash.end();
        if let Some(Birth { place, outcome }) = self.birth.take() {
            place.fill(last);
            // The stream may have ended meanwhile.
            let _ = outcome.send(Outcome::Refused);
        } else {
            self.out.send_late(last);
        }
    }
}

fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

/// The events in messages of which none is too large, unless one event is.
fn in_fragments(whole: WatchResponse) -> Vec<WatchResponse> {
    if whole.encoded_len() < FRAGMENT_BYTES_MAX {
        return vec![whole];
    }
    let WatchResponse { header, watch_id, events, .. } = whole;
    let empty = || WatchResponse { header, watch_id, fragment: true, ..Default::default() };
    let (mut all, mut current, mut bytes) = (Vec::new(), empty(), 0);
    for event in events {
        let more = event.encoded_len();
        if !current.events.is_empty() && bytes + more >= FRAGMENT_BYTES_MAX {
            all.push(std::mem::replace(&mut current, empty()));
            bytes = 0;
        }
        bytes += more;
        current.events.push(event);
    }
    current.fragment = false;
    all.push(current);
    all
}

/// By which a stream finds its watcher, whatever feed it is with, and lets it go.
#[derive(Debug, Default)]
pub(super) struct Leash {
    state: AtomicU8,
    home: Mutex<Option<mpsc::UnboundedSender<Command>>>,
}

const STAYS: u8 = 0;
const CANCELED: u8 = 1;
const LEFT: u8 = 2;
const OVER: u8 = 3;

impl Leash {
    /// The feed that it is with from now on. Whoever lets it go at the same time is noticed: the
    /// state is set before the home is read, and read after it is set.
    pub(super) fn move_to(&self, home: mpsc::UnboundedSender<Command>) {
        *self.home.lock() = Some(home);
    }

    /// The client cancels it: it is to be told when that is done.
    pub(super) fn cancel(&self) {
        self.let_go(CANCELED);
    }

    /// The stream has ended.
    pub(super) fn leave(&self) {
        self.let_go(LEFT);
    }

    fn let_go(&self, state: u8) {
        let unless_over = |now| (now != OVER).then_some(state);
        let _ = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, unless_over);
        self.send(Command::Look);
    }

    /// Sends to the feed that it is with.
    pub(super) fn send(&self, command: Command) {
        if let Some(home) = &*self.home.lock() {
            // A feed that has ended has no watchers.
            let _ = home.send(command);
        }
    }

    /// Whether it has been let go, and whether the client waits to hear of it.
    pub(super) fn is_gone(&self) -> Option<bool> {
        match self.state.load(Ordering::SeqCst) {
            STAYS => None,
            state => Some(state == CANCELED),
        }
    }

    fn end(&self) {
        self.state.store(OVER, Ordering::SeqCst);
    }

    /// Whether its last word has been said.
    pub(super) fn is_over(&self) -> bool {
        self.state.load(Ordering::SeqCst) == OVER
    }
}

#[cfg(test)]
mod tests {
    use drystone_etcd_api::mvccpb::KeyValue;
    use futures_util::FutureExt as _;

    use super::*;

    fn event(r#type: EventType, revision: i64, bytes: usize) -> Event {
        let kv = |value: Vec<u8>| KeyValue {
            key: "k".into(),
            mod_revision: revision,
            value: value.into(),
            ..KeyValue::default()
        };
        let prev_kv = Some(kv(b"before".to_vec()));
        Event { r#type: r#type.into(), kv: Some(kv(vec![0; bytes])), prev_kv }
    }

    fn watcher(create: &pb::WatchCreateRequest) -> Watcher {
        let (out, _messages) = super::super::out::channel();
        let place = out.place().now_or_never().flatten().expect("there is room");
        let birth = Birth { place, outcome: oneshot::channel().0 };
        Watcher::new(create, (1, 7), out, birth)
    }

    fn message(events: Vec<Event>) -> WatchResponse {
        let header = Some(pb::ResponseHeader { revision: 9, ..Default::default() });
        WatchResponse { header, events, ..Default::default() }
    }

    fn revisions(seen: &[WatchResponse]) -> Vec<i64> {
        seen.iter().flat_map(|it| &it.events).map(revision_of).collect()
    }

    // Where feeds overlap, the place decides: an event twice, or never, breaks somebody's cache.
    #[test]
    fn what_it_has_had_is_left_out() {
        let mut it = watcher(&pb::WatchCreateRequest { start_revision: 5, ..Default::default() });
        let both = message(vec![event(EventType::Put, 4, 1), event(EventType::Put, 5, 1)]);
        assert_eq!(revisions(&it.see(&both)), [5]);
        assert_eq!(it.next, 6);
        assert!(it.see(&both).is_empty());
        let twice = message(vec![event(EventType::Put, 6, 1), event(EventType::Put, 6, 1)]);
        assert_eq!(revisions(&it.see(&twice)), [6, 6], "one transaction, two events");
    }

    // One watch at the member serves watchers that want different things of it.
    #[test]
    fn each_sees_what_it_wants() {
        let (put, delete) = (event(EventType::Put, 5, 1), event(EventType::Delete, 6, 1));
        let both = message(vec![put, delete]);
        let mut plain = watcher(&pb::WatchCreateRequest::default());
        let seen = plain.see(&both);
        assert!(seen[0].events.iter().all(|event| event.prev_kv.is_none()));
        assert_eq!(seen[0].watch_id, 7);
        let mut before = watcher(&pb::WatchCreateRequest { prev_kv: true, ..Default::default() });
        assert!(before.see(&both)[0].events.iter().all(|event| event.prev_kv.is_some()));
        let filters = |filter: FilterType| pb::WatchCreateRequest {
            filters: vec![filter.into()],
            ..Default::default()
        };
        assert_eq!(revisions(&watcher(&filters(FilterType::Noput)).see(&both)), [6]);
        let mut deaf = watcher(&filters(FilterType::Nodelete));
        assert_eq!(revisions(&deaf.see(&both)), [5]);
        assert_eq!(deaf.next, 7, "what it did not want is behind it as well");
        assert!(plain.see(&message(Vec::new())).is_empty(), "it did not ask for progress");
        assert_eq!(plain.next, 10);
    }

    // A message that is too large for the client's limit ends its stream, again and again.
    #[test]
    fn large_messages_are_sent_in_fragments_to_whoever_wants_that() {
        let events: Vec<Event> = (1..=5).map(|at| event(EventType::Put, at, 1 << 20)).collect();
        let large = message(events);
        assert_eq!(watcher(&pb::WatchCreateRequest::default()).see(&large).len(), 1);
        let mut it = watcher(&pb::WatchCreateRequest { fragment: true, ..Default::default() });
        let seen = it.see(&large);
        assert_eq!(revisions(&seen), [1, 2, 3, 4, 5]);
        let more: Vec<bool> = seen.iter().map(|it| it.fragment).collect();
        assert_eq!(more, [true, true, true, true, false]);
        assert!(seen.iter().all(|it| it.encoded_len() < FRAGMENT_BYTES_MAX));
    }
}
