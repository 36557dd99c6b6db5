//! What a scene is played on: a store, servers, agents, and a view of all that they do.
//!
//! ```text
//!   Site ── Role: a process, to be started, killed, paused, ended
//!     ├──── Ledger: every change of the store, with what must never happen in it
//!     ├──── beats: what containers say of when they lived, in a file that they all append to
//!     └──── close: ends everything, and looks for what is left
//! ```

mod beats;
mod leaks;
mod ledger;
mod role;
mod site;

pub(crate) use beats::{Beats, beating};
pub(crate) use leaks::processes;
pub(crate) use ledger::Ledger;
pub(crate) use role::Role;
pub(crate) use site::Site;
