//! Watches against a dumb history: a list of all changes ever made.

mod bounds;
mod catch_up;
mod claims;
mod costs;
mod model;
mod oracle;
mod progress;
mod stress;
