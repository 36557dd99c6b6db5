//! The log against a hostile disk, a model, and many threads. Numbers in the tests' first lines are
//! those of the crash scenarios that the storage crates share.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod hurt;
mod oracle;
mod spy;
mod support;

mod basics;
mod clock;
mod cost;
mod damage;
mod enumerate;
mod fuzz;
mod gate;
mod group;
mod hostile;
mod kernel;
mod lies;
mod locks;
mod missing;
mod model;
mod open;
mod outside;
mod prefix;
mod reads;
mod rotation;
mod space;
mod syncs;
mod tail;
mod truncate;
mod twice;
mod view;
mod wakes;
