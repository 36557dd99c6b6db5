//! The database against a hostile disk and a model.

mod enumerate;
mod model;
mod oracle;
mod support;
