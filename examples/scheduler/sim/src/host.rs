//! A machine with an agent on it.

use mason_core::agent::{self, Agent, Effect, Note, Now};
use mason_core::keys::{Key, Keys};
use mason_core::leader::Outcome;
use mason_core::protocol::fence;
use mason_core::record::{self, AliveRecord, Reason, RunRecord};
use mason_core::txn::{Compare, Op, Txn};
use mason_core::types::{NodeId, Revision, RunId, SpecHash};

use crate::caller::{Caller, Out};
use crate::flaw::Flaw;
use crate::machine::exit;
pub use crate::machine::{Fate, Folder, Machine, State};
use crate::message::{CallId, Event, Request, Response};

/// What outlives the power of a machine.
#[derive(Debug)]
pub struct Disk {
    /// Which node it is.
    pub node: NodeId,
    /// The agent's notes that are synced.
    pub notes: Vec<Note>,
    /// What lies there of runs.
    pub machine: Machine,
    /// How often its agent was started.
    pub epoch: u64,
    /// How often the machine was started.
    pub boot: u64,
    /// What people call the time, less what its clock shows.
    pub wall_offset: u64,
    /// What is broken about it.
    pub flaw: Flaw,
}

/// What a question was about.
#[derive(Debug)]
enum About {
    Lease { asked: u64 },
    Life { lease: i64, asked: u64 },
    Registration { lease: i64, asked: u64, made: Option<Revision> },
    Renewal { asked: u64 },
    Claimed,
    Runs,
    Changes,
    Run(RunId),
}

/// A lease, when it was asked for, and when the key that says that the node lives was made and last
/// changed, if it is there.
type Life = (i64, u64, Option<(Revision, Revision)>);

/// The agent's process.
#[derive(Debug)]
struct Mate {
    agent: Agent,
    calls: Caller<About>,
    lease: Option<i64>,
    /// It is registered under the lease.
    is_alive: bool,
    /// The lease that it is about to register under, when that was asked for, and what the key that
    /// says that it lives is like.
    life: Option<Life>,
    renew_at: u64,
    /// It has taken up what an earlier start left.
    is_recovered: bool,
    /// Changes after this revision are not known yet.
    seen_to: Option<Revision>,
}

/// A machine with an agent on it.
#[derive(Debug)]
pub struct Host {
    disk: Disk,
    /// Notes whose sync is under way.
    unsynced: Vec<Note>,
    mate: Option<Mate>,
    paused_until: u64,
    /// What has come for the agent while it was stopped.
    held: Vec<(Option<CallId>, Option<Response>, Option<Event>)>,
    now: u64,
}

impl Host {
    /// The machine starts; its agent starts soon after.
    pub fn start(mut disk: Disk, now: u64, out: &mut Out<'_>) -> Host {
        disk.boot += 1;
        out.later(10, Event::StartAgent);
        let (unsynced, held) = (Vec::new(), Vec::new());
        Host { disk, unsynced, mate: None, paused_until: 0, held, now }
    }

    /// The power fails.
    pub fn power_loss(mut self, keeps: usize) -> Disk {
        self.unsynced.truncate(keeps);
        self.disk.notes.append(&mut self.unsynced);
        self.disk.machine.power_loss();
        self.disk
    }

    /// Which node it is.
    pub fn node(&self) -> &NodeId {
        &self.disk.node
    }

    /// How often its agent was started.
    pub fn epoch(&self) -> u64 {
        self.disk.epoch
    }

    /// Its containers.
    pub fn machine(&self) -> &Machine {
        &self.disk.machine
    }

    /// Its agent, if one runs.
    pub fn agent(&self) -> Option<&Agent> {
        self.mate.as_ref().map(|mate| &mate.agent)
    }

    /// Whether an agent runs, and is not stopped.
    pub fn is_attended(&self) -> bool {
        self.mate.is_some() && self.paused_until <= self.now
    }

    fn clocks(&self) -> Now {
        Now { wall: self.now + self.disk.wall_offset, mono: self.now }
    }

    /// Time has passed.
    pub fn woken(&mut self, now: u64, out: &mut Out<'_>) {
        self.pass(now);
        self.advance(out);
    }

