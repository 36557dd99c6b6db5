//! Messages that etcd writes to its disk and never sends to clients: as many of their fields as
//! matter here. The others are skipped.

use bytes::Bytes;
use drystone_etcd_api::etcdserverpb as pb;

/// One frame of the journal (`walpb.Record`).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Record {
    #[prost(int64, tag = "1")]
    pub(crate) kind: i64,
    /// The checksum of the journal up to here.
    #[prost(uint32, tag = "2")]
    pub(crate) crc: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) data: Bytes,
}

/// Whose journal it is.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Metadata {
    #[prost(uint64, tag = "1")]
    pub(crate) node_id: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) cluster_id: u64,
}

/// What the member promised (`raftpb.HardState`).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct HardState {
    #[prost(uint64, tag = "1")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) vote: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) commit: u64,
}

/// That there is a snapshot (`walpb.Snapshot`).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct SnapshotMark {
    #[prost(uint64, tag = "1")]
    pub(crate) index: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) term: u64,
}

/// An entry of the log (`raftpb.Entry`).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LogEntry {
    /// 0: a request; 1: a change of the members; 2: several.
    #[prost(int32, tag = "1")]
    pub(crate) kind: i32,
    #[prost(uint64, tag = "2")]
    pub(crate) term: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) index: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) data: Bytes,
}

/// A change of the members (`raftpb.ConfChange`).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ConfChange {
    /// 0: add, 1: remove, 2: update, 3: add a learner.
    #[prost(int32, tag = "2")]
    pub(crate) kind: i32,
    #[prost(uint64, tag = "3")]
    pub(crate) node_id: u64,
    /// JSON.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) context: Bytes,
}

/// A request of the old interface; members still make themselves known by one.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OldRequest {
    #[prost(string, tag = "2")]
    pub(crate) method: String,
    #[prost(string, tag = "3")]
    pub(crate) path: String,
    #[prost(string, tag = "4")]
    pub(crate) value: String,
}

/// A request, as it is replicated (`etcdserverpb.InternalRaftRequest`).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RaftRequest {
    #[prost(message, optional, tag = "2")]
    pub(crate) old: Option<OldRequest>,
    #[prost(message, optional, tag = "4")]
    pub(crate) put: Option<pb::PutRequest>,
    #[prost(message, optional, tag = "5")]
    pub(crate) delete_range: Option<pb::DeleteRangeRequest>,
    #[prost(message, optional, tag = "6")]
    pub(crate) txn: Option<pb::TxnRequest>,
    #[prost(message, optional, tag = "7")]
    pub(crate) compaction: Option<pb::CompactionRequest>,
    #[prost(message, optional, tag = "8")]
    pub(crate) lease_grant: Option<pb::LeaseGrantRequest>,
    #[prost(message, optional, tag = "9")]
    pub(crate) lease_revoke: Option<pb::LeaseRevokeRequest>,
    #[prost(message, optional, tag = "10")]
    pub(crate) alarm: Option<pb::AlarmRequest>,
    #[prost(message, optional, tag = "100")]
    pub(crate) header: Option<RequestHeader>,
    #[prost(message, optional, tag = "1000")]
    pub(crate) auth_enable: Option<pb::AuthEnableRequest>,
    #[prost(message, optional, tag = "1011")]
    pub(crate) auth_disable: Option<pb::AuthDisableRequest>,
    #[prost(message, optional, tag = "1100")]
    pub(crate) user_add: Option<pb::AuthUserAddRequest>,
    #[prost(message, optional, tag = "1101")]
    pub(crate) user_delete: Option<pb::AuthUserDeleteRequest>,
    #[prost(message, optional, tag = "1103")]
    pub(crate) user_change_password: Option<pb::AuthUserChangePasswordRequest>,
    #[prost(message, optional, tag = "1104")]
    pub(crate) user_grant_role: Option<pb::AuthUserGrantRoleRequest>,
    #[prost(message, optional, tag = "1105")]
    pub(crate) user_revoke_role: Option<pb::AuthUserRevokeRoleRequest>,
    #[prost(message, optional, tag = "1200")]
    pub(crate) role_add: Option<pb::AuthRoleAddRequest>,
    #[prost(message, optional, tag = "1201")]
    pub(crate) role_delete: Option<pb::AuthRoleDeleteRequest>,
    #[prost(message, optional, tag = "1203")]
    pub(crate) role_grant_permission: Option<pb::AuthRoleGrantPermissionRequest>,
    #[prost(message, optional, tag = "1204")]
    pub(crate) role_revoke_permission: Option<pb::AuthRoleRevokePermissionRequest>,
    #[prost(message, optional, tag = "1301")]
    pub(crate) member_attributes: Option<MemberAttributes>,
}

/// Who asks (`etcdserverpb.RequestHeader`).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RequestHeader {
    /// Tells requests apart.
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    /// As whom the client was recognised; empty: it was not.
    #[prost(string, tag = "2")]
    pub(crate) username: String,
    /// The auth revision at which it was.
    #[prost(uint64, tag = "3")]
    pub(crate) auth_revision: u64,
}

/// What a member says of itself, from 3.6 on.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MemberAttributes {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) attributes: Option<Attributes>,
}

/// Its name and where clients reach it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Attributes {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) client_urls: Vec<String>,
}

/// A lease (`leasepb.Lease`).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Lease {
    #[prost(int64, tag = "1")]
    pub(crate) id: i64,
    #[prost(int64, tag = "2")]
    pub(crate) ttl: i64,
    #[prost(int64, tag = "3")]
    pub(crate) remaining_ttl: i64,
}

/// A file with a raft snapshot (`snappb.Snapshot`).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapFile {
    #[prost(uint32, tag = "1")]
    pub(crate) crc: u32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) data: Bytes,
}

/// A raft snapshot (`raftpb.Snapshot`).
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RaftSnapshot {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) data: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<SnapshotMeta>,
}

/// Where it stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct SnapshotMeta {
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) term: u64,
}
