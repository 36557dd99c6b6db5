//! The members among themselves: one port, two kinds of conversation.
//!
//! ```text
//!                         ┌─ "dryraft\n" ──► drystone_raft: consensus messages, whole states
//!   peer port ──► first ──┤
//!                 bytes   └─ HTTP ─────────► desk: questions to the leader; /version, /members;
//!                                          comparisons of what members have
//! ```
//!
//! Only the leader can propose, and only it knows how long leases live. A member that is asked for
//! that keeps one stream of questions to the leader (`line.rs`), on which whatever has gathered
//! travels together.
//!
//! Everything here runs on the runtime of the consensus node, apart from the threads that serve
//! clients.

mod compare;
mod contact;
mod desk;
mod dialler;
mod line;
mod office;
mod port;
mod roll;
mod wire;

pub(crate) use compare::{BLOCKS_MAX, Correspondence, Said, Subject};
pub(crate) use contact::follow as follow_contact;
pub(crate) use desk::Desk;
pub(crate) use dialler::Dialler;
pub(crate) use line::{Heard, members_at};
pub(crate) use office::Office;
pub(crate) use port::Port;
pub(crate) use roll::{FILE as PEERS_FILE, Known, Roll};

/// The messages, as `build.rs` makes them of `proto/peer.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub(crate) mod pb {
    tonic::include_proto!("drystone.peer");
}
