//! What a node does, on the real machine: with an OCI runtime, control groups and namespaces.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod image;
mod runtime;
