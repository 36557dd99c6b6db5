//! Members as programs use them.

#[cfg(feature = "runtime")]
mod runtime;
