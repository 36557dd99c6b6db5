//! The database against a hostile disk and a model.

mod model;
mod oracle;
mod support;
