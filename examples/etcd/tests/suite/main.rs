//! Our server from outside: its process, its sockets, its disk.
//!
//! | room | asks |
//! |---|---|
//! | [`session`], [`wire`] | whether it answers as real etcd does |
//! | [`durability`] | whether what it acknowledged survives crashes |
//! | [`restart`] | how soon it is back, and what its journal takes |
//! | [`stop`] | whether a stop in good order leaves nothing to replay |
//! | [`data_dir`] | whether it leaves data alone that it cannot use |
//! | [`inspect`] | whether its data can be looked into, running, stopped or damaged |
//! | [`cluster`] | whether several members are one store, whatever happens to some of them |
//! | [`past_bugs`] | whether it has the bugs that etcd has had |
//! | [`metrics`] | whether what it tells of itself is what etcd tells, and true |
//! | [`abuse`] | whether it stands what strangers send |
//!
//! [`session`] asks as people do, with the real `etcdctl`; [`wire`] asks what `etcdctl` cannot,
//! with raw requests. Both need the real programs, which [`support::programs`] finds or installs;
//! without them a test says loudly that it was left out, and fails where `CI=true`.
//!
//! To try the harness itself, put real etcd on both sides: `DRYSTONE_ETCD_BIN=/usr/bin/etcd`.

mod abuse;
mod cluster;
mod data_dir;
mod durability;
mod inspect;
mod metrics;
mod past_bugs;
mod restart;
mod session;
mod stop;
mod support;
mod wire;
