//! What the two small programs beside a container and their agent tell each other.

#![forbid(unsafe_code)]
