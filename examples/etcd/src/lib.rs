//! An etcd v3 server, alone or as a member of a cluster, assembled from drystone crates.
//!
//! **The problem.** Programs that speak etcd v3 exist by the hundred, and what they rely on is not
//! written down in one place: codes, texts, headers, the order of checks, what a flag means.
//!
//! **The idea.** [`drystone_kv`] is the store: revisions, transactions, leases, watches, replicated
//! by consensus. This program is the skin that makes it etcd. It adds no state and no semantics of
//! its own.
//!
//! ```text
//!   TCP, Unix ──► listener ──► worker (one a core) ──► connection (HTTP/1, HTTP/2)
//!                                                         │
//!               http_routes, gateway ◄── dispatch ────────┤ gRPC
//!                               │ JSON into gRPC          ▼
//!         error_text ◄── service::{kv, watch, lease, …} ──► convert ──► drystone_kv
//!                                                                           │
//!   other members ◄──────────────────── peers ◄── consensus, questions ─────┘
//! ```
//!
//! Start reading at `server` for its life, at `dispatch` for the life of a request, at `place` for
//! its place among the others. `README.md` says what is there and what is not.
//!
//! Two doors lead in: [`program`] is what the command line does; [`embed`] starts a member inside
//! another program.

pub mod embed;
pub mod program;

mod bench;
mod check;
mod config;
mod dev;
mod forward;
mod logging;
mod version;

mod backup;
mod data_dir;
mod discovery;
mod disk;
mod etcd_files;
mod formation;
mod identity;
mod inspect;
mod log_dir;
mod migrate;
mod peers;
mod proxy;
mod remote;
mod restore;
mod srv;
mod store;

mod compactor;
mod comparison;
mod leaders;
mod member;
mod patience;
mod place;
mod promoter;
mod scheduling;
mod server;
mod shutdown;
mod signalled;
mod space;

mod connection;
mod entrance;
mod listener;
mod notify;
mod relay;
mod tls;
mod worker;

mod access;
mod admission;
mod auth;
mod call;
mod deadline;
mod debug_vars;
mod dispatch;
mod gateway;
mod grpc_head;
mod grpc_method;
mod http_routes;
mod metrics;
mod unary;
mod user_limits;

mod convert;
mod error_text;
mod service;
