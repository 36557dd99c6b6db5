//! Where others are, by the records of a domain.
//!
//! | room | asks |
//! |---|---|
//! | [`founders`] | whether members find each other by records, as real etcd does |
//!
//! The domain is served by a name server of ours ([`names`]), in a network and with an
//! `/etc/resolv.conf` that the tests have to themselves ([`room`]).

mod founders;
pub(crate) mod names;
pub(crate) mod room;
