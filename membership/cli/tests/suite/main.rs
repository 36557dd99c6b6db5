//! Real processes on real sockets: killed, stopped, starved of packets and cut in two.
//!
//! ```text
//!     test ──► process 1 … n ──► lines of JSON ──► what each has seen, when
//!       │          │  ▲
//!       │       UDP│  │TCP          each has an address of its own, 127.x.y.z, and where packets
//!       └──► doors ▼  │             are to be lost a door by which the others know it: doors.rs
//!             of the others
//! ```
//!
//! What is lost by chance comes from a seed; what the kernel does with the rest does not.
//! Everything is waited for by what the processes say.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod cluster;
mod doors;
mod faults;
mod manners;
