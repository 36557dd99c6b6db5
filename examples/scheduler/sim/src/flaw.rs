//! One thing of the world that is broken on purpose.
//!
//! # Problem
//! A thousand days without a broken promise say something only if the checks would have seen one.
//! A check that asks the broken part itself, or that no day ever comes near, is content for ever.
//!
//! # Idea
//! The leader and the agent are the real ones; whatever they touch is played. So what a mistake in
//! them would do is done beside them, without a line in theirs: servers are shown something else
//! than the store holds, or are not told; the store does not look at a comparison; an agent wakes
//! without its journal; keepers sleep through the fence.
//!
//! ```text
//!   store ──── shows, tells ───► server (real leader) ──── when …, then … ───► store
//!          Lie      Untold           LateClock              Twist, SlowOrders, Blind
//!   store ──── changes ────► agent (real) ──── effects ────► keepers, journal
//!          Deaf                      Forgetful, LostDisk, IdleKeepers, HastyKeepers
//! ```
//!
//! `tests/suite/teeth.rs` lets each of them live and demands that the very check finds it that is
//! there for it.

use mason_core::keys::{Key, Keys};
use mason_core::mirror::{Change, Mirror};
use mason_core::record::{
    self, JobRecord, MarksRecord, NodeRecord, PRINTED, PastRecord, Phase, Progress, Reason,
    RunRecord, StateRecord, Wish,
};
use mason_core::spec::{Body, Catchup, Concurrency, Overlap, Work, Workflow};
use mason_core::txn::{Op, Txn};
use mason_core::types::JobKey;

/// What is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// The store does not look at comparisons of these families of keys.
    Blind(&'static [Of]),
    /// The store's leases last a third of what it says.
    EarlyExpiry,
    /// Servers read something else than is there.
    Lie(Lie),
    /// The clock of a leader is a minute late, and only it does not see that.
    LateClock,
    /// What a leader decides is sent ten seconds later.
    SlowOrders,
    /// A leader's decisions are changed on the way.
    Twist(Twist),
    /// Leaders are not told when one of these changes; their copies show it.
    Untold(Of),
    /// Leaders are not told of jobs that somebody asks to try again.
    UntoldRetries,
    /// Agents do not hear that a run's key is gone.
    DeafToEnds,
    /// Agents do not hear of every other run that is bound to them.
    DeafToBinds,
    /// An agent wakes and sees neither its journal nor the folders of its runs, and is not told
    /// what it has claimed.
    Forgetful,
    /// The same, and the folders are gone.
    LostDisk,
    /// Keepers do not kill at the fence.
    IdleKeepers,
    /// Keepers say that it is over when they have been told to stop it.
    HastyKeepers,
    /// Every third word of how a run ended is lost, and its agent told that it was not.
    LostWords,
}

/// A family of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The election's.
    Lead,
    /// Jobs.
    Job,
    /// How far jobs are.
    State,
    /// Tasks.
    Task,
    /// Runs.
    Run,
    /// How runs ended.
    Result,
    /// How tasks ended.
    Marks,
    /// That nodes live.
    Alive,
    /// Nodes.
    Node,
}

/// How a decision is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// Runs are told to stop, and why is not so.
    OtherReasons,
    /// Jobs that wait begin.
    Begin,
    /// Nobody is asked to end.
    NeverEnd,
    /// No run is told that its node goes.
    NeverDrain,
}

/// What servers read in the place of what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Nodes have twice the room.
    WideNodes,
    /// Nodes take any number of tasks.
    ManyTasks,
    /// No node is cordoned, drained or tainted.
    OpenNodes,
    /// An attempt that was interrupted counts.
    AllCounts,
    /// Any number of tasks of a job may run at once.
    AllAtOnce,
    /// Any number of tasks of a job may fail.
    AnyFailures,
    /// Crons make nothing up.
    NoCatchup,
    /// Tasks may be tried more often.
    MoreTries,
    /// Tasks are tried once.
    OneTry,
    /// A task that failed did well.
    AllGood,
    /// Nothing waits for anything.
    NoOrder,
    /// Steps have other names.
    OtherNames,
    /// Workflows that are over go on.
    Undead,
    /// Jobs that are over go on.
    UndeadJobs,
    /// Tasks printed something else.
    OtherWords,
    /// No job has an owner.
    NoOwners,
    /// A step that failed did well.
    AllWell,
    /// Whatever has begun has done well.
    AllDone,
    /// The same of what crons make.
    TicksDone,
    /// No task has ended.
    NoMarks,
    /// Of crons it is not known how far they are.
    LostTicks,
    /// Crons allow what they forbid.
    Overlaps,
    /// No task is a strict one.
    Lenient,
}

