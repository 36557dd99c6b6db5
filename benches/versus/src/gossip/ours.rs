//! Our membership: as it is, and with something turned off.

use drystone_membership::{Config, Lifeguard};
use drystone_membership_sim::scenario::spread::News;
use drystone_membership_sim::{Drystone, Stable};

use super::Candidate;

const ALL: &[News] = &[News::Leave, News::Broadcast, News::Metadata];

/// As it comes.
pub const LAN: Candidate<Drystone> =
    Candidate { name: "drystone", config: |_| Config::lan(), says: ALL, rows: &[] };

/// Without probes by stream.
pub const DATAGRAMS: Candidate<Drystone> = Candidate {
    name: "drystone (datagrams)",
    config: |_| Config { stream_probes: false, ..Config::lan() },
    says: ALL,
    rows: &["g4"],
};

/// Plain SWIM.
pub const SWIM: Candidate<Drystone> = Candidate {
    name: "drystone (plain SWIM)",
    config: |_| Config { lifeguard: Lifeguard::OFF, ..Config::lan() },
    says: ALL,
    rows: &["g5", "g6"],
};

/// Its stable view.
pub const STABLE: Candidate<Stable> = Candidate {
    name: "drystone (stable view)",
    config: |_| Config::lan(),
    says: ALL,
    rows: &["g7", "g8"],
};
