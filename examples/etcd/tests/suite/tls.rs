//! Whether connections under TLS are what etcd's are: who gets in, who does not, and who is told.
//!
//! Certificates are made here, by an authority of each test's own; `etcdctl` is the real one.

mod clients;
mod members;
mod names;
pub(crate) mod papers;
mod renewal;
pub(crate) mod secured;
mod strangers;