    /// Containers do what time makes them do.
    fn pass(&mut self, now: u64) {
        self.now = now;
        for run in self.disk.machine.tick(now) {
            self.tell_end(&run);
        }
    }

    /// The agent is told how a run ended, as its keeper wrote it down.
    fn tell_end(&mut self, run: &RunId) {
        let exit = match self.disk.machine.folder(run).map(|folder| &folder.state) {
            Some(State::Left(exit)) => exit.clone(),
            Some(State::Gone) => exit(Reason::Unknown, None, self.now),
            _ => return,
        };
        let now = self.clocks();
        if let Some(mate) = &mut self.mate {
            mate.agent.event(run, agent::Event::Ended(exit), now);
        }
    }

    /// Something happens.
    pub fn happened(&mut self, event: Event, now: u64, out: &mut Out<'_>) {
        self.pass(now);
        match event {
            Event::StartAgent if self.mate.is_none() => self.start_agent(out),
            Event::KillAgent(pause) if self.mate.is_some() => {
                self.mate = None;
                self.held.clear();
                self.paused_until = 0;
                // What was written and not synced is there or not.
                let keeps = out.rng().below(self.unsynced.len() as u64 + 1);
                self.unsynced.truncate(usize::try_from(keeps).expect("it is small"));
                self.disk.notes.append(&mut self.unsynced);
                out.later(pause, Event::StartAgent);
            }
            Event::PauseAgent(lasts) => self.paused_until = now + lasts,
            Event::KillKeeper(which) => {
                let alive: Vec<RunId> =
                    self.disk.machine.folders().map(|it| it.0.clone()).collect();
                if !alive.is_empty() {
                    let which = usize::try_from(which).unwrap_or(0) % alive.len();
                    self.disk.machine.kill_keeper(&alive[which]);
                    self.tell_end(&alive[which]);
                }
            }
            Event::Jump(by) => {
                self.disk.wall_offset = self.disk.wall_offset.saturating_add_signed(by);
            }
            Event::Launched(run) => {
                let is_running = self.disk.machine.launched(&run, now);
                if is_running {
                    let now = self.clocks();
                    if let Some(mate) = &mut self.mate {
                        mate.agent.event(&run, agent::Event::Started, now);
                        mate.agent.event(&run, agent::Event::Ready(true), now);
                    }
                } else {
                    self.tell_end(&run);
                }
            }
            event if self.paused_until > now => self.held.push((None, None, Some(event))),
            event => self.tell_agent(event),
        }
        self.advance(out);
    }

    fn tell_agent(&mut self, event: Event) {
        let now = self.clocks();
        let life = self.disk.epoch;
        let Some(mate) = &mut self.mate else { return };
        match event {
            Event::Journaled(of, note) if of == life => {
                if let Some(at) = self.unsynced.iter().position(|it| *it == note) {
                    self.disk.notes.extend(self.unsynced.drain(..=at));
                }
                mate.agent.journaled(&note);
            }
            Event::Prepared(of, run, good) if of == life => {
                let event = match good {
                    true => agent::Event::Prepared,
                    false => agent::Event::Ended(exit(Reason::ImagePull, None, self.now)),
                };
                mate.agent.event(&run, event, now);
            }
            _ => {}
        }
    }

    fn start_agent(&mut self, out: &mut Out<'_>) {
        self.disk.epoch += 1;
        if self.disk.flaw.forgets() {
            self.disk.notes.clear();
        }
        if self.disk.flaw == Flaw::LostDisk {
            self.disk.machine.wipe();
        }
        let boot = format!("boot {}", self.disk.boot);
        let (keys, node) = (Keys::default(), self.disk.node.clone());
        let mut mate = Mate {
            agent: Agent::new(keys, node.clone(), self.disk.epoch, &boot),
            calls: Caller::new(self.disk.epoch),
            lease: None,
            is_alive: false,
            life: None,
            renew_at: 0,
            is_recovered: false,
            seen_to: None,
        };
        let seen = Keys::default().seen_of(&node);
        mate.calls.ask(self.now, About::Claimed, Request::List(seen), out);
        self.mate = Some(mate);
    }

