//! The task that owns the core: one turn after the other until it has left, or nobody is there to
//! ask it for anything.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::datagrams::{DATAGRAM_BYTES_MAX, Datagrams};
use super::file::Saver;
use super::handle::{Admission, Shared};
use super::incoming::{self, FRAMES_MAX, Frame};
use super::metrics::count;
use super::outgoing::Outgoing;
use super::request::{REQUESTS_MAX, Request, Wish};
use crate::effect::{Effect, Event};
use crate::input::Input;
use crate::swim::Swim;
use crate::types::NodeId;

/// How many datagrams a turn takes at most, before it looks at the time.
const DATAGRAMS_TURN: usize = 1024;

/// The driver. Its core is behind a lock for those who look; nobody else changes it.
#[derive(Debug)]
pub(super) struct Driver {
    shared: Arc<Shared>,
    id: NodeId,
    began: Instant,
    datagrams: Datagrams,
    outgoing: Outgoing,
    frames: mpsc::Receiver<Frame>,
    /// Ends with this.
    listening: JoinSet<()>,
    requests: mpsc::Receiver<Request>,
    events: broadcast::Sender<Event>,
    admission: watch::Sender<Admission>,
    saver: Option<Saver>,
    /// Who waits for the end, and whether it is wanted now.
    leavers: Vec<oneshot::Sender<()>>,
    stop: bool,
    effects: Vec<Effect>,
    buf: Vec<u8>,
}

/// What a driver starts with.
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) began: Instant,
    pub(super) listener: TcpListener,
    pub(super) datagrams: Datagrams,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) admission: watch::Sender<Admission>,
    pub(super) saver: Option<Saver>,
    /// Of what was asked for before it ran.
    pub(super) effects: Vec<Effect>,
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Driver {
        let counters = &parts.shared.counters;
        let (inbox, frames) = mpsc::channel(FRAMES_MAX);
        let mut listening = JoinSet::new();
        listening.spawn(incoming::run(parts.listener, inbox, Arc::clone(counters)));
        let id = parts.shared.swim.lock().me().id;
        Driver {
            id,
            outgoing: Outgoing::new(parts.shared.local.ip(), Arc::clone(counters)),
            shared: parts.shared,
            began: parts.began,
            datagrams: parts.datagrams,
            frames,
            listening,
            requests: parts.requests,
            events: parts.events,
            admission: parts.admission,
            saver: parts.saver,
            leavers: Vec::new(),
            stop: false,
            effects: parts.effects,
            buf: vec![0; DATAGRAM_BYTES_MAX],
        }
    }

    pub(super) async fn run(mut self) {
        self.perform();
        loop {
            let deadline = self.shared.swim.lock().deadline();
            let Some(deadline) = deadline else { break };
            let (mut frame, mut request) = (None, None);
            tokio::select! {
                () = self.datagrams.readable() => {}
                Some(some) = self.frames.recv() => frame = Some(some),
                some = self.requests.recv() => match some {
                    Some(some) => request = Some(some),
                    // The last handle is gone.
                    None => break,
                },
                () = sleep_until(self.began + deadline) => {}
            }
            let more = self.turn(frame, request);
            self.perform();
            if self.stop {
                break;
            }
            if more {
                // Whoever floods us must not keep the others from their turn.
                tokio::task::yield_now().await;
            }
        }
        self.finish().await;
    }

    /// Takes what has gathered, and tells the time. Says whether there is more.
    fn turn(&mut self, frame: Option<Frame>, request: Option<Request>) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut swim = shared.swim.lock();
        let more = self.take_datagrams(&mut swim);
        let mut next = frame;
        for _ in 0..FRAMES_MAX {
            let Some(frame) = next.or_else(|| self.frames.try_recv().ok()) else { break };
            self.take_frame(&mut swim, &frame);
            next = None;
        }
        let mut next = request;
        for _ in 0..REQUESTS_MAX {
            let Some(request) = next.or_else(|| self.requests.try_recv().ok()) else { break };
            self.take_request(&mut swim, request);
            next = None;
        }
        let now = self.began.elapsed();
        if swim.deadline().is_some_and(|deadline| deadline <= now) {
            let ticked = swim.handle(now, Input::Tick, &mut self.effects);
            ticked.expect("time is never refused");
        }
        more
    }

    fn take_datagrams(&mut self, swim: &mut Swim) -> bool {
        for _ in 0..DATAGRAMS_TURN {
            let Some((from, len)) = self.datagrams.next(&mut self.buf) else { return false };
            let input = Input::Datagram { from, bytes: &self.buf[..len] };
            if let Err(error) = swim.handle(self.began.elapsed(), input, &mut self.effects) {
                count(&self.shared.counters.datagrams_refused);
                tracing::debug!(%from, %error, "a datagram is refused");
            }
        }
        true
    }

    fn take_frame(&mut self, swim: &mut Swim, frame: &Frame) {
        let counters = &self.shared.counters;
        count(&counters.frames_in);
        let input = Input::Stream { bytes: &frame.bytes };
        if let Err(error) = swim.handle(self.began.elapsed(), input, &mut self.effects) {
            count(&counters.frames_refused);
            frame.refuse();
            tracing::debug!(%error, "a message by stream is refused");
        }
    }

    fn take_request(&mut self, swim: &mut Swim, request: Request) {
        let (now, out) = (self.began.elapsed(), &mut self.effects);
        let (wish, answer) = match request {
            Request::Do(wish, answer) => (wish, answer),
            Request::Leave(answer) => {
                // Refused means that it is gone already, which is what was wanted.
                drop(swim.handle(now, Input::Leave, out));
                self.leavers.push(answer);
                return;
            }
            Request::Stop(answer) => {
                self.leavers.push(answer);
                self.stop = true;
                return;
            }
        };
        let result = match &wish {
            Wish::Join(seeds) => swim.handle(now, Input::Join(seeds.clone()), out),
            Wish::Set(key, value) => {
                swim.handle(now, Input::Set { key, value: value.clone() }, out)
            }
            Wish::Broadcast(topic, payload) => {
                swim.handle(now, Input::Broadcast { topic, payload }, out)
            }
            Wish::Condemn(id) => swim.handle(now, Input::Condemn(*id), out),
            Wish::Keys(step) => swim.handle(now, Input::Keys(step.clone()), out),
            Wish::KeysAnyway(step) => swim.handle(now, Input::KeysAnyway(step.clone()), out),
        };
        // Who asked may have gone.
        drop(answer.send(result));
    }

    /// Does what the core wants done.
    fn perform(&mut self) {
        let mut persist = false;
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Datagram { to, bytes } => self.datagrams.send(to, &bytes),
                Effect::Stream { to, bytes } => self.outgoing.send(to, bytes),
                Effect::Event(event) => {
                    if let Some(admission) = Admission::from(&event, self.id) {
                        self.admission.send_replace(admission);
                    }
                    // Perhaps nobody watches.
                    drop(self.events.send(event));
                }
                Effect::Persist => persist = true,
            }
        }
        if persist {
            self.save();
        }
    }

    fn save(&self) {
        if let Some(saver) = &self.saver {
            let snapshot = self.shared.swim.lock().snapshot();
            saver.save(&snapshot);
        }
    }

    async fn finish(mut self) {
        self.save();
        if let Some(saver) = self.saver.take() {
            saver.finish().await;
        }
        // Whoever waits may want the port.
        self.listening.shutdown().await;
        drop(self.datagrams);
        for leaver in self.leavers {
            // Who wanted to wait may have gone.
            let _ = leaver.send(());
        }
    }
}

/// A core behind a lock.
pub(super) type Core = Mutex<Swim>;
