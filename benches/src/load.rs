//! The load: many clients, few threads, one [`Report`].
//!
//! # Problem
//! Client and server share the cores, so whatever the client burns is taken from the server, and a
//! client that is slower than the server measures itself.
//!
//! # Idea
//! As many threads as cores, each with a runtime of its own that never leaves its thread, and the
//! connections dealt out among them like cards: no lock and no wake-up crosses threads on the way
//! of a request. The clients are dealt out among the connections in the same way; each is a task
//! that sends, waits for the answer, writes the time down and takes the next ticket.
//!
//! ```text
//!   thread 0   connection 0 -- client 0, client 3         tickets 0, 1, 2, ... total
//!              connection 2 -- client 2, client 5    <--- one counter for all threads
//!   thread 1   connection 1 -- client 1, client 4
//! ```
//!
//! # Open and closed loop
//! Without a rate every client sends as soon as it has its answer (closed loop): that finds the
//! most the server can do with so many clients. With a rate, ticket `n` is due at `n / rate`
//! seconds, and its time runs from then on even if no client was free: a server that stalls cannot
//! hide the requests it kept from being sent.
//!
//! # Promises
//! With several endpoints, connection `n` goes to the `n`th of them, and round again. Connections,
//! leases and watchers are made before the clock starts. Every answer is awaited
//! before it stops. No answer for [`STALL`] ends the run with an error.

mod connection;
mod lease;
mod options;
mod report;
mod run;
mod schedule;
mod unary;
mod watch;

pub use options::{Options, Span, Workload};
pub use report::Report;
pub use run::{STALL, run};
