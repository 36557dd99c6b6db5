//! etcd's gRPC services, one file each. [`crate::member::Shared`] implements them all.
//!
//! Locks and elections have no file: [`crate::dispatch`] answers that they are not there yet.

mod auth;
mod cluster;
mod health;
mod kv;
pub(crate) mod large;
mod lease;
mod maintenance;
pub(crate) mod snapshot;
mod watch;

pub(crate) use kv::Serving;

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::Status;

/// A stream of answers whose type nobody needs to name.
type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
