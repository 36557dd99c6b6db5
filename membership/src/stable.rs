//! A view that changes rarely and at once: a cut detector over the events of a member.
//!
//! The events of SWIM are about one member each, and as fast as they can be. For some uses that is
//! too restless: whoever moves shards, elects or counts quorums by them moves, elects and counts
//! again and again while a rack comes up, and for every turn of a member that is half reachable.
//! Rapid (Suresh et al. 2018) showed what such uses want instead: a *view* that holds still until
//! it is clear what has changed, and then changes in one cut.
//!
//! ```text
//!     events ─► Joined ──────────────► arrived, waits ─┐
//!               Failed, Left ────────► gone ───────────┤ all is quiet, nobody is
//!               Suspected, Recovered ► a report ───────┤ in between: the next view
//!                                                      ▼
//!     reports against a member    0 ...... L ........ H ......
//!     in the last minute            noise    unstable   out
//! ```
//!
//! * A member with **H** reports (9) from different members within a minute is out, however often
//!   it has defended itself. One with fewer than **L** (3) is as well as any. In between it is
//!   *unstable*: something is wrong, and the next view waits until it is clear with whom (Rapid
//!   §4.2), but no longer than `patience`.
//! * Rapid lets each member be watched by K fixed observers, which takes K rings of everyone. Here
//!   probes go around by chance, so within a minute a member is probed by some sixty others, and
//!   any of them can report it. What a member had to defend itself against but we have not heard of
//!   is in its incarnation, and counts as reports, too: that number is the same for everyone. With
//!   [`Config::accusers_max`](crate::Config::accusers_max) above H, which is for whoever has a
//!   stable view, twice as many look at a suspect for themselves, and it is clear sooner.
//! * Who is out stays out until it was left in peace for a while (`probation`), and comes in with
//!   the next view.
//! * An arrival waits until no other has come for `quiet`. A thousand members that start together
//!   see a view of one, and then one of a thousand.
//!
//! It is a filter, and nothing more: no messages, no agreement. Members that hear the same events
//! make the same views, a little earlier or later.
//!
//! ```
//! use std::time::Duration;
//! use drystone_membership::{Event, Node, NodeId, StableConfig, StableView};
//!
//! let at = |seconds| Duration::from_secs(seconds);
//! let node = |id| Node::new(NodeId(id), "10.0.0.1:7946".parse().unwrap());
//! let mut view = StableView::new(NodeId(1), StableConfig::default());
//! for id in 2..=1000 {
//!     view.handle(at(1), &Event::Joined(node(id)));
//! }
//! assert_eq!(view.members().len(), 1);
//! let change = view.tick(at(5)).expect("nobody has come for a while");
//! assert_eq!((change.joined.len(), view.members().len()), (999, 1000));
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::effect::Event;
use crate::rumor::ACCUSERS_MAX;
use crate::types::NodeId;

/// How still a view is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StableConfig {
    /// H: a member with so many reports against it is out.
    pub high: usize,
    /// L: a member with so many is unstable, and the view waits.
    pub low: usize,
    /// How long a report counts.
    pub memory: Duration,
    /// How long nobody may have come or gone before the view changes.
    pub quiet: Duration,
    /// How long the view waits at most for things to become clear.
    pub patience: Duration,
    /// How long nobody may have reported a member that is out before it is let in again.
    pub probation: Duration,
}

impl Default for StableConfig {
    fn default() -> StableConfig {
        StableConfig {
            high: 9,
            low: 3,
            memory: Duration::from_secs(60),
            quiet: Duration::from_secs(2),
            patience: Duration::from_secs(10),
            probation: Duration::from_secs(120),
        }
    }
}

/// A change of the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewChange {
    /// The number of the new view.
    pub number: u64,
    /// Who came in, in order.
    pub joined: Vec<NodeId>,
    /// Who went out, in order.
    pub removed: Vec<NodeId>,
}

/// What is known of a member that is not simply there.
#[derive(Debug, Clone, Default)]
struct Case {
    /// Whether SWIM counts it as a member.
    present: bool,
    /// Accusations that still count: when they came, and of whom.
    accused: VecDeque<(Duration, NodeId)>,
    /// Defences that still count: for each there was an accuser, heard of or not.
    defended: VecDeque<Duration>,
    /// The incarnation's count at the last of them.
    count: u32,
    /// It is out, and since when it was last reported.
    out: Option<Duration>,
}

/// A view over the events of a member. See the page above.
///
/// * Whoever is in the view and has no case is a member for SWIM, too, without reports.
#[derive(Debug, Clone)]
pub struct StableView {
    config: StableConfig,
    me: NodeId,
    number: u64,
    view: BTreeSet<NodeId>,
    cases: BTreeMap<NodeId, Case>,
    /// Since when the view is overdue.
    stirred_at: Option<Duration>,
    /// When somebody came or went last.
    moved_at: Duration,
    /// When it was asked last.
    asked_at: Duration,
}

