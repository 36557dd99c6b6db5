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
//! but when the heap grows beyond its largest size so far. Ten thousand nodes have a hundred
//! million links; what is kept is the usual link, what differs from it, the sides of a partition,
//! and whose turn it is on links that keep order and carry something.
//!
//! **Left out:** bandwidth, sizes and congestion: a message takes its delay however many others are
//! under way. Content is never damaged; a protocol with checksums may do that to its own messages.

use crate::cuts::Cuts;
use crate::link::Link;
use crate::links::Links;
use crate::pairs::Pair;
use crate::rng::Rng;
use crate::sides::Sides;
use crate::timeline::Timeline;
use crate::turns::Turns;
use crate::types::NodeId;

/// The most messages that may be under way, unless there are so many nodes that
/// [`IN_FLIGHT_NODE_MAX`] allows more. A protocol that comes here floods its network.
pub const IN_FLIGHT_MAX: usize = 1 << 20;

/// The most messages for each node that may be under way in a network of many.
pub const IN_FLIGHT_NODE_MAX: usize = 1 << 10;

/// How often a message of a stream is sent before its connection counts as broken.
pub const STREAM_TRIES_MAX: u32 = 8;

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
    /// It is lost: the link is bad. A stream is broken then: none of its tries got through.
    Lost,
    /// It is lost: the link is cut, or nobody is there.
    Cut,
}

/// What has happened to messages so far. Sent messages and copies are delivered, lost, cut off or
/// still under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Messages that nodes have sent, those of streams among them. What is held at a blocked node
    /// is not sent yet.
    pub sent: u64,
    /// Copies that the network has added to them.
    pub duplicated: u64,
    /// Messages that have arrived.
    pub delivered: u64,
    /// Messages that a bad link has lost, or whose receiver was not there.
    pub lost: u64,
    /// Messages that were lost to a cut, at either end of their way.
    pub cut: u64,
}

/// A message under way.
#[derive(Debug, Clone)]
pub(crate) struct Parcel<M> {
    pub(crate) envelope: Envelope<M>,
    way: Way,
}

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Datagram,
    Stream,
    /// It is there and was held: no cut takes it any more.
    Held,
}

/// The links between nodes 1 to n, and what is under way on them.
#[derive(Debug, Clone)]
pub struct Network<M> {
    nodes: usize,
    links: Links,
    cuts: Cuts,
    turns: Turns,
    /// Turns among the messages of streams, which do not wait for others.
    stream_turns: Turns,
    in_flight: Timeline<Parcel<M>>,
    rng: Rng,
    /// The luck of streams. Datagrams have the same with and without them.
    stream_rng: Rng,
    traffic: Traffic,
}

impl<M: Clone> Network<M> {
    /// A network of `nodes` nodes, every link as [`Link::default`], whose luck is `rng`'s.
    pub fn new(nodes: usize, rng: Rng) -> Network<M> {
        Network {
            nodes,
            links: Links::default(),
            cuts: Cuts::default(),
            turns: Turns::new(),
            stream_turns: Turns::new(),
            in_flight: Timeline::new(),
            stream_rng: rng.fork("streams"),
            rng,
            traffic: Traffic::default(),
        }
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
        self.nodes += count;
        self.links.grow(self.nodes);
        self.cuts.grow(self.nodes);
        self.ids().skip(before)
    }

    /// Sends `message`, and says what has become of it. A message to nobody is [`Fate::Cut`].
    ///
    /// # Panics
    ///
    /// If [`in_flight_max`](Network::in_flight_max) messages are under way.
    #[inline]
    pub fn send(&mut self, now: u64, from: NodeId, to: NodeId, message: M) -> Fate {
        self.traffic.sent += 1;
        if !self.has(from, to) {
            self.traffic.cut += 1;
            return Fate::Cut;
        }
        if from == to {
            self.launch(now, Envelope { from, to, message });
            return Fate::Sent;
        }
        if self.cuts.has(from, to) {
            self.traffic.cut += 1;
            return Fate::Cut;
        }
        let link = self.links.get(from, to);
        if self.rng.chance(link.loss) {
            self.traffic.lost += 1;
            return Fate::Lost;
        }
        let doubled = self.rng.chance(link.duplicate);
        let arrives = arrival(link, now, Pair::new(from, to), &mut self.rng, &mut self.turns);
        if doubled {
            self.double(now, from, to, message.clone());
        }
        self.launch(arrives, Envelope { from, to, message });
        if doubled { Fate::Doubled } else { Fate::Sent }
    }

    /// Sends the copy that the network makes of a message.
    #[cold]
    fn double(&mut self, now: u64, from: NodeId, to: NodeId, message: M) {
        let link = self.links.get(from, to);
        let again = arrival(link, now, Pair::new(from, to), &mut self.rng, &mut self.turns);
        self.traffic.duplicated += 1;
        self.launch(again, Envelope { from, to, message });
    }

