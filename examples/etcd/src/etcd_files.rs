//! What etcd itself keeps on a disk: its database, its journal, and copies of the former.
//!
//! ```text
//!   <data-dir>/member/snap/db                the database: a bbolt file ([`drystone_etcd_bolt`])
//!                    /snap/<term>-<index>.snap   who was a member: see [`raft_snapshot`]
//!                    /snap/<index>.snap.db   one that another member sent, not yet in its place
//!                    /wal/<seq>-<index>.wal  the journal: see [`journal`]
//! ```
//!
//! The database is the state after some entry of the journal, its *consistent index*; a snapshot,
//! as `etcdctl snapshot save` writes it, is a database with a hash behind it. Its buckets:
//!
//! | bucket | key | value |
//! |---|---|---|
//! | `key` | main u64 `_` sub u64 | `mvccpb.KeyValue` |
//! | | the same and `t`, of a tombstone | the same with the key alone |
//! | `lease` | id, 8 bytes | `leasepb.Lease`: id, granted and remaining seconds |
//! | `alarm` | `etcdserverpb.AlarmMember` | empty |
//! | `auth` | `authEnabled`, `authRevision` | 1 byte, 8 bytes |
//! | `authUsers`, `authRoles` | name | `authpb.User`, `authpb.Role` |
//! | `members` | id in hex | JSON: see [`members`] |
//! | `members_removed` | id in hex | `removed` |
//! | `cluster` | `clusterVersion`, `downgrade` | text; JSON |
//! | `meta` | `consistent_index`, `term` | 8 bytes each |
//! | | `scheduledCompactRev`, `finishedCompactRev` | a key of `key` |
//! | | `confState` | JSON: who votes |
//! | | `storageVersion` | text, from 3.6 on |
//!
//! Numbers are big endian. Of a record that a compaction has left behind nobody knows whether the
//! sweep was there already: both kinds of store find out by themselves.
//!
//! ```text
//!   store ──► database_out ──► file ──► etcd
//!   etcd  ──► file ──► database ──┬──► drystone_kv::runtime::Import
//!             journal ──► entries ┘
//! ```

pub(crate) mod auth;
mod auth_entries;
pub(crate) mod buckets;
pub(crate) mod crc32c;
pub(crate) mod database;
pub(crate) mod database_out;
pub(crate) mod entries;
pub(crate) mod journal;
pub(crate) mod members;
pub(crate) mod messages;
pub(crate) mod raft_snapshot;
pub(crate) mod summary;
