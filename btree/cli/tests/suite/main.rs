//! The command as people run it: golden scripts of its output, its exit status, and its manners in
//! a pipe.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod lab;
mod manners;
mod script;
