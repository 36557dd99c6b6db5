//! The network: every directed link has its own delays, losses and cuts.
//!
//! ```text
//!                    ┌── link n1 ► n2 ──┐
//!     send(now, n1, n2, m)              │   in flight, by time of arrival
//!        cut?  lost?  doubled?  delay ──┴──► ┌────┬────┬────┬────┐
//!                                            │ 17 │ 17 │ 21 │ 40 │ ──► arrive() : n1 ► n2, m
//!                                            └────┴────┴────┴────┘       cut meanwhile? lost
//! ```
//!
//! Links have directions, because real partitions do: the firewall that lets answers out and no
//! questions in has ended more clusters than the clean cut. [`Shape`](crate::Shape) has the
//! partitions that protocols are known to fall over.
//!
//! **When a message gets through.** The link must be open when the message leaves and when it
//! arrives; what is under way when the link is cut is lost if it arrives during the cut, and gets
//! through if the link is mended before. So a message from before a partition may arrive after it.
//! What a node sends to itself always arrives, at once.
//!
//! **Cost.** A message costs a few draws and a place in a heap of small keys. Nothing is allocated
//! but when the heap grows beyond its largest size so far.
//!
//! **Left out:** bandwidth, sizes and congestion: a message takes its delay however many others are
//! under way. Content is never damaged; a protocol with checksums may do that to its own messages.

use std::mem;

use crate::link::Link;
use crate::rng::Rng;
use crate::timeline::Timeline;
use crate::types::NodeId;

/// The most messages that may be under way. A protocol that comes here floods its network.
pub const IN_FLIGHT_MAX: usize = 1 << 20;

/// A message that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<M> {
    /// Who sent it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// What.
    pub message: M,
}

/// What became of a message when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is under way.
    Sent,
    /// It is under way, twice.
    Doubled,
    /// It is lost: the link is bad.
    Lost,
    /// It is lost: the link is cut, or nobody is there.
    Cut,
}

/// What has happened to messages so far. Sent messages and copies are delivered, lost, cut off or
/// still under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Messages that nodes have sent.
    pub sent: u64,
    /// Copies that the network has added to them.
    pub duplicated: u64,
    /// Messages that have arrived.
    pub delivered: u64,
    /// Messages that a bad link has lost.
    pub lost: u64,
    /// Messages that were lost to a cut, at either end of their way.
    pub cut: u64,
}

#[derive(Debug, Clone)]
struct LinkState {
    link: Link,
    cut: bool,
    /// When the last message arrives of those that wait their turn.
    last_at: u64,
}

/// The links between nodes 1 to n, and what is under way on them.
#[derive(Debug, Clone)]
pub struct Network<M> {
    nodes: usize,
    usual: Link,
    /// Row by sender, column by receiver.
    links: Vec<LinkState>,
    in_flight: Timeline<Envelope<M>>,
    rng: Rng,
    traffic: Traffic,
}

impl<M: Clone> Network<M> {
    /// A network of `nodes` nodes, every link as [`Link::default`], whose luck is `rng`'s.
    pub fn new(nodes: usize, rng: Rng) -> Network<M> {
        let mut network = Network {
            nodes: 0,
            usual: Link::default(),
            links: Vec::new(),
            in_flight: Timeline::new(),
            rng,
            traffic: Traffic::default(),
        };
        network.grow(nodes);
        network
    }

    /// The ids of all nodes.
    pub fn ids(
        &self,
    ) -> impl DoubleEndedIterator<Item = NodeId> + ExactSizeIterator + Clone + use<M> {
        NodeId::first(self.nodes)
    }

    /// Adds nodes, their links as [`set_all`](Network::set_all) said last.
    pub fn add(&mut self, count: usize) -> impl ExactSizeIterator<Item = NodeId> + use<M> {
        let before = self.nodes;
        self.grow(before + count);
        self.ids().skip(before)
    }

    fn grow(&mut self, nodes: usize) {
        let mut old = mem::take(&mut self.links).into_iter();
        for from in 0..nodes {
            for to in 0..nodes {
                let kept = (from < self.nodes && to < self.nodes).then(|| old.next()).flatten();
                let link = || LinkState { link: self.usual.clone(), cut: false, last_at: 0 };
                self.links.push(kept.unwrap_or_else(link));
            }
        }
        self.nodes = nodes;
    }

    /// Sends `message`, and says what has become of it. A message to nobody is [`Fate::Cut`].
    ///
    /// # Panics
    ///
    /// If [`IN_FLIGHT_MAX`] messages are under way.
    #[inline]
    pub fn send(&mut self, now: u64, from: NodeId, to: NodeId, message: M) -> Fate {
        self.traffic.sent += 1;
        let Some(at) = self.place(from, to) else {
            self.traffic.cut += 1;
            return Fate::Cut;
        };
        if from == to {
            self.launch(now, Envelope { from, to, message });
            return Fate::Sent;
        }
        let state = &mut self.links[at];
        if state.cut {
            self.traffic.cut += 1;
            return Fate::Cut;
        }
        if self.rng.chance(state.link.loss) {
            self.traffic.lost += 1;
            return Fate::Lost;
        }
        let doubled = self.rng.chance(state.link.duplicate);
        let arrives = state.arrival(now, &mut self.rng);
        if doubled {
            let again = state.arrival(now, &mut self.rng);
            self.traffic.duplicated += 1;
            self.launch(again, Envelope { from, to, message: message.clone() });
        }
        self.launch(arrives, Envelope { from, to, message });
        if doubled { Fate::Doubled } else { Fate::Sent }
    }

