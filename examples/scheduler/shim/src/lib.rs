//! What the two small programs beside a container and their agent tell each other.
//!
//! # Problem
//! Whoever starts a process is the only one who can learn how it ended: no other process may wait
//! for it. If an agent starts its containers itself, then killing or updating the agent loses
//! them. So each run gets a keeper of its own, `mason-shim`, which is as small as it can be, since
//! there is one a run, and outlives the agent. Between the keeper and whatever agent there is now,
//! there are only files and a socket.
//!
//! # Idea
//! ```text
//!   agent ── run.json, a parcel on stdin ──► mason-shim ── runc create, start, delete ─┐
//!     ▲                                        │  ▲  │                                 ▼
//!     ├── socket: state, stop, exec ───────────┘  │  └─ log/ ◄── stdout, stderr ── mason-init
//!     ├── state: how far it was at least          │                                    │
//!     └── exit.json: how it ended                 └── fence: the agent's deadline    program
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`settings`] | what a keeper is asked to do: `run.json` |
//! | [`parcel`] | what must not touch a disk: configuration and secrets, on the keeper's stdin |
//! | [`state`] | what it has done so far, noted before it is done |
//! | [`exit`] | how it ended: `exit.json` |
//! | [`request`] | what it is told and asked while it runs |
//! | [`fence`] | until when it may run strict work without a word of its agent |
//! | [`log`] | what the container printed |
//! | [`cgroup`] | what is left in a container's control groups |
//! | [`init`] | the command line of the container's first process |
//!
//! # Order of steps
//! `state` says what may have happened, so it is written *before*; `exit.json` says what has
//! happened, so it is written after. Whoever finds a run whose keeper is gone (nobody holds the
//! lock on `keeper.log`) and which has no `exit.json` reads the last line of `state`:
//!
//! | last line | the program | the run ended as |
//! |---|---|---|
//! | none, `kept`, `created` | never ran | `start`: it is as if it had not been tried |
//! | `starting`, `started` | may have run | `unknown` |
//! | `exited` | has ended so | what the line says |
//!
//! A keeper makes `state` anew or gives up, so no run is started twice. When the keeper is killed,
//! the kernel kills the container's first process for it (`PR_SET_PDEATHSIG`, if that is
//! `mason-init`), and with it all of its PID namespace; a container without `mason-init`, or a
//! keeper killed in the instant before the wish was spoken, is for the agent to find and to kill.

#![forbid(unsafe_code)]

pub mod settings;

pub mod parcel;

pub mod state;

pub mod exit;

pub mod request;

pub mod fence;

pub mod log;

pub mod cgroup;

pub mod init;
