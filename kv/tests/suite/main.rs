//! The tests of the store's public face.

mod common;
mod engine;
mod model;
mod oracle;
mod requests;
