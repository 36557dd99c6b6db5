//! Looking into a data directory: `drystone-etcd inspect`.
//!
//! | room | asks |
//! |---|---|
//! | [`look`] | (runs the command, and takes its JSON apart) |
//! | [`running`] | whether a look beside a busy server shows all that was acknowledged |
//! | [`stopped`] | whether what a member left is shown as it is, with each engine |
//! | [`damage`] | whether damage is named, and the rest shown |
//! | [`cut_short`] | whether a log that has lost its end is told from one that has not |
//! | [`scale`] | whether it takes little memory, however long the log |
//! | [`schema`] | whether the JSON is what the README says, for every kind of request |
//!
//! Several members are looked at in [`crate::cluster`].

mod cut_short;
mod damage;
pub(crate) mod look;
mod running;
mod scale;
mod schema;
mod stopped;