    /// The store answers.
    pub fn answered(&mut self, call: CallId, response: Response, now: u64, out: &mut Out<'_>) {
        self.pass(now);
        if self.paused_until > now {
            self.held.push((Some(call), Some(response), None));
            return;
        }
        self.take_answer(call, response);
        self.advance(out);
    }

    fn take_answer(&mut self, call: CallId, response: Response) {
        let (now, clocks) = (self.now, self.clocks());
        let Some(mate) = &mut self.mate else { return };
        let Some(about) = mate.calls.answered(call) else { return };
        match (about, response) {
            (About::Lease { asked }, Response::Granted(lease)) => {
                mate.lease = Some(lease);
                mate.is_alive = false;
                mate.renew_at = asked + fence::RENEW;
            }
            (About::Life { lease, asked }, Response::Listed(_, all)) => {
                let path = Keys::default().path(&Key::Alive(self.disk.node.clone()));
                let old = all.into_iter().find(|it| it.path == path);
                mate.life = Some((lease, asked, old.map(|it| (it.made, it.changed))));
            }
            (
                About::Registration { lease, asked, made },
                Response::Committed { done, revision },
            ) => {
                mate.life = None;
                if done && mate.lease == Some(lease) {
                    mate.is_alive = true;
                    mate.agent.registered(made.unwrap_or(revision), asked);
                } else if mate.lease == Some(lease) {
                    // The lease ran out on the way, or somebody changed the key: once more.
                    mate.lease = None;
                }
            }
            (About::Renewal { asked }, Response::Renewed(true)) => {
                mate.renew_at = now + fence::RENEW;
                mate.agent.renewed(asked);
            }
            (About::Renewal { .. }, Response::Renewed(false)) => {
                mate.agent.lease_lost();
                mate.lease = None;
                mate.is_alive = false;
            }
            (About::Claimed, Response::Listed(_, all)) => {
                let keys = Keys::default();
                let claimed = all.iter().filter_map(|it| match keys.parse(&it.path) {
                    Some(Key::Seen(_, run)) => Some(run),
                    _ => None,
                });
                let mut claimed: Vec<RunId> = claimed.collect();
                let mut found = self.disk.machine.find();
                if self.disk.flaw.forgets() {
                    claimed.clear();
                    found.clear();
                }
                let fence = self.disk.machine.fence;
                mate.agent.recover(&self.disk.notes, found, (&claimed, fence), clocks);
                mate.is_recovered = true;
                // Whoever runs is asked again how it is, and is well.
                for (run, _) in self.disk.machine.folders().filter(|(_, it)| it.is_running()) {
                    mate.agent.event(run, agent::Event::Ready(true), clocks);
                }
            }
            (About::Runs, Response::Listed(revision, all)) => {
                mate.agent.reset(&all);
                mate.seen_to = Some(revision);
            }
            (About::Changes, Response::Changed(revision, changes)) => {
                for change in changes.iter().filter(|it| self.disk.flaw.is_heard(it)) {
                    mate.agent.heard(change);
                }
                mate.seen_to = Some(revision);
            }
            (About::Changes, Response::Compacted) => mate.seen_to = None,
            (About::Run(run), Response::Committed { done, revision }) => {
                let outcome = match done {
                    true => Outcome::Done(revision),
                    false => Outcome::Refused(revision),
                };
                mate.agent.outcome(&run, Some(outcome));
            }
            (about, response) => panic!("{about:?} is not answered by {response:?}"),
        }
    }

    fn advance(&mut self, out: &mut Out<'_>) {
        if self.paused_until > self.now {
            return;
        }
        for (call, response, event) in std::mem::take(&mut self.held) {
            if let (Some(call), Some(response)) = (call, response) {
                self.take_answer(call, response);
            }
            if let Some(event) = event {
                self.tell_agent(event);
            }
        }
        let clocks = self.clocks();
        let Some(mate) = &mut self.mate else { return };
        for about in mate.calls.given_up(self.now) {
            if let About::Run(run) = about {
                mate.agent.outcome(&run, None);
            }
        }
        mate.keep_in_touch(&self.disk, self.now, out);
        if mate.is_recovered && mate.seen_to.is_some() {
            let effects = mate.agent.step(clocks);
            mate.agent.check();
            for effect in effects {
                self.perform(effect, out);
            }
        }
    }