impl StableView {
    /// A view of one.
    ///
    /// # Panics
    ///
    /// If L is above H, or H above what a suspicion tells of.
    pub fn new(me: NodeId, config: StableConfig) -> StableView {
        assert!(config.low <= config.high, "who is out was unstable before");
        assert!(config.high <= ACCUSERS_MAX, "a suspicion names so many accusers at most");
        StableView {
            config,
            me,
            number: 0,
            view: BTreeSet::from([me]),
            cases: BTreeMap::new(),
            stirred_at: None,
            moved_at: Duration::ZERO,
            asked_at: Duration::ZERO,
        }
    }

    /// The members of the view, in order. Ourselves are among them.
    pub fn members(&self) -> &BTreeSet<NodeId> {
        &self.view
    }

    /// The number of the view.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Takes a member into the view at once: for clusters that begin with a list of members.
    pub fn assume(&mut self, id: NodeId) {
        self.view.insert(id);
    }

    /// An event of the member has come.
    pub fn handle(&mut self, now: Duration, event: &Event) {
        match event {
            Event::Joined(node) => self.come(now, node.id),
            Event::Failed(id) | Event::Left(id) if *id != self.me => self.go(now, *id),
            Event::Suspected { id, by } => self.accuse(now, *id, *by),
            Event::Recovered { id, incarnation } => self.defend(now, *id, incarnation.count),
            _ => {}
        }
    }

    fn case(&mut self, id: NodeId) -> &mut Case {
        let present = self.view.contains(&id);
        self.cases.entry(id).or_insert_with(|| Case { present, ..Case::default() })
    }

    fn come(&mut self, now: Duration, id: NodeId) {
        self.case(id).present = true;
        self.stir(now);
    }

    fn go(&mut self, now: Duration, id: NodeId) {
        self.case(id).present = false;
        self.stir(now);
    }

    fn stir(&mut self, now: Duration) {
        self.moved_at = now;
        self.stirred_at.get_or_insert(now);
    }

    fn accuse(&mut self, now: Duration, id: NodeId, by: NodeId) {
        let high = self.config.high;
        let case = self.case(id);
        if !case.accused.iter().any(|(_, other)| *other == by) {
            case.accused.push_back((now, by));
            // More than enough say nothing more.
            case.accused.truncate(2 * high);
        }
        self.reported(now, id);
    }

    fn defend(&mut self, now: Duration, id: NodeId, count: u32) {
        let high = self.config.high;
        let case = self.case(id);
        let before = std::mem::replace(&mut case.count, count);
        // Of a member that nothing is known of, how many came before this one is not known either.
        let new = if before == 0 { 1 } else { count.saturating_sub(before) as usize };
        case.defended.extend(std::iter::repeat_n(now, new.min(high)));
        case.defended.truncate(2 * high);
        self.reported(now, id);
    }

    fn reported(&mut self, now: Duration, id: NodeId) {
        if let Some(since) = &mut self.case(id).out {
            *since = now;
        }
        self.stirred_at.get_or_insert(now);
    }

    /// Time has passed: the next view, if it is due.
    pub fn tick(&mut self, now: Duration) -> Option<ViewChange> {
        let config = self.config.clone();
        let stirred = self.stirred_at?;
        self.asked_at = now;
        self.cases.values_mut().for_each(|case| case.forget(now, config.memory));
        let quiet = now.saturating_sub(self.moved_at) >= config.quiet;
        let unstable = self
            .cases
            .values()
            .any(|case| (config.low..config.high).contains(&case.reports()) && case.out.is_none());
        let overdue = now.saturating_sub(stirred) >= config.patience;
        if !(overdue || quiet && !unstable) {
            return None;
        }
        let change = self.cut(now);
        // Whoever is out or was reported needs another look later.
        self.stirred_at = (!self.cases.is_empty()).then_some(now);
        change
    }

    /// When it wants to be asked again; `None` as long as nothing has happened.
    pub fn deadline(&self) -> Option<Duration> {
        self.stirred_at.map(|at| at.max(self.moved_at).max(self.asked_at) + self.config.quiet)
    }

    /// Makes the next view, if it differs from this one.
    fn cut(&mut self, now: Duration) -> Option<ViewChange> {
        let config = &self.config;
        let (mut joined, mut removed) = (Vec::new(), Vec::new());
        for (id, case) in &mut self.cases {
            if case.reports() >= config.high && case.out.is_none() {
                case.out = Some(now);
            }
            if case.out.is_some_and(|since| now.saturating_sub(since) >= config.probation) {
                case.out = None;
            }
            let belongs = case.present && case.out.is_none();
            match (belongs, self.view.contains(id)) {
                (true, false) => joined.push(*id),
                (false, true) => {
                    removed.push(*id);
                    // It has shown that it does not stay: it comes back after its probation.
                    if case.reports() > 0 {
                        case.out.get_or_insert(now);
                    }
                }
                _ => {}
            }
        }
        self.view.extend(&joined);
        self.view.retain(|id| !removed.contains(id));
        let view = &self.view;
        self.cases.retain(|id, case| {
            let settled = case.present == view.contains(id) && case.out.is_none();
            !(settled && case.reports() == 0)
        });
        if joined.is_empty() && removed.is_empty() {
            return None;
        }
        self.number += 1;
        Some(ViewChange { number: self.number, joined, removed })
    }
}

