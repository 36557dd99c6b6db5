//! The simulator from outside: as somebody with a protocol of their own would use it.
//!
//! * `known`: histories whose verdict is known, by the name of what went wrong.
//! * `timing`: long histories are judged in seconds.
//! * `register`: a replicated register, sound and with bugs planted; the simulation finds each.
//! * `disk`: a process on a disk that loses what was not synced.
//! * `failure`: what is printed when a seed fails.
//! * `script`: a folder of golden scripts, and what a failing one says.
//! * `cost`: what a message costs.
//!
//! `SLOW=1` makes the random ones longer. Each prints the command that replays what failed.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod cost;
mod disk;
mod failure;
mod known;
mod quorum;
mod register;
mod script;
mod timing;
