//! What mason does on a machine: images, containers, logs.

#![forbid(unsafe_code)]

pub mod image;

pub mod runtime;

pub mod log;
