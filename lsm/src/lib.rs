//! A log-structured merge tree.
