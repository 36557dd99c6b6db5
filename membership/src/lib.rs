//! Who is in the cluster, and who has failed: SWIM with Lifeguard as a value.
//!
//! If you have never built one, this page says what failure detection and gossip are and where each
//! of their rules lives. If you came to use it, the example is below.
//!
//! # The problem
//!
//! Some machines work together, and each needs to know which others are there: to send them work,
//! to take over theirs, to count them. Machines come, leave, stop without a word, and hang for a
//! while; the network loses and delays what they say. Nobody can tell a machine that is dead from
//! one whose answer is late (Chandra and Toueg 1996). So a *failure detector* can only suspect, and
//! is good if it is rarely wrong, soon right, and cheap however many machines there are.
//!
//! # The idea
//!
//! The obvious way is that everyone sends everyone a heartbeat: N² packets each second, and one
//! slow receiver that thinks everyone dead. SWIM (Das, Gupta, Motivala 2002) takes it apart into
//! two halves that cost each member the same, however many there are:
//!
//! ```text
//!     detect     each second, ask one other: are you there?         2 packets a member and second
//!                no answer: let three others ask, before it counts
//!
//!     tell       put what you have heard into the packets that      no packets at all
//!                you send anyway, and into those of a few rounds    log N rounds until all know
//!                to members by chance
//! ```
//!
//! **Gossip** works like a rumour. Who hears news tells it to some by chance; after each round a
//! multiple know it, after log N rounds all. Nobody keeps track of who knows; it is told often
//! enough that missing somebody is unlikely, and two members who compare what they know now and
//! then find what was missed.
//!
//! **Suspicion** makes it bearable to be wrong. A member that does not answer is *suspected* first,
//! and everyone hears of it, the suspect as well. If it lives, it objects: it raises its
//! *incarnation*, a number that only it may raise, and "alive, incarnation 4" beats "suspected,
//! incarnation 3" wherever the two meet. If it does not object in time, it has failed.
//!
//! **Lifeguard** (Dadgar, Phillips, Currey 2018) found who is wrong most: members that are slow
//! themselves. They miss the answers to their own probes and accuse the healthy. So a member looks
//! for signs that it is ill, and takes more time before it accuses; one accuser alone has to wait
//! long, several that agree do not; and whoever probes a suspect tells it first. To this we add
//! three rules in the same spirit: who hears nobody accuses nobody, time in which a process did not
//! run does not count, and nobody is convicted on hearsay. What each is for is shown by turning it
//! off: `membership/sim/tests/suite/lifeguard.rs`.
//!
//! # The shape
//!
//! [`Swim`] reads no clock, opens no socket and draws no random number that its seed does not give.
//! Whoever drives it hands in what happened ([`Input`]) and does what it asks for ([`Effect`]):
//!
//! ```text
//!           Input                                              Effect
//!   datagram, stream message, ───┐                    ┌────► send a datagram, a stream message
//!   join, leave, set, broadcast  ▼                    │      tell the application (Event)
//!                     swim.handle(now, input, &mut effects)  save a snapshot
//!                                ▲
//!   Tick, when it is time  ──────┘  swim.deadline()
//! ```
//!
//! # Try it
//!
//! Two members, and a network that is a loop:
//!
//! ```
//! use std::time::Duration;
//! use drystone_membership::{Boot, Config, Effect, Event, Input, Node, Swim};
//!
//! # fn main() -> Result<(), drystone_membership::Error> {
//! let addr = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
//! let member = |name: &str, port| {
//!     let boot = Boot::new(Node::named(name, addr(port)), 1, u64::from(port));
//!     Swim::new(boot, Config::lan(), Duration::ZERO)
//! };
//! let mut swims = [member("ann", 1)?, member("bob", 2)?];
//! let (mut effects, mut events) = (Vec::new(), Vec::new());
//! swims[1].handle(Duration::ZERO, Input::Join(vec![addr(1)]), &mut effects)?;
//! for ms in 0..2_000 {
//!     let now = Duration::from_millis(ms);
//!     for swim in &mut swims {
//!         swim.handle(now, Input::Tick, &mut effects)?;
//!     }
//!     while let Some(effect) = effects.pop() {
//!         let at = |to: std::net::SocketAddr| usize::from(to.port() - 1);
//!         match effect {
//!             Effect::Datagram { to, bytes } => {
//!                 let (from, bytes) = (addr(3 - to.port()), &bytes[..]);
//!                 swims[at(to)].handle(now, Input::Datagram { from, bytes }, &mut effects)?;
//!             }
//!             Effect::Stream { to, bytes } => {
//!                 swims[at(to)].handle(now, Input::Stream { bytes: &bytes }, &mut effects)?;
//!             }
//!             Effect::Event(event) => events.push(event),
//!             Effect::Persist => {}
//!         }
//!     }
//! }
//! let names = events.iter().filter_map(|event| match event {
//!     Event::Joined(node) => Some(node.name.as_str()),
//!     _ => None,
//! });
//! assert_eq!(names.collect::<Vec<_>>(), ["ann", "bob"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//!
//! * A member that lives and can be reached objects to every accusation, and is believed.
//! * A member at rest sends two small datagrams a second, in a cluster of ten as in one of ten
//!   thousand. No datagram is longer than [`Config::mtu`].
//! * Words about members, broadcasts and metadata each have a share of every packet that the others
//!   cannot take.
//! * What is kept of a member without a name and metadata is less than 256 bytes; every list has a
//!   bound.
//! * Nothing that a packet says makes it panic; one that is damaged, cut short, of another cluster,
//!   or sealed with no key of ours changes nothing. With keys, nobody without one is believed.
//! * The same inputs at the same times give the same effects.
//!
//! # Follow a failure
//!
//! `swim/probing.rs` (nobody answers) → `swim/beliefs.rs` (an accusation, a defence) →
//! `suspicion.rs` (how long) → `swim/gossip.rs` and `lane.rs` (all hear of it) → `swim/sync.rs`
//! (and those who did not). Members come in through `swim/joining.rs`; `swim/talk.rs` is what they
//! say for themselves; `stable.rs` is for whom all this is too restless. The bytes are drawn in
//! `packet.rs`, `message.rs` and `rumor.rs`.
//!
//! # Absent
//!
//! * Agreement: two members may believe different things for a while, and views are not numbered
//!   the same everywhere. For that there is consensus (`drystone-raft`).
//! * Certain delivery of broadcasts. Metadata arrives for certain.
//! * Fragments: what does not fit a datagram goes by stream.

#![forbid(unsafe_code)]

mod types;

mod config;
mod effect;
mod error;
mod input;
mod node;

mod swim;

mod clock;
mod health;
mod rtt;
mod suspicion;

mod lane;
mod peer;
mod peers;
mod sums;

mod broadcast;
mod metadata;

mod message;
mod packet;
mod rumor;
mod wire;

mod keyring;
mod snapshot;
mod stable;

mod rng;

#[cfg(any(test, fuzzing))]
pub mod spelling;

#[cfg(feature = "runtime")]
pub mod runtime;

pub use broadcast::TOPIC_BYTES_MAX;
pub use config::{Config, Lifeguard, MTU_MAX, MTU_MIN, Verdict};
pub use effect::{Effect, Event};
pub use error::{Error, Result};
pub use input::Input;
pub use keyring::{KEYS_MAX, Key, KeyStep};
pub use metadata::KEY_BYTES_MAX;
pub use node::{Member, NAME_BYTES_MAX, Node};
pub use snapshot::Snapshot;
pub use stable::{StableConfig, StableView, ViewChange};
pub use swim::{Boot, Stats, Swim};
pub use types::{Incarnation, NodeId, State};
