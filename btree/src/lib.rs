//! A copy-on-write B+tree in one file.
