//! Containers by `runc`, and by `crun` where that is installed. They need root; without it, or
//! without a runtime, a test says `SKIPPED` and why, and fails if `CI=true`.

mod adopt;
mod ends;
mod fence;
mod init;
mod isolation;
mod limits;
mod output;
mod probes;
mod sandbox;
mod start_cost;
mod support;
mod sweep;
mod volumes;
