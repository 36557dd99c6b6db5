//! Whether the members have the same, and whether the disk still has what was written: asked all
//! the time, at little cost.
//!
//! **The problem.** A member whose state is wrong answers wrongly, and nobody notices: a bit fell
//! over in memory, files were exchanged, a bug made it do a command otherwise. And what rots on a
//! disk is noticed by whoever reads it, which may be the member that the others need just then.
//!
//! **The idea.** Three looks, of which each finds what the others do not:
//!
//! ```text
//!   blocks    once a second   what the newest commands have done, as sums: O(1) a command
//!   parts     1 % of a core   all records and the index, a piece at a time     (kv/src/part.rs)
//!   scrub     1 % of a core   every block on this member's disk, by its checksum
//! ```
//!
//! The leader compares blocks and parts: it makes a sum of its own, asks the others for the same,
//! and judges ([`verdict`]). What a quorum says is right. Whoever says something else, and says it
//! three times, is given the alarm CORRUPT, by name: that member shows nothing to clients any more,
//! and does not lead; the others go on. Without a quorum that agrees, nobody knows who is wrong:
//! it is logged, and if etcd's own checks are asked for, the alarm is raised for member 0, which
//! stops all of them, as in etcd.
//!
//! | a false alarm would come of | so |
//! |---|---|
//! | a member that lags | a part ends at a revision; who is not there yet says so |
//! | a compaction that only one has done | a part is of one; who is compacted elsewhere says so |
//! | members of several versions | sums have a scheme; who does not know it is not compared |
//! | an older member, which does otherwise under it | none is raised before all have answered |
//!
//! **Left out.** Mending: a member that is wrong is removed and added again, which gives it the
//! state of the others. The files of the engine `memory` are verified at a start alone.

mod blocks;
mod initial;
mod parts;
mod report;
mod rest;
mod right_of_way;
mod scrub;
mod verdict;

use std::collections::BTreeSet;
use std::time::Duration;

use drystone_kv::command::AlarmKind;
use drystone_kv::reply::Alarm;
use drystone_raft::{NodeId, Role};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::member::Shared;
use crate::peers::{Correspondence, Said, Subject};
use crate::shutdown::Shutdown;
use blocks::Blocks;
use parts::Pass;
use rest::Share;

pub(crate) use initial::check as initial_check;
pub(crate) use right_of_way::RightOfWay;
pub(crate) use scrub::start as start_scrub;

/// How often blocks are compared, and at least how often is looked for something to do.
const PERIOD: Duration = Duration::from_secs(1);
/// Bytes of a part, in a pass that rests.
const PART_BYTES: u64 = 128 << 10;
/// The same in one that does not.
const LARGE_PART_BYTES: u64 = 4 << 20;

/// What is asked for by flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Hundredths of a core that comparing may take, and scrubbing as well; 0 is none of both.
    pub(crate) percent: u32,
    /// How long to rest between two passes, at least.
    pub(crate) pause: Duration,
    /// Before clients are served, what is here is compared with what the others have.
    pub(crate) initial: bool,
    /// Everything is compared at once, so often.
    pub(crate) every: Option<Duration>,
    /// The same after a compaction; it is looked for one so often.
    pub(crate) after_compaction: Option<Duration>,
}

impl Options {
    /// Whether etcd's own checks are asked for.
    fn is_strict(&self) -> bool {
        self.every.is_some() || self.after_compaction.is_some()
    }
}

/// Compares this member with the others.
struct Comparer {
    member: Shared,
    correspondence: Correspondence,
    /// Who has understood a question.
    known: BTreeSet<NodeId>,
}

impl Comparer {
    fn new(member: Shared) -> Comparer {
        Comparer { member, correspondence: Correspondence::default(), known: BTreeSet::new() }
    }

    fn me(&self) -> NodeId {
        self.member.identity.member.0
    }

    /// How many members there are.
    fn members(&self) -> usize {
        self.member.kv.cluster().members.len()
    }

    fn others(&self) -> Vec<NodeId> {
        let cluster = self.member.kv.cluster();
        cluster.members.iter().map(|member| member.id).filter(|id| *id != self.me()).collect()
    }

