//! The etcd v3 interface: every message and every call, for servers and for clients.
//!
//! # Problem
//! A program that speaks etcd needs the same few hundred names and numbers as every other one. A
//! wrong field number is not an error anyone reports: protobuf skips fields it does not know, so a
//! limit is ignored or a lease never attached.
//!
//! # Idea
//! The `.proto` files under `proto/` are written for this project, in our own words. Package,
//! message, field and enum names and the numbers are etcd's, for they *are* the interface. The Rust
//! is generated at build time without `protoc` (see `build.rs`), and a test holds a table of
//! numbers, written down by hand, against the compiled descriptors.
//!
//! ```text
//!   proto/*.proto --protox--> descriptors --tonic-prost-build--> messages, clients, servers
//!                                  |
//!                                  +--> FILE_DESCRIPTOR_SET (names and numbers at run time)
//! ```
//!
//! # Where to look
//! | module | holds |
//! |---|---|
//! | [`mvccpb`] | keys and events |
//! | [`etcdserverpb`] | the services KV, Watch, Lease, Cluster, Maintenance and Auth |
//! | [`authpb`] | permissions |
//! | [`v3lockpb`], [`v3electionpb`] | locks and elections kept by the server |
//! | [`health`] | gRPC's health check |
//! | [`client`] | a connection with settings that suit etcd |
//!
//! # Names
//! Rust spells the fields its own way: `ID` is `id`, `grantedTTL` is `granted_ttl`, and the
//! generator makes `peer_ur_ls` of `peerURLs`. On the wire nothing changes, and for JSON the
//! original names are in [`FILE_DESCRIPTOR_SET`]. All `bytes` fields are [`bytes::Bytes`], so a
//! decoded message shares the buffer it came in.
//!
//! # Promises
//! The interface of etcd 3.6, and `RangeStream` of 3.7. Missing on purpose: the messages that
//! members send each other (`LeaseCheckpoint` and the Raft ones), which are a server's own
//! business.
//!
//! ```
//! use drystone_etcd_api::etcdserverpb::PutRequest;
//! use prost::Message as _;
//!
//! let put = PutRequest { key: "k".into(), value: "v".into(), ..PutRequest::default() };
//! let wire = put.encode_to_vec();
//! assert_eq!(wire, b"\x0a\x01k\x12\x01v");
//! assert_eq!(PutRequest::decode(&wire[..]), Ok(put));
//! ```

#![forbid(unsafe_code)]

/// A module of generated code: its style is the generator's, and so are the lints it would trip.
macro_rules! generated {
    ($(#[$doc:meta])* $module:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(
            missing_docs,
            unused_qualifications,
            clippy::all,
            clippy::allow_attributes,
            clippy::allow_attributes_without_reason,
            reason = "generated"
        )]
        pub mod $module {
            tonic::include_proto!($package);
        }
    };
}

generated! {
    /// Keys as the store holds them, and the events that change them.
    mvccpb, "mvccpb"
}
generated! {
    /// The services that make up etcd, with their messages.
    etcdserverpb, "etcdserverpb"
}
generated! {
    /// Users, roles and permissions.
    authpb, "authpb"
}
generated! {
    /// Locks kept by the server.
    v3lockpb, "v3lockpb"
}
generated! {
    /// Elections kept by the server.
    v3electionpb, "v3electionpb"
}
generated! {
    /// gRPC's health check, package `grpc.health.v1`.
    health, "grpc.health.v1"
}

pub mod client;

/// Every message, field and service with its name and number: an encoded protobuf
/// `FileDescriptorSet`, without comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
