//! Our server beside real etcd: the same questions, the same answers.
//!
//! [`session`] asks as people do, with the real `etcdctl`; [`wire`] asks what `etcdctl` cannot,
//! with raw requests. Both need the real programs, which [`support::programs`] finds or installs;
//! without them a test says loudly that it was left out, and fails where `CI=true`.
//!
//! To try the harness itself, put real etcd on both sides: `DRYSTONE_ETCD_BIN=/usr/bin/etcd`.

mod data_dir;
mod durability;
mod restart;
mod session;
mod support;
mod wire;
