//! Random writes, watches, compactions and slow readers against the plain list of changes.
//!
//! Publishing and telling the hub are separate steps, so that everything else also happens in
//! between. Each client checks every message against what the list says must come next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::oracle::*;
use crate::key_range::KeyRange;
use crate::watch::*;

const STEPS: usize = 400;
const KEYS: [&str; 7] = ["a", "ab", "b", "c", "d", "e", "f"];

// Every promise of the module at once, in orders that nobody thought of.
#[test]
fn every_watcher_sees_exactly_what_the_history_holds() {
    let replay = std::env::var("WATCH_SEED").ok().map(|seed| seed.parse().unwrap());
    let slow = std::env::var_os("SLOW").is_some();
    let seeds = match replay {
        Some(seed) => seed..seed + 1,
        None => 0..if slow { 50_000 } else { 1000 },
    };
    let mut totals = Totals::default();
    for seed in seeds {
        let _told = OnPanic(seed);
        let mut model = Model::new(seed);
        for _ in 0..STEPS {
            model.step();
        }
        model.finish(&mut totals);
    }
    println!("{totals:?}");
    if replay.is_none() {
        // A model that never gets anywhere proves nothing.
        let Totals { events, fragments, progress, compacted, caught_up } = totals;
        assert!(events > 100_000 && fragments > 1000 && progress > 1000, "{totals:?}");
        assert!(compacted > 100 && caught_up > 1000, "{totals:?}");
    }
}

/// Says how to replay a failure.
struct OnPanic(u64);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = "watch::tests::model";
            eprintln!("replay: WATCH_SEED={} cargo test -p drystone-kv {name}", self.0);
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    events: u64,
    fragments: u64,
    progress: u64,
    compacted: u64,
    /// Messages that carry more than one revision.
    caught_up: u64,
}

struct Model {
    rng: ChaCha8Rng,
    world: World,
    /// Published, not yet told.
    untold: Vec<Change>,
    clients: Vec<Client>,
    largest_revision_bytes: usize,
    /// How often a step that would compact does; often, hardly any watcher gets far.
    compacts: f64,
    totals: Totals,
}

/// One stream, and what its client knows.
struct Client {
    stream: WatchStream,
    options: StreamOptions,
    bell: Arc<Bell>,
    waker: Waker,
    /// The last poll found nothing to do.
    parked: bool,
    polls: u64,
    /// Catching up is not done while it rests: at every third poll.
    rests: bool,
    /// By name; the first stands, the others have been created behind its cancel.
    views: BTreeMap<WatchId, VecDeque<View>>,
}

/// What one watcher has seen.
struct View {
    request: WatchRequest,
    start: u64,
    created: bool,
    cancel_requested: bool,
    /// How far in the list of all changes.
    index: usize,
    last: u64,
    in_fragment: bool,
    told: u64,
}

impl View {
    fn tell(&mut self, revision: u64) {
        assert!(revision >= self.told, "revisions never go back");
        self.told = revision;
    }

    fn passes(&self, change: &Change) -> bool {
        let filtered =
            if change.is_delete() { self.request.skip_deletes } else { self.request.skip_puts };
        !filtered && self.start <= change.revision.main && self.request.range.contains(change.key())
    }

    fn next(&self, oracle: &Oracle) -> Option<(usize, Change)> {
        oracle.find(self.index, |change| self.passes(change))
    }

    fn assert_seen_up_to(&self, oracle: &Oracle, revision: u64) {
        assert!(self.created && !self.in_fragment, "progress between messages");
        let next = self.next(oracle);
        assert!(
            next.as_ref().is_none_or(|(_, change)| change.revision.main > revision),
            "progress {revision} before {next:?}"
        );
    }
}

