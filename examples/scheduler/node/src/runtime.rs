//! Containers on one machine: started once, kept through the agent's death, gone without a trace.
//!
//! # Problem
//! An agent is killed, updated, and killed again; none of that may end, lose or repeat what runs on
//! its machine. And whatever it starts must be bounded: it may not reach the machine, its
//! neighbours or more memory than it was given, and when it is over nothing of it may be left.
//!
//! # Idea
//! The agent writes down what to run and hands it to a keeper of its own (`mason-shim`), which
//! needs no agent from then on. All that is known about a run lies in its folder, so a new agent
//! reads the folders and knows as much as the old one:
//!
//! ```text
//!   <data dir>/lock      one agent at a time
//!              fence     until when strict runs may go on: the agent writes, every keeper reads
//!              helpers/  mason-shim, mason-init, by the hash of what is in them
//!              runs/<run>/   see mason_shim::settings
//!              s/<run>       the keeper's socket
//!              net/<run>     named network namespaces, if somebody makes them
//!              past-logs/<run>/  what runs printed that are over
//!   /mason/<node>/<run>  its control group, in each hierarchy
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`config`] | what this machine allows |
//! | [`launch`] | what a caller gives for a run |
//! | [`bundle`] | what the OCI runtime is told, made of both |
//! | [`seccomp`] | the system calls that a container may make |
//! | [`user`] | whom a name means, by the image's own files |
//! | [`runner`] | start, look, stop, run something in it, forget |
//! | [`sweep`] | finds what nobody knows any more, and removes it |
//! | [`probe`] | asks a run whether it is well |
//! | [`past`] | logs of runs that are over |
//!
//! # What is promised
//! * A run is started at most once: its folder is made once, and its keeper makes `state` once.
//! * Whatever is killed when, [`Runner::look`] has one answer in the end, which stays: how it
//!   ended, or that nobody knows, or that it was never started.
//! * After [`Runner::reap`] there is no process, mount, control group, namespace, socket or file
//!   left of it, but its log if [`Runner::keep_log`] was asked for before.
//!
//! # What is not
//! * The size of an `Empty` folder on disk, and `Resources::disk`, are not held by the kernel: it
//!   takes project quotas, which not every file system has. They are counted
//!   ([`Runner::disk_use`]), and it is the agent's to stop who is over it.
//! * A private network has a loopback and nothing else yet. Probes go into the container's
//!   namespace, so a service in it can be asked; whoever wants to be reached from elsewhere needs
//!   the agent's choice of [`Network::Host`].
//! * A keeper that is paused (SIGSTOP) neither writes down output nor fences while it is.
//! * There are no terminals, no user namespaces, and no 32-bit programs.
//! * Figures on a 2-core machine that builds other things besides: start p50 65 to 82 ms, a keeper
//!   1.4 MiB resident.
//! * Control groups of version 2 alone, and kernels before 6.5, are not what most machines that
//!   test this have: `cargo xtask vm` runs this crate's suite on such a kernel.
//! * `runsc` has what its sandbox offers: a probe by TCP or HTTP finds no port in it, for that is
//!   in a network stack of its own; one that runs a command works.
//! * Under systemd the agent's unit needs `KillMode=process`, or systemd kills the keepers.

pub mod bundle;
pub mod config;
pub mod launch;
pub mod past;
pub mod probe;
pub mod runner;
pub mod seccomp;
pub mod sweep;
pub mod user;

mod capability;
mod error;
mod exec;
mod groups;
mod helpers;
mod keeper;
mod settle;
mod tree;
mod volumes;

pub use bundle::Bundle;
pub use config::{Class, Config, Network};
pub use error::Error;
pub use exec::Process;
pub use helpers::Helpers;
pub use launch::{Image, Launch, VolumeFile};
pub use past::{PastLimits, PastLog};
pub use runner::{Ended, Runner, Running, Status};
pub use sweep::{Leftover, LeftoverKind};
