//! Who takes part.

use clap::ValueEnum;
use drystone_versus::raft::ours::Ours;
use drystone_versus::raft::raft_rs::{RaftRs, RaftRsAsOne};
use drystone_versus::raft::replica::Replica as _;

/// Cores, and a runtime that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Contender {
    /// raft-rs, with proposals one by one.
    RaftRs,
    /// raft-rs, with the proposals of a batch in one message.
    RaftRsAsOne,
    /// This repository's.
    Ours,
}

impl Contender {
    /// What the tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::RaftRs => RaftRs::NAME,
            Contender::RaftRsAsOne => RaftRsAsOne::NAME,
            Contender::Ours => Ours::NAME,
        }
    }
}

/// Everyone.
pub(crate) const EVERYONE: [Contender; 3] =
    [Contender::RaftRs, Contender::RaftRsAsOne, Contender::Ours];

/// Does something with the core of a contender, under the name of a type; nothing if it has none.
macro_rules! with_core {
    ($contender:expr, $Core:ident => $body:expr) => {
        match $contender {
            $crate::contender::Contender::RaftRs => {
                type $Core = ::drystone_versus::raft::raft_rs::RaftRs;
                Some($body)
            }
            $crate::contender::Contender::RaftRsAsOne => {
                type $Core = ::drystone_versus::raft::raft_rs::RaftRsAsOne;
                Some($body)
            }
            $crate::contender::Contender::Ours => {
                type $Core = ::drystone_versus::raft::ours::Ours;
                Some($body)
            }
        }
    };
}
pub(crate) use with_core;
