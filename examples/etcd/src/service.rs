//! etcd's gRPC services, one file each. [`crate::member::Shared`] implements them all.

mod auth;
mod cluster;
mod contest;
mod downgrade;
mod election;
mod health;
mod increment;
mod kv;
pub(crate) mod large;
mod lease;
mod lock;
mod maintenance;
pub(crate) mod range_stream;
pub(crate) mod snapshot;
mod watch;

pub(crate) use kv::Serving;

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::Status;

/// A stream of answers whose type nobody needs to name.
type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
