//! A member: everything that has happened to it, and what it does next.
//!
//! ```text
//!     handle(now, input, &mut effects)
//!        │
//!        ├── Datagram, Stream ─► packet ─► message ─┬─► probing     is it there?
//!        │                                          ├─► joining     let me in; two of one name
//!        │                            news ─────────┼─► beliefs     alive, suspect, failed, left
//!        │                                          ├─► talk        metadata, broadcasts, keys
//!        │                                          └─► sync        do we know the same?
//!        ├── Join, Leave, Set, Broadcast, …
//!        └── Tick ─► whatever is due: the next probe, a suspicion's end, a round of gossip, …
//! ```
//!
//! The rooms are in `swim/`; each is an `impl Swim` of one subject.

mod beliefs;
mod gossip;
mod joining;
mod packets;
mod probing;
mod sync;
mod talk;
mod timers;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::broadcast::BROADCAST_FRAME_BYTES;
use crate::clock::{Clock, Micros, micros};
use crate::config::Config;
use crate::effect::{Effect, Event};
use crate::error::{Error, Result};
use crate::health::Health;
use crate::input::Input;
use crate::keyring::{Key, Keyring};
use crate::lane::{Lane, Parcels, UNTOLD};
use crate::metadata::Metadata;
use crate::node::{Member, Node};
use crate::packet::Envelope;
use crate::peer::{Peer, fingerprint};
use crate::peers::Peers;
use crate::rng::Rng;
use crate::rtt::RoundTrips;
use crate::snapshot::Snapshot;
use crate::suspicion::{Suspicions, Terms, trip};
use crate::types::{Incarnation, NodeId, State};

use joining::Joining;
use probing::Probing;
use talk::Wants;

/// The key under which ourselves stand in the lane of words.
const ME: u32 = u32::MAX;

/// How a member begins.
#[derive(Debug, Clone)]
pub struct Boot {
    /// Who it is.
    pub node: Node,
    /// Which life of its name this is: higher than those before. Seconds since 1970 do, or
    /// [`Snapshot::next_life`] of what was saved; if it is not high enough, that is noticed and
    /// mended, a little later.
    pub life: u32,
    /// The keys; the first seals. None is a cluster that anyone can talk to.
    pub keys: Vec<Key>,
    /// Drawn from a good source for each life: everything random follows from it, nonces too.
    pub seed: u64,
}

impl Boot {
    /// A member without keys.
    pub fn new(node: Node, life: u32, seed: u64) -> Boot {
        Boot { node, life, keys: Vec::new(), seed }
    }
}

/// Whether we are a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// We are, or would be if there were others.
    Member,
    /// Our name belongs to another process.
    Ousted,
    /// We are telling that we leave.
    Leaving { until: Micros },
    /// There is nothing more to be done.
    Gone,
}

/// Ourselves.
#[derive(Debug, Clone)]
struct Me {
    node: Node,
    /// The life with which this process began. It tells two processes of one name apart.
    born: u32,
    incarnation: Incarnation,
    phase: Phase,
    metadata: Metadata,
    /// The number of our last broadcast.
    broadcasts: u32,
    /// How often our own news was told.
    told: u8,
}

/// What a member has counted since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams that it wanted sent.
    pub datagrams: u64,
    /// Their bytes.
    pub datagram_bytes: u64,
    /// The longest of them.
    pub datagram_bytes_max: usize,
    /// Messages that it wanted sent by stream.
    pub streams: u64,
    /// Their bytes.
    pub stream_bytes: u64,
    /// Packets that were refused.
    pub refused: u64,
    /// Probes that were not answered.
    pub probes_failed: u64,
    /// Those of them that were not held against the target, because nobody else was heard.
    pub probes_void: u64,
    /// Accusations against us.
    pub accused: u64,
    /// Broadcasts and metadata that fell out of their lanes before they had been told often enough.
    pub dropped: u64,
}

