//! A server that strangers can reach: bad requests, garbage, crowds, readers that do not read.
//!
//! | room | throws |
//! |---|---|
//! | [`requests`] | gRPC that asks for what cannot be, and gRPC that is not well-formed |
//! | [`garbage`] | bytes that are no requests at all |
//! | [`crowd`] | more connections than there is room for, and connections that come to nothing |
//! | [`readers`] | reads of everything, and such that nobody takes |
//! | [`watchers`] | ten thousand watches, and watches nobody reads |
//!
//! The answer to a request must be etcd's, code and text. To everything else there is one claim:
//! the server stays up and within the memory that each test states, and a [`bystander`] who uses it
//! properly is served promptly all the while. The bounds are those of README.md; memory is what the
//! kernel counts as resident in `/proc`.

pub(crate) mod bystander;
mod crowd;
mod garbage;
pub(crate) mod http2;
mod readers;
mod requests;
mod watchers;
