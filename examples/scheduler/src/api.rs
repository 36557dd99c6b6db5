//! HTTP and JSON: what people's tools say to servers, and servers to agents.

pub mod wire;

pub mod client;