/// A member of a cluster, as a value. See the front page for how to drive it.
///
/// * `wake` is when the first of its timers is due.
/// * A peer has a suspicion if and only if it is a suspect.
/// * The sum over all members includes our own fingerprint as long as we are one.
#[derive(Debug, Clone)]
pub struct Swim {
    config: Config,
    clock: Clock,
    rng: Rng,
    me: Me,
    peers: Peers,
    health: Health,
    trips: RoundTrips,
    suspicions: Suspicions,
    probing: Probing,
    joining: Joining,
    /// Words about members, by slot; [`ME`] is ourselves.
    words: Lane,
    /// Nothing that is heard now is to be told: the others know it.
    hushed: bool,
    broadcasts: Parcels,
    changes: Parcels,
    wants: Wants,
    gossip_at: Option<Micros>,
    gossiped_at: Micros,
    sync_at: Micros,
    /// How long it is from one comparison to the next, now; it grows to what is configured.
    sync_rest: Micros,
    sweep_at: Micros,
    persist_at: Option<Micros>,
    /// No snapshot before this: they have some time between them.
    persist_from: Micros,
    /// When a packet of another member last came.
    heard_at: Micros,
    envelope: Envelope,
    keyring: Keyring,
    /// Until when nobody else who seals with an older key is sent the ring.
    keys_told_at: Micros,
    stats: Stats,
}

impl Swim {
    /// A member that knows nobody. `now` is a moment of a clock that never goes back.
    pub fn new(boot: Boot, config: Config, now: Duration) -> Result<Swim> {
        config.validate()?;
        boot.node.validate()?;
        let id = boot.node.id;
        let mut rng = Rng::new(boot.seed ^ id.0.rotate_left(32));
        let keyring = Keyring::new(boot.keys, id, rng.draw())?;
        let envelope = Envelope::new(&config.label);
        let mut clock = Clock::default();
        clock.tell(now, None, true);
        let mut peers = Peers::new();
        let incarnation = Incarnation::first(boot.life);
        let me = Me {
            node: boot.node,
            born: boot.life,
            incarnation,
            phase: Phase::Member,
            metadata: Metadata::default(),
            broadcasts: 0,
            told: UNTOLD,
        };
        peers.set_own(id, fingerprint(id, incarnation, 0));
        let probing = Probing::new(&mut rng, &config);
        let mut swim = Swim {
            broadcasts: Parcels::new(config.broadcast_bytes_max),
            changes: Parcels::new(config.broadcast_bytes_max),
            sync_rest: micros(config.sync_period),
            sync_at: 0,
            config,
            clock,
            rng,
            me,
            peers,
            health: Health::default(),
            trips: RoundTrips::default(),
            suspicions: Suspicions::default(),
            probing,
            joining: Joining::default(),
            words: Lane::default(),
            hushed: false,
            wants: Wants::default(),
            gossip_at: None,
            gossiped_at: 0,
            sweep_at: SWEEP,
            persist_at: None,
            persist_from: 0,
            heard_at: 0,
            envelope,
            keyring,
            keys_told_at: 0,
            stats: Stats::default(),
        };
        swim.sync_at = swim.rng.below(swim.sync_rest);
        swim.tell_ring();
        Ok(swim)
    }

    /// Something has happened, at `now` of the driver's clock. What is to be done about it is
    /// appended to `out`.
    ///
    /// An error says what was wrong with the input, of which nothing has come then; effects may
    /// have come of the time that has passed.
    pub fn handle(&mut self, now: Duration, input: Input<'_>, out: &mut Vec<Effect>) -> Result<()> {
        let own_time = self.config.lifeguard.own_time;
        let stopped = self.clock.tell(now, self.next_timer(), own_time);
        if stopped > 0 {
            self.health.worse(1);
        }
        if self.me.phase == Phase::Gone {
            return match input {
                Input::Tick | Input::Datagram { .. } | Input::Stream { .. } => Ok(()),
                _ => Err(Error::Gone),
            };
        }
        match input {
            Input::Tick => {
                self.tick(out);
                Ok(())
            }
            Input::Datagram { from, bytes } => self.packet(Some(from), bytes, out),
            Input::Stream { bytes } => self.packet(None, bytes, out),
            Input::Join(seeds) => {
                self.join(seeds, out);
                Ok(())
            }
            Input::Leave => {
                self.leave(out);
                Ok(())
            }
            Input::Set { key, value } => self.set(key, value),
            Input::Broadcast { topic, payload } => self.broadcast(topic, payload),
            Input::Condemn(id) => self.condemn(id, out),
            Input::Keys(step) => self.turn_keys(step, false, out),
            Input::KeysAnyway(step) => self.turn_keys(step, true, out),
        }
    }