impl Case {
    fn reports(&self) -> usize {
        self.accused.len().max(self.defended.len())
    }

    fn forget(&mut self, now: Duration, memory: Duration) {
        while self.accused.front().is_some_and(|(at, _)| *at + memory <= now) {
            self.accused.pop_front();
        }
        while self.defended.front().is_some_and(|at| *at + memory <= now) {
            self.defended.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Node;
    use crate::types::Incarnation;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn joined(id: u64) -> Event {
        Event::Joined(Node::new(NodeId(id), "10.0.0.1:7946".parse().unwrap()))
    }

    fn suspected(id: u64, by: u64) -> Event {
        Event::Suspected { id: NodeId(id), by: NodeId(by) }
    }

    fn recovered(id: u64, count: u32) -> Event {
        Event::Recovered { id: NodeId(id), incarnation: Incarnation { life: 1, count } }
    }

    /// A view of members 1 to 20, and what it said when it was asked each second until `end`.
    struct Told {
        view: StableView,
        now: u64,
        changes: Vec<(u64, Vec<u64>, Vec<u64>)>,
    }

    impl Told {
        fn new() -> Told {
            let mut view = StableView::new(NodeId(1), StableConfig::default());
            (2..=20).for_each(|id| view.assume(NodeId(id)));
            Told { view, now: 0, changes: Vec::new() }
        }

        fn tell(&mut self, event: &Event) {
            self.view.handle(at(self.now), event);
        }

        fn until(&mut self, end: u64) {
            let ids = |ids: &[NodeId]| ids.iter().map(|id| id.0).collect();
            for now in self.now + 1..=end {
                if let Some(change) = self.view.tick(at(now)) {
                    self.changes.push((now, ids(&change.joined), ids(&change.removed)));
                }
            }
            self.now = end;
        }
    }

    // A member that is half reachable is in and out of SWIM's list every minute.
    #[test]
    fn a_member_that_flaps_goes_out_once() {
        let mut told = Told::new();
        for minute in 0..4 {
            told.until(60 * minute + 15);
            told.tell(&suspected(7, 2));
            told.tell(&Event::Failed(NodeId(7)));
            told.until(60 * minute + 40);
            told.tell(&joined(7));
        }
        told.until(300);
        assert_eq!(told.changes, [(17, vec![], vec![7])]);
        told.until(400);
        assert_eq!(told.changes[1..], [(315, vec![7], vec![])], "a while after the last of it");
    }

    // One accuser is ill itself, as a rule.
    #[test]
    fn it_takes_many_accusers_to_put_a_member_out_that_defends_itself() {
        let mut told = Told::new();
        for round in 0..20 {
            told.tell(&suspected(7, 2 + round % 2));
            told.until(told.now + 20);
        }
        assert_eq!(told.changes, []);
        for by in 2..11 {
            told.tell(&suspected(8, by));
        }
        told.until(told.now + 3);
        assert_eq!(told.changes, [(401, vec![], vec![8])]);
    }

    // Those who have missed the accusations must come to the same view as those who heard them.
    #[test]
    fn defences_count_as_much_as_accusations() {
        let mut told = Told::new();
        for count in 1..=9 {
            told.tell(&recovered(7, count));
            told.until(told.now + 2);
        }
        told.until(30);
        assert_eq!(told.changes, [(17, vec![], vec![7])]);
    }

    // Rapid §4.2: while it is not clear with whom something is wrong, acting is guessing.
    #[test]
    fn the_view_waits_until_it_is_clear_who_is_ill() {
        let mut told = Told::new();
        for (victim, accusers) in [(7, 9), (8, 4)] {
            (0..accusers).for_each(|by| told.tell(&suspected(victim, 9 + by)));
        }
        told.until(4);
        assert_eq!(told.changes, []);
        (0..9).for_each(|by| told.tell(&suspected(8, 9 + by)));
        told.until(6);
        assert_eq!(told.changes, [(5, vec![], vec![7, 8])], "both in one cut");
    }

    // Something that never becomes clear must not stop the world.
    #[test]
    fn patience_ends() {
        let mut told = Told::new();
        told.tell(&Event::Failed(NodeId(9)));
        (10..14).for_each(|by| told.tell(&suspected(8, by)));
        told.until(20);
        assert_eq!(told.changes, [(10, vec![], vec![9])]);
    }

    // A rack that comes up is one change and not forty.
    #[test]
    fn those_who_come_together_come_in_together() {
        let mut told = Told::new();
        for id in 30..35 {
            told.tell(&joined(id));
            told.until(told.now + 1);
        }
        told.until(20);
        assert_eq!(told.changes, [(6, (30..35).collect(), vec![])]);
        assert_eq!(told.view.deadline(), None, "and nothing is left to wait for");
    }
}
