//! The simulation in the test run: a few hundred seeds.

mod clocks;
mod replay;
mod seeds;
