//! Holds the compiled interface against etcd's, as written down by hand.

#![forbid(unsafe_code)]

mod client;
mod numbers;
mod wire;
