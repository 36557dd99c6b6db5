//! What the store answers.
//!
//! Every reply carries the main revision that etcd puts in its header: for a change, the revision
//! that it made; for a read, the newest one, even when the read looked into the past.

use std::sync::Arc;

use crate::command::AlarmKind;
use crate::members::Cluster;
use crate::types::{KeyValue, LeaseId};

/// The answer to a [`crate::command::Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a put.
    Put(PutReply),
    /// To a delete.
    DeleteRange(DeleteRangeReply),
    /// To a transaction.
    Txn(TxnReply),
    /// To a compaction.
    Compact(CompactReply),
    /// To a lease grant.
    LeaseGrant(LeaseGrantReply),
    /// To a lease revocation.
    LeaseRevoke(LeaseRevokeReply),
    /// To a change of alarms.
    Alarm(AlarmReply),
    /// To a change of members.
    Cluster(ClusterReply),
    /// To a change of users and roles.
    Auth(AuthReply),
}

/// What a range held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The newest main revision at the time of the read.
    pub revision: u64,
    /// The key-values, in the order asked for.
    pub kvs: Vec<KeyValue>,
    /// How many keys the range holds at the revision read, whatever the limit and the bounds.
    pub count: u64,
    /// Whether the limit cut something off.
    pub more: bool,
}

/// A key was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReply {
    /// The revision that the put made.
    pub revision: u64,
    /// What stood there, if it was asked for and there was something.
    pub prev: Option<KeyValue>,
}

/// Keys were deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRangeReply {
    /// The revision that the delete made; the newest one if nothing was there to delete.
    pub revision: u64,
    /// How many keys went.
    pub deleted: u64,
    /// What went, if it was asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// A transaction ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    /// The revision that it made; the newest one if it changed nothing.
    pub revision: u64,
    /// Whether all compares held.
    pub succeeded: bool,
    /// One for each operation of the branch that ran.
    pub replies: Vec<TxnOpReply>,
}

/// The answer to one operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOpReply {
    /// To a read.
    Range(RangeReply),
    /// To a put.
    Put(PutReply),
    /// To a delete.
    DeleteRange(DeleteRangeReply),
    /// To a nested transaction.
    Txn(TxnReply),
}

/// A compaction was accepted; space comes back in later steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactReply {
    /// The newest main revision.
    pub revision: u64,
}

/// A lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGrantReply {
    /// The newest main revision; a grant makes none.
    pub revision: u64,
    /// The lease's name.
    pub id: LeaseId,
    /// Its time to live, seconds.
    pub ttl: i64,
}

/// A lease is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRevokeReply {
    /// The revision that deleted its keys; the newest one if it had none.
    pub revision: u64,
}

/// The alarms that a change touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmReply {
    /// The newest main revision.
    pub revision: u64,
    /// Those raised, or those cleared.
    pub alarms: Vec<Alarm>,
}

/// The members as they stand after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterReply {
    /// The newest main revision; members make none.
    pub revision: u64,
    /// The cluster.
    pub cluster: Arc<Cluster>,
}

/// Users or roles have changed, or one was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthReply {
    /// The newest main revision; users make none.
    pub revision: u64,
    /// The auth revision after the change.
    pub auth_revision: u64,
}

/// A standing alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// The member it concerns.
    pub member: u64,
    /// What is wrong.
    pub kind: AlarmKind,
}