    fn perform(&mut self, effect: Effect, out: &mut Out<'_>) {
        let (now, life) = (self.now, self.disk.epoch);
        match effect {
            Effect::Journal(note) => {
                self.unsynced.push(note.clone());
                let lasts = out.rng().range(1..40);
                out.later(lasts, Event::Journaled(life, note));
            }
            Effect::Commit(run, txn) => {
                let mate = self.mate.as_mut().expect("it is its effect");
                if self.disk.flaw == Flaw::LostWords && says_end(&txn) && now % 3 == 0 {
                    mate.agent.outcome(&run, Some(Outcome::Done(0)));
                    self.perform_all(out);
                    return;
                }
                mate.calls.ask(now, About::Run(run), Request::Commit(txn), out);
            }
            Effect::Prepare(run, _) => {
                let slow = out.rng().below(10) == 0;
                let lasts = out.rng().range(if slow { 1_000..40_000 } else { 5..500 });
                let good = out.rng().below(30) != 0;
                out.later(lasts, Event::Prepared(life, run, good));
            }
            Effect::Start(run, record) => {
                let fate = fate(&record, out);
                self.disk.machine.start(&run, *record, fate);
                let lasts = out.rng().range(5..200);
                out.later(lasts, Event::Launched(run));
            }
            Effect::Stop(run, grace) => {
                self.disk.machine.stop(&run, grace.unwrap_or(5_000), now);
                self.end_unstarted(&run);
                if self.disk.flaw == Flaw::HastyKeepers {
                    let clocks = self.clocks();
                    let mate = self.mate.as_mut().expect("it is its effect");
                    let exit = exit(Reason::Exited, Some(143), clocks.wall);
                    mate.agent.event(&run, agent::Event::Ended(exit), clocks);
                }
            }
            Effect::Kill(run) => {
                self.disk.machine.stop(&run, 0, now);
                self.end_unstarted(&run);
            }
            Effect::Reap(run) => {
                self.disk.machine.reap(&run);
                let clocks = self.clocks();
                let mate = self.mate.as_mut().expect("it is its effect");
                mate.agent.event(&run, agent::Event::Reaped, clocks);
                self.perform_all(out);
            }
            Effect::Fence(at) => self.disk.machine.fence = at,
        }
    }

    /// What the agent wants in answer to what was done at once.
    fn perform_all(&mut self, out: &mut Out<'_>) {
        let clocks = self.clocks();
        let effects = self.mate.as_mut().expect("it is its effect").agent.step(clocks);
        for effect in effects {
            self.perform(effect, out);
        }
    }

    /// A run that is stopped while its image is fetched, or its container is made, is over at once.
    fn end_unstarted(&mut self, run: &RunId) {
        let clocks = self.clocks();
        match self.disk.machine.folder(run) {
            None => {
                let mate = self.mate.as_mut().expect("it is its effect");
                let exit = exit(Reason::Exited, Some(143), clocks.wall);
                mate.agent.event(run, agent::Event::Ended(exit), clocks);
            }
            Some(folder) if !folder.is_running() => self.tell_end(run),
            Some(_) => {}
        }
    }

    /// When time has to be told.
    pub fn deadline(&self) -> Option<u64> {
        let machine = self.disk.machine.deadline();
        let mate = self.mate.as_ref().and_then(|mate| {
            let renew = (mate.is_alive && !mate.is_renewing()).then_some(mate.renew_at);
            // Until it has the list of its runs it decides nothing; keepers mind the fence.
            let agent = mate.agent.wake_at().filter(|_| mate.seen_to.is_some());
            let next = [mate.calls.deadline(), renew, agent].into_iter().flatten().min();
            next.map(|at| at.max(self.paused_until))
        });
        [machine, mate].into_iter().flatten().min()
    }
}

impl Mate {
    fn is_renewing(&self) -> bool {
        self.calls.is_waiting(|it| matches!(it, About::Renewal { .. }))
    }

