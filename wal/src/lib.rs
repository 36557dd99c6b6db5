//! A write-ahead log.