    /// Sends `message` on the stream from `from` to `to`, and says what has become of it: see
    /// [`Outbox::stream`](crate::Outbox::stream).
    ///
    /// # Panics
    ///
    /// If [`in_flight_max`](Network::in_flight_max) messages are under way.
    pub fn stream(&mut self, now: u64, from: NodeId, to: NodeId, message: M) -> Fate {
        self.traffic.sent += 1;
        if self.is_cut(from, to) {
            self.traffic.cut += 1;
            return Fate::Cut;
        }
        let (mut at, rng) = (now, &mut self.stream_rng);
        if from != to {
            let link = self.links.get(from, to);
            let Some(losses) = (0..STREAM_TRIES_MAX).find(|_| !rng.chance(link.loss)) else {
                self.traffic.lost += 1;
                return Fate::Lost;
            };
            at += link.draw_delay(rng) + link.resend_after * ((1 << losses) - 1);
        }
        let at = self.stream_turns.take(Pair::new(from, to), now, at);
        let envelope = Envelope { from, to, message };
        self.guard();
        self.in_flight.push(at, Parcel { envelope, way: Way::Stream });
        Fate::Sent
    }

    /// Counts a message as sent and lost that did not even leave.
    pub(crate) fn drop_unsent(&mut self) {
        self.traffic.sent += 1;
        self.traffic.lost += 1;
    }

    #[inline]
    fn launch(&mut self, at: u64, envelope: Envelope<M>) {
        self.guard();
        self.in_flight.push(at, Parcel { envelope, way: Way::Datagram });
    }

