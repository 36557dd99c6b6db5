//! Who takes part.

use clap::ValueEnum;
use drystone_versus::raft::openraft;
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
    /// openraft, which is tasks and no core.
    Openraft,
    /// This repository's.
    Ours,
}

impl Contender {
    /// What the tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::RaftRs => RaftRs::NAME,
            Contender::RaftRsAsOne => RaftRsAsOne::NAME,
            Contender::Openraft => openraft::NAME,
            Contender::Ours => Ours::NAME,
        }
    }
}

/// Everyone.
pub(crate) const EVERYONE: [Contender; 4] =
    [Contender::RaftRs, Contender::RaftRsAsOne, Contender::Openraft, Contender::Ours];

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
            $crate::contender::Contender::Openraft => None,
            $crate::contender::Contender::Ours => {
                type $Core = ::drystone_versus::raft::ours::Ours;
                Some($body)
            }
        }
    };
}
pub(crate) use with_core;

/// Does something with a group of a contender, under the name of a type. One kind of raft-rs is
/// enough: what differs between the two is not what a story tells of.
macro_rules! with_cluster {
    ($contender:expr, $Cluster:ident => $body:expr) => {
        match $contender {
            $crate::contender::Contender::RaftRs => {
                use ::drystone_versus::raft::{group::Group, raft_rs::RaftRs};
                type $Cluster = Group<RaftRs>;
                Some($body)
            }
            $crate::contender::Contender::RaftRsAsOne => None,
            $crate::contender::Contender::Openraft => {
                type $Cluster = ::drystone_versus::raft::openraft::Story;
                Some($body)
            }
            $crate::contender::Contender::Ours => {
                use ::drystone_versus::raft::{group::Group, ours::Ours};
                type $Cluster = Group<Ours>;
                Some($body)
            }
        }
    };
}
pub(crate) use with_cluster;