    fn keep_in_touch(&mut self, disk: &Disk, now: u64, out: &mut Out<'_>) {
        let keys = Keys::default();
        if !self.is_recovered {
            if !self.calls.is_waiting(|it| matches!(it, About::Claimed)) {
                self.calls.ask(now, About::Claimed, Request::List(keys.seen_of(&disk.node)), out);
            }
            return;
        }
        self.live(disk, now, out);
        let runs = keys.runs_of(&disk.node);
        if self.calls.is_waiting(|it| matches!(it, About::Runs | About::Changes)) {
            return;
        }
        match self.seen_to {
            None => self.calls.ask(now, About::Runs, Request::List(runs), out),
            Some(seen) => self.calls.ask(now, About::Changes, Request::Poll(runs, seen + 1), out),
        }
    }

    /// A lease, the key that lives on it, and a renewal now and then.
    fn live(&mut self, disk: &Disk, now: u64, out: &mut Out<'_>) {
        let asks = |it: &About| {
            matches!(
                it,
                About::Lease { .. }
                    | About::Life { .. }
                    | About::Registration { .. }
                    | About::Renewal { .. }
            )
        };
        if self.calls.is_waiting(asks) {
            return;
        }
        match self.lease {
            None => {
                self.calls.ask(now, About::Lease { asked: now }, Request::Grant(fence::TTL), out);
            }
            Some(lease) if !self.is_alive => match self.life.take().filter(|it| it.0 == lease) {
                None => {
                    let asked = self.renew_at - fence::RENEW;
                    let path = Keys::default().path(&Key::Alive(disk.node.clone()));
                    self.calls.ask(now, About::Life { lease, asked }, Request::List(path), out);
                }
                Some((_, asked, old)) => {
                    let txn = registration(disk, lease, old.map(|(_, changed)| changed));
                    let made = old.map(|(made, _)| made);
                    let about = About::Registration { lease, asked, made };
                    self.calls.ask(now, about, Request::Commit(txn), out);
                }
            },
            Some(lease) if self.renew_at <= now => {
                let about = About::Renewal { asked: now };
                self.calls.ask(now, about, Request::Renew(lease), out);
            }
            Some(_) => {}
        }
    }
}

/// Says that a node lives. If the key of an earlier start of the agent is still there, its life
/// goes on under the new lease: the key stays, and with it when it was made.
fn registration(disk: &Disk, lease: i64, changed: Option<Revision>) -> Txn {
    let path = Keys::default().path(&Key::Alive(disk.node.clone()));
    let record = AliveRecord {
        epoch: disk.epoch,
        address: String::new(),
        gossip: None,
        since: 0,
        images: Vec::new(),
    };
    let value = record::encode(&record);
    Txn {
        when: vec![Compare::Changed(path.clone(), changed.unwrap_or(0))],
        then: vec![Op::Put { key: path, value, lease: Some(lease) }],
    }
}

/// Whether a transaction says how a run ended.
fn says_end(txn: &Txn) -> bool {
    let keys = Keys::default();
    txn.then.iter().any(|op| matches!(keys.parse(op.key()), Some(Key::Result(_))))
}

/// Some versions of services are bad: they end at once, whoever starts them.
pub fn is_bad(spec: &SpecHash) -> bool {
    matches!(spec.as_str().as_bytes().first(), Some(b'0' | b'1'))
}

fn fate(record: &RunRecord, out: &mut Out<'_>) -> Fate {
    let rng = out.rng();
    let lasts = match rng.below(10) {
        0 => rng.range(30_000..120_000),
        1..4 => rng.range(2_000..20_000),
        _ => rng.range(1..2_000),
    };
    if record.task.job.name.starts_with("service") {
        let lasts = match is_bad(&record.spec) {
            true => Some(rng.range(1..100)),
            false => (rng.below(6) == 0).then(|| rng.range(1_000..60_000)),
        };
        return Fate { lasts, code: 1, obeys: rng.range(1..8_000), prints: None };
    }
    let code = if rng.below(5) == 0 { 1 } else { 0 };
    // A service has no result; a job is asked for one if it is a part of a workflow.
    let prints = Some(rng.below(1_000));
    Fate { lasts: Some(lasts), code, obeys: rng.range(1..8_000), prints }
}
