//! Members that run: tokio around the core, sockets, a file for the bad days.
//!
//! # The problem
//!
//! The core says what to send and when to call again. Between it and a member of a cluster lie two
//! sockets, a clock, strangers who send garbage, peers that accept a connection and never read,
//! and callers who want to wait for something.
//!
//! # The idea
//!
//! One task ([the driver](Membership)) changes the core, and nobody else does:
//!
//! ```text
//!      UDP ─────────────────────┐               ┌────► UDP                     never waits
//!      TCP ─► guests ─► frames ─┤    driver     ├────► outboxes ─► TCP         a task each
//!      handles ─► requests ─────┤  (the core)   ├────► ring of events ─► watchers
//!      its deadline ────────────┘               └────► snapshot ─► a file      a thread
//! ```
//!
//! A turn takes what has gathered, datagrams first, and lets the core see the time only then: a
//! member that was stopped for a while finds the answers of the others before it finds its timers
//! run out. A member has one port number, for datagrams and for streams.
//!
//! # Try it
//!
//! ```
//! use drystone_membership::{Event, runtime::Membership};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let a = Membership::bind("127.0.0.1:0".parse()?).name("a").start().await?;
//! let mut watch = a.watch();
//!
//! let b = Membership::bind("127.0.0.1:0".parse()?).name("b").join([a.addr()]).await?;
//! assert_eq!(b.members().len(), 2);
//!
//! let joined = watch.next().await.expect("it runs")?;
//! assert!(matches!(joined, Event::Joined(node) if node.name == "b"));
//! b.leave().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//!
//! * Every queue has a bound with a name: outboxes and the ring of events drop their oldest, and
//!   count; callers wait.
//! * Nothing that comes by the network takes more than [`FRAME_BYTES_MAX`] of memory at once per
//!   connection, and [`INBOUND_BYTES_MAX`] over all; who says nothing is shown out.
//! * A snapshot on disk is whole, the old or the new one, whatever happens while it is written.
//! * When the last handle is dropped, the sockets close. The others notice, as after a crash.
//!
//! # Absent
//!
//! Names of hosts: whoever calls resolves them. Multicast. A member behind a translated address
//! needs to be told it ([`Builder::advertise`]).

mod error;
mod metrics;

mod builder;
mod handle;
mod request;
mod watch;

mod driver;

mod datagrams;
mod incoming;
mod outgoing;
mod ports;

mod birth;
mod file;

pub use builder::Builder;
pub use error::{Error, Result};
pub use handle::Membership;
pub use incoming::{FRAME_BYTES_MAX, GUESTS_MAX, INBOUND_BYTES_MAX};
pub use metrics::Metrics;
pub use outgoing::{OUTBOX_BYTES_MAX, OUTBOXES_MAX};
pub use watch::{EVENTS_MAX, Lagged, Watch};
