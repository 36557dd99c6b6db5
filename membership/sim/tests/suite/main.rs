//! The harness against a protocol of which everything is known, and ours in twenty scenarios.

mod faulty;
mod forge;
mod keys;
mod lab;
mod leaving;
mod partition;
mod refutation;
mod scenarios;
mod toy;
mod watches;