    /// When it wants to be called with [`Input::Tick`], by the driver's clock; `None` once it has
    /// left.
    pub fn deadline(&self) -> Option<Duration> {
        self.next_timer().map(|at| self.clock.outside(at))
    }

    /// Takes these for members, as if each had introduced itself: for clusters whose members are
    /// listed somewhere, and for simulations that begin warm. Tells nobody.
    pub fn assume(&mut self, nodes: impl IntoIterator<Item = (Node, u32)>) {
        for (node, life) in nodes {
            if node.id == self.me.node.id || self.peers.find(node.id).is_some() {
                continue;
            }
            let mut peer = Peer::new(node.id, node.addr);
            peer.incarnation = Incarnation::first(life);
            peer.zone = self.peers.zone(&node.zone);
            if !node.name.is_empty() {
                peer.more().name = node.name.into();
            }
            self.peers.add(peer, &mut self.rng);
        }
    }

    /// Who we are.
    pub fn me(&self) -> &Node {
        &self.me.node
    }

    /// Our incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.me.incarnation
    }

    /// Whether we count ourselves as a member: not once we have left, or another has our name.
    pub fn is_member(&self) -> bool {
        self.me.phase == Phase::Member
    }

    /// How many members there are, ourselves among them if we are one.
    pub fn members_count(&self) -> usize {
        self.peers.members() + usize::from(self.is_member())
    }

    /// The other members, in no order. Suspects are members.
    pub fn others(&self) -> impl Iterator<Item = Member> + '_ {
        self.peers.roster().iter().map(|slot| self.member(self.peers.at(*slot)))
    }

    /// The ids of the other members, in no order.
    pub fn other_ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.peers.roster().iter().map(|slot| self.peers.at(*slot).id)
    }

    /// What is believed of somebody, member or not; `None` if nothing is known, or if it is us.
    pub fn of(&self, id: NodeId) -> Option<Member> {
        self.peers.find(id).map(|slot| self.member(self.peers.at(slot)))
    }

    fn member(&self, peer: &Peer) -> Member {
        let node = Node {
            id: peer.id,
            addr: peer.addr(),
            name: peer.name().to_owned(),
            zone: self.peers.zone_name(peer.zone).to_owned(),
        };
        Member { node, state: peer.state, incarnation: peer.incarnation }
    }

    /// A value of somebody's metadata, or of ours.
    pub fn metadata(&self, id: NodeId, key: &str) -> Option<&Bytes> {
        self.metadata_of(id)?.get(key)
    }

    /// Somebody's metadata, or ours: keys and values, by key.
    pub fn metadata_all(&self, id: NodeId) -> impl Iterator<Item = (&str, &Bytes)> {
        self.metadata_of(id).into_iter().flat_map(Metadata::iter)
    }

    fn metadata_of(&self, id: NodeId) -> Option<&Metadata> {
        if id == self.me.node.id {
            return Some(&self.me.metadata);
        }
        let peer = self.peers.at(self.peers.find(id)?);
        Some(&peer.more.as_ref()?.metadata)
    }

    /// The most bytes of topic and payload together that a broadcast may have.
    pub fn broadcast_bytes_max(&self) -> usize {
        self.share_bytes() - BROADCAST_FRAME_BYTES
    }

    /// The bytes of news that a lane has room for in every packet, whatever the others have to say.
    fn share_bytes(&self) -> usize {
        let room = self.config.mtu - Envelope::bytes(&self.keyring) - gossip::HEAD_BYTES;
        room / 4 - gossip::SECTION_BYTES
    }

    /// How long the local health multiplier stretches patience: 0 is well, 8 is worst.
    pub fn health(&self) -> u64 {
        self.health.score()
    }

    /// The 99th percentile of round trips to the zone of a member, once there are enough.
    pub fn round_trip(&self, id: NodeId) -> Option<Duration> {
        let zone = self.peers.at(self.peers.find(id)?).zone;
        self.trips.p99(zone).map(Duration::from_micros)
    }

    /// The number of the ring of keys, and the fingerprints of its keys, the one that seals first.
    pub fn keys(&self) -> (u64, Vec<u32>) {
        let primary = self.keyring.primary();
        let others = self.keyring.fingerprints().filter(|name| *name != primary);
        let sealing = (!self.keyring.is_empty()).then_some(primary);
        (self.keyring.number(), sealing.into_iter().chain(others).collect())
    }

    /// What to save, so that this member finds the others again after all have been down.
    pub fn snapshot(&self) -> Snapshot {
        let addrs = self.peers.roster().iter().chain(self.peers.gone());
        let peers = addrs.map(|slot| (self.peers.at(*slot).id, self.peers.at(*slot).addr()));
        Snapshot { id: self.me.node.id, life: self.me.incarnation.life, peers: peers.collect() }
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        let dropped = self.broadcasts.dropped + self.changes.dropped;
        Stats { dropped, ..self.stats }
    }

    /// How many news wait to be told, ours and those of others.
    pub fn waiting(&self) -> usize {
        self.words.len() + self.broadcasts.len() + self.changes.len()
    }

    /// How many bytes all that is known of others takes.
    pub fn memory(&self) -> usize {
        self.peers.memory()
    }

    /// Asserts the invariants above, and those of its parts. Slow: for tests.
    pub fn check(&self) {
        let me = &self.me;
        let print = fingerprint(me.node.id, me.incarnation, me.metadata.version);
        self.peers.check(if self.counts_itself() { print } else { 0 });
        let suspects = self.peers.roster().iter();
        let suspects = suspects.filter(|slot| self.peers.at(**slot).state == State::Suspect);
        let mut count = 0;
        for slot in suspects {
            assert!(self.suspicions.of(*slot).is_some(), "a suspect has a suspicion");
            count += 1;
        }
        assert_eq!(self.suspicions.len(), count, "nobody else has one");
        assert!(self.peers.find(me.node.id).is_none(), "we are not among the others");
    }

    fn counts_itself(&self) -> bool {
        matches!(self.me.phase, Phase::Member)
    }

    fn now(&self) -> Micros {
        self.clock.now()
    }

    /// How long suspicions last now.
    fn terms(&self) -> Terms {
        let guard = self.config.lifeguard.confirmed_suspicions;
        let trip = trip(self.peers.members() + 1, micros(self.config.gossip_period));
        let min = trip * u64::from(self.config.suspicion_factor);
        let spread = if guard { u64::from(self.config.suspicion_spread) } else { 1 };
        // In a small cluster there are not so many who could confirm it.
        let others = self.peers.members().saturating_sub(1);
        let confirmations = if guard { self.config.confirmations.min(others) } else { 0 };
        let accusers_max = self.config.accusers_max.max(confirmations + 1);
        Terms { min, max: min * spread, confirmations, accusers_max }
    }

    fn event(&mut self, event: Event, out: &mut Vec<Effect>) {
        out.push(Effect::Event(event));
    }

    /// Who is there has changed: it is worth saving.
    fn persist_soon(&mut self) {
        let at = self.persist_from.max(self.now());
        self.persist_at.get_or_insert(at);
    }

    /// Changes our own incarnation, and the sum with it.
    fn change_me(&mut self, change: impl FnOnce(&mut Me)) {
        change(&mut self.me);
        let Me { node, incarnation, phase, metadata, .. } = &self.me;
        let counts = matches!(phase, Phase::Member);
        let print = if counts { fingerprint(node.id, *incarnation, metadata.version) } else { 0 };
        self.peers.set_own(node.id, print);
    }

    fn is_me(&self, addr: SocketAddr) -> bool {
        self.me.node.addr == addr
    }
}

/// How often the dead are looked through.
const SWEEP: Micros = 5_000_000;
/// The shortest time between two snapshots.
const PERSIST_REST: Micros = 10_000_000;
