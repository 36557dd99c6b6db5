//! The etcd v3 interface.