impl Model {
    fn new(seed: u64) -> Model {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let compacts = [0.0, 0.1, 1.0][rng.random_range(0..3)];
        let world = World::new();
        let (untold, clients) = (Vec::new(), Vec::new());
        let totals = Totals::default();
        Model { rng, world, untold, clients, largest_revision_bytes: 0, compacts, totals }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..20 => self.publish(),
            20..40 => self.tell(),
            40..42 => self.compact(),
            42..44 => self.open(),
            44..52 => self.create(),
            52..54 => self.cancel(),
            54..58 => self.ask_progress(),
            58 => self.drop_client(),
            _ => self.poll(),
        }
        self.check();
    }

    fn publish(&mut self) {
        let (first, count) = (self.rng.random_range(0..KEYS.len()), self.rng.random_range(1..=4));
        let newest = self.world.oracle.newest();
        let mut ops = Vec::new();
        for key in KEYS.into_iter().cycle().skip(first).take(count) {
            let alive = self.world.oracle.truly_before(key.as_bytes(), newest + 1).is_some();
            if alive && self.rng.random_bool(0.3) {
                ops.push(delete(key));
            } else {
                let value = vec![b'v'; self.rng.random_range(0..40)];
                ops.push((Bytes::from(key), Some(Bytes::from(value))));
            }
        }
        let changes = self.world.oracle.publish(ops);
        let bytes = changes.iter().map(Change::bytes).sum();
        self.largest_revision_bytes = self.largest_revision_bytes.max(bytes);
        self.untold.extend(changes);
    }

    fn tell(&mut self) {
        if self.rng.random_bool(if self.world.hub.is_idle() { 0.5 } else { 0.03 }) {
            self.untold.clear();
            self.world.hub.pass(self.world.oracle.newest());
            return;
        }
        // All of it, or the first few revisions.
        let mut end = self.untold.len();
        if end > 0 && self.rng.random_bool(0.3) {
            let main = self.untold[self.rng.random_range(0..end)].revision.main;
            end = self.untold.partition_point(|change| change.revision.main <= main);
        }
        let told: Vec<Change> = self.untold.drain(..end).collect();
        self.world.hub.notify(&told);
    }

    fn compact(&mut self) {
        if !self.rng.random_bool(self.compacts) {
            return;
        }
        let (low, high) = (self.world.oracle.compacted(), self.world.oracle.newest());
        let revision = self.rng.random_range(low.max(high.saturating_sub(30))..=high);
        if self.rng.random_bool(0.5) {
            self.world.oracle.compact(revision);
        } else {
            self.world.oracle.compact_during_read(revision);
        }
    }

    fn open(&mut self) {
        if self.clients.len() >= 4 {
            return;
        }
        let rng = &mut self.rng;
        let options = StreamOptions {
            outbox_messages_max: rng.random_range(1..12),
            outbox_bytes_max: rng.random_range(1..2000),
            message_revisions_max: rng.random_range(1..6),
            message_bytes_max: rng.random_range(1..1000),
            fragment_bytes_max: rng.random_range(1..400),
            scan_revisions_max: rng.random_range(1..10),
            scan_bytes_max: rng.random_range(1..2000),
            controls_max: rng.random_range(1..8),
            watchers_max: rng.random_range(1..12),
        };
        let stream = self.world.stream_with(options);
        let (bell, waker) = Bell::new();
        let views = BTreeMap::new();
        self.clients.push(Client {
            stream,
            options,
            bell,
            waker,
            parked: false,
            polls: 0,
            rests: false,
            views,
        });
    }

    fn range(&mut self) -> KeyRange {
        let rng = &mut self.rng;
        let start = *KEYS.choose(rng).unwrap();
        match rng.random_range(0..4) {
            0 | 1 => KeyRange::single(start),
            2 => KeyRange { start: start.into(), end: KEYS.choose(rng).map(|&end| end.into()) },
            _ => KeyRange { start: start.into(), end: None },
        }
    }

    fn create(&mut self) {
        let range = self.range();
        let newest = self.world.oracle.newest();
        let rng = &mut self.rng;
        let Some(client) = self.clients.choose_mut(rng) else { return };
        let start = match rng.random_range(0..4) {
            0 => None,
            1 => Some(newest + rng.random_range(0..8)),
            2 => Some(self.world.oracle.compacted()),
            _ => Some(rng.random_range(newest.saturating_sub(40)..=newest)),
        };
        let request = WatchRequest {
            range,
            start,
            id: rng.random_bool(0.3).then(|| WatchId(rng.random_range(0..6))),
            prev_kv: rng.random_bool(0.4),
            progress: rng.random_bool(0.4),
            skip_puts: rng.random_bool(0.15),
            skip_deletes: rng.random_bool(0.15),
            fragment: rng.random_bool(0.4),
        };
        let created = client.stream.control().create(request.clone());
        if request.range.is_empty() {
            assert_eq!(created, Err(CreateError::EmptyRange));
        }
        let Ok(id) = created else { return };
        let start = start.unwrap_or(newest + 1);
        let index = self.world.oracle.count_before(start);
        client.views.entry(id).or_default().push_back(View {
            request,
            start,
            created: false,
            cancel_requested: false,
            index,
            last: 0,
            in_fragment: false,
            told: 0,
        });
    }

    fn cancel(&mut self) {
        let Some(client) = self.clients.choose_mut(&mut self.rng) else { return };
        let id = WatchId(self.rng.random_range(0..8));
        if client.stream.control().cancel(id) {
            let view = client.views.get_mut(&id).and_then(VecDeque::back_mut);
            let view = view.expect("only a created watcher is canceled");
            assert!(!view.cancel_requested, "a watcher ends once");
            view.cancel_requested = true;
        }
    }

    fn ask_progress(&mut self) {
        let Some(client) = self.clients.choose_mut(&mut self.rng) else { return };
        if self.rng.random() {
            client.stream.control().request_progress();
        } else {
            client.stream.control().tick_progress();
        }
    }

    fn drop_client(&mut self) {
        if self.clients.len() > 1 {
            let index = self.rng.random_range(0..self.clients.len());
            self.clients.swap_remove(index);
        }
    }

    fn poll(&mut self) {
        let Some(client) = self.clients.choose_mut(&mut self.rng) else { return };
        for _ in 0..self.rng.random_range(1..6) {
            client.poll(&self.world, &mut self.totals);
        }
    }

    fn check(&self) {
        self.world.hub.check();
        for client in &self.clients {
            let backlog = client.stream.control().backlog();
            let Client { options, .. } = client;
            let bytes_max = options.outbox_bytes_max.max(self.largest_revision_bytes);
            assert!(backlog.bytes <= bytes_max, "{backlog:?}, {options:?}");
            let controls_max = options.controls_max + options.watchers_max;
            let messages_max = options.outbox_messages_max + controls_max;
            assert!(backlog.messages <= messages_max, "{backlog:?}, {options:?}");
        }
    }

    /// Tells everything, lets everyone read to the end, and looks whether something is missing.
    fn finish(mut self, totals: &mut Totals) {
        self.world.hub.notify(&self.untold);
        let (oracle, newest) = (&self.world.oracle, self.world.oracle.newest());
        for client in &mut self.clients {
            while client.poll(&self.world, &mut self.totals) {}
            let views = client.views.values().flatten();
            for view in views.clone() {
                assert!(!view.cancel_requested, "a cancel is answered");
                view.assert_seen_up_to(oracle, newest);
            }
            let ready =
                views.clone().all(|view| view.request.start.is_none_or(|start| start <= newest));
            let answered = client.stream.control().request_progress();
            assert_eq!(answered, ready && views.count() > 0, "progress of an idle stream");
            assert_eq!(client.stream.control().backlog().lagging, 0, "all have caught up");
        }
        self.world.hub.check();
        self.clients.clear();
        assert!(self.world.hub.is_idle(), "dropped streams leave nobody behind");
        totals.events += self.totals.events;
        totals.fragments += self.totals.fragments;
        totals.progress += self.totals.progress;
        totals.compacted += self.totals.compacted;
        totals.caught_up += self.totals.caught_up;
    }
}

