//! Groups of drystone-raft in a simulated world: the real core, hostile surroundings, one seed.

#![forbid(unsafe_code)]

mod choice;
mod disk;
mod holdings;
mod machine;
mod member;
mod model;
mod plan;
mod rot;
mod run;
mod stored;
mod watch;

pub use choice::Choice;
pub use disk::{Disk, Opened, Refused, Snapshot, Start, Unread};
pub use holdings::Holdings;
pub use machine::{KEYS, Lists, StateMachine};
pub use member::{Answer, Event, Member, Parcel, Ways};
pub use model::Model;
pub use plan::{DRIFT_PPM, ELECTION, Plan};
pub use run::{Report, run, run_on, run_plan, run_stored};
pub use stored::{File, Rot, Stored};
pub use watch::Watch;
