//! Suites over the repository itself.
