//! The log against a hostile disk, a model, and many threads. Numbers in the tests' first lines are
//! those of the crash scenarios that the storage crates share.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod support;

mod basics;
mod cost;
mod damage;
mod enumerate;
mod fault;
mod fuzz;
mod group;
mod kernel;
mod model;
mod open;
mod outside;
mod tail;
mod truncate;
mod view;
