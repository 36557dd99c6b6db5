//! Agents: the real ones. A state holds a number; the value that it stands for is kept once, found
//! again by what its `Debug` shows, which is all of it. What an agent answers to what it is told is
//! asked once and then remembered, so that a million states cost a few thousand questions.

use std::collections::HashMap;
use std::rc::Rc;

use mason_core::agent::{Agent, Effect, Event, Found, Keeper, Note, Now, PASSING};
use mason_core::keys::{Key, Keys};
use mason_core::leader::Outcome;
use mason_core::mirror::Change;
use mason_core::protocol::fence;
use mason_core::record::{self, Reason};
use mason_core::spec::Concurrency;

use crate::mail::{Kind, Mails, bits};
use crate::names::{exit, node, run, run_at, run_record};
use crate::quick::Quick;
use crate::store::{RUNS, base};

/// A machine's clock in spans that are far longer than any lease: a fence is of the span in which
/// the renewal was asked for, and has passed in the next.
const SPAN: u64 = 1_000_000;
const _: () = assert!(SPAN > 10 * fence::TTL, "a span is longer than a lease");

/// The start of the machine that this is.
const BOOT: &str = "now";

/// How a container ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum End {
    #[default]
    None,
    Well,
    Badly,
    /// By the agent's order.
    Killed,
    /// By its keeper, at the fence.
    Fenced,
    /// Nobody saw it.
    Unseen,
}

/// What the folder of a run says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Folder {
    /// There is none.
    #[default]
    None,
    /// Its keeper answers.
    Answers,
    Left(End),
    /// Its keeper is gone without a word.
    Gone,
}

/// What the journal says of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Noted {
    #[default]
    No,
    /// Since the machine was started.
    Now,
    /// At an earlier start.
    Before,
}

/// A run's key as the agent hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Heard {
    pub(crate) run: u8,
    pub(crate) task: u8,
    /// 0 if it is gone.
    pub(crate) version: u8,
}

/// Everything that an agent starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Remains {
    pub(crate) notes: [Noted; RUNS],
    pub(crate) folders: [Folder; RUNS],
    /// Runs that the store has as claimed here.
    pub(crate) claimed: u8,
    /// Runs that the store has here.
    pub(crate) list: [Option<Heard>; RUNS],
}

/// What an agent is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    Recover(Remains),
    Registered {
        made: u8,
        asked: u8,
    },
    Renewed {
        asked: u8,
    },
    LeaseLost,
    Heard(Heard),
    /// The watch was cut: all of its runs, anew.
    Listed([Option<Heard>; RUNS]),
    Journaled(u8),
    Outcome(u8, Option<bool>),
    Prepared(u8),
    Started(u8),
    Ended(u8, End),
    Reaped(u8),
}

/// What it wants done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Act {
    Note(u8),
    Forget(u8),
    /// To send this transaction.
    Commit(u8, Kind, u16),
    Prepare(u8),
    Start(u8),
    Stop(u8),
    Kill(u8),
    Reap(u8),
    Fence(u8),
}

/// All agents that there ever were in some state.
pub(crate) struct Agents {
    keys: Keys,
    concurrency: Concurrency,
    /// Phases last so long that they are told.
    lingers: bool,
    all: Vec<(Agent, u8)>,
    index: HashMap<String, u32>,
    #[expect(clippy::type_complexity, reason = "it is looked up by all that an answer hangs on")]
    asked: HashMap<(u32, usize, u8, Input), (u32, Rc<[Act]>), Quick>,
}

