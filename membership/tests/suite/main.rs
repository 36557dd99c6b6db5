//! Tests through the public face.

mod memory;
