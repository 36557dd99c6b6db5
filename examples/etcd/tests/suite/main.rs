//! Our server from outside: its process, its sockets, its disk.
//!
//! | room | asks |
//! |---|---|
//! | [`session`], [`wire`] | whether it answers as real etcd does |
//! | [`durability`] | whether what it acknowledged survives crashes |
//! | [`random`] | the same, of requests that nobody thought of |
//! | [`restart`] | how soon it is back, and what its journal takes |
//! | [`stop`] | whether a stop in good order leaves nothing to replay |
//! | [`space`] | whether it refuses in good order without room, and goes on when there is some |
//! | [`data_dir`] | whether it leaves data alone that it cannot use |
//! | [`inspect`] | whether its data can be looked into, running, stopped or damaged |
//! | [`cluster`] | whether several members are one store, whatever happens to some of them |
//! | [`migration`] | whether data come over from etcd, and go back to it |
//! | [`backup`] | whether any moment comes back from a backup in parts, as it was |
//! | [`past_bugs`] | whether it has the bugs that etcd has had |
//! | [`metrics`] | whether what it tells of itself is what etcd tells, and true |
//! | [`gateway`] | whether it speaks JSON as etcd does, and keeps locks and elections |
//! | [`tls`] | whether connections under TLS are for whom they are meant, alone |
//! | [`manners`] | whether it starts, speaks and ends as scripts expect of etcd |
//! | [`auth`] | whether users may do what they may, and nobody more |
//! | [`load`] | whether leases, leaders and other users stand a flood, and deadlines are kept |
//! | [`clients`] | whether client libraries of others work with it |
//! | [`end_to_end`] | whether etcd's own end-to-end tests take it for etcd |
//! | [`kubernetes`] | whether an API server of Kubernetes finds in it what it needs |
//! | [`patroni`] | whether Patroni keeps databases available with it |
//! | [`forward`] | whether its TCP gateway carries connections as etcd's does |
//! | [`pings`] | whether clients that ping too often hear what etcd says |
//! | [`srv`] | whether members and clients find each other by the records of a domain |
//! | [`proxy`] | whether clients notice a proxy, and members are spared by it |
//! | [`tools`] | whether `bench` and `check` say what is so |
//! | [`abuse`] | whether it stands what strangers send |
//!
//! [`session`] asks as people do, with the real `etcdctl`; [`wire`] asks what `etcdctl` cannot,
//! with raw requests. Both need the real programs, which [`support::programs`] finds or installs;
//! without them a test says loudly that it was left out, and fails where `CI=true`.
//!
//! To try the harness itself, put real etcd on both sides: `DRYSTONE_ETCD_BIN=/usr/bin/etcd`.

mod abuse;
mod auth;
mod backup;
mod clients;
mod cluster;
mod data_dir;
mod durability;
mod end_to_end;
mod forward;
mod gateway;
mod inspect;
mod kubernetes;
mod load;
mod manners;
mod metrics;
mod migration;
mod past_bugs;
mod patroni;
mod pings;
mod proxy;
mod random;
mod restart;
mod session;
mod space;
mod srv;
mod stop;
mod support;
mod tls;
mod tools;
mod wire;
