//! The store as the rest of this program names it: one place that says which crate it comes from.

pub(crate) use drystone_kv::{
    EngineKind, Options,
    error::{Error, Refusal},
    limits::Limits,
    runtime::{Replica, ReplicaOptions},
    watch::{
        CancelReason, CreateError, Event, EventKind, StreamOptions, Unreadable, WatchId,
        WatchMessage, WatchRequest, WatchStream,
    },
};
