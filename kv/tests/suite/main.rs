//! The tests of the store's public face.

mod engine;
