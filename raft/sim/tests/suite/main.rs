//! The simulation in the test run: a few hundred seeds, and the teeth it is said to have.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod mutants;
mod seeds;