impl Client {
    /// Polls once; whether there was anything to do.
    fn poll(&mut self, world: &World, totals: &mut Totals) -> bool {
        let rang = self.bell.rang();
        // A rest that ends wakes nobody: whoever rested may have something to read.
        let rested = std::mem::replace(&mut self.rests, self.polls % 3 == 2);
        self.polls += 1;
        self.stream.rest(self.rests);
        let polled = self.stream.poll_next(&mut Context::from_waker(&self.waker));
        let woke_itself = polled.is_pending() && self.bell.rang();
        let busy = polled.is_ready() || woke_itself;
        assert!(rang || rested || !self.parked || !busy, "there is news, and nobody was woken");
        self.parked = !busy;
        match polled {
            Poll::Ready(message) => self.hear(world, message.unwrap().unwrap(), totals),
            Poll::Pending => {}
        }
        busy || self.rests && self.stream.is_behind()
    }

    fn view(&mut self, id: WatchId) -> &mut View {
        let view = self.views.get_mut(&id).and_then(VecDeque::front_mut);
        view.expect("a message is of a watcher that stands")
    }

    fn hear(&mut self, world: &World, message: WatchMessage, totals: &mut Totals) {
        let oracle = &world.oracle;
        match message {
            WatchMessage::Created { id, revision } => {
                let view = self.view(id);
                assert!(!view.created, "created once");
                view.created = true;
                view.tell(revision);
                if view.request.start.is_none() {
                    assert_eq!(revision + 1, view.start, "from now on");
                }
            }
            WatchMessage::Events { id, revision, events, more_fragments } => {
                assert!(revision <= oracle.newest());
                let options = self.options;
                self.view(id).tell(revision);
                self.view(id).see(oracle, revision, &events, more_fragments, &options);
                totals.events += events.len() as u64;
                totals.fragments += u64::from(more_fragments);
                let many = events[0].kv.mod_revision != events[events.len() - 1].kv.mod_revision;
                totals.caught_up += u64::from(many);
            }
            WatchMessage::Progress { id, revision } => {
                assert!(revision <= world.hub.notified());
                totals.progress += 1;
                let views = self.views.iter_mut();
                let fronts = views.filter_map(|(id, views)| Some((id, views.front_mut()?)));
                for (its, view) in fronts.filter(|(its, _)| id.is_none_or(|id| id == **its)) {
                    // A watcher created after the question was asked is not spoken of.
                    if view.created {
                        view.tell(revision);
                        assert!(id.is_none() || view.request.progress, "asked for by {its:?}");
                        view.assert_seen_up_to(oracle, revision);
                        assert!(view.request.start.is_none_or(|start| start <= revision));
                    }
                }
            }
            WatchMessage::Canceled { id, revision, reason } => {
                let view = self.view(id);
                view.tell(revision);
                assert!(view.created && !view.in_fragment, "canceled between messages");
                match reason {
                    CancelReason::Requested => assert!(view.cancel_requested),
                    CancelReason::Denied => panic!("nobody was denied anything"),
                    CancelReason::Compacted { compacted } => {
                        assert!(compacted <= oracle.compacted());
                        assert!(compacted > view.start && compacted > view.last);
                        totals.compacted += 1;
                    }
                }
                self.views.get_mut(&id).unwrap().pop_front();
            }
        }
    }
}