    #[inline]
    fn guard(&self) {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            self.expect_no_flood();
        }
    }

    #[cold]
    fn expect_no_flood(&self) {
        let most = self.in_flight_max();
        assert!(
            self.in_flight.len() < most,
            "{most} messages are under way: the protocol floods its network"
        );
    }

    /// When the next message arrives, or is lost on arrival.
    #[inline]
    pub fn next_at(&self) -> Option<u64> {
        self.in_flight.next_at()
    }

    /// Takes the next message off the wire. If its link is cut now it is lost, and the answer is
    /// `Err` with its time.
    pub fn arrive(&mut self) -> Option<Result<(u64, Envelope<M>), u64>> {
        let at = self.next_at()?;
        Some(self.unload().map(|parcel| (at, parcel.envelope)).ok_or(at))
    }

    /// Takes the next message off the wire, and with it how it came; `None` if its link is cut now.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[inline]
    pub(crate) fn unload(&mut self) -> Option<Parcel<M>> {
        let (_, parcel) = self.in_flight.pop().expect("a message is due");
        let Envelope { from, to, .. } = parcel.envelope;
        if from != to && parcel.way != Way::Held && self.is_cut(from, to) {
            self.traffic.cut += 1;
            return None;
        }
        self.traffic.delivered += 1;
        Some(parcel)
    }

    /// Puts messages that had arrived at a paused node back on the wire, to arrive (again) at `at`.
    /// Those of streams come before all that are due then: the next of their stream may be.
    pub(crate) fn put_back(&mut self, at: u64, parcels: Vec<Parcel<M>>) {
        self.traffic.delivered -= parcels.len() as u64;
        let (streams, others): (Vec<_>, Vec<_>) =
            parcels.into_iter().partition(|parcel| parcel.way != Way::Datagram);
        for parcel in streams.into_iter().rev() {
            self.in_flight.push_front(at, parcel);
        }
        for parcel in others {
            self.in_flight.push(at, parcel);
        }
    }

    /// Hands on messages that had arrived at a blocked node, at `at` and before all that are due
    /// then, whatever is cut now.
    pub(crate) fn hand_on(&mut self, at: u64, parcels: Vec<Parcel<M>>) {
        self.traffic.delivered -= parcels.len() as u64;
        for parcel in parcels.into_iter().rev() {
            self.in_flight.push_front(at, Parcel { way: Way::Held, ..parcel });
        }
    }

    /// Counts a message that had arrived as lost after all: its receiver was not there.
    pub(crate) fn take_back(&mut self) {
        self.traffic.delivered -= 1;
        self.traffic.lost += 1;
    }

    /// Takes messages off the wire, in the order in which they would have arrived. They count as
    /// lost. With [`post`](Network::post) a test arranges an order that no seed has to find.
    pub fn withdraw(&mut self, mut which: impl FnMut(&Envelope<M>) -> bool) -> Vec<Envelope<M>> {
        let withdrawn = self.in_flight.extract(|parcel| which(&parcel.envelope));
        self.traffic.lost += withdrawn.len() as u64;
        withdrawn.into_iter().map(|parcel| parcel.envelope).collect()
    }

    /// Puts a message on the wire, to arrive at `at` unless its link is cut then, whoever its
    /// sender is. It counts as a copy that the network has made.
    pub fn post(&mut self, at: u64, envelope: Envelope<M>) {
        self.traffic.duplicated += 1;
        self.launch(at, envelope);
    }

    /// The messages under way, in no particular order.
    pub fn in_flight(&self) -> impl Iterator<Item = &Envelope<M>> {
        self.in_flight.iter().map(|parcel| &parcel.envelope)
    }

    /// How many messages may be under way: the larger of [`IN_FLIGHT_MAX`], and
    /// [`IN_FLIGHT_NODE_MAX`] for each node.
    pub fn in_flight_max(&self) -> usize {
        IN_FLIGHT_MAX.max(self.nodes * IN_FLIGHT_NODE_MAX)
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
        self.expect(from, to);
        self.links.get(from, to)
    }

    /// Sets how the link from `from` to `to` treats messages sent from now on.
    ///
    /// # Panics
    ///
    /// If there is no such node, or a range of the link is empty.
    pub fn set_link(&mut self, from: NodeId, to: NodeId, link: Link) {
        link.check();
        self.expect(from, to);
        self.links.set(from, to, link);
    }

    /// Sets all links, and those of nodes to come.
    ///
    /// # Panics
    ///
    /// If a range of the link is empty.
    pub fn set_all(&mut self, link: Link) {
        link.check();
        self.links.set_all(link);
    }

    /// The link as [`set_all`](Network::set_all) said last.
    pub fn usual(&self) -> &Link {
        self.links.usual()
    }

    /// Whether nothing gets from `from` to `to`.
    #[inline]
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        !self.has(from, to) || self.cuts.has(from, to)
    }

    /// Cuts the link from `from` to `to`, and not the way back. From a node to itself there is
    /// none to cut.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.expect(from, to);
        self.cuts.set(from, to, true);
    }

    /// Mends the link from `from` to `to`.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        self.expect(from, to);
        self.cuts.set(from, to, false);
    }

    /// Cuts every link of which `open` says no, and mends the others. It asks of every link there
    /// is, so with thousands of nodes a [`Shape`](crate::Shape) is the better way.
    pub fn connect(&mut self, open: impl Fn(NodeId, NodeId) -> bool) {
        let ids = self.ids();
        // Who is on good terms with the first of a side is put there, so that what is left to say
        // of single links is little for whatever resembles a split.
        let mut groups: Vec<Vec<NodeId>> = Vec::new();
        for id in ids.clone() {
            let fits = |group: &&mut Vec<NodeId>| open(group[0], id) && open(id, group[0]);
            match groups.iter_mut().find(fits) {
                Some(group) => group.push(id),
                None => groups.push(vec![id]),
            }
        }
        let mut sides = Sides::apart(self.nodes);
        groups.iter().for_each(|group| sides.join(group.iter().copied()));
        self.cuts.part((groups.len() > 1).then_some(sides));
        for from in ids.clone() {
            for to in ids.clone().filter(|to| *to != from) {
                self.cuts.set(from, to, !open(from, to));
            }
        }
    }

    /// Mends every link that is cut. Bad links stay bad.
    pub fn heal(&mut self) {
        self.cuts.part(None);
    }

    /// Cuts every link that is not within these sides, and mends the others; `None` mends all.
    pub(crate) fn part(&mut self, sides: Option<Sides>) {
        self.cuts.part(sides);
    }

    /// Mends the links between two of `nodes`.
    pub(crate) fn mend_among(&mut self, nodes: &[NodeId]) {
        self.cuts.join(nodes);
    }

    /// Mends the links from one of `from` to one of `to`, as far as a partition has cut them.
    pub(crate) fn mend_from(&mut self, from: &[NodeId], to: &[NodeId]) {
        self.cuts.tell(from, to);
    }

    /// Makes the links between two of `nodes` the usual one.
    pub(crate) fn restore_among(&mut self, nodes: &[NodeId]) {
        self.links.join(nodes);
    }

    /// Sets all links but those between two of `spared`, and not those of nodes to come.
    pub(crate) fn worsen(&mut self, spared: &[NodeId], link: Link) {
        link.check();
        self.links.begin_spell(self.nodes, spared, link);
    }

    /// Makes all links the usual one, but those between two of `spared`.
    pub(crate) fn restore(&mut self, spared: &[NodeId]) {
        self.links.end_spell(spared);
    }

    /// Asserts that no message is counted twice, or not at all.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let Traffic { sent, duplicated, delivered, lost, cut } = self.traffic;
        let under_way = self.in_flight.len() as u64;
        assert_eq!(sent + duplicated, delivered + lost + cut + under_way, "{:?}", self.traffic);
    }

    #[inline]
    fn has(&self, from: NodeId, to: NodeId) -> bool {
        from.index() < self.nodes && to.index() < self.nodes
    }

    fn expect(&self, from: NodeId, to: NodeId) {
        assert!(self.has(from, to), "there is no link from {from} to {to}");
    }
}

/// When a datagram of `pair` arrives that is sent at `now`.
#[inline]
fn arrival(link: &Link, now: u64, pair: Pair, rng: &mut Rng, turns: &mut Turns) -> u64 {
    let at = now + link.draw_delay(rng);
    if rng.chance(link.reorder) {
        return at;
    }
    // The timeline keeps the order of those that arrive at the same time.
    turns.take(pair, now, at)
}

#[cfg(test)]
mod tests;
