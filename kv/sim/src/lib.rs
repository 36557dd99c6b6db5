//! Whole members of a replicated key-value store in a simulated world: the real core, the real log,
//! the real engines, hostile surroundings, one seed.

#![forbid(unsafe_code)]

mod changes;
mod disk;
mod flaw;
mod member;
mod oracle;
mod plan;
mod requests;
mod run;

pub use changes::Changes;
pub use flaw::Flaw;
pub use plan::Plan;
pub use run::{Report, run, run_plan};