    /// Asks some members at once.
    async fn ask(&mut self, members: &[NodeId], subject: Subject) -> Vec<(NodeId, Said)> {
        let (office, correspondence) = (&self.member.office, &self.correspondence);
        let ask = async |id: &NodeId| (*id, correspondence.ask(office, *id, subject).await);
        let said = join_all(members.iter().map(ask)).await;
        let knows = |said: &Said| matches!(said, Said::Part(..) | Said::Blocks(_));
        self.known.extend(said.iter().filter(|(_, said)| knows(said)).map(|(id, _)| *id));
        said
    }

    fn stands(&self, member: NodeId) -> bool {
        let alarm = Alarm { member, kind: AlarmKind::Corrupt };
        self.member.kv.status().alarms.contains(&alarm)
    }
}

/// Compares, while this member leads, until the server stops.
pub(crate) async fn follow(member: Shared, mut stop: Shutdown) {
    let options = member.config.comparison;
    let mut duties = Duties::new(member, &options);
    loop {
        let pause = tokio::select! {
            pause = duties.step() => pause,
            () = stop.fired() => return,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.fired() => return,
        }
    }
}

/// What the leader does, and when.
struct Duties {
    options: Options,
    comparer: Comparer,
    share: Option<Share>,
    blocks: Blocks,
    pass: Pass,
    blocks_due: Instant,
    part_due: Instant,
    whole_due: Instant,
    compaction_due: Instant,
    /// The newest compaction that was followed by a comparison.
    compared: Option<u64>,
}

impl Duties {
    fn new(member: Shared, options: &Options) -> Duties {
        let now = Instant::now();
        let later = |period: Option<Duration>| now + period.unwrap_or_default();
        Duties {
            options: *options,
            share: Share::of_percent(options.percent),
            blocks: Blocks::default(),
            pass: Pass::default(),
            blocks_due: now,
            part_due: now,
            whole_due: later(options.every),
            compaction_due: later(options.after_compaction),
            compared: member.kv.status().compacted,
            comparer: Comparer::new(member),
        }
    }

    /// Does what is due. Returns when to look again.
    async fn step(&mut self) -> Duration {
        let kv = &self.comparer.member.kv;
        if kv.rank().role != Role::Leader || self.comparer.others().is_empty() {
            (self.pass, self.blocks) = (Pass::default(), Blocks::default());
            return PERIOD;
        }
        if self.comparer.stands(self.comparer.me()) {
            // Who shows nothing to clients shall not be the one that all of them wait for.
            drop(kv.hand_over().await);
            return PERIOD;
        }
        if let Some(period) = self.options.every.filter(|_| self.whole_due <= Instant::now()) {
            self.whole().await;
            self.whole_due = Instant::now() + period;
        }
        let compaction_due = self.compaction_due <= Instant::now();
        if let Some(period) = self.options.after_compaction.filter(|_| compaction_due) {
            self.after_compaction().await;
            self.compaction_due = Instant::now() + period;
        }
        let Some(share) = self.share else { return PERIOD };
        if self.blocks_due <= Instant::now() {
            self.blocks.compare(&mut self.comparer).await;
            self.blocks_due = Instant::now() + PERIOD;
        }
        if self.part_due <= Instant::now() {
            let step = self.pass.step(&mut self.comparer, PART_BYTES).await;
            let rest = if step.is_end { self.options.pause } else { share.rest_after(step.took) };
            self.part_due = Instant::now() + rest;
        }
        self.part_due.saturating_duration_since(Instant::now()).min(PERIOD)
    }

    /// Compares all of the history, without a rest.
    async fn whole(&mut self) {
        let mut pass = Pass::default();
        while self.comparer.member.kv.rank().role == Role::Leader {
            if pass.step(&mut self.comparer, LARGE_PART_BYTES).await.is_end {
                return;
            }
        }
    }

    async fn after_compaction(&mut self) {
        let compacted = self.comparer.member.kv.status().compacted;
        if compacted == self.compared {
            return;
        }
        self.whole().await;
        self.compared = compacted;
        tracing::info!(revision = compacted, "finished compaction hash check");
    }
}