impl View {
    fn see(
        &mut self,
        oracle: &Oracle,
        header: u64,
        events: &[Event],
        more_fragments: bool,
        options: &StreamOptions,
    ) {
        assert!(self.created, "created comes first");
        assert!(!events.is_empty(), "events are never none");
        let mut revisions = 0;
        for event in events {
            let (index, change) = self.next(oracle).expect("no event is made up");
            assert_eq!(event.kv.mod_revision, change.revision.main, "none lost, none twice");
            revisions += usize::from(self.last != change.revision.main);
            self.check_prev(oracle, event, &change);
            assert_eq!(Event { prev: None, ..event.clone() }, Event::new(change, None));
            self.index = index + 1;
            self.last = event.kv.mod_revision;
        }
        assert!(self.last <= header);
        assert!(revisions <= options.message_revisions_max);
        let next = self.next(oracle);
        let cut = next.is_some_and(|(_, change)| change.revision.main == self.last);
        assert_eq!(more_fragments, cut, "a message ends with a revision, or says that it does not");
        assert!(!cut || self.request.fragment, "a revision is cut only where allowed");
        if self.request.fragment && events.len() > 1 {
            let bytes: usize = events.iter().map(Event::wire_bytes).sum();
            assert!(bytes <= options.fragment_bytes_max, "fragments are bounded");
        }
        self.in_fragment = more_fragments;
    }

    fn check_prev(&self, oracle: &Oracle, event: &Event, change: &Change) {
        let before = oracle.truly_before(change.key(), change.revision.main);
        if !self.request.prev_kv {
            assert_eq!(event.prev, None, "previous values only when asked for");
        } else if event.prev.is_none() {
            let compacted = change.revision.main <= oracle.compacted();
            assert!(before.is_none() || compacted, "a readable previous value is there");
        } else {
            assert_eq!(event.prev, before);
        }
    }
}
