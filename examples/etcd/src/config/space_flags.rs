//! Flags about room, and about learners: ours, none of them etcd's.

use clap::{ArgAction, Args};

use super::flags::parse_bool;

/// Flags about room.
#[derive(Clone, Debug, Args)]
pub(crate) struct SpaceFlags {
    /// Disarm this member's NOSPACE alarm by itself, once the size in use has fallen to this
    /// percentage of --quota-backend-bytes: 1 to 99; 0 is never, as in etcd
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=99))]
    pub(crate) quota_auto_disarm_percent: u8,
    /// Bytes kept back in the data directory for when the disk is full; 0 is none [default: 128
    /// MiB, at most a sixteenth of the disk]
    #[arg(long)]
    pub(crate) disk_reserve_bytes: Option<u64>,
    /// Promote learners by themselves once their log is in sync with the leader's
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    pub(crate) learner_auto_promote: bool,
}

impl SpaceFlags {
    /// The percentage, if there is one.
    pub(crate) fn disarm_percent(&self) -> Option<u64> {
        Some(u64::from(self.quota_auto_disarm_percent)).filter(|percent| *percent > 0)
    }
}
