//! foca, as its own example of an agent runs it, with the settings for a LAN.
//!
//! * An identity is a socket address and a number that goes up when the member comes back under
//!   it, so that it can rejoin when it was taken for dead; as `foca_insecure_udp_agent.rs` has it.
//!   The number starts at 0 and not at the seconds since 1970, which saves foca four bytes an
//!   identity: with postcard one takes 8 bytes.
//! * `Config::new_lan` for the number of members that the cluster will have. Timers and packets
//!   are what its accumulating runtime says, and its randomness comes from a seed.
//! * User messages are its custom broadcasts, twelve bytes each. Of metadata it knows none but a
//!   change of identity, which is another thing, so it is not asked for that.
//! * Who has left is stopped, as its docs say; a member that reaches no seed tries again each
//!   second, as any agent would. A warm start hands it the members by `apply_many`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use drystone_membership_sim::scenario::spread::News;
use drystone_membership_sim::{
    Acts, Gossiper, Input, Order, SECOND, Seat, What, address_of, node_of,
};
use drystone_sim::NodeId;
use foca::{
    AccumulatingRuntime, BroadcastHandler, Config, Foca, Identity, Invalidates, Member,
    OwnedNotification, PostcardCodec, Timer,
};
use rand_foca::SeedableRng;
use rand_foca::rngs::SmallRng;
use serde::{Deserialize, Serialize};

use super::Candidate;

/// With its defaults for a LAN.
pub const LAN: Candidate<Agent> =
    Candidate { name: "foca", config: |_| (), says: &[News::Leave, News::Broadcast] };

/// Who a member is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Id {
    addr: SocketAddr,
    /// Goes up when it comes back.
    bump: u64,
}

impl Id {
    fn first(node: NodeId) -> Id {
        Id { addr: address_of(node).into(), bump: 0 }
    }

    fn node(&self) -> NodeId {
        match self.addr {
            SocketAddr::V4(addr) => node_of(addr),
            SocketAddr::V6(_) => NodeId(0),
        }
    }
}

impl Identity for Id {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Id> {
        Some(Id { addr: self.addr, bump: self.bump.wrapping_add(1) })
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn win_addr_conflict(&self, adversary: &Id) -> bool {
        self.bump > adversary.bump
    }
}

/// A user's message: who says it, and the number said.
type Word = (NodeId, u64);

/// Passes each message on once.
#[derive(Debug, Default)]
struct Words {
    known: BTreeSet<Word>,
    fresh: Rc<RefCell<Vec<Word>>>,
}

/// Nothing makes a message obsolete but the same again.
#[derive(Debug, PartialEq, Eq)]
struct Key(Word);

impl Invalidates for Key {
    fn invalidates(&self, other: &Key) -> bool {
        self == other
    }
}

impl BroadcastHandler<Id> for Words {
    type Key = Key;
    type Error = Infallible;

    fn receive_item(&mut self, data: &[u8], _: Option<&Id>) -> Result<Option<Key>, Infallible> {
        let Some((node, number)) = data.split_first_chunk() else { return Ok(None) };
        let Ok(number) = number.try_into() else { return Ok(None) };
        let word = (NodeId(u32::from_be_bytes(*node)), u64::from_be_bytes(number));
        let is_new = self.known.insert(word);
        if is_new {
            self.fresh.borrow_mut().push(word);
        }
        Ok(is_new.then_some(Key(word)))
    }
}

/// A member.
pub struct Agent {
    me: NodeId,
    foca: Foca<Id, PostcardCodec, SmallRng, Words>,
    runtime: AccumulatingRuntime<Id>,
    fresh: Rc<RefCell<Vec<Word>>>,
    /// By time, and then as they were ordered.
    timers: BTreeMap<(u64, u64), Timer<Id>>,
    ordered: u64,
    /// Whom to ask, and when again, until somebody answers.
    join: Option<(u64, Arc<[NodeId]>)>,
    left: bool,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Agent").field(self.foca.identity()).finish()
    }
}

impl Agent {
    fn wake(&mut self, now: u64) {
        while let Some(entry) = self.timers.first_entry()
            && entry.key().0 <= now
        {
            let timer = entry.remove();
            // Its errors are for a log: the protocol goes on.
            let _ = self.foca.handle_timer(timer, &mut self.runtime);
            self.schedule(now);
        }
        if let Some((_, seeds)) = self.join.take_if(|(at, _)| *at <= now)
            && self.foca.num_members() == 0
        {
            self.join(now, &seeds);
        }
    }

    fn join(&mut self, now: u64, seeds: &Arc<[NodeId]>) {
        for seed in seeds.iter().filter(|seed| **seed != self.me) {
            let _ = self.foca.announce(Id::first(*seed), &mut self.runtime);
        }
        self.join = Some((now + SECOND, Arc::clone(seeds)));
    }

