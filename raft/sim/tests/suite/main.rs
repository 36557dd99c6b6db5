//! The simulation in the test run: a few hundred seeds, and the teeth it is said to have.

mod mutants;
mod seeds;
