//! What mason decides, as values: jobs, where their tasks go, and the protocol that runs each once.
//!
//! # Problem
//! A scheduler has two halves. One talks: to a store, to agents, to containers, to people. The
//! other decides: which task next, on which node, what it means that a node fell silent. The
//! mistakes that hurt are in the second half, and they are orders: a leader that was paused and
//! wakes up, a result that arrives after its task was given to somebody else. Code that decides
//! while it talks can meet such an order in production only.
//!
//! # Idea
//! This crate is the second half alone. Nothing in it reads a clock, opens a file or a socket, or
//! draws a random number: whoever calls hands in the time, what has happened and a seed, and is
//! handed what to do. So the same code runs in the server, in the simulator which plays a thousand
//! bad days a minute, in `mason plan`, which asks what *would* happen, and in `mason explain`,
//! which asks why nothing did.
//!
//! ```text
//!   manifest ──► spec ─────────────┐ what a user wants
//!   (YAML)                         ▼
//!            store ──► mirror ──► leader ──► transactions ──► store
//!                        ▲         │  │
//!                        │         │  └─ control: job, service, cron, workflow ─► tasks
//!                        │         └──── place: task × nodes ─► node, or why not
//!            store ──► agent ──► transactions, containers
//! ```
//!
//! # Where to look
//! | module | holds |
//! |---|---|
//! | [`types`] | the names of things |
//! | [`image`](mod@image) | the full name of an image |
//! | [`spec`] | what a user asks for, normalised: jobs, services, crons, workflows, tasks |
//! | [`manifest`] | how a user's text becomes that, and that text again |
//! | [`record`] | what the store holds about it, key by key |
//! | [`keys`] | where in the store |
//! | [`txn`] | the little language in which anything in the store is changed |
//! | [`protocol`] | bind, claim, result, lost, done: the five transactions in a run's life |
//! | [`mirror`] | the store in memory, typed |
//! | [`place`] | which node for which task, and why not the others |
//! | [`control`] | retries, and what services, crons and workflows do next |
//! | [`leader`] | what a server decides in office |
//! | [`agent`] | what an agent decides on its node |

#![forbid(unsafe_code)]

pub mod types;

pub mod image;

pub mod spec;

pub mod record;

pub mod manifest;

pub mod keys;

pub mod txn;

pub mod protocol;

pub mod mirror;

pub mod place;

pub mod control;

pub mod leader;

pub mod agent;
