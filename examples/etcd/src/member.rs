//! The member: what every call needs to answer.
//!
//! One [`Member`] is shared by all connections on all threads. [`Shared`] implements every gRPC
//! service, one file each under [`crate::service`]; what they have in common is here.
//!
//! ```text
//!   connection ──► dispatch ──► service::kv, service::watch, … ──► Member { kv, limits, metrics }
//! ```

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use drystone_etcd_api::etcdserverpb as pb;
use drystone_kv::command::Command;
use drystone_kv::reply::{AlarmReply, Reply};
use tonic::Status;

use crate::config::Config;
use crate::convert::signed;
use crate::error_text;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::relay::relayed;
use crate::shutdown::Shutdown;
use crate::store::{Error, Kv};

/// What gRPC itself adds to a request, by etcd's reckoning.
const GRPC_OVERHEAD_BYTES: usize = 512 * 1024;
/// A store with one member elects itself once, at its start, and stays in that term.
const TERM: u64 = 2;

/// The member as tasks and threads share it.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Member>);

impl Deref for Shared {
    type Target = Member;

    fn deref(&self) -> &Member {
        &self.0
    }
}

/// What every call needs to answer.
pub(crate) struct Member {
    /// The store.
    pub(crate) kv: Kv,
    /// Who this is.
    pub(crate) identity: Identity,
    /// As the flags gave it.
    pub(crate) config: Config,
    /// What /metrics shows.
    pub(crate) metrics: Metrics,
    /// Tells streams to end.
    pub(crate) shutdown: Shutdown,
    request_timeout: Duration,
    /// Set once the storage has failed: from then on nothing can be written.
    broken: AtomicBool,
}

impl Member {
    /// The header of an answer that stands at `revision`.
    pub(crate) fn header(&self, revision: u64) -> pb::ResponseHeader {
        pb::ResponseHeader {
            cluster_id: self.identity.cluster.0,
            member_id: self.identity.member.0,
            revision: signed(revision),
            raft_term: TERM,
        }
    }

    /// The header of an answer that stands at the newest revision.
    pub(crate) fn header_now(&self) -> pb::ResponseHeader {
        self.header(self.kv.revision())
    }

    /// The term that the member leads in.
    pub(crate) fn term(&self) -> u64 {
        TERM
    }

    /// Has a command done, and waits for its reply.
    ///
    /// The caller may go away while it waits; the command is done all the same.
    pub(crate) async fn propose(&self, command: Command) -> Result<Reply, Status> {
        let answer = relayed(self.kv.propose(command));
        let outcome = tokio::time::timeout(self.request_timeout, answer).await;
        let result = match outcome {
            Ok(result) => result.map_err(|error| self.failed(&error)),
            Err(_) => Err(error_text::timed_out()),
        };
        if result.is_err() {
            self.metrics.proposals_failed.add(1);
        }
        result
    }

    /// The answer to a request that the store did not do; notes if that is because storage failed.
    pub(crate) fn failed(&self, error: &Error) -> Status {
        let is_answer = matches!(error, Error::Refused(_) | Error::Busy);
        if !is_answer && !self.shutdown.has_fired() && !self.broken.swap(true, Relaxed) {
            let error = error_text::chain(error);
            tracing::error!(error, "storage failed; nothing can be written until a restart");
        }
        error_text::status(error)
    }

    /// Whether the storage has failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// The largest message that is read, bytes.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.config.max_request_bytes.saturating_add(GRPC_OVERHEAD_BYTES)
    }
}

impl Shared {
    /// A member over an open store.
    pub(crate) fn new(kv: Kv, identity: Identity, config: Config, shutdown: Shutdown) -> Shared {
        let request_timeout = config.request_timeout();
        let metrics = Metrics::new();
        let broken = AtomicBool::new(false);
        Shared(Arc::new(Member {
            kv,
            identity,
            config,
            metrics,
            shutdown,
            request_timeout,
            broken,
        }))
    }

    /// Runs `read` where it may take its time: on a thread that serves no connections.
    pub(crate) async fn off_thread<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Member) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let member = self.clone();
        let done = tokio::task::spawn_blocking(move || read(&member)).await;
        done.map_err(|error| Status::internal(format!("drystone-etcd: a read broke off: {error}")))
    }

    /// [`Shared::off_thread`] if `long`, else here.
    pub(crate) async fn off_thread_if<T: Send + 'static>(
        &self,
        long: bool,
        read: impl FnOnce(&Member) -> T + Send + 'static,
    ) -> Result<T, Status> {
        if long { self.off_thread(read).await } else { Ok(read(self)) }
    }
}

/// Why a reply of the wrong kind is a bug of the store and not of the request.
const MISMATCH: &str = "the store answers a command with a reply of its kind";

macro_rules! reply_of {
    ($($name:ident: $variant:ident -> $type:ty;)*) => {$(
        /// The reply to the command of the same name.
        pub(crate) fn $name(reply: Reply) -> $type {
            match reply {
                Reply::$variant(reply) => reply,
                _ => unreachable!("{MISMATCH}"),
            }
        }
    )*};
}

reply_of! {
    put_reply: Put -> drystone_kv::reply::PutReply;
    delete_reply: DeleteRange -> drystone_kv::reply::DeleteRangeReply;
    txn_reply: Txn -> drystone_kv::reply::TxnReply;
    compact_reply: Compact -> drystone_kv::reply::CompactReply;
    lease_grant_reply: LeaseGrant -> drystone_kv::reply::LeaseGrantReply;
    lease_revoke_reply: LeaseRevoke -> drystone_kv::reply::LeaseRevokeReply;
    alarm_reply: Alarm -> AlarmReply;
}
