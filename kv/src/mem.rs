//! The in-memory engine.

mod tree;
