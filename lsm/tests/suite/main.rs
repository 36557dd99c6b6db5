//! The database against a hostile disk and a model.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping")]

mod enumerate;
mod model;
mod oracle;
mod support;
