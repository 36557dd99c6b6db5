//! Groups of drystone-raft in a simulated world.
