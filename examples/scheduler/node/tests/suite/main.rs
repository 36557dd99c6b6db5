//! What a node does, on the real machine: with an OCI runtime, control groups and namespaces.

mod runtime;