impl Of {
    fn is(self, key: &Key) -> bool {
        match self {
            Of::Lead => matches!(key, Key::Lead(_)),
            Of::Job => matches!(key, Key::Job(_)),
            Of::State => matches!(key, Key::State(_)),
            Of::Task => matches!(key, Key::Task(_)),
            Of::Run => matches!(key, Key::Run(..)),
            Of::Result => matches!(key, Key::Result(_)),
            Of::Marks => matches!(key, Key::Marks(..)),
            Of::Alive => matches!(key, Key::Alive(_)),
            Of::Node => matches!(key, Key::Node(_)),
        }
    }
}

impl Flaw {
    /// Whether the store looks at a comparison of this key.
    pub fn minds(self, path: &str) -> bool {
        let Flaw::Blind(families) = self else { return true };
        let key = Keys::default().parse(path);
        key.is_none_or(|key| !families.iter().any(|it| it.is(&key)))
    }

    /// Whether a leader is told that this has changed.
    pub fn tells(self, key: &Key, mirror: &Mirror) -> bool {
        match (self, key) {
            (Flaw::Untold(of), key) => !of.is(key),
            (Flaw::UntoldRetries, Key::Job(job)) => {
                let record = mirror.job(job).and_then(|it| it.record.as_ref());
                record.is_none_or(|it| it.value.retries == 0)
            }
            _ => true,
        }
    }

    /// Whether an agent hears this change of one of its runs.
    pub fn is_heard(self, change: &Change) -> bool {
        match self {
            Flaw::DeafToEnds => change.value.is_some(),
            Flaw::DeafToBinds => change.value.is_none() || change.made % 2 == 0,
            _ => true,
        }
    }

    /// Whether an agent that wakes sees nothing of what was before.
    pub fn forgets(self) -> bool {
        matches!(self, Flaw::Forgetful | Flaw::LostDisk)
    }

    /// What a leader decided, as it is sent.
    pub fn twist(self, txn: &mut Txn) {
        let Flaw::Twist(twist) = self else { return };
        for op in &mut txn.then {
            let Op::Put { key, value, .. } = op else { continue };
            match (twist, Keys::default().parse(key)) {
                (Twist::OtherReasons, Some(Key::Run(..))) => {
                    let mut run: RunRecord = record::decode(key, value).expect("runs read");
                    if let Wish::Stop { why, .. } = &mut run.wish {
                        *why = Reason::Interrupted;
                    }
                    *value = record::encode(&run);
                }
                (Twist::NeverEnd, Some(Key::Job(_))) => {
                    let mut job: JobRecord = record::decode(key, value).expect("jobs read");
                    job.asks.end = None;
                    *value = record::encode(&job);
                }
                (Twist::NeverDrain, Some(Key::Run(..))) => {
                    let mut run: RunRecord = record::decode(key, value).expect("runs read");
                    if let Wish::Stop { why: Reason::Drained | Reason::Interrupted, .. } = run.wish
                    {
                        run.wish = Wish::Run;
                    }
                    *value = record::encode(&run);
                }
                (Twist::Begin, Some(Key::State(_))) => {
                    let mut state: StateRecord = record::decode(key, value).expect("states read");
                    if state.phase == Phase::Waiting {
                        state.phase = Phase::Active;
                    }
                    *value = record::encode(&state);
                }
                _ => {}
            }
        }
    }

    /// What servers read.
    pub fn shown(self, change: &Change) -> Change {
        let Flaw::Lie(lie) = self else { return change.clone() };
        let told = change.value.as_deref().and_then(|value| {
            let key = Keys::default().parse(&change.path)?;
            lie.told(&key, &change.path, value)
        });
        Change { value: told.or_else(|| change.value.clone()), ..change.clone() }
    }
}

