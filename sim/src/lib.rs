//! A simulator for state machines that talk over a network: same seed, same run, everywhere.
//!
//! If you have never simulated a protocol, this page says why you would and how. If you came to do
//! it, the example is below the picture, and [`Process`] is the trait to implement.
//!
//! # Why
//!
//! The bugs of a distributed protocol are orders: this crash between those two messages, that vote
//! arriving after the timeout it had caused. A test on real machines sees one order a run, the
//! friendliest as a rule; it takes weeks to meet a bad one and cannot be made to meet it again.
//!
//! A protocol written as a *pure state machine* (a call takes what happened and the time, and
//! returns what to do) needs no machines. Something can play the world around it: deliver its
//! messages or lose them, stop its clock or let it run fast, take its process away in the middle of
//! a write. If every such choice is drawn from one seed, three things follow.
//!
//! * **It is fast.** Nothing waits. An hour of cluster time passes in a second, and what took weeks
//!   to meet is met on the way.
//! * **It is repeatable.** A failure is a number. Run that number again, with every message told,
//!   as often as it takes to understand it.
//! * **It sees everything.** Between two steps all nodes stand still and can be compared: two
//!   leaders in one term, two values in one slot are an assertion away.
//!
//! The idea is old; FoundationDB and TigerBeetle made it a way to build. Here are its parts, for a
//! protocol of your own:
//!
//! ```text
//!    ┌───────────────────────────── World ──────────────────────────────┐
//!    │   Process ◄── message, event, wake ── one loop, by time and seed │ ◄── Trouble
//!    │      │                                      ▲                    │     crashes, cuts,
//!    │      ├── send ──► Network ── delay, loss ───┤                    │     slow clocks, then
//!    │      ├── later ─► events  ── disk, timers ──┤                    │     a healthy core
//!    │      └── deadline ► Clock ── drift, jumps ──┘                    │
//!    └──────────────────────────────────────────────────────────────────┘
//!         │ between steps: your invariants          │ calls and returns: History
//!         ▼                                         ▼
//!    assert!(at most one leader)               linear::check: is there an order?
//! ```
//!
//! # Try it
//!
//! ```
//! use drystone_sim::{Input, InputOf, Link, NodeId, OutboxOf, Process, Rng, World};
//!
//! /// Tells everybody the largest number that it has heard of, every 100 ticks of its clock.
//! struct Gossip { largest: u64, next: u64 }
//!
//! impl Process for Gossip {
//!     type Message = u64;
//!     type Event = u64;                                   // a client hands in a number
//!     type Disk = u64;                                    // what a crash leaves
//!     fn start(_: NodeId, largest: u64, now: u64, _: &mut OutboxOf<'_, Self>) -> Self {
//!         Gossip { largest, next: now + 100 }
//!     }
//!     fn step(&mut self, now: u64, input: InputOf<Self>, out: &mut OutboxOf<'_, Self>) {
//!         match input {
//!             Input::Message { message: number, .. } | Input::Event(number) => {
//!                 self.largest = self.largest.max(number);
//!             }
//!             Input::Wake => {
//!                 self.next = now + 100;
//!                 NodeId::first(3).for_each(|to| out.send(to, self.largest));
//!             }
//!         }
//!     }
//!     fn deadline(&self) -> Option<u64> { Some(self.next) }
//!     fn crash(self, _: &mut Rng) -> u64 { self.largest }
//! }
//!
//! let mut world = World::<Gossip>::new(7);                // the seed
//! world.network_mut().set_all(Link::hostile(1..50));      // a tenth is lost, any overtakes any
//! let nodes = world.add_all([0, 0, 0]);
//! world.later(nodes[0], 10, 42);
//! world.crash(nodes[2]);
//! while let Some(happened) = world.step_until(2_000) {
//!     assert!(world.processes().all(|(_, node)| node.largest <= 42), "{happened:?}");
//! }
//! assert_eq!(world.process(nodes[1]).unwrap().largest, 42);
//! world.restart(nodes[2]);
//! world.run_until(4_000);
//! assert_eq!(world.process(nodes[2]).unwrap().largest, 42);
//! ```
//!
//! # How to test a protocol with it
//!
//! 1. Put the core behind [`Process`]: some forty lines that translate inputs and effects. A write
//!    to a disk becomes an event after a delay; what of it survives is for `crash` to draw.
//! 2. Run [`Seeds`], each a [`World`] with a [`Trouble`]: a *safety phase* in which everything
//!    happens and your invariants are checked after each step, then [`Trouble::heal`] and a
//!    *liveness phase*, in which a majority is well and must make progress whatever the others do.
//! 3. Let clients write down what they ask and are told in a [`History`](history::History), and
//!    [`check`](linear::check) it against the model of what you sell.
//! 4. Break the protocol on purpose, one rule at a time. A simulation that does not find that has
//!    no teeth yet: draw harsher, or look closer.
//! 5. Keep the stories that matter as golden [`script`]s, one behaviour a file.
//!
//! When a seed fails it is run again with every message in the trace, and the one command that
//! replays it is printed.
//!
//! # Promises
//!
//! * A seed is one run: on every machine, with every compiler, in every version of this crate that
//!   does not say otherwise. No float, no clock, no map with a random order, no dependency decides
//!   anything; the stream of [`Rng`] is frozen by test vectors, and that of a whole world by its
//!   [`digest`](World::digest).
//! * A process must do its part: no time but the one it is handed, no randomness but the outbox's.
//!   A test that breaks this is told so by [`Seeds`].
//! * A message costs no allocation. Millions of steps a second are the world's share of a run.
//! * Ten thousand nodes are a world like any other: its size is that of its nodes, of what is under
//!   way, and of the links of which something was said.
//! * A verdict about a history is never a guess: beyond its limit the checker says "unknown".
//!
//! # What it does not do
//!
//! It runs state machines, not programs: threads, sockets and async runtimes are beyond it. It
//! draws orders and does not enumerate them; a model checker proves what this makes likely.
//! Bandwidth is not modelled, and messages are lost whole, never damaged.
//!
//! # Where to read
//!
//! `process.rs` and `world.rs` first; then `network.rs`, `clock.rs` and `trouble.rs`, which are
//! what can go wrong; `script.rs` and `linear.rs` each stand alone.

#![forbid(unsafe_code)]

mod process;
mod world;

mod profile;
mod trouble;

mod alarms;
mod clock;
mod link;
mod network;
mod shape;
mod timeline;

mod cuts;
mod links;
mod pairs;
mod sides;
mod turns;

pub mod history;
pub mod linear;

pub mod script;

mod error;
mod rate;
mod rng;
mod seeds;
mod trace;
mod types;

pub use clock::{CLOCK_ERROR_PPM_MAX, Clock};
pub use error::{Error, Result};
pub use link::Link;
pub use network::{
    Envelope, Fate, IN_FLIGHT_MAX, IN_FLIGHT_NODE_MAX, Network, STREAM_TRIES_MAX, Traffic,
};
pub use process::{Input, InputOf, Outbox, OutboxOf, Process};
pub use profile::{Profile, Woe};
pub use rate::Rate;
pub use rng::Rng;
pub use seeds::{Seed, Seeds};
pub use shape::Shape;
pub use trouble::{Harm, Rest, Trouble};
pub use types::NodeId;
pub use world::{AT_ONCE_MAX, AT_ONCE_NODE_MAX, HELD_MAX, Happened, What, World};
