//! The tests of the store's public face.

mod bytes;
mod checkpoint;
mod common;
mod cost;
mod determinism;
mod engine;
mod engines;
mod model;
mod overtaken;
mod parts;
mod replace;
mod replica;
mod requests;
mod running;
mod scans;
mod traps;