impl Lie {
    /// What is told of a key, if it is not the truth.
    fn told(self, key: &Key, path: &str, value: &[u8]) -> Option<Vec<u8>> {
        match key {
            Key::Node(_) => {
                let mut node = record::decode(path, value).expect("nodes read");
                self.tell_node(&mut node).then(|| record::encode(&node))
            }
            Key::Job(_) => {
                let mut job = record::decode(path, value).expect("jobs read");
                self.tell_job(&mut job).then(|| record::encode(&job))
            }
            Key::State(job) => {
                let mut state = record::decode(path, value).expect("states read");
                self.tell_state(job, &mut state).then(|| record::encode(&state))
            }
            Key::Marks(..) if self == Lie::NoMarks => Some(record::encode(&MarksRecord::default())),
            Key::Past(_) if self == Lie::OtherWords => {
                let mut past: PastRecord = record::decode(path, value).expect("pasts read");
                let printed = past.exit.outputs.get_mut(PRINTED)?;
                printed.insert(0, '7');
                Some(record::encode(&past))
            }
            Key::Result(_) if self == Lie::AllGood => {
                let mut result: record::ResultRecord =
                    record::decode(path, value).expect("results read");
                result.exit.code.replace(0).is_some().then(|| record::encode(&result))
            }
            _ => None,
        }
    }

    fn tell_node(self, node: &mut NodeRecord) -> bool {
        match self {
            Lie::WideNodes => (node.capacity.cpu, node.capacity.memory) = (2_000, 1 << 31),
            Lie::ManyTasks => node.tasks_max = 0,
            Lie::OpenNodes => {
                (node.cordoned, node.drain) = (false, None);
                node.taints.clear();
            }
            _ => return false,
        }
        true
    }

    fn tell_job(self, job: &mut JobRecord) -> bool {
        match (self, &mut job.work) {
            (Lie::AllCounts, Work::Job(work)) => work.retry.count_interruptions = true,
            (Lie::AllAtOnce, Work::Job(work)) => work.parallelism = 0,
            (Lie::AnyFailures, Work::Job(work)) => work.failures_max = u32::MAX,
            (Lie::NoCatchup, Work::Cron(cron)) => cron.catchup = Catchup::None,
            (Lie::MoreTries, Work::Job(work)) => work.retry.attempts += 1,
            (Lie::OneTry, Work::Job(work)) => work.retry.attempts = 1,
            (Lie::Lenient, Work::Job(work)) => work.concurrency = Concurrency::Available,
            (Lie::NoOrder, Work::Job(work)) => work.depends_on.clear(),
            (Lie::NoOrder, Work::Workflow(work)) => unorder(work),
            (Lie::OtherNames, Work::Workflow(work)) => rename(work),
            (Lie::NoOwners, _) => job.owner = None,
            (Lie::Overlaps, Work::Cron(cron)) => cron.overlap = Overlap::Allow,
            _ => return false,
        }
        true
    }

    fn tell_state(self, job: &JobKey, state: &mut StateRecord) -> bool {
        let is_final = state.phase.is_final();
        match (self, &mut state.progress) {
            (Lie::Undead, Progress::Workflow(_)) if is_final => state.phase = Phase::Active,
            (Lie::UndeadJobs, Progress::Job { .. }) if is_final => state.phase = Phase::Active,
            (Lie::AllWell, Progress::Job { .. }) if state.phase == Phase::Failed => {
                state.phase = Phase::Succeeded;
            }
            (Lie::TicksDone, _) if job.name.starts_with("cron-") => {
                state.phase = Phase::Succeeded;
            }
            (Lie::AllDone, Progress::Job { .. }) => state.phase = Phase::Succeeded,
            (Lie::LostTicks, Progress::Cron(progress)) => drop(std::mem::take(progress)),
            _ => return false,
        }
        true
    }
}

fn unorder(work: &mut Workflow) {
    for template in &mut work.templates {
        match &mut template.body {
            Body::Steps(groups) => {
                let all = groups.drain(..).flatten().collect();
                groups.push(all);
            }
            Body::Dag(nodes) => nodes.iter_mut().for_each(|node| node.depends = None),
            Body::Task(_) | Body::Suspend { .. } => {}
        }
    }
}

fn rename(work: &mut Workflow) {
    for template in &mut work.templates {
        if let Body::Steps(groups) = &mut template.body {
            groups.iter_mut().flatten().for_each(|node| node.name.insert(0, 'm'));
        }
    }
}