    fn obey(&mut self, now: u64, order: &Order) {
        match order {
            Order::Know(all) => {
                let others = all.iter().filter(|other| **other != self.me);
                let members = others.map(|other| Member::alive(Id::first(*other)));
                let _ = self.foca.apply_many(members, false, &mut self.runtime);
            }
            Order::Join(seeds) => self.join(now, seeds),
            Order::Leave => {
                let _ = self.foca.leave_cluster(&mut self.runtime);
                self.left = true;
            }
            Order::Publish(number) => {
                let word = [&self.me.0.to_be_bytes()[..], &number.to_be_bytes()].concat();
                let _ = self.foca.add_broadcast(&word);
            }
            Order::Describe(_) => {}
        }
    }

    /// Keeps the timers that foca has ordered.
    fn schedule(&mut self, now: u64) {
        while let Some((after, timer)) = self.runtime.to_schedule() {
            let at = now + u64::try_from(after.as_micros()).expect("foca waits a day at most");
            self.ordered += 1;
            self.timers.insert((at, self.ordered), timer);
        }
    }

    /// Passes on what foca sends and says.
    fn flush(&mut self, now: u64, acts: &mut Acts) {
        while let Some((to, bytes)) = self.runtime.to_send() {
            acts.datagram(to.node(), bytes);
        }
        self.schedule(now);
        while let Some(notification) = self.runtime.to_notify() {
            match notification {
                OwnedNotification::MemberUp(id) => acts.saw(id.node(), What::Up),
                OwnedNotification::MemberDown(id) => acts.saw(id.node(), What::Down),
                _ => {}
            }
        }
        for (node, number) in self.fresh.borrow_mut().drain(..) {
            acts.saw(node, What::Heard(number));
        }
        if self.left {
            self.timers.clear();
            self.join = None;
        }
    }
}

impl Gossiper for Agent {
    type Config = ();

    fn start(me: NodeId, seat: &Seat<()>, seed: u64, _: u64, _: &mut Acts) -> Agent {
        let members = u32::try_from(seat.members).expect("a cluster has fewer than 2^32 members");
        let members = NonZeroU32::new(members).expect("a cluster has members");
        let id = Id { bump: u64::from(seat.lives), ..Id::first(me) };
        let words = Words::default();
        let fresh = Rc::clone(&words.fresh);
        let rng = SmallRng::seed_from_u64(seed);
        let config = Config::new_lan(members);
        Agent {
            me,
            foca: Foca::with_custom_broadcast(id, config, rng, PostcardCodec, words),
            runtime: AccumulatingRuntime::new(),
            fresh,
            timers: BTreeMap::new(),
            ordered: 0,
            join: None,
            left: false,
        }
    }

    fn handle(&mut self, now: u64, input: Input<'_>, acts: &mut Acts) {
        if self.left {
            return;
        }
        match input {
            Input::Datagram { bytes, .. } => {
                // A bad packet is for a log, and a foreign one too.
                let _ = self.foca.handle_data(bytes, &mut self.runtime);
            }
            Input::Stream { .. } => {}
            Input::Order(order) => self.obey(now, order),
            Input::Wake => self.wake(now),
        }
        self.flush(now, acts);
    }

    fn deadline(&self) -> Option<u64> {
        let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
        let join = self.join.as_ref().map(|(at, _)| *at);
        timer.into_iter().chain(join).min()
    }

    fn members_count(&self) -> usize {
        self.foca.num_members()
    }

    fn members(&self) -> impl Iterator<Item = NodeId> {
        self.foca.iter_members().map(|member| member.id().node())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::Subject;

    /// The cost at rest is identities above all; one that is longer than a user's would be unfair.
    #[test]
    fn an_identity_takes_eight_bytes() {
        use foca::Codec;
        let mut bytes = Vec::new();
        let member = Member::alive(Id::first(NodeId(300)));
        PostcardCodec.encode_member(&member, &mut bytes).unwrap();
        // And one each for its incarnation and its state.
        assert_eq!(bytes.len(), 8 + 1 + 1);
    }

    /// A peer that is held wrongly would look bad for it: its members must find a death and each
    /// other, hear what is said, and call nobody dead on a good network.
    #[test]
    fn a_cluster_of_foca_works() {
        let crash = LAN.crash(16, 1);
        assert!(crash.first.is_some() && crash.all.is_some(), "{crash:?}");
        let steady = LAN.steady(16, 1, 30);
        assert!(steady.right && steady.bytes > 30.0, "{steady:?}");
        for news in [News::Leave, News::Broadcast] {
            let spread = LAN.spread(16, 1, news, drystone_sim::Rate::NEVER);
            assert_eq!(spread.knew, (15, 15), "{news:?}: {spread:?}");
        }
        assert!(LAN.bootstrap(16, 1, 60).all_after.is_some());
        assert_eq!(LAN.loss(16, 1, drystone_sim::Rate::NEVER, 60).false_downs, 0);
    }
    /// A figure of foca that nobody can repeat is none.
    #[test]
    fn a_seed_is_one_run_of_foca() {
        let loss = drystone_sim::Rate::percent(30);
        let run = |seed| LAN.loss(16, seed, loss, 120);
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
