//! Flags about comparing members with each other, and the disk with its checksums.

use std::time::Duration;

use clap::{ArgAction, Args};

use super::feature_gates;
use super::flags::parse_bool;
use crate::comparison::Options;

/// The longest that a wish may be put off: etcd takes any, and nobody waits for it.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// Flags about comparing members, and the disk with its checksums.
#[derive(Args, Clone, Debug)]
pub(crate) struct ComparisonFlags {
    /// Compare all that the members have, at once and so often; 0 leaves it to --scrub-percent
    #[arg(long, default_value = "0s", value_parser = super::duration::parse)]
    pub(crate) corrupt_check_time: Duration,
    /// With the gate CompactHashCheck: how often to look for a compaction, after which all that the
    /// members have is compared
    #[arg(long, default_value = "1m", value_parser = super::duration::parse)]
    pub(crate) compact_hash_check_time: Duration,
    /// Hundredths of a core that comparing members may take all the time, and verifying the disk as
    /// well; 0 does neither
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) scrub_percent: u32,
    /// How long to rest when that has seen everything
    #[arg(long, default_value = "60s", value_parser = super::duration::parse)]
    pub(crate) scrub_pause: Duration,
    /// The gate InitialCorruptCheck
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    pub(crate) experimental_initial_corrupt_check: bool,
    /// The gate CompactHashCheck
    #[arg(long, action = ArgAction::Set, value_parser = parse_bool, num_args = 0..=1)]
    #[arg(default_value = "false", default_missing_value = "true", require_equals = true)]
    pub(crate) experimental_compact_hash_check_enabled: bool,
}

impl ComparisonFlags {
    /// What they ask for, together with the gates.
    pub(super) fn options(&self, gates: &str) -> Result<Options, String> {
        let after = self.experimental_compact_hash_check_enabled
            || feature_gates::is_on(gates, "CompactHashCheck");
        if after && self.compact_hash_check_time.is_zero() {
            return Err("--compact-hash-check-time must be >0 (set to 0s)".to_owned());
        }
        Ok(Options {
            percent: self.scrub_percent,
            pause: self.scrub_pause.max(PAUSE_MIN),
            initial: self.experimental_initial_corrupt_check
                || feature_gates::is_on(gates, "InitialCorruptCheck"),
            every: Some(self.corrupt_check_time).filter(|every| !every.is_zero()),
            after_compaction: after.then_some(self.compact_hash_check_time),
        })
    }
}
