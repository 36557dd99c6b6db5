//! Real processes on real sockets: killed, stopped, starved of packets and cut in two.
//!
//! ```text
//!     test ──► process 1 … n ──► lines of JSON ──► what each has seen, when
//!       │          │  ▲
//!       │       UDP│  │TCP                               each has an address of its own, 127.1.x.y,
//!       └──► doors ▼  │ in between, where packets are     and a door that the others know it by
//!            of each process   to be lost: see doors.rs
//! ```
//!
//! What is lost by chance comes from a seed; what the kernel does with the rest does not. Everything
//! is waited for by what the processes say.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod cluster;
mod doors;
mod faults;
mod manners;