impl Agents {
    pub(crate) fn new(concurrency: Concurrency, lingers: bool) -> Agents {
        let (all, index, asked) = (Vec::new(), HashMap::new(), HashMap::default());
        Agents { keys: Keys::default(), concurrency, lingers, all, index, asked }
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// The runs that an agent knows of.
    pub(crate) fn runs(&self, id: u32) -> u8 {
        if id == 0 { 0 } else { self.all[id as usize - 1].1 }
    }

    /// The agent and its answer after it was told something in that span of its clock. Number 0 is
    /// none: one that is not there yet is told what it recovers from.
    pub(crate) fn tell(
        &mut self,
        id: u32,
        (at, span): (usize, u8),
        input: Input,
        mails: &mut Mails,
    ) -> (u32, Rc<[Act]>) {
        let question = (id, at, span, input);
        if let Some(answer) = self.asked.get(&question) {
            return answer.clone();
        }
        let mut agent = match id {
            0 => Agent::new(self.keys.clone(), node(at), 1, BOOT),
            id => self.all[id as usize - 1].0.clone(),
        };
        let now = Now { wall: 0, mono: u64::from(span) * SPAN + 1 };
        self.put_in(&mut agent, at, input, now);
        // A driver lists the store's runs and registers before it lets an agent decide anything.
        let effects = match input {
            Input::Recover(_) => Vec::new(),
            _ => {
                let mut effects = agent.step(now);
                if self.lingers {
                    effects.extend(agent.step(Now { mono: now.mono + PASSING, ..now }));
                }
                effects
            }
        };
        agent.check();
        let acts = effects.into_iter().map(|it| act(it, mails)).collect();
        let answer = (self.intern(agent), acts);
        self.asked.insert(question, answer.clone());
        answer
    }

    fn intern(&mut self, agent: Agent) -> u32 {
        let runs = bits(agent.runs().map(|(run, ..)| run_at(run)));
        let next = u32::try_from(self.all.len() + 1).expect("few agents differ");
        let id = *self.index.entry(format!("{agent:?}")).or_insert(next);
        if id == next {
            self.all.push((agent, runs));
        }
        id
    }

    fn put_in(&self, agent: &mut Agent, at: usize, input: Input, now: Now) {
        match input {
            Input::Recover(remains) => self.recover(agent, at, &remains, now),
            Input::Registered { made, asked } => {
                agent.registered(base::ALIVE + i64::from(made), u64::from(asked) * SPAN);
            }
            Input::Renewed { asked } => agent.renewed(u64::from(asked) * SPAN),
            Input::LeaseLost => agent.lease_lost(),
            Input::Heard(heard) => drop(agent.heard(&self.change(at, heard))),
            Input::Listed(list) => self.list(agent, at, &list),
            Input::Journaled(it) => {
                agent.journaled(&Note::Claim { run: run(it.into()), boot: BOOT.into() });
            }
            Input::Outcome(it, outcome) => {
                let outcome = outcome.map(|done| match done {
                    true => Outcome::Done(1),
                    false => Outcome::Refused(1),
                });
                agent.outcome(&run(it.into()), outcome);
            }
            Input::Prepared(it) => agent.event(&run(it.into()), Event::Prepared, now),
            Input::Started(it) => agent.event(&run(it.into()), Event::Started, now),
            Input::Ended(it, end) => {
                agent.event(&run(it.into()), Event::Ended(exit_of(end)), now);
            }
            Input::Reaped(it) => agent.event(&run(it.into()), Event::Reaped, now),
        }
    }

    fn recover(&self, agent: &mut Agent, at: usize, remains: &Remains, now: Now) {
        let (mut notes, mut found, mut claimed) = (Vec::new(), Vec::new(), Vec::new());
        for it in 0..RUNS {
            let boot = match remains.notes[it] {
                Noted::No => None,
                Noted::Now => Some(BOOT),
                Noted::Before => Some("before"),
            };
            notes.extend(boot.map(|boot| Note::Claim { run: run(it), boot: boot.into() }));
            let keeper = match remains.folders[it] {
                Folder::None => None,
                Folder::Answers => Some(Keeper::Answers),
                Folder::Left(end) => Some(Keeper::Left(exit_of(end))),
                Folder::Gone => Some(Keeper::Gone),
            };
            found.extend(keeper.map(|keeper| Found { run: run(it), keeper }));
            claimed.extend((remains.claimed & 1 << it != 0).then(|| run(it)));
        }
        // The page of the fence is told anew with the registration, before it decides anything.
        agent.recover(&notes, found, (&claimed, 0), now);
        self.list(agent, at, &remains.list);
    }

    fn list(&self, agent: &mut Agent, at: usize, list: &[Option<Heard>; RUNS]) {
        let list = list.iter().flatten();
        let list: Vec<Change> = list.map(|&heard| self.change(at, heard)).collect();
        agent.reset(&list);
    }

    fn change(&self, at: usize, heard: Heard) -> Change {
        let path = self.keys.path(&Key::Run(node(at), run(heard.run.into())));
        if heard.version == 0 {
            return Change { path, value: None, made: 0, changed: base::RUN + 9 };
        }
        let record = run_record(heard.task.into(), heard.version > 1, self.concurrency);
        let value = Some(record::encode(&record));
        let changed = base::RUN + i64::from(heard.version);
        Change { path, value, made: base::RUN + 1, changed }
    }
}

fn exit_of(end: End) -> record::Exit {
    match end {
        End::None => panic!("it has not ended"),
        End::Well => exit(Reason::Exited, Some(0)),
        End::Badly => exit(Reason::Exited, Some(1)),
        End::Killed => exit(Reason::Signalled, Some(137)),
        End::Fenced => exit(Reason::Fenced, Some(137)),
        End::Unseen => exit(Reason::Unknown, None),
    }
}

fn act(effect: Effect, mails: &mut Mails) -> Act {
    let at = |run: &mason_core::types::RunId| u8::try_from(run_at(run)).expect("few runs");
    match effect {
        Effect::Journal(Note::Claim { run, .. }) => Act::Note(at(&run)),
        Effect::Journal(Note::Gone { run }) => Act::Forget(at(&run)),
        Effect::Commit(run, txn) => {
            let kind = match (txn.when.len(), txn.then[0].key().contains("/result/")) {
                (_, true) => Kind::Result,
                (1, false) => Kind::Report,
                _ => Kind::Claim,
            };
            Act::Commit(at(&run), kind, mails.send((kind, None, None), txn))
        }
        Effect::Prepare(run, _) => Act::Prepare(at(&run)),
        Effect::Start(run, _) => Act::Start(at(&run)),
        Effect::Stop(run, _) => Act::Stop(at(&run)),
        Effect::Kill(run) => Act::Kill(at(&run)),
        Effect::Reap(run) => Act::Reap(at(&run)),
        Effect::Fence(at) => Act::Fence(u8::try_from(at / SPAN).expect("few spans")),
    }
}