    #[inline]
    fn launch(&mut self, at: u64, envelope: Envelope<M>) {
        assert!(
            self.in_flight.len() < IN_FLIGHT_MAX,
            "{IN_FLIGHT_MAX} messages are under way: the protocol floods its network"
        );
        self.in_flight.push(at, envelope);
    }

    /// When the next message arrives, or is lost on arrival.
    #[inline]
    pub fn next_at(&self) -> Option<u64> {
        self.in_flight.next_at()
    }

    /// Takes the next message off the wire. If its link is cut now it is lost, and the answer is
    /// `Err` with its time.
    #[inline]
    pub fn arrive(&mut self) -> Option<Result<(u64, Envelope<M>), u64>> {
        let (at, envelope) = self.in_flight.pop()?;
        if envelope.from != envelope.to && self.is_cut(envelope.from, envelope.to) {
            self.traffic.cut += 1;
            return Some(Err(at));
        }
        self.traffic.delivered += 1;
        Some(Ok((at, envelope)))
    }

    /// Puts a message that had arrived back on the wire, to arrive (again) at `at`.
    pub(crate) fn put_back(&mut self, at: u64, envelope: Envelope<M>) {
        self.traffic.delivered -= 1;
        self.launch(at, envelope);
    }

    /// Counts a message that had arrived as lost after all: its receiver was not there.
    pub(crate) fn take_back(&mut self) {
        self.traffic.delivered -= 1;
        self.traffic.lost += 1;
    }

    /// Takes messages off the wire, in the order in which they would have arrived. They count as
    /// lost. With [`post`](Network::post) a test arranges an order that no seed has to find.
    pub fn withdraw(&mut self, which: impl FnMut(&Envelope<M>) -> bool) -> Vec<Envelope<M>> {
        let withdrawn = self.in_flight.extract(which);
        self.traffic.lost += withdrawn.len() as u64;
        withdrawn
    }

    /// Puts a message on the wire, to arrive at `at` unless its link is cut then, whoever its
    /// sender is. It counts as a copy that the network has made.
    pub fn post(&mut self, at: u64, envelope: Envelope<M>) {
        self.traffic.duplicated += 1;
        self.launch(at, envelope);
    }

    /// The messages under way, in no particular order.
    pub fn in_flight(&self) -> impl Iterator<Item = &Envelope<M>> {
        self.in_flight.iter()
    }

    /// What has happened to messages so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// How the link from `from` to `to` treats messages.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn link(&self, from: NodeId, to: NodeId) -> &Link {
        &self.links[self.known(from, to)].link
    }

    /// Sets how the link from `from` to `to` treats messages sent from now on.
    ///
    /// # Panics
    ///
    /// If there is no such node, or a range of the link is empty.
    pub fn set_link(&mut self, from: NodeId, to: NodeId, link: Link) {
        link.check();
        let at = self.known(from, to);
        self.links[at].link = link;
    }

    /// Sets all links, and those of nodes to come.
    ///
    /// # Panics
    ///
    /// If a range of the link is empty.
    pub fn set_all(&mut self, link: Link) {
        link.check();
        for state in &mut self.links {
            state.link = link.clone();
        }
        self.usual = link;
    }

    /// The link as [`set_all`](Network::set_all) said last.
    pub fn usual(&self) -> &Link {
        &self.usual
    }

    /// Whether nothing gets from `from` to `to`.
    #[inline]
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.place(from, to).is_none_or(|at| self.links[at].cut)
    }

    /// Cuts the link from `from` to `to`, and not the way back.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        let at = self.known(from, to);
        self.links[at].cut = true;
    }

    /// Mends the link from `from` to `to`.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        let at = self.known(from, to);
        self.links[at].cut = false;
    }

    /// Cuts every link of which `open` says no, and mends the others.
    pub fn connect(&mut self, open: impl Fn(NodeId, NodeId) -> bool) {
        for from in self.ids() {
            for to in self.ids().filter(|to| *to != from) {
                let at = self.known(from, to);
                self.links[at].cut = !open(from, to);
            }
        }
    }

    /// Mends every link that is cut. Bad links stay bad.
    pub fn heal(&mut self) {
        self.connect(|_, _| true);
    }

    /// Asserts that no message is counted twice, or not at all.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let Traffic { sent, duplicated, delivered, lost, cut } = self.traffic;
        let under_way = self.in_flight.len() as u64;
        assert_eq!(sent + duplicated, delivered + lost + cut + under_way, "{:?}", self.traffic);
    }

    fn place(&self, from: NodeId, to: NodeId) -> Option<usize> {
        let (row, column) = (from.index(), to.index());
        (row < self.nodes && column < self.nodes).then(|| row * self.nodes + column)
    }

    fn known(&self, from: NodeId, to: NodeId) -> usize {
        self.place(from, to).unwrap_or_else(|| panic!("there is no link from {from} to {to}"))
    }
}

impl LinkState {
    /// When a message arrives that is sent at `now`.
    #[inline]
    fn arrival(&mut self, now: u64, rng: &mut Rng) -> u64 {
        let mut at = now + rng.range(self.link.delay.start..self.link.delay.end);
        if rng.chance(self.link.late) {
            at += rng.range(self.link.late_by.start..self.link.late_by.end);
        }
        if !rng.chance(self.link.reorder) {
            // The heap keeps the order of those that arrive at the same time.
            at = at.max(self.last_at);
            self.last_at = at;
        }
        at
    }
}

#[cfg(test)]
mod tests;
