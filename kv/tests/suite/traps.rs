//! The traps of etcd's data model that its clients fall into when a store gets them wrong, one test
//! each: what the interface promises, what its documentation leaves out, and what etcd itself once
//! had wrong.

mod alarms;
mod compaction;
mod deletes;
mod leases;
mod members;
mod puts;
mod reads;
mod txns;
mod users;
