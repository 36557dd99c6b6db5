//! The database against a hostile disk and a model.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod hurt;
mod oracle;
mod support;

mod clock;
mod compaction;
mod copies;
mod deletes;
mod enumerate;
mod flushes;
mod holders;
mod hostile;
mod kernel;
mod keyspaces;
mod lies;
mod locks;
mod manifest;
mod matrix;
mod model;
mod opening;
mod rot;
